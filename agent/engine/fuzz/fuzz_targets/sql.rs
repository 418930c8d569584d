//! Any statement, also cut: its text and its summary are bounded, and no literal of a known form stays.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remora_engine::protocol::postgresql::Postgresql;
use remora_engine::protocol::{Answer, Conversation, MessageKind, ParserSettings, Protocol, Side};
use remora_engine::semconv::Value;

/// A string that must never be seen again.
const SECRET: &str = "s3cr3t";

fuzz_target!(|statement: &[u8]| {
    // A literal of its own on a line of its own, at the beginning: nothing before it can have opened a quote.
    let statement = [b"SELECT '", SECRET.as_bytes(), b"'\n", statement].concat();
    let length = u32::try_from(statement.len() + 5).expect("short");
    let message = [b"Q", &length.to_be_bytes()[..], &statement, b"\0"].concat();
    let mut parser = Postgresql.parser(&Conversation::new(&ParserSettings::default(), true));
    let startup = b"\0\0\0\x11\0\x03\0\0user\0a\0\0\0";
    let _ = parser.parse(Side::Client, &startup[..17]);
    let Answer::Message { message, .. } = parser.parse(Side::Client, &message) else { return };
    let MessageKind::Request(request) = message.kind else { return };
    for (key, value) in &request.attributes {
        let Value::Text(text) = value else { continue };
        let limit = if key == "db.query.summary" { 255 + "BATCH ".len() } else { statement.len() * 3 };
        assert!(text.len() <= limit, "{key} is too long");
        assert!(
            !text.contains(SECRET)
                || statement.windows(6).filter(|part| *part == SECRET.as_bytes()).count() > 1
        );
    }
});
