//! B3, Zipkin's context (github.com/openzipkin/b3-propagation): one field, or one for each part.

use super::{Ids, padded, valid};

/// Returns the ids of the field `b3`: trace id, span id and, after more dashes, sampling state and parent. None where
/// it carries only a sampling decision.
pub(super) fn of_single(value: &[u8]) -> Option<Ids> {
    let mut parts = value.trim_ascii().split(|&byte| byte == b'-');
    let (trace_id, span_id) = (trace_id(parts.next()?)?, span_id(parts.next()?)?);
    let is_sampled = match parts.next() {
        None | Some(b"0") => false,
        Some(b"1" | b"d") => true,
        Some(_) => return None,
    };
    if let Some(parent) = parts.next() {
        self::span_id(parent)?;
    }
    if parts.next().is_some() {
        return None;
    }
    valid(trace_id, span_id, is_sampled)
}

/// Returns the ids of `X-B3-TraceId` and `X-B3-SpanId`, with `X-B3-Sampled` and `X-B3-Flags` where they are there.
pub(super) fn of_several(
    trace: &[u8],
    span: &[u8],
    sampled: Option<&[u8]>,
    flags: Option<&[u8]>,
) -> Option<Ids> {
    let is_sampled = matches!(sampled, Some(b"1" | b"true")) || flags == Some(b"1");
    valid(trace_id(trace)?, span_id(span)?, is_sampled)
}

/// 64 or 128 bits.
fn trace_id(digits: &[u8]) -> Option<[u8; 16]> {
    matches!(digits.len(), 16 | 32).then(|| padded(digits)).flatten()
}

fn span_id(digits: &[u8]) -> Option<[u8; 8]> {
    (digits.len() == 16).then(|| padded(digits)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: [u8; 16] = *b"\x80\xf1\x98\xee\x56\x34\x3b\xa8\x64\xfe\x8b\x2a\x57\xd3\xef\xf7";
    const SPAN: [u8; 8] = *b"\xe4\x57\xb5\xa2\xe4\xd8\x6b\xd1";

    #[test]
    fn the_examples_of_the_specification_are_read() {
        let single = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90";
        assert_eq!(of_single(single.as_bytes()), Some((TRACE, SPAN, 1)));
        assert_eq!(of_single(&single.as_bytes()[..49]), Some((TRACE, SPAN, 0)));
        assert_eq!(of_single(b"0"), None);
        let several = of_several(b"463ac35c9f6413ad48485a3953bb6124", b"a2fb4a1d1a96d312", Some(b"1"), None);
        assert_eq!(several.map(|(trace, ..)| trace[..2].to_vec()), Some(vec![0x46, 0x3a]));
        assert_eq!(
            of_several(b"463ac35c9f6413ad", b"a2fb4a1d1a96d312", None, Some(b"1")).map(|ids| ids.2),
            Some(1)
        );
    }

    #[test]
    fn wrong_fields_are_none() {
        for wrong in [
            "",
            "1",
            "80f198ee56343ba864fe8b2a57d3eff7",
            "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86b",
            "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-2",
            "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3",
            "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90-0",
            "00000000000000000000000000000000-e457b5a2e4d86bd1-1",
            "80f198ee56343ba864fe8b2a57d3eff7-0000000000000000-1",
        ] {
            assert_eq!(of_single(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
