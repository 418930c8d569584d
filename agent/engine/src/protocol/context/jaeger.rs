//! `uber-trace-id`, the context of Jaeger's own clients (jaegertracing.io/docs, "Propagation Format").

use super::{Ids, padded, valid};

/// Flags: sampled, debug.
const SAMPLED: u8 = 0x01;
const DEBUG: u8 = 0x02;

/// Returns the ids of `{trace-id}:{span-id}:{parent-span-id}:{flags}`, numbers without leading zeros; some clients
/// write the colons as `%3A`.
pub(super) fn of_field(value: &[u8]) -> Option<Ids> {
    let text = str::from_utf8(value).ok()?.trim();
    let text =
        if text.contains('%') { text.replace("%3A", ":").replace("%3a", ":") } else { text.to_owned() };
    let mut parts = text.split(':').map(str::as_bytes);
    let (trace_id, span_id) = (padded(parts.next()?)?, padded(parts.next()?)?);
    let _parent: [u8; 8] = padded(parts.next()?)?;
    let [flags] = padded(parts.next()?)?;
    if parts.next().is_some() {
        return None;
    }
    valid(trace_id, span_id, flags & (SAMPLED | DEBUG) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_length_are_read() {
        let trace = *b"\0\0\0\0\0\0\0\0\x0a\xbc\0\0\0\0\0\x01";
        let expected = Some((trace, *b"\0\0\0\0\0\0\0\x2f", 1));
        assert_eq!(of_field(b"abc000000000001:2f:0:1"), expected);
        assert_eq!(of_field(b"abc000000000001%3A2f%3a0%3A03"), expected);
        assert_eq!(of_field(b"abc000000000001:2f:0:0").map(|ids| ids.2), Some(0));
    }

    #[test]
    fn wrong_fields_are_none() {
        for wrong in
            ["", "1:2:0", "1:2:0:1:1", "0:2:0:1", "1:0:0:1", "1:2:0:100", "x:2:0:1", "1:2::1", "\u{e9}:2:0:1"]
        {
            assert_eq!(of_field(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
