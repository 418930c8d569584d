//! Any bytes, and recorded sessions with any changes, to the parser of `mongodb`.
#![no_main]

#[path = "../../tests/support/replay.rs"]
mod replay;
#[path = "../../tests/support/script.rs"]
mod script;
#[path = "../../tests/support/session.rs"]
mod session;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use remora_engine::protocol::mongodb::Mongodb;

static SESSIONS: LazyLock<Vec<session::Session>> = LazyLock::new(|| {
    let mut sessions = session::all();
    sessions.retain(|session| session.protocol == "mongodb");
    sessions
});

fuzz_target!(|data: &[u8]| {
    let [control, rest @ ..] = data else { return };
    let (is_start, session) = (control & 1 == 0, usize::from(control >> 1));
    let steps = match SESSIONS.get(session) {
        Some(session) => script::edited(session, rest),
        None => script::steps(rest),
    };
    script::check(&Mongodb, is_start, &steps);
});
