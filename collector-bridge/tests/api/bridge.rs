//! A bridge on a socket of its own, and a client that shows every byte of an answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use remora_bridge::api::{AppState, router};
use remora_bridge::infer::InferSettings;
use remora_bridge::query::Inferrer;
use remora_bridge::receive;
use remora_bridge::store::{Batch, Store, StoreSettings};
use serde_json::Value;
use tempfile::TempDir;

use crate::otlp::{TestSpan, request};

/// Stops with its last handle.
pub(crate) struct Bridge {
    pub(crate) store: Store,
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
    _dir: TempDir,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Bridge {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let decode =
            |raw: &[u8]| receive::decode(raw).map(|decoded| decoded.spans).map_err(|error| error.to_string());
        let store = Store::open(StoreSettings::at(dir.path()), decode).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let inferrer = Inferrer::new(InferSettings::default(), Arc::default());
        let routes = router(AppState { store: store.clone(), inferrer: Arc::new(inferrer) });
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { store, address, _runtime: runtime, _dir: dir }
    }

    pub(crate) fn with(spans: &[TestSpan]) -> Self {
        let bridge = Self::start();
        bridge.ingest(spans);
        bridge
    }

    /// Keeps spans as a sender's request would; they can be asked for when it returns.
    pub(crate) fn ingest(&self, spans: &[TestSpan]) {
        let raw = request(spans);
        let spans = receive::decode(&raw).unwrap().spans;
        self.store.append_blocking(Batch { raw: raw.into(), spans }).unwrap();
    }

    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: bridge\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        stream.write_all(head.as_bytes()).unwrap();
        // The bridge may answer before it has read all of a body that is too large.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// Asks and expects an answer.
    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = self.send("GET", path, &[], b"");
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    /// Searches and expects an answer.
    pub(crate) fn search(&self, body: &Value) -> Value {
        let answer = self.post_search(body);
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
        answer.json()
    }

    pub(crate) fn post_search(&self, body: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.send("POST", "/api/v1/traces/search", &headers, body.to_string().as_bytes())
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        assert!(self.head.contains("content-type: application/json"), "{}", self.head);
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}
