//! Recorded sessions with errors in them, and noise: what the fuzz targets do, for a bounded time and without them.

#[path = "support/replay.rs"]
mod replay;
#[path = "support/script.rs"]
mod script;
#[path = "support/session.rs"]
mod session;

use remora_engine::protocol::REGISTRY;

/// Changed copies of each session.
const COPIES: usize = 25;
/// Connections of noise for each protocol.
const NOISES: usize = 1000;
/// Sessions longer than this are left to the fuzz targets.
const MAX_SESSION_BYTES: usize = 16 * 1024;

/// Numbers that look random and are the same each time (Knuth's linear congruence).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 56) as u8
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next()).collect()
    }
}

#[test]
fn changed_sessions_are_survived() {
    let mut numbers = Numbers(1);
    for session in session::all() {
        let protocol =
            REGISTRY.iter().find(|protocol| protocol.name() == session.protocol).expect("a protocol");
        if session.pieces.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > MAX_SESSION_BYTES {
            continue;
        }
        for copy in 0..COPIES {
            let edits = numbers.bytes(4 * (1 + copy % 6));
            script::check(*protocol, copy % 4 != 0, &script::edited(&session, &edits));
        }
    }
}

/// What fuzzing has found: recorded sessions and the edits, by which a parser said one thing of all bytes together and
/// another of each by itself.
const FOUND: &[(&str, [u8; 4])] =
    &[("kafka/sarama-", [57, 102, 116, 116]), ("postgresql/psycopg", [239, 0, 0, 64])];

#[test]
fn what_fuzzing_has_found_stays_mended() {
    for (sessions, edits) in FOUND {
        let sessions: Vec<_> = session::all().into_iter().filter(|s| s.name.starts_with(sessions)).collect();
        assert!(!sessions.is_empty());
        for session in &sessions {
            let protocol = REGISTRY.iter().find(|protocol| protocol.name() == session.protocol).unwrap();
            script::check(*protocol, true, &script::edited(session, edits));
        }
    }
}

#[test]
fn sessions_of_other_protocols_are_survived() {
    for session in session::all() {
        for protocol in REGISTRY {
            script::check(*protocol, true, &script::edited(&session, &[]));
            script::check(*protocol, false, &script::edited(&session, &[]));
        }
    }
}

#[test]
fn noise_is_survived() {
    let mut numbers = Numbers(2);
    for protocol in REGISTRY {
        for _ in 0..NOISES {
            let length = 1 + usize::from(numbers.next());
            let bytes = numbers.bytes(length);
            script::check(*protocol, true, &script::steps(&bytes));
        }
    }
}
