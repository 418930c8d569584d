//! Any bytes, and recorded sessions with any changes, to the parser of the protocol that `REMORA_PROTOCOL` names, and
//! to the detection of all.
#![no_main]

#[path = "../../tests/support/replay.rs"]
mod replay;
#[path = "../../tests/support/script.rs"]
mod script;
#[path = "../../tests/support/session.rs"]
mod session;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use remora_engine::protocol::{Protocol, REGISTRY, Side};
use script::Step;

static PROTOCOL: LazyLock<&'static dyn Protocol> = LazyLock::new(|| {
    let name = std::env::var("REMORA_PROTOCOL").expect("REMORA_PROTOCOL names the protocol");
    *REGISTRY.iter().find(|protocol| protocol.name() == name).expect("a protocol of this name")
});

static SESSIONS: LazyLock<Vec<session::Session>> = LazyLock::new(|| {
    let mut sessions = session::all();
    sessions.retain(|session| session.protocol == PROTOCOL.name());
    sessions
});

fuzz_target!(|data: &[u8]| {
    let [control, rest @ ..] = data else { return };
    let (is_start, session) = (control & 1 == 0, usize::from(control >> 1));
    let steps = match SESSIONS.get(session) {
        Some(session) => script::edited(session, rest),
        None => script::steps(rest),
    };
    detect(&steps);
    script::check(*PROTOCOL, is_start, &steps);
});

/// Nothing may panic, whoever is asked.
fn detect(steps: &[Step]) {
    let first = |side: Side| {
        steps.iter().find_map(|step| match step {
            Step::Feed(from, bytes) if *from == side => Some(bytes.as_slice()),
            _ => None,
        })
    };
    let sides = [Side::Client, Side::Server].map(|side| first(side).unwrap_or_default());
    for protocol in REGISTRY {
        for bytes in sides {
            let _ = protocol.detect(bytes);
        }
        protocol.detect_exchange(sides[0], sides[1]);
    }
}
