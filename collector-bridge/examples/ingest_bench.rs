//! Measures the real binary, in release: spans per second with fsync before each answer, bytes per span on disk,
//! latency of trace by id and of searches. Prints one JSON object for each figure; `cargo xtask bench bridge` makes a table of
//! them.
//!
//! `cargo run --release --example ingest_bench -- [SPANS [BINARY]]` after `cargo build --release`; the sender runs on the same
//! machine and takes its share of the processors, which `sender_cpu_s` shows.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde_json::json;

const SPANS_PER_REQUEST: usize = 1000;
const SPANS_PER_TRACE: usize = 8;
const SENDERS: usize = 4;
const LOOKUPS: usize = 400;
const SEARCHES: usize = 30;
const DEADLINE: Duration = Duration::from_secs(300);

fn main() -> anyhow::Result<()> {
    let spans =
        std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse()).context("SPANS is a number")?;
    let mut random = Random(0x5eed);
    let requests: Vec<Vec<u8>> = (0..spans / SPANS_PER_REQUEST).map(|_| request(&mut random)).collect();
    let spans = requests.len() * SPANS_PER_REQUEST;
    let otlp_bytes: usize = requests.iter().map(Vec::len).sum();
    let dir = tempdir()?;
    let bridge = Bridge::start(&dir)?;

    let cpu_before = (bridge.cpu_s()?, own_cpu_s()?);
    let began = Instant::now();
    let (refused, mut latencies) = send(&bridge, &requests)?;
    let took = began.elapsed();
    let cpu = (bridge.cpu_s()? - cpu_before.0, own_cpu_s()? - cpu_before.1);

    bridge.wait_until_sealed(spans)?;
    let total_cpu = bridge.cpu_s()? - cpu_before.0;
    let disk_bytes = bridge.metric("remora_bridge_segment_bytes")?;
    let stored = bridge.metric("remora_bridge_segment_spans")?;
    let mut lookups = bridge.time_lookups(&requests, &mut random)?;
    latencies.sort_unstable();
    lookups.sort_unstable();
    let searches = bridge.time_searches()?;
    print("spans/s with fsync before the answer", "1/s", spans as f64 / took.as_secs_f64());
    print("requests refused and sent again", "", refused as f64);
    print("request answered p50", "ms", quantile(&latencies, 0.5));
    print("request answered p95", "ms", quantile(&latencies, 0.95));
    print("CPU of the bridge for each span, sealing included", "µs", total_cpu * 1e6 / spans as f64);
    print("CPU of the bridge while spans came", "s", cpu.0);
    print("CPU of the sender", "s", cpu.1);
    print("bytes per span as OTLP", "B", otlp_bytes as f64 / spans as f64);
    print("bytes per span on disk", "B", disk_bytes / stored);
    print("memory of the bridge at most (RSS)", "MiB", bridge.rss_peak_mib()?);
    print("trace by id p50", "ms", quantile(&lookups, 0.5));
    print("trace by id p95", "ms", quantile(&lookups, 0.95));
    for (name, latencies) in &searches {
        print(&format!("{name} p95"), "ms", quantile(latencies, 0.95));
    }
    drop(bridge);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// Returns a directory on the disk of the build, since a temporary directory may be memory.
fn tempdir() -> anyhow::Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let dir = exe.parent().context("no directory")?.join(format!("ingest_bench-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("data"))?;
    Ok(dir)
}

/// Sends all requests over several connections; repeats what is refused. Returns refusals and latencies.
fn send(bridge: &Bridge, requests: &[Vec<u8>]) -> anyhow::Result<(usize, Vec<Duration>)> {
    let url = bridge.url("otlp_http", "/v1/traces");
    let (next, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let latencies = Mutex::new(Vec::new());
    let sender = || -> anyhow::Result<()> {
        let agent = agent();
        while let Some(body) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
            loop {
                let began = Instant::now();
                let mut response =
                    agent.post(&url).header("content-type", "application/x-protobuf").send(body)?;
                let status = response.status().as_u16();
                response.body_mut().as_reader().read_to_end(&mut Vec::new())?;
                match status {
                    200 => {
                        latencies.lock().unwrap_or_else(|error| error.into_inner()).push(began.elapsed());
                        break;
                    }
                    503 => refused.fetch_add(1, Ordering::Relaxed),
                    other => bail!("the bridge answered {other}"),
                };
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..SENDERS).map(|_| scope.spawn(sender)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a sender panicked"))?)
    })?;
    Ok((refused.into_inner(), latencies.into_inner().unwrap_or_else(|error| error.into_inner())))
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

struct Bridge {
    child: Child,
    addresses: serde_json::Value,
}

impl Bridge {
    fn start(dir: &Path) -> anyhow::Result<Self> {
        let exe = std::env::current_exe()?;
        let beside =
            exe.parent().and_then(Path::parent).context("no target directory")?.join("remora-bridge");
        let binary = std::env::args().nth(2).map_or(beside, PathBuf::from);
        let config = dir.join("bridge.toml");
        std::fs::write(&config, "[ingest]\nseal_age = '2s'\n")?;
        let child = Command::new(&binary)
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--otlp-grpc",
                "127.0.0.1:0",
                "--otlp-http",
                "127.0.0.1:0",
            ])
            .arg("--data")
            .arg(dir.join("data"))
            .arg("--config")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("log"))?)
            .spawn()
            .with_context(|| format!("start {}: build it with cargo build --release", binary.display()))?;
        let mut bridge = Self { child, addresses: serde_json::Value::Null };
        let file = dir.join("data/addresses.json");
        bridge.addresses = wait_for("the bridge", || {
            Ok(std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()))
        })?;
        Ok(bridge)
    }

    fn url(&self, listener: &str, path: &str) -> String {
        format!("http://{}{path}", self.addresses[listener].as_str().unwrap_or_default())
    }

    fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = agent().get(self.url("listen", "/metrics")).call()?.body_mut().read_to_string()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.context("metric is missing")?.parse()?)
    }

    fn wait_until_sealed(&self, spans: usize) -> anyhow::Result<()> {
        wait_for("segments", || {
            let is_sealed = self.metric("remora_bridge_segment_spans")? >= spans as f64;
            Ok(is_sealed.then_some(()))
        })
    }

    fn time_lookups(&self, requests: &[Vec<u8>], random: &mut Random) -> anyhow::Result<Vec<Duration>> {
        let agent = agent();
        let mut latencies = Vec::new();
        // The first half warms caches up and does not count.
        for round in 0..LOOKUPS * 2 {
            let request = &requests[random.below(requests.len())];
            let request = ExportTraceServiceRequest::decode(request.as_slice())?;
            let spans = &request.resource_spans[0].scope_spans[0].spans;
            let id: String =
                spans[random.below(spans.len())].trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
            let url = self.url("listen", &format!("/api/v1/traces/{id}"));
            let began = Instant::now();
            let body = agent.get(&url).call()?.body_mut().read_to_string()?;
            let took = began.elapsed();
            if !body.contains(&id) {
                bail!("trace {id} was not found: {body}");
            }
            if round >= LOOKUPS {
                latencies.push(took);
            }
        }
        Ok(latencies)
    }

    /// Returns the sorted latencies of each kind of search.
    fn time_searches(&self) -> anyhow::Result<Vec<(&'static str, Vec<Duration>)>> {
        let status = json!({"key": "http.response.status_code", "op": "=", "value": 500});
        let nowhere = json!({"key": "url.path", "value": "/nowhere"});
        let bodies = [
            ("root search", json!({"limit": 20})),
            ("service search", json!({"service": "orders", "limit": 20})),
            ("duration search", json!({"min_span_duration": "900ms", "limit": 20})),
            ("attribute search (common)", json!({"attributes": [status], "limit": 20})),
            ("attribute search (absent)", json!({"attributes": [nowhere], "limit": 20})),
        ];
        let url = self.url("listen", "/api/v1/traces/search");
        let agent = agent();
        let mut searches = Vec::new();
        for (name, body) in bodies {
            let mut latencies = Vec::new();
            for _ in 0..SEARCHES {
                let began = Instant::now();
                let mut response =
                    agent.post(&url).header("content-type", "application/json").send(body.to_string())?;
                let status = response.status();
                response.body_mut().as_reader().read_to_end(&mut Vec::new())?;
                anyhow::ensure!(status == 200, "{name}: the bridge answered {status}");
                latencies.push(began.elapsed());
            }
            latencies.sort_unstable();
            searches.push((name, latencies));
        }
        Ok(searches)
    }

    fn cpu_s(&self) -> anyhow::Result<f64> {
        cpu_s(&format!("/proc/{}/stat", self.child.id()))
    }

    fn rss_peak_mib(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn own_cpu_s() -> anyhow::Result<f64> {
    cpu_s("/proc/self/stat")
}

/// Returns user and system time of a process (proc_pid_stat(5), fields 14 and 15, in ticks of 10 ms).
fn cpu_s(path: &str) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(path)?;
    let fields: Vec<&str> = stat.rsplit(')').next().context("no fields")?.split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}

fn wait_for<T>(what: &str, mut condition: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("waited too long for {what}")
}

/// Prints one figure, as `cargo xtask bench` reads it.
fn print(name: &str, unit: &str, value: f64) {
    println!("{}", json!({"name": name, "unit": unit, "value": value}));
}

/// Returns a quantile of sorted latencies, in ms.
fn quantile(sorted: &[Duration], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).map_or(f64::NAN, |took| took.as_secs_f64() * 1e3)
}

/// SplitMix64: the same spans in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// Returns a request of one service whose traces are complete, as an agent on its host would see them.
fn request(random: &mut Random) -> Vec<u8> {
    let service = ["shop", "orders", "stock", "payment"][random.below(4)];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    let mut spans = Vec::with_capacity(SPANS_PER_REQUEST);
    while spans.len() < SPANS_PER_REQUEST {
        let trace_id = [random.next().to_be_bytes(), random.next().to_be_bytes()].concat();
        let start = now - random.next() % 60_000_000_000;
        let mut parent = Vec::new();
        for index in 0..SPANS_PER_TRACE {
            let started = start + index as u64 * 150_000 + random.next() % 90_000;
            let span = lean_span(random, &trace_id, &parent, started, index);
            if index % 3 == 0 {
                parent = span.span_id.clone();
            }
            spans.push(span);
        }
    }
    let resource = Resource {
        attributes: vec![
            text("service.name", service),
            text("host.name", "node-1"),
            int("process.pid", 4711),
        ],
        ..Resource::default()
    };
    let scope =
        InstrumentationScope { name: "remora".to_owned(), version: "0.1.0".to_owned(), ..Default::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }];
    let resource_spans =
        vec![ResourceSpans { resource: Some(resource), scope_spans, schema_url: String::new() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// Returns a span with eight attributes, in the words of the agent's `semconv`.
fn lean_span(random: &mut Random, trace_id: &[u8], parent: &[u8], start: u64, index: usize) -> Span {
    let took = 80_000 + random.next() % 4_000_000 * (1 + random.next() % 250 / 249 * 300);
    let peer_port = int("network.peer.port", 32_768 + random.below(28_000) as i64);
    let is_http = index.is_multiple_of(2);
    let (name, kind, attributes) = if is_http {
        let route = ["/items/{id}", "/cart", "/orders/{id}", "/checkout"][random.below(4)];
        let path = route.replace("{id}", &random.below(100_000).to_string());
        let status = if random.below(100) == 0 { 500 } else { 200 };
        let attributes = vec![
            text("http.request.method", ["GET", "POST"][random.below(2)]),
            text("url.path", &path),
            text("url.scheme", "http"),
            int("http.response.status_code", status),
            text("server.address", "10.0.0.7"),
            int("server.port", 8080),
            text("network.peer.address", ["10.0.0.3", "10.0.0.4", "10.0.0.5"][random.below(3)]),
            peer_port,
        ];
        (format!("GET {route}"), 2, attributes)
    } else {
        let (summary, query) = [
            ("SELECT items", "SELECT id, name, price FROM items WHERE id = $1"),
            ("UPDATE stock", "UPDATE stock SET count = count - $1 WHERE item = $2"),
            ("INSERT orders", "INSERT INTO orders (customer, total) VALUES ($1, $2) RETURNING id"),
        ][random.below(3)];
        let attributes = vec![
            text("db.system.name", "postgresql"),
            text("db.namespace", "shop"),
            text("db.query.text", query),
            text("db.query.summary", summary),
            text("server.address", "10.0.0.9"),
            int("server.port", 5432),
            text("network.peer.address", "10.0.0.9"),
            peer_port,
        ];
        (summary.to_owned(), 3, attributes)
    };
    Span {
        trace_id: trace_id.to_vec(),
        span_id: random.next().to_be_bytes().to_vec(),
        parent_span_id: parent.to_vec(),
        name,
        kind,
        start_time_unix_nano: start,
        end_time_unix_nano: start + took,
        attributes,
        flags: 1,
        ..Span::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
