//! Long calls of which the middle is missing, through the whole engine.

#[path = "support/replay.rs"]
mod replay;

use std::net::SocketAddr;

use bytes::Bytes;
use remora_engine::event::{
    ConnectionId, Data, Direction, Endpoint, Event, EventKind, Executor, Opened, Role,
};
use remora_engine::{Engine, Settings};
use replay::attribute;

const CONNECTION: ConnectionId = ConnectionId { sock: 1, inode: 1 };
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A client's end of a connection; each event comes a millisecond after the last.
struct Client {
    engine: Engine,
    executor: Executor,
    positions: [u32; 2],
    now_ns: u64,
}

impl Client {
    fn new() -> Self {
        let executor = Executor { tgid: 1, tid: 1, ..Executor::default() };
        let mut client =
            Self { engine: Engine::new(Settings::default()), executor, positions: [1000, 5000], now_ns: 0 };
        let opened = Opened {
            executor,
            local: Endpoint::Ip(SocketAddr::from(([127, 0, 0, 1], 40_000))),
            peer: Endpoint::Ip(SocketAddr::from(([127, 0, 0, 1], 80))),
            role: Role::Connected,
            is_datagram: false,
            peer_sock: None,
            first: None,
        };
        client.send(EventKind::Opened(opened));
        client
    }

    fn send(&mut self, kind: EventKind) {
        self.now_ns += 1_000_000;
        self.engine.handle_event(Event { connection: CONNECTION, at_ns: self.now_ns, kind });
    }

    /// Moves the beginning of as many bytes.
    fn moved(&mut self, direction: Direction, bytes: &[u8], length: usize) {
        let (own, other) = if direction == Direction::Egress { (0, 1) } else { (1, 0) };
        let data = Data {
            direction,
            position: self.positions[own],
            reverse_position: self.positions[other],
            is_absolute: true,
            length: u32::try_from(length).expect("short"),
            bytes: Bytes::copy_from_slice(bytes),
            peer: None,
            inserted: None,
            executor: self.executor,
        };
        self.positions[own] = self.positions[own].wrapping_add(data.length);
        self.send(EventKind::Data(data));
    }

    fn ask(&mut self, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n");
        self.moved(Direction::Egress, request.as_bytes(), request.len());
    }

    /// Reads a response of several chunks of which the first `shown` bytes and the last are captured.
    fn answer(&mut self, shown: usize, end: &[u8]) {
        let whole = [HEAD, b"bb8\r\n", [b'x'; 3000].as_slice(), b"\r\n"].concat();
        self.moved(Direction::Ingress, &whole[..shown], 15_000);
        self.moved(Direction::Ingress, end, end.len());
    }

    /// Returns target, status and milliseconds of each span, and how many exchanges were lost.
    fn told(&mut self) -> (Vec<String>, u64) {
        self.now_ns += 10_000_000_000;
        self.engine.handle_timeout(self.now_ns);
        let spans = std::iter::from_fn(|| self.engine.poll_span());
        let told = spans.map(|span| {
            let text = |key| attribute(&span.attributes, key).unwrap_or_default();
            let duration = (span.ended_at_ns - span.started_at_ns) / 1_000_000;
            format!(
                "{} {} {duration}",
                text("url.full").replace("http://shop", ""),
                text("http.response.status_code")
            )
        });
        let told = told.collect();
        let counters = self.engine.counters();
        let lost = counters.iter().filter(|counter| counter.label == "exchange_cut_by_gap");
        (told, lost.map(|counter| counter.value).sum())
    }
}

#[test]
fn chunked_responses_of_one_call_are_whole() {
    // In the head's line end, in a chunk, at a chunk's end, and behind it.
    for shown in [HEAD.len(), HEAD.len() + 3, HEAD.len() + 100, HEAD.len() + 3005, HEAD.len() + 3007] {
        let mut client = Client::new();
        for path in ["/a", "/b", "/c"] {
            client.ask(path);
            client.answer(shown, b"xxx\r\n0\r\n\r\n");
        }
        let (spans, lost) = client.told();
        assert_eq!(spans, ["/a 200 2", "/b 200 2", "/c 200 2"], "{shown} bytes shown");
        assert_eq!(lost, 0, "{shown} bytes shown");
    }
}

#[test]
fn a_response_without_a_visible_end_loses_no_other() {
    let mut client = Client::new();
    client.ask("/a");
    client.answer(1000, b"xxx\r\n0\r\nTrailer: x\r\n\r\n");
    for path in ["/b", "/c"] {
        client.ask(path);
        client.answer(1000, b"xxx\r\n0\r\n\r\n");
    }
    let (spans, lost) = client.told();
    assert_eq!(spans, ["/b 200 2", "/c 200 2"]);
    assert_eq!(lost, 1);
}
