//! Pieces of spans for people.

use remora_engine::semconv::{Attributes, Value};
use remora_engine::span::SpanKind;

/// Characters of what was asked for that are shown.
const MAX_TARGET_CHARS: usize = 120;

/// Returns the arrow of a kind: into the service, or out of it.
#[must_use]
pub fn arrow(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Server => "<-",
        SpanKind::Client | SpanKind::Producer => "->",
        SpanKind::Consumer => "=>",
    }
}

/// Returns a duration with a unit that suits it.
#[must_use]
pub fn duration(nanoseconds: u64) -> String {
    let value = nanoseconds as f64;
    match nanoseconds {
        0..1_000_000 => format!("{:.0} µs", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", value / 1e6),
        _ => format!("{:.2} s", value / 1e9),
    }
}

/// Returns the protocol's own code of the answer.
#[must_use]
pub fn status_code(attributes: &Attributes) -> Option<String> {
    let keys = ["http.response.status_code", "db.response.status_code", "rpc.response.status_code"];
    let found = attributes.iter().find(|(key, _)| keys.contains(&key.as_ref()));
    found.map(|(_, value)| match value {
        Value::Text(text) => printable(text),
        Value::Int(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

/// Returns what was asked for, as far as the name does not say it: the URL at a client, the path at a server.
#[must_use]
pub fn target(name: &str, attributes: &Attributes) -> Option<String> {
    let found = ["url.full", "url.path"]
        .iter()
        .find_map(|wanted| attributes.iter().find(|(key, _)| key.as_ref() == *wanted));
    let Some((_, Value::Text(text))) = found else { return None };
    let is_said = name.split(' ').any(|word| word == &**text);
    (!is_said).then(|| shortened(&printable(text)))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_TARGET_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Returns text from the wire without what would move a terminal's cursor.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_that_suits_them() {
        let table = [(0, "0 µs"), (999_400, "999 µs"), (1_500_000, "1.5 ms"), (2_340_000_000, "2.34 s")];
        for (nanoseconds, expected) in table {
            assert_eq!(duration(nanoseconds), expected);
        }
    }

    #[test]
    fn the_target_is_what_the_name_does_not_say() {
        let text = |key: &'static str, value: String| (key.into(), Value::from(value));
        let client = vec![text("url.full", "https://a.example/x?y=1".to_owned())];
        assert_eq!(target("GET", &client).as_deref(), Some("https://a.example/x?y=1"));
        let server = vec![text("url.path", "/users/4711".to_owned())];
        assert_eq!(target("GET /users/{id}", &server).as_deref(), Some("/users/4711"));
        assert_eq!(target("GET /users/4711", &server), None);
        assert_eq!(target("SELECT shop", &vec![text("db.query.text", "SELECT".to_owned())]), None);
        let long = target("GET", &vec![text("url.full", "ä".repeat(500))]).unwrap();
        assert_eq!(long.chars().count(), MAX_TARGET_CHARS + 1);
    }

    #[test]
    fn escapes_do_not_reach_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
    }
}
