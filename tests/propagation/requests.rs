//! Requests as they were received, with the written header and without.

/// Bytes of the header line.
const LINE_BYTES: usize = 70;

/// A context as it was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) trace: String,
    pub(crate) span: String,
}

/// Takes the written header line out of what came over a connection; none where there is no such line behind the first
/// request line.
pub(crate) fn without_context(received: &[u8]) -> (Vec<u8>, Option<Written>) {
    let Some(start) = received.iter().position(|byte| *byte == b'\n').map(|at| at + 1) else {
        return (received.to_vec(), None);
    };
    let Some(line) = received.get(start..start + LINE_BYTES) else { return (received.to_vec(), None) };
    let text = String::from_utf8_lossy(line).into_owned();
    let Some(context) = text.strip_prefix("traceparent: 00-").and_then(|rest| rest.strip_suffix("-01\r\n"))
    else {
        return (received.to_vec(), None);
    };
    let (trace, span) = context.split_once('-').unwrap();
    assert_eq!((trace.len(), span.len()), (32, 16), "{text}");
    let mut rest = received.to_vec();
    rest.drain(start..start + LINE_BYTES);
    (rest, Some(Written { trace: trace.to_owned(), span: span.to_owned() }))
}

/// Returns how many lines name a context.
pub(crate) fn contexts(received: &[u8]) -> usize {
    String::from_utf8_lossy(received).to_lowercase().matches("\ntraceparent:").count()
}
