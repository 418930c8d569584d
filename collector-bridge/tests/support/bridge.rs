//! Starts the real binary on ports that the kernel chooses, and talks to it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

/// How long anything may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Bridge {
    child: Child,
    log: PathBuf,
    addresses: serde_json::Value,
}

impl Bridge {
    /// Starts on a data directory and waits until it is ready.
    pub(crate) fn start(data_dir: &Path, arguments: &[&str]) -> Self {
        let addresses_file = data_dir.join("addresses.json");
        let _ = std::fs::remove_file(&addresses_file);
        let log = data_dir.with_extension("log");
        let child = Self::command(data_dir, arguments)
            .stderr(std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap())
            .spawn()
            .unwrap();
        let mut bridge = Self { child, log, addresses: serde_json::Value::Null };
        wait_for("the bridge to be ready", || {
            let text = std::fs::read_to_string(&addresses_file).ok()?;
            bridge.addresses = serde_json::from_str(&text).ok()?;
            Some(())
        });
        bridge
    }

    pub(crate) fn command(data_dir: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_remora-bridge"));
        command.args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--otlp-grpc",
            "127.0.0.1:0",
            "--otlp-http",
            "127.0.0.1:0",
        ]);
        command.arg("--data").arg(data_dir).args(arguments).stdout(Stdio::null());
        command
    }

    pub(crate) fn url(&self, listener: &str, path: &str) -> String {
        format!("http://{}{path}", self.addresses[listener].as_str().unwrap())
    }

    /// Ends the process as a crash of it would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends the process as an operator would; returns whether it said success.
    pub(crate) fn terminate(&mut self) -> bool {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().success()
    }

    pub(crate) fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Returns the value of a metric's line.
    pub(crate) fn metric(&self, line: &str) -> f64 {
        let text = get(&self.url("listen", "/metrics")).1;
        let found = text.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(' ')?.parse().ok());
        found.unwrap_or(0.0)
    }

    /// Returns the ids of a trace's spans, sorted; empty if it is unknown.
    pub(crate) fn span_ids(&self, trace: u64) -> Vec<String> {
        let (status, body) = get(&self.url("listen", &format!("/api/v1/traces/{}", hex(&trace_id(trace)))));
        if status == 404 {
            return Vec::new();
        }
        assert_eq!(status, 200, "{body}");
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
        let spans = answer["spans"].as_array().unwrap();
        let mut ids: Vec<String> =
            spans.iter().map(|span| span["span_id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    }

    /// Sends a protobuf request over HTTP; returns the status.
    pub(crate) fn post(&self, body: &[u8]) -> u16 {
        self.post_as("application/x-protobuf", None, body).0
    }

    pub(crate) fn post_as(&self, content_type: &str, encoding: Option<&str>, body: &[u8]) -> (u16, Vec<u8>) {
        post(&self.url("otlp_http", "/v1/traces"), content_type, encoding, body).unwrap()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn post(
    url: &str,
    content_type: &str,
    encoding: Option<&str>,
    body: &[u8],
) -> Result<(u16, Vec<u8>), ureq::Error> {
    let agent = agent();
    let mut request = agent.post(url).header("content-type", content_type);
    if let Some(encoding) = encoding {
        request = request.header("content-encoding", encoding);
    }
    let mut response = request.send(body)?;
    let mut bytes = Vec::new();
    response.body_mut().as_reader().read_to_end(&mut bytes).map_err(ureq::Error::Io)?;
    Ok((response.status().as_u16(), bytes))
}

pub(crate) fn get(url: &str) -> (u16, String) {
    let mut response = agent().get(url).call().unwrap();
    (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(DEADLINE)).build().into()
}

/// Waits until `condition` gives something.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn trace_id(trace: u64) -> Vec<u8> {
    [[0; 8], trace.to_be_bytes()].concat()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// Returns an attribute.
pub(crate) fn number(key: &str, value: i64) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::IntValue(value)) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// Returns a span of that trace that started now.
pub(crate) fn span(trace: u64, span: u64) -> Span {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    Span {
        trace_id: trace_id(trace),
        span_id: span.to_be_bytes().to_vec(),
        name: "GET /".to_owned(),
        kind: 2,
        start_time_unix_nano: now,
        end_time_unix_nano: now + 1_000_000,
        attributes: vec![text("http.request.method", "GET"), text("url.path", &format!("/{trace}/{span}"))],
        ..Span::default()
    }
}

pub(crate) fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = Resource { attributes: vec![text("service.name", "shop")], ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans,
            schema_url: String::new(),
        }],
    }
}
