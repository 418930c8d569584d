//! Connections that are met while an answer is read in pieces, through the whole engine: the last bytes of that answer
//! must not stand before what is said next.

#[path = "support/session.rs"]
mod session;

use std::collections::BTreeSet;

use bytes::Bytes;
use remora_engine::event::{
    ConnectionId, Data, Direction, Endpoint, Event, EventKind, Executor, FirstPositions, Opened, Role,
    Scheduling,
};
use remora_engine::protocol::Side;
use remora_engine::span::Span;
use remora_engine::{Counter, Engine, Settings};

/// Lengths of what is left of the answer: less than most headers.
const LEFT: [usize; 4] = [1, 3, 7, 11];
/// Most places of a session at which it is met.
const PLACES: usize = 24;
const SERVER: Executor = Executor { tgid: 10, tid: 10, task: None, token: None, turn: 0 };

type Pieces<'a> = Vec<(Side, &'a [u8])>;

/// What a server's engine makes of a connection.
struct Told {
    spans: Vec<Span>,
    /// It was met midway, and is not believed.
    is_unproven: bool,
}

/// Returns what is told of a connection that was met before these pieces.
fn told(pieces: &Pieces<'_>, is_from_start: bool) -> Told {
    let mut engine = Engine::new(Settings::default());
    engine.handle_process(SERVER.tgid, Scheduling::Threads);
    let address = |port: u16| Endpoint::Ip(([127, 0, 0, 1], port).into());
    let connection = ConnectionId { sock: 1, inode: 1 };
    let opened = Opened {
        executor: SERVER,
        local: address(80),
        peer: address(40_000),
        role: if is_from_start { Role::Accepted } else { Role::Unknown },
        is_datagram: false,
        peer_sock: None,
        first: is_from_start.then_some(FirstPositions { egress: 500_000, ingress: 1 }),
    };
    let mut now_ns = 1_000_000;
    engine.handle_event(Event { connection, at_ns: now_ns, kind: EventKind::Opened(opened) });
    // Where each side's next byte stands.
    let mut positions = [1_u32, 500_000];
    for (side, bytes) in pieces {
        now_ns += 1_000_000;
        let length = u32::try_from(bytes.len()).expect("a piece is short");
        let data = Data {
            direction: if *side == Side::Client { Direction::Ingress } else { Direction::Egress },
            position: positions[*side as usize],
            reverse_position: positions[side.reverse() as usize],
            is_absolute: true,
            length,
            bytes: Bytes::copy_from_slice(bytes),
            peer: None,
            inserted: None,
            executor: SERVER,
        };
        positions[*side as usize] += length;
        engine.handle_event(Event { connection, at_ns: now_ns, kind: EventKind::Data(data) });
    }
    engine.finish(now_ns);
    let unproven = |counter: &Counter| counter.label == "connection_met_midway_unproven" && counter.value > 0;
    let is_unproven = engine.counters().iter().any(unproven);
    Told { spans: std::iter::from_fn(|| engine.poll_span()).collect(), is_unproven }
}

/// What a span says of its exchange.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    kind: u8,
    status: String,
    attributes: BTreeSet<String>,
}

impl Said {
    fn of(span: &Span) -> Self {
        let is_said = |key: &str| {
            *key != *"db.system.name" && !key.starts_with("remora.") && !key.starts_with("network.peer")
        };
        let attributes = span.attributes.iter().filter(|(key, _)| is_said(key));
        Self {
            kind: span.kind as u8,
            status: format!("{:?}", span.status),
            attributes: attributes.map(|(key, value)| format!("{key}={value:?}")).collect(),
        }
    }

    /// Returns whether this says the same of the exchange as what says more: a failure may be unknown, but not invented.
    fn is_part_of(&self, other: &Self) -> bool {
        let is_same_status = self.status == other.status || self.status == "Unset";
        self.kind == other.kind && is_same_status && self.attributes.is_subset(&other.attributes)
    }
}

fn is_incomplete(span: &Span) -> bool {
    span.attributes.iter().any(|(key, _)| *key == "remora.incomplete")
}

#[test]
fn what_is_left_of_an_answer_hides_nothing() {
    let mut met = 0;
    for session in session::all() {
        let whole = session.pieces.iter().filter(|(_, bytes)| !bytes.is_empty());
        let pieces: Pieces<'_> = whole.map(|(side, bytes)| (*side, &bytes[..])).collect();
        let truth: BTreeSet<_> = told(&pieces, true).spans.iter().map(Said::of).collect();
        let is_turn = |pair: &[(Side, &[u8])]| (pair[0].0, pair[1].0) == (Side::Server, Side::Client);
        let turns: Vec<usize> =
            pieces.windows(2).enumerate().filter(|(_, pair)| is_turn(pair)).map(|(at, _)| at).collect();
        for at in turns.iter().step_by(turns.len().div_ceil(PLACES).max(1)) {
            let (answer, rest) = (pieces[*at].1, &pieces[at + 1..]);
            let expected = told(&rest.to_vec(), false);
            for left in LEFT {
                met += 1;
                let name = format!("{} at {at}, {left} left", session.name);
                let tail = &answer[answer.len().saturating_sub(left)..];
                let halves = tail.split_at(tail.len() / 2);
                for before in [vec![tail], vec![halves.0, halves.1]] {
                    let before = before.into_iter().filter(|part| !part.is_empty());
                    let all = before.map(|part| (Side::Server, part)).chain(rest.iter().copied()).collect();
                    let found = told(&all, false);
                    for span in found.spans.iter().filter(|span| !is_incomplete(span)) {
                        let said = Said::of(span);
                        let is_true = truth.iter().any(|other| said.is_part_of(other));
                        assert!(is_true, "{name}: {} {:?}", span.name, said.attributes);
                    }
                    // In the middle of a sign-in, or of what proves the protocol, it may take some exchanges longer.
                    let (most, told) = (expected.spans.len(), found.spans.len());
                    let is_believed_late = found.is_unproven || session.protocol == "redis";
                    assert!(is_believed_late || told + 3 >= most, "{name}: {told} of {most}");
                }
            }
        }
    }
    assert!(met > 5_000, "{met}");
}
