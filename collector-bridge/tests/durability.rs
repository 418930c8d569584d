//! What was acknowledged is there, whatever happens to the process or the disk.
#![allow(clippy::unwrap_used, reason = "a test program may panic, in its helpers too")]

#[path = "support/bridge.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it, and a test may panic")]
mod bridge;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bridge::{Bridge, hex, post, request, span, wait_for};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;

/// Spans that were acknowledged: ids by trace.
type Acknowledged = Mutex<BTreeMap<u64, Vec<u64>>>;

const SPANS_PER_REQUEST: u64 = 20;

/// Sends until told to stop or the bridge is gone; each request is a trace of its own.
struct Load {
    acknowledged: Acknowledged,
    next_trace: AtomicU64,
    is_over: AtomicBool,
}

impl Load {
    fn next(&self) -> (u64, Vec<u64>) {
        let trace = self.next_trace.fetch_add(1, Ordering::Relaxed);
        (trace, (1..=SPANS_PER_REQUEST).map(|index| trace * 1000 + index).collect())
    }

    fn encoded(
        trace: u64,
        spans: &[u64],
    ) -> opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest {
        request(spans.iter().map(|id| span(trace, *id)).collect())
    }

    fn send_http(&self, url: &str) {
        while !self.is_over.load(Ordering::Relaxed) {
            let (trace, spans) = self.next();
            let body = Self::encoded(trace, &spans).encode_to_vec();
            match post(url, "application/x-protobuf", None, &body) {
                Ok((200, _)) => {
                    self.acknowledged.lock().unwrap().insert(trace, spans);
                }
                Ok((status, _)) => assert_eq!(status, 503, "only retryable answers are expected"),
                Err(_) => return,
            }
        }
    }

    async fn send_grpc(&self, url: String) {
        let Ok(mut client) = TraceServiceClient::connect(url).await else { return };
        while !self.is_over.load(Ordering::Relaxed) {
            let (trace, spans) = self.next();
            if client.export(Self::encoded(trace, &spans)).await.is_err() {
                return;
            }
            self.acknowledged.lock().unwrap().insert(trace, spans);
        }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }
}

/// Ends the load also when an assertion fails.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn assert_all_there(bridge: &Bridge, acknowledged: &BTreeMap<u64, Vec<u64>>) {
    for (trace, spans) in acknowledged {
        let expected: Vec<String> = spans.iter().map(|span| hex(&span.to_be_bytes())).collect();
        assert_eq!(bridge.span_ids(*trace), expected, "trace {trace}");
    }
}

/// Small segments, so that kills fall into sealing as well.
fn small_segments(dir: &Path) -> String {
    let config = dir.join("bridge.toml");
    fs::write(&config, "[ingest]\nseal_size = '512KiB'\nseal_age = '1s'\n").unwrap();
    config.to_str().unwrap().to_owned()
}

#[test]
fn kill_under_load_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    fs::create_dir(&data_dir).unwrap();
    let config = small_segments(dir.path());
    let load = Arc::new(Load {
        acknowledged: Mutex::default(),
        next_trace: AtomicU64::new(1),
        is_over: AtomicBool::new(false),
    });
    for round in 1..=2 {
        let mut bridge = Bridge::start(&data_dir, &["--config", &config]);
        assert_all_there(&bridge, &load.acknowledged.lock().unwrap());
        let before = load.count();
        load.is_over.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            let _over = OnDrop(&load.is_over);
            for _ in 0..2 {
                let url = bridge.url("otlp_http", "/v1/traces");
                scope.spawn(|| {
                    let url = url;
                    load.send_http(&url);
                });
            }
            let grpc_url = bridge.url("otlp_grpc", "");
            let load = &load;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    tokio::join!(load.send_grpc(grpc_url.clone()), load.send_grpc(grpc_url))
                });
            });
            wait_for("requests in at least two segments and live", || {
                let is_enough = load.count() >= before + 150
                    && bridge.metric("remora_bridge_segments") >= 2.0 * f64::from(round);
                is_enough.then_some(())
            });
            bridge.kill();
        });
    }
    let mut bridge = Bridge::start(&data_dir, &["--config", &config]);
    let acknowledged = load.acknowledged.lock().unwrap();
    assert!(acknowledged.len() >= 300);
    assert_all_there(&bridge, &acknowledged);
    assert!(bridge.terminate(), "{}", bridge.log_text());
    assert_eq!(
        fs::read_dir(data_dir.join("wal")).unwrap().count(),
        0,
        "everything was sealed on the way out"
    );
    assert_all_there(&Bridge::start(&data_dir, &["--config", &config]), &acknowledged);
}

#[test]
fn torn_tail_of_the_log_is_cut_with_a_warning_that_names_file_and_offset() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    fs::create_dir(&data_dir).unwrap();
    let mut bridge = Bridge::start(&data_dir, &[]);
    assert_eq!(bridge.post(&request(vec![span(1, 1)]).encode_to_vec()), 200);
    bridge.kill();
    let log_file = fs::read_dir(data_dir.join("wal")).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&log_file).unwrap();
    // The first half of another frame: what a power cut leaves of a write.
    let torn = [whole.as_slice(), &whole[8..8 + (whole.len() - 8) / 2]].concat();
    fs::write(&log_file, torn).unwrap();
    let mut bridge = Bridge::start(&data_dir, &[]);
    assert_eq!(bridge.span_ids(1).len(), 1);
    assert_eq!(fs::read(&log_file).unwrap(), whole);
    let log = bridge.log_text();
    assert!(log.contains("torn tail of the log was cut off"), "{log}");
    assert!(log.contains(log_file.file_name().unwrap().to_str().unwrap()), "{log}");
    assert!(
        log.contains(&format!("offset={}", whole.len())) || log.contains(&whole.len().to_string()),
        "{log}"
    );
    assert_eq!(bridge.post(&request(vec![span(2, 2)]).encode_to_vec()), 200);
    bridge.kill();
    let bridge = Bridge::start(&data_dir, &[]);
    assert_eq!((bridge.span_ids(1).len(), bridge.span_ids(2).len()), (1, 1));
}

/// A file system of its own, so that it can be filled up.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(path: &'a Path, bytes: &str) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let options = std::ffi::CString::new(format!("size={bytes}")).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", path, "tmpfs", flags, options.as_c_str()).ok().map(|()| Self(path))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn full_disk_refuses_retryably_keeps_what_it_has_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    let Some(_mounted) = SmallDisk::mount(&disk, "8m") else {
        println!("skipped: mounting a tmpfs needs root");
        return;
    };
    let data_dir = disk.join("data");
    fs::create_dir(&data_dir).unwrap();
    let config = small_segments(dir.path());
    let mut bridge = Bridge::start(&data_dir, &["--config", &config]);
    let mut acknowledged = BTreeMap::new();
    let mut trace = 0;
    let mut send = |bridge: &Bridge| {
        trace += 1;
        let spans: Vec<u64> = (1..=SPANS_PER_REQUEST).map(|index| trace * 1000 + index).collect();
        let (status, _) =
            bridge.post_as("application/x-protobuf", None, &Load::encoded(trace, &spans).encode_to_vec());
        if status == 200 {
            acknowledged.insert(trace, spans);
        }
        status
    };
    assert_eq!(send(&bridge), 200);
    // A page that stays free would hide the first refusals.
    let filler = disk.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &[7; 4096]).is_ok() {}
    let refused = wait_for("a refusal", || Some(send(&bridge)).filter(|status| *status != 200));
    assert_eq!(refused, 503);
    for _ in 0..5 {
        assert_eq!(send(&bridge), 503);
    }
    assert!(bridge.metric("remora_bridge_requests_refused_total{reason=\"log_failed\"}") >= 6.0);
    drop(file);
    fs::remove_file(&filler).unwrap();
    wait_for("acceptance after space came back", || (send(&bridge) == 200).then_some(()));
    assert_all_there(&bridge, &acknowledged);
    bridge.kill();
    assert_all_there(&Bridge::start(&data_dir, &["--config", &config]), &acknowledged);
}

#[test]
fn retention_by_size_and_time_removes_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    fs::create_dir(&data_dir).unwrap();
    let config = small_segments(dir.path());
    let bridge = Bridge::start(&data_dir, &["--config", &config, "--retention-size", "1KiB"]);
    for trace in 1..=3 {
        assert_eq!(bridge.post(&request(vec![span(trace, trace)]).encode_to_vec()), 200);
        wait_for("the segment", || {
            (bridge.metric("remora_bridge_spans_sealed_total") >= trace as f64).then_some(())
        });
    }
    wait_for("retention by size", || {
        (bridge.metric("remora_bridge_retention_dropped_segments_total{limit=\"size\"}") >= 2.0).then_some(())
    });
    assert_eq!((bridge.span_ids(1).len(), bridge.span_ids(3).len()), (0, 1));
    drop(bridge);
    let bridge = Bridge::start(&data_dir, &["--config", &config, "--retention", "1s"]);
    wait_for("retention by time", || {
        (bridge.metric("remora_bridge_retention_dropped_segments_total{limit=\"age\"}") >= 1.0).then_some(())
    });
    wait_for("the files to go", || {
        (fs::read_dir(data_dir.join("segments")).unwrap().count() == 0).then_some(())
    });
    assert_eq!(bridge.span_ids(3).len(), 0);
}
