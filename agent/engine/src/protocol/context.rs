//! Trace context in the fields of a request, in each of the ways that programs write it.
//!
//! Where there are several, W3C's counts: gateways add it to what their clients sent.

mod b3;
mod baggage;
mod jaeger;
mod w3c;

use super::WireContext;

pub(super) use baggage::record as record_baggage;
pub(super) use w3c::parse as of_w3c;

/// Returns the context that the fields of a request name; `values` gives those of a field by its name in lower case.
pub(super) fn of_fields<'a, Values>(values: impl Fn(&'static str) -> Values) -> Option<WireContext>
where
    Values: Iterator<Item = &'a [u8]>,
{
    let parents: Vec<&[u8]> = values("traceparent").collect();
    if !parents.is_empty() {
        let states: Vec<&[u8]> = values("tracestate").collect();
        if let Some(context) = w3c::parse(&parents, &states) {
            return Some(context);
        }
    }
    let only = |name| {
        let mut found = values(name);
        // Two that differ would be two parents.
        found.next().filter(|_| found.next().is_none())
    };
    let (trace_id, span_id, flags) = only("b3")
        .and_then(b3::of_single)
        .or_else(|| {
            b3::of_several(
                only("x-b3-traceid")?,
                only("x-b3-spanid")?,
                only("x-b3-sampled"),
                only("x-b3-flags"),
            )
        })
        .or_else(|| only("uber-trace-id").and_then(jaeger::of_field))?;
    Some(WireContext { trace_id, span_id, flags, state: String::new() })
}

/// Bytes of a `traceparent` of version 00.
const PARENT_BYTES: usize = 55;

/// Returns the context that a text names: `traceparent` with what stands behind it, such as `traceparent='00-…-01'` or
/// `"traceparent": "00-…-01"`. None where it is named twice, differently.
pub(super) fn of_text(text: &[u8]) -> Option<WireContext> {
    let mut contexts = memchr::memmem::find_iter(text, b"traceparent").filter_map(|name| {
        let behind = text.get(name + b"traceparent".len()..)?;
        let start = behind.iter().position(|byte| !b"=:\\'\" ".contains(byte))?;
        w3c::parse(&[behind.get(start..)?.get(..PARENT_BYTES)?], &[])
    });
    let first = contexts.next()?;
    contexts.all(|other| other == first).then_some(first)
}

/// Trace id, span id and W3C flags.
type Ids = ([u8; 16], [u8; 8], u8);

/// W3C `sampled`.
const SAMPLED: u8 = 0x01;

/// Returns the ids, unless one is zero, which names nothing.
fn valid(trace_id: [u8; 16], span_id: [u8; 8], is_sampled: bool) -> Option<Ids> {
    let is_valid = trace_id != [0; 16] && span_id != [0; 8];
    is_valid.then_some((trace_id, span_id, if is_sampled { SAMPLED } else { 0 }))
}

/// Returns the number that up to `N * 2` hexadecimal digits of either case spell, with zeros before it.
fn padded<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.is_empty() || digits.len() > N * 2 {
        return None;
    }
    let mut number = [0; N];
    for (place, &digit) in digits.iter().rev().enumerate() {
        let value = char::from(digit).to_digit(16)? as u8;
        *number.get_mut(N - 1 - place / 2)? |= value << (place % 2 * 4);
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const W3C: (&str, &str) = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    const B3: (&str, &str) = ("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1");
    const JAEGER: (&str, &str) = ("uber-trace-id", "3000000000000001:2000000000000001:0:1");

    /// Returns the first byte of the trace id that the fields name.
    fn first(fields: &[(&'static str, &str)]) -> Option<u8> {
        let values = |name: &'static str| {
            fields.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value.as_bytes())
        };
        of_fields(values).map(|context| context.trace_id[0])
    }

    #[test]
    fn the_order_of_belief_is_w3c_b3_jaeger() {
        assert_eq!(first(&[]), None);
        assert_eq!(first(&[JAEGER, B3, W3C]), Some(0x0a));
        assert_eq!(first(&[JAEGER, B3]), Some(0x80));
        assert_eq!(first(&[JAEGER]), Some(0x00));
        assert_eq!(first(&[("traceparent", "broken"), B3]), Some(0x80));
        assert_eq!(first(&[B3, B3]), None);
        assert_eq!(
            first(&[("x-b3-traceid", "463ac35c9f6413ad"), ("x-b3-spanid", "a2fb4a1d1a96d312")]),
            Some(0)
        );
        assert_eq!(first(&[("x-b3-traceid", "463ac35c9f6413ad")]), None);
    }

    #[test]
    fn texts_name_contexts_in_several_ways() {
        let first = |text: String| of_text(text.as_bytes()).map(|context| context.trace_id[0]);
        let parent = W3C.1;
        for text in [
            format!("/*traceparent='{parent}'*/"),
            format!("{{\"headers\": {{\"traceparent\": \"{parent}\", \"id\": 1}}}}"),
            format!("{{\\\"traceparent\\\":\\\"{parent}\\\"}}"),
            format!("traceparent={parent} and traceparent={parent}"),
        ] {
            assert_eq!(first(text.clone()), Some(0x0a), "{text}");
        }
        let other = parent.replace("0af7", "0bf7");
        for text in [
            format!("traceparent={parent} traceparent={other}"),
            "traceparent=00-1".to_owned(),
            parent.to_owned(),
        ] {
            assert_eq!(first(text.clone()), None, "{text}");
        }
    }

    #[test]
    fn short_numbers_are_padded() {
        assert_eq!(padded::<2>(b"1"), Some([0, 1]));
        assert_eq!(padded::<2>(b"aBc"), Some([0x0a, 0xbc]));
        assert_eq!(padded::<2>(b"abcd"), Some([0xab, 0xcd]));
        for wrong in [&b""[..], b"abcde", b"xy", b"-1"] {
            assert_eq!(padded::<2>(wrong), None, "{wrong:?}");
        }
    }
}
