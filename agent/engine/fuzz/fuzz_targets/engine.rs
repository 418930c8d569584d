//! Any sequence of events, right and wrong ones, to the whole engine; some of the bytes are those of recorded sessions.
#![no_main]

#[path = "../../tests/support/session.rs"]
mod session;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use remora_engine::event::{
    Ciphertext, Closed, ConnectionId, Data, Direction, Endpoint, Event, EventKind, Executor, FirstPositions,
    Insertion, Opened, Plaintext, Role, TlsId,
};
use remora_engine::protocol::Side;
use remora_engine::{Engine, Settings};

static SESSIONS: LazyLock<Vec<session::Session>> = LazyLock::new(session::all);

/// Takes numbers and bytes from the input; zeros when it has ended.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn word(&mut self) -> u32 {
        u32::from(self.byte()) << 8 | u32::from(self.byte())
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes.to_vec()
    }
}

/// One of a few connections.
fn connection(number: u8) -> ConnectionId {
    ConnectionId { sock: u64::from(number & 3), inode: u32::from(number >> 2 & 1) }
}

fn endpoint(number: u8) -> Endpoint {
    match number {
        0..128 => Endpoint::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 1 + u16::from(number)))),
        _ => Endpoint::Unix(format!("/{number}")),
    }
}

fn opened(input: &mut Input<'_>) -> EventKind {
    EventKind::Opened(Opened {
        executor: Executor {
            tgid: 1 + u32::from(input.byte() & 3),
            tid: input.word(),
            task: None,
            token: None,
            turn: 0,
        },
        local: endpoint(input.byte()),
        peer: endpoint(input.byte()),
        role: [Role::Connected, Role::Accepted, Role::Unknown][usize::from(input.byte() % 3)],
        is_datagram: input.byte() & 15 == 0,
        peer_sock: None,
        first: None,
    })
}

fn data(input: &mut Input<'_>, positions: &mut [u32; 2]) -> EventKind {
    let control = input.byte();
    let direction = if control & 1 == 0 { Direction::Egress } else { Direction::Ingress };
    let side = if control & 1 == 0 { Side::Client } else { Side::Server };
    let bytes = if control & 2 == 0 {
        input.bytes()
    } else {
        let session = &SESSIONS[usize::from(input.byte()) % SESSIONS.len()];
        let pieces: Vec<_> = session.pieces.iter().filter(|(from, _)| *from == side).collect();
        pieces
            .get(usize::from(input.byte()) % pieces.len().max(1))
            .map_or(Vec::new(), |(_, bytes)| bytes.clone())
    };
    let missing = if control & 4 == 0 { 0 } else { input.word() };
    let jump = if control & 8 == 0 { 0 } else { input.word().wrapping_sub(1 << 12) };
    let at = usize::from(control & 1);
    let position = positions[at].wrapping_add(jump);
    let length = (bytes.len() as u32).saturating_add(missing);
    positions[at] = position.wrapping_add(length);
    EventKind::Data(Data {
        direction,
        position,
        reverse_position: positions[1 - at],
        is_absolute: control & 16 != 0,
        length,
        bytes: Bytes::from(bytes),
        peer: None,
        inserted: (control & 2 != 0).then_some(Insertion { at: u32::from(control), length: 70 }),
        executor: Executor {
            tgid: 1 + u32::from(control >> 6),
            tid: u32::from(control >> 5),
            task: None,
            token: None,
            turn: 0,
        },
    })
}

/// A call of a TLS library, or bytes that it moved through memory, or the end of its object.
fn tls(engine: &mut Engine, input: &mut Input<'_>, now: u64) {
    let control = input.byte();
    let tls = TlsId { tgid: 1 + u32::from(control & 3), object: u64::from(control >> 2 & 3), way: None };
    let direction = if control & 16 == 0 { Direction::Egress } else { Direction::Ingress };
    let bytes = Bytes::from(input.bytes());
    let missing = if control & 32 == 0 { 0 } else { input.word() };
    let length = (bytes.len() as u32).saturating_add(missing);
    match control >> 6 {
        0 => engine.handle_tls_end(tls),
        1 => engine.handle_ciphertext(Ciphertext { tls, direction, length, bytes }, now),
        _ => {
            let plaintext = Plaintext {
                tls,
                connection: (control & 64 == 0).then(|| connection(input.byte())),
                direction,
                position: input.word(),
                reverse_position: input.word(),
                length,
                bytes,
                ends_record: input.byte() & 1 == 0,
                is_received: input.byte() & 1 == 0,
                continues: false,
                executor: Executor { tgid: tls.tgid, tid: tls.tgid, ..Executor::default() },
                shares: Vec::new(),
            };
            if control & 32 == 0 {
                engine.handle_share(&Executor { token: Some(1), ..plaintext.executor }, length / 2);
                engine.handle_share(&plaintext.executor, length - length / 2);
            }
            engine.handle_plaintext(plaintext, now);
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut engine = Engine::new(Settings::default());
    let mut input = Input(bytes);
    let mut positions = [[u32::MAX - 1000; 2]; 8];
    let mut now = 1_000_000;
    while !input.0.is_empty() {
        let control = input.byte();
        now += u64::from(input.byte()) << (control & 31);
        let connection = connection(control >> 5);
        let kind = match input.byte() % 16 {
            0 | 1 => opened(&mut input),
            2 => EventKind::Eof(Executor::default()),
            3 => EventKind::Closed(Closed::default()),
            4 => {
                engine.handle_process_exit(1 + u32::from(control & 3), now);
                continue;
            }
            5 => {
                engine.handle_timeout(now);
                continue;
            }
            6 => {
                let first =
                    |input: &mut Input<'_>| FirstPositions { egress: input.word(), ingress: input.word() };
                engine.handle_beginning(connection.sock, first(&mut input), first(&mut input), now);
                continue;
            }
            7 | 8 => {
                tls(&mut engine, &mut input, now);
                continue;
            }
            _ => data(&mut input, &mut positions[usize::from(control >> 5)]),
        };
        engine.handle_event(Event { connection, at_ns: now, kind });
        while engine.poll_command().is_some() {}
        while let Some(span) = engine.poll_span() {
            assert!(span.ended_at_ns >= span.started_at_ns, "a span ends before it begins");
            assert!(span.trace_id.0 != [0; 16] && span.span_id.0 != [0; 8], "an id is zero");
        }
    }
    engine.finish(now);
    while engine.poll_span().is_some() {}
});
