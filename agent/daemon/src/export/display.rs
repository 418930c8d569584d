//! Pieces of spans for people.

use remora_engine::semconv::{Attributes, Value};
use remora_engine::span::SpanKind;

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
    fn escapes_do_not_reach_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
    }
}
