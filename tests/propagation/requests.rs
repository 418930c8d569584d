//! Requests as they were received, with the written header and without.

use std::time::Duration;

use remora_tests::recorder::Recorder;
use remora_tests::remora::patience;
use remora_tests::wait;

/// How long it may take until a context is written.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of the header line.
const LINE_BYTES: usize = 70;

/// A context as it was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) trace: String,
    pub(crate) span: String,
}

/// Runs something that makes one connection; returns what came over it.
pub(crate) fn one(recorder: &Recorder, run: &dyn Fn()) -> Vec<u8> {
    let before = recorder.received().len();
    run();
    let all = recorder.received();
    assert_eq!(all.len(), before + 1, "one connection");
    all.into_iter().next_back().unwrap()
}

/// Repeats it until a context is written, which `take` takes out: the server must be known, and few connections are left
/// alone.
pub(crate) fn until_written(
    recorder: &Recorder,
    run: &dyn Fn(),
    take: impl Fn(&[u8]) -> (Vec<u8>, Option<Written>),
) -> (Vec<u8>, Written) {
    wait::until("a context is written", patience(PATIENCE), || {
        let (rest, written) = take(&one(recorder, run));
        Ok(written.map(|written| (rest, written)))
    })
    .unwrap()
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

/// How a connection of HTTP/2 begins, and the header of each of its frames.
const PREFACE_BYTES: usize = 24;
const FRAME_HEADER_BYTES: usize = 9;
/// Types of frames, and the flag with which a request ends.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
/// Bytes of the header field, and its beginning.
const FIELD_BYTES: usize = 69;
const FIELD_START: &[u8] = b"\x00\x0btraceparent\x37";

/// Returns where the frames of a connection of HTTP/2 begin, and where they end.
fn frames(received: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut next = PREFACE_BYTES;
    std::iter::from_fn(move || {
        let [high, middle, low] = *received.get(next..)?.first_chunk()?;
        let start = next;
        next +=
            FRAME_HEADER_BYTES + usize::from(high) * 65_536 + usize::from(middle) * 256 + usize::from(low);
        (next <= received.len()).then_some((start, next))
    })
}

/// Returns a connection of HTTP/2 up to the end of its first request; all of it where that has no end.
pub(crate) fn first_request(received: &[u8]) -> &[u8] {
    let is_last = |&(start, _): &(usize, usize)| {
        matches!(received[start + 3], DATA | HEADERS) && received[start + 4] & END_STREAM != 0
    };
    let end = frames(received).find(is_last).map_or(received.len(), |(_, end)| end);
    &received[..end]
}

/// Takes the written field out of what came over a connection of HTTP/2; none where the first header block does not end
/// with it.
pub(crate) fn without_field(received: &[u8]) -> (Vec<u8>, Option<Written>) {
    let mut rest = received.to_vec();
    let block = frames(received).find(|(start, _)| received[start + 3] == HEADERS);
    let Some((start, end)) = block.filter(|(start, end)| end - start > FRAME_HEADER_BYTES + FIELD_BYTES)
    else {
        return (rest, None);
    };
    let field: Vec<u8> = rest.drain(end - FIELD_BYTES..end).collect();
    let Some(value) = field.strip_prefix(FIELD_START) else { return (received.to_vec(), None) };
    let length = (end - start - FRAME_HEADER_BYTES - FIELD_BYTES) as u32;
    rest[start..start + 3].copy_from_slice(&length.to_be_bytes()[1..]);
    let text = String::from_utf8_lossy(value).into_owned();
    let context = text.strip_prefix("00-").and_then(|rest| rest.strip_suffix("-01")).unwrap();
    let (trace, span) = context.split_once('-').unwrap();
    assert_eq!((trace.len(), span.len()), (32, 16), "{text}");
    (rest, Some(Written { trace: trace.to_owned(), span: span.to_owned() }))
}
