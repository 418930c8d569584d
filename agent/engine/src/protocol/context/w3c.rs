//! W3C Trace Context level 2: `traceparent` and `tracestate`.

use crate::protocol::WireContext;

/// Longest `tracestate` that is carried on, in bytes. Section 3.3.1.5 asks for at least as many.
const MAX_STATE_BYTES: usize = 512;
/// Most list members of a `tracestate` (section 3.3.1.1).
const MAX_STATE_MEMBERS: usize = 32;
/// List members longer than this are the first to go (section 3.3.1.5).
const LONG_MEMBER_BYTES: usize = 128;
/// Longest key and value of a list member (section 3.3.1.3).
const MAX_KEY_OR_VALUE_BYTES: usize = 256;
/// Length of a version 00 `traceparent`.
const PARENT_BYTES: usize = 55;

/// Returns the context of the `traceparent` and `tracestate` fields of one request; none where `traceparent` is
/// absent, invalid, or there twice. An invalid `tracestate` is dropped alone.
pub(in crate::protocol) fn parse(parents: &[&[u8]], states: &[&[u8]]) -> Option<WireContext> {
    let [parent] = parents else { return None };
    let (trace_id, span_id, flags) = parse_parent(parent.trim_ascii())?;
    let state = parse_state(states).unwrap_or_default();
    Some(WireContext { trace_id, span_id, flags, state })
}

fn parse_parent(parent: &[u8]) -> Option<([u8; 16], [u8; 8], u8)> {
    let (known, rest) = parent.split_at_checked(PARENT_BYTES)?;
    let mut fields = known.split(|&byte| byte == b'-');
    let [version] = hex(fields.next()?)?;
    let trace_id: [u8; 16] = hex(fields.next()?)?;
    let span_id: [u8; 8] = hex(fields.next()?)?;
    let [flags] = hex(fields.next()?)?;
    // Later versions may only append, after another dash.
    let is_whole = fields.next().is_none() && (rest.is_empty() || (version > 0 && rest.starts_with(b"-")));
    let is_valid = version != 0xff && trace_id != [0; 16] && span_id != [0; 8];
    (is_whole && is_valid).then_some((trace_id, span_id, flags))
}

/// Returns the bytes that lower-case hexadecimal `digits` spell, if they are exactly as many.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, &[high, low]) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        *byte = nibble(high)? << 4 | nibble(low)?;
    }
    Some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Returns the joined list members of all `tracestate` fields, shortened by whole members.
fn parse_state(fields: &[&[u8]]) -> Option<String> {
    let mut members = Vec::new();
    for member in fields.iter().flat_map(|field| field.split(|&byte| byte == b',')) {
        let member = trim(member);
        if member.is_empty() {
            continue;
        }
        let key = member_key(member)?;
        if members.len() == MAX_STATE_MEMBERS || members.iter().any(|&(known, _)| known == key) {
            return None;
        }
        members.push((key, member));
    }
    shorten(&mut members);
    let texts: Option<Vec<&str>> = members.iter().map(|(_, member)| str::from_utf8(member).ok()).collect();
    Some(texts?.join(","))
}

/// Removes members until all fit: the long ones first, then from the end.
fn shorten(members: &mut Vec<(&[u8], &[u8])>) {
    let total =
        |members: &[(&[u8], &[u8])]| members.iter().map(|(_, member)| member.len() + 1).sum::<usize>();
    let limit = MAX_STATE_BYTES + 1;
    while total(members) > limit {
        let long = members.iter().rposition(|(_, member)| member.len() > LONG_MEMBER_BYTES);
        match long {
            Some(place) => drop(members.remove(place)),
            None => drop(members.pop()),
        }
    }
}

/// Removes optional white space (RFC 9110 section 5.6.3).
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// Returns the key of a valid list member.
fn member_key(member: &[u8]) -> Option<&[u8]> {
    let equals = memchr::memchr(b'=', member)?;
    let (key, value) = member.split_at_checked(equals)?;
    let value = value.get(1..)?;
    let is_key = matches!(key, [b'a'..=b'z' | b'0'..=b'9', ..])
        && key.len() <= MAX_KEY_OR_VALUE_BYTES
        && key
            .iter()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@'));
    let is_value = (1..=MAX_KEY_OR_VALUE_BYTES).contains(&value.len())
        && value.iter().all(|byte| matches!(byte, 0x20..=0x2b | 0x2d..=0x3c | 0x3e..=0x7e));
    (is_key && is_value).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn parent(text: &str) -> Option<WireContext> {
        parse(&[text.as_bytes()], &[])
    }

    fn state(fields: &[&str]) -> String {
        let fields: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
        let parent = format!("00-{TRACE}-{SPAN}-01");
        parse(&[parent.as_bytes()], &fields).expect("valid parent").state
    }

    #[test]
    fn the_example_of_the_recommendation_is_read() {
        let context = parent(&format!("00-{TRACE}-{SPAN}-01")).expect("valid");
        assert_eq!(context.trace_id[..2], [0x4b, 0xf9]);
        assert_eq!(context.span_id, [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
        assert_eq!((context.flags, context.state.as_str()), (1, ""));
    }

    #[test]
    fn invalid_parents_are_refused() {
        let zero_trace = "0".repeat(32);
        let zero_span = "0".repeat(16);
        for wrong in [
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{zero_trace}-{SPAN}-01"),
            format!("00-{TRACE}-{zero_span}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-what"),
            format!("01-{TRACE}-{SPAN}-01what"),
            format!("00_{TRACE}-{SPAN}-01"),
            format!("0-0{TRACE}-{SPAN}-01"),
            String::new(),
        ] {
            assert_eq!(parent(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn later_versions_are_read_by_their_prefix() {
        for right in [format!("cc-{TRACE}-{SPAN}-03"), format!("01-{TRACE}-{SPAN}-03-what-follows")] {
            assert_eq!(parent(&right).expect("valid").flags, 3, "{right}");
        }
    }

    #[test]
    fn two_parents_are_none() {
        let text = format!("00-{TRACE}-{SPAN}-01");
        assert_eq!(parse(&[text.as_bytes(), text.as_bytes()], &[]), None);
    }

    #[test]
    fn states_are_joined_in_order() {
        assert_eq!(state(&["foo=1, bar=2", "", " baz@x = 3 ", "q=4"]), "");
        assert_eq!(
            state(&["foo=1, bar=2", "", "\tt61rc/ab@x=v 3 ", ",,q=4"]),
            "foo=1,bar=2,t61rc/ab@x=v 3,q=4"
        );
    }

    #[test]
    fn invalid_states_are_dropped_alone() {
        for wrong in ["foo", "foo=", "Foo=1", "foo=1,foo=2", "=1", "foo=a=b", "f o=1", "é=1"] {
            assert_eq!(state(&[wrong]), "", "{wrong}");
        }
        let many: Vec<String> = (0..33).map(|number| format!("k{number}=1")).collect();
        assert_eq!(state(&[&many.join(",")]), "");
        assert_eq!(state(&[&many[..32].join(",")]), many[..32].join(","));
    }

    #[test]
    fn long_states_lose_long_members_first() {
        let long = format!("long={}", "x".repeat(200));
        let short: Vec<String> = (0..4).map(|number| format!("k{number}={}", "y".repeat(90))).collect();
        assert_eq!(state(&[&long, &short.join(",")]), short.join(","));
        let many: Vec<String> = (0..8).map(|number| format!("k{number}={}", "y".repeat(90))).collect();
        assert_eq!(state(&[&many.join(",")]), many[..5].join(","));
    }
}
