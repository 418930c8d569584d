//! Connections that are met while an answer is read in pieces, through the whole engine: the last bytes of that answer
//! must not stand before what is said next.

#[path = "support/session.rs"]
mod session;

use bytes::Bytes;
use remora_engine::event::{
    ConnectionId, Data, Direction, Endpoint, Event, EventKind, Executor, Opened, Role, Scheduling,
};
use remora_engine::protocol::Side;
use remora_engine::{Engine, Settings};

/// Lengths of what is left of the answer: less than most headers.
const LEFT: [usize; 3] = [1, 3, 7];
/// Places of a session at which it is met.
const PLACES: usize = 6;
const SERVER: Executor = Executor { tgid: 10, tid: 10, task: None, token: None, turn: 0 };

type Pieces<'a> = Vec<(Side, &'a [u8])>;

/// Returns how many spans a server's engine makes of a connection that it met before these pieces.
fn spans(pieces: &Pieces<'_>) -> usize {
    let mut engine = Engine::new(Settings::default());
    engine.handle_process(SERVER.tgid, Scheduling::Threads);
    let address = |port: u16| Endpoint::Ip(([127, 0, 0, 1], port).into());
    let connection = ConnectionId { sock: 1, inode: 1 };
    let opened = Opened {
        executor: SERVER,
        local: address(80),
        peer: address(40_000),
        role: Role::Unknown,
        is_datagram: false,
        peer_sock: None,
        first: None,
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
    std::iter::from_fn(|| engine.poll_span()).count()
}

#[test]
fn what_is_left_of_an_answer_hides_nothing() {
    for session in session::all().into_iter().filter(|session| session.protocol != "dns") {
        let pieces: Pieces<'_> = session
            .pieces
            .iter()
            .filter(|(_, bytes)| !bytes.is_empty())
            .map(|(side, bytes)| (*side, &bytes[..]))
            .collect();
        let turns = pieces
            .windows(2)
            .enumerate()
            .filter(|(_, pair)| (pair[0].0, pair[1].0) == (Side::Server, Side::Client));
        for (at, pair) in turns.take(PLACES) {
            let rest = pieces[at + 1..].to_vec();
            let expected = spans(&rest);
            for left in LEFT {
                let answer = pair[0].1;
                let tail = &answer[answer.len().saturating_sub(left)..];
                let found = spans(&[vec![(Side::Server, tail)], rest.clone()].concat());
                // In the middle of a sign-in, or of what proves the protocol, it may take one exchange longer.
                assert!(
                    found + 1 >= expected,
                    "{} at {at}: {found} of {expected} behind {tail:?}",
                    session.name
                );
            }
        }
    }
}
