//! Hosts that see one side of each request, and what the bridge makes of it.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde_json::{Value, json};

use crate::bridge::{Bridge, get, hex, number, span, text, trace_id, wait_for};

pub(crate) const INTERNAL: i32 = 1;
pub(crate) const SERVER: i32 = 2;
pub(crate) const CLIENT: i32 = 3;
pub(crate) const CONSUMER: i32 = 5;

pub(crate) const HTTP: (&str, &str) = ("http.request.method", "GET");
pub(crate) const POSTGRESQL: (&str, &str) = ("db.system.name", "postgresql");

/// Ten seconds before the tests, so that all spans are over.
static BEGAN_NS: LazyLock<u64> = LazyLock::new(|| {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    (now - Duration::from_secs(10)).as_nanos() as u64
});

/// A span and what made it.
#[derive(Clone)]
pub(crate) struct Sent {
    scope: &'static str,
    service: &'static str,
    pub(crate) span: Span,
}

/// Returns a span of the agent; parent 0 is none.
pub(crate) fn agent(service: &'static str, trace: u64, id: u64, parent: u64, kind: i32) -> Sent {
    let mut made = span(trace, id);
    made.kind = kind;
    made.name = format!("{service} {id}");
    made.attributes.clear();
    (made.start_time_unix_nano, made.end_time_unix_nano) = (*BEGAN_NS, *BEGAN_NS + 1_000_000);
    if parent > 0 {
        made.parent_span_id = parent.to_be_bytes().to_vec();
    }
    Sent { scope: "remora/http1", service, span: made }
}

/// Returns a span of an SDK.
pub(crate) fn sdk(service: &'static str, trace: u64, id: u64, parent: u64, kind: i32) -> Sent {
    Sent { scope: "io.opentelemetry.express-4", ..agent(service, trace, id, parent, kind) }
}

impl Sent {
    pub(crate) fn with(mut self, (key, value): (&str, &str)) -> Self {
        self.span.attributes.push(text(key, value));
        self
    }

    pub(crate) fn expecting(self, client: u64) -> Self {
        self.with(("remora.parent.expected", &format!("{client:016x}")))
    }

    pub(crate) fn by_wire(self) -> Self {
        self.with(("remora.parent.evidence", "wire"))
    }

    /// Says from where the request came, over a connection of HTTP/1.1.
    pub(crate) fn asked_by(mut self, port: i64) -> Self {
        self.span.attributes.push(number("network.peer.port", port));
        self.with(("network.peer.address", "127.0.0.1")).with(("network.protocol.version", "1.1"))
    }

    /// Moves the span, and gives it a length.
    pub(crate) fn at(mut self, start_ms: i64, took_ms: u64) -> Self {
        let start = self.span.start_time_unix_nano.saturating_add_signed(start_ms * 1_000_000);
        self.span.start_time_unix_nano = start;
        self.span.end_time_unix_nano = start + took_ms * 1_000_000;
        self
    }
}

pub(crate) fn request(spans: &[Sent]) -> Vec<u8> {
    let resource_spans = spans.iter().map(|sent| {
        let scope = InstrumentationScope { name: sent.scope.to_owned(), ..Default::default() };
        let host = format!("host of {}", sent.service);
        let attributes = vec![text("service.name", sent.service), text("host.name", &host)];
        let resource = Resource { attributes, ..Resource::default() };
        ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope),
                spans: vec![sent.span.clone()],
                ..ScopeSpans::default()
            }],
            schema_url: String::new(),
        }
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }.encode_to_vec()
}

/// A bridge and its directory.
pub(crate) struct World {
    pub(crate) bridge: Bridge,
    data_dir: PathBuf,
    config: String,
    _dir: tempfile::TempDir,
}

impl World {
    /// Starts a bridge with these lines in its configuration.
    pub(crate) fn start(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        std::fs::create_dir(&data_dir).unwrap();
        let path = dir.path().join("bridge.toml");
        std::fs::write(&path, config).unwrap();
        let config = path.to_str().unwrap().to_owned();
        let bridge = run(&data_dir, &config);
        Self { bridge, data_dir, config, _dir: dir }
    }

    pub(crate) fn kill_and_start(&mut self) {
        self.bridge.kill();
        self.bridge = run(&self.data_dir, &self.config);
    }

    pub(crate) fn send(&self, spans: &[Sent]) {
        assert_eq!(self.bridge.post(&request(spans)), 200);
    }

    /// Waits until nothing is live.
    pub(crate) fn wait_until_sealed(&self) {
        wait_for("segments", || (self.bridge.metric("remora_bridge_live_spans") == 0.0).then_some(()));
    }

    pub(crate) fn trace(&self, trace: u64) -> Value {
        let (status, body) =
            get(&self.bridge.url("listen", &format!("/api/v1/traces/{}", hex(&trace_id(trace)))));
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Writes the trace with that id as its canonical id and `span<parent` in reading order.
    pub(crate) fn drawn(&self, trace: u64) -> String {
        let answer = self.trace(trace);
        let number = |value: &Value| value.as_str().map_or(0, |hex| u64::from_str_radix(hex, 16).unwrap());
        let spans = answer["spans"].as_array().unwrap().iter();
        let spans =
            spans.map(|span| format!(" {}<{}", number(&span["span_id"]), number(&span["parent_span_id"])));
        format!("{}:{}", number(&answer["trace_id"]), spans.collect::<String>())
    }

    /// Returns the traces of a search as `id root count`, sorted.
    pub(crate) fn search(&self, body: &Value) -> Vec<String> {
        let url = self.bridge.url("listen", "/api/v1/traces/search");
        let (status, answer) =
            crate::bridge::post(&url, "application/json", None, body.to_string().as_bytes()).unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(status, 200, "{answer}");
        let traces = answer["traces"].as_array().unwrap().iter().map(|trace| {
            let id = u128::from_str_radix(trace["trace_id"].as_str().unwrap(), 16).unwrap();
            format!("{id} {} {}", trace["root_operation"].as_str().unwrap(), trace["span_count"])
        });
        let mut traces: Vec<String> = traces.collect();
        traces.sort();
        traces
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.search(&json!({}))
    }

    /// Returns the edges of the service map as `caller->callee calls`.
    pub(crate) fn edges(&self) -> Vec<String> {
        let (status, body) = get(&self.bridge.url("listen", "/api/v1/traces/dependencies?since=2h"));
        assert_eq!(status, 200, "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        let edge = |edge: &Value| {
            let name = |key: &str| edge[key].as_str().unwrap().to_owned();
            format!("{}->{} {}", name("caller"), name("callee"), edge["calls"])
        };
        answer["edges"].as_array().unwrap().iter().map(edge).collect()
    }
}

fn run(data_dir: &Path, config: &str) -> Bridge {
    Bridge::start(data_dir, &["--config", config])
}
