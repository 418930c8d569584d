//! What it costs to ask all protocols whose bytes these are.

use std::hint::black_box;
use std::time::Duration;

use remora_engine::protocol::{DETECTION_BUDGET_BYTES, REGISTRY};

use crate::clock::Clock;
use crate::figure;
use crate::session::Session;

/// Least time of a round.
const ROUND: Duration = Duration::from_millis(100);

/// Measures all protocols together: each is asked, as for bytes that none of them claims.
pub(crate) fn run(sessions: &[Session], rounds: usize) {
    let pieces: Vec<&[u8]> =
        sessions.iter().flat_map(|session| &session.pieces).map(|(_, bytes)| &bytes[..]).collect();
    measure("pieces of recorded sessions", &pieces, rounds);
    // Knuth's linear congruence: the same bytes each time.
    let mut state = 1u64;
    let noise: Vec<Vec<u8>> = (0..256)
        .map(|_| {
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            };
            (0..DETECTION_BUDGET_BYTES).map(|_| next()).collect()
        })
        .collect();
    let noise: Vec<&[u8]> = noise.iter().map(Vec::as_slice).collect();
    measure("noise", &noise, rounds);
    let hello = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[0x5a; 240]].concat();
    measure("TLS", &[&hello], rounds);
}

fn measure(name: &str, pieces: &[&[u8]], rounds: usize) {
    let pieces: Vec<&[u8]> =
        pieces.iter().map(|bytes| bytes.get(..DETECTION_BUDGET_BYTES).unwrap_or(bytes)).collect();
    let times: Vec<f64> = (0..rounds)
        .map(|_| {
            let (began, mut asked) = (Clock::now(), 0);
            while began.elapsed() < ROUND {
                for bytes in &pieces {
                    for protocol in REGISTRY {
                        black_box(protocol.detect(black_box(bytes)));
                    }
                }
                asked += pieces.len();
            }
            began.elapsed().as_secs_f64() * 1e9 / asked as f64
        })
        .collect();
    figure::print(&format!("detection, all protocols asked: {name}"), "ns", &times);
}
