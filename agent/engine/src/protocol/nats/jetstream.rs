//! What JetStream says in subjects and in the JSON of its messages.

use super::subject;
use crate::protocol::{Outcome, text};

/// Longest description of an error that is kept.
const MAX_DESCRIPTION_BYTES: usize = 256;
/// Words of which the subjects of the API are made, before the names of streams and consumers.
const API_WORDS: [&str; 22] = [
    "STREAM", "CONSUMER", "MSG", "META", "ACCOUNT", "PEER", "LEADER", "DIRECT", "DURABLE", "CREATE",
    "UPDATE", "INFO", "NAMES", "LIST", "DELETE", "PURGE", "SNAPSHOT", "RESTORE", "GET", "NEXT", "REMOVE",
    "STEPDOWN",
];
/// Most words before the names.
const MAX_API_WORDS: usize = 3;

/// A question to JetStream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Api<'a> {
    /// What is asked for, such as `STREAM.CREATE`.
    pub(super) operation: &'a str,
    pub(super) stream: &'a str,
    pub(super) consumer: &'a str,
}

impl<'a> Api<'a> {
    /// Returns what a subject asks JetStream for, `$JS.API.…` or `$JS.DOMAIN.API.…`; none where it does not.
    pub(super) fn of(subject: &'a str) -> Option<Self> {
        let rest = subject.strip_prefix("$JS.")?;
        let rest = rest.strip_prefix("API.").or_else(|| rest.split_once('.')?.1.strip_prefix("API."))?;
        let mut length = 0;
        for word in rest.split('.').take(MAX_API_WORDS).take_while(|word| API_WORDS.contains(word)) {
            length += word.len() + usize::from(length > 0);
        }
        let operation = rest.get(..length).filter(|operation| !operation.is_empty())?;
        let mut names = rest.get(length + 1..).unwrap_or_default().split('.');
        let (stream, consumer) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
        Some(Self { operation, stream, consumer })
    }

    /// Returns whether it asks for messages.
    pub(super) fn is_pull(&self) -> bool {
        self.operation == "CONSUMER.MSG.NEXT"
    }
}

/// Where a message is to be acknowledged, which tells its place in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AckSubject<'a> {
    pub(super) stream: &'a [u8],
    pub(super) consumer: &'a [u8],
    pub(super) sequence: &'a [u8],
}

/// What all such subjects begin with.
pub(super) const ACK: &[u8] = b"$JS.ACK.";

impl<'a> AckSubject<'a> {
    /// Reads `$JS.ACK.stream.consumer.delivered.sequence.….time.pending`, and the form with a domain and an account
    /// before the stream (ADR-15).
    pub(super) fn of(subject: &'a [u8]) -> Option<Self> {
        let rest = subject.strip_prefix(ACK)?;
        let before = match memchr::memchr_iter(b'.', rest).count() {
            6 => 0,
            8.. => 2,
            _ => return None,
        };
        let mut tokens = subject::tokens(rest).skip(before);
        let (stream, consumer) = (tokens.next()?, tokens.next()?);
        let sequence = tokens.nth(1)?;
        text::decimal(sequence)?;
        Some(Self { stream, consumer, sequence })
    }
}

/// The stream and the position that a message was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored<'a> {
    pub(super) stream: &'a [u8],
    pub(super) sequence: u64,
}

/// Returns what JetStream answers: where a message was stored that was published to a stream, and how it went.
pub(super) fn answer(json: &[u8]) -> (Option<Stored<'_>>, Outcome) {
    let (mut stream, mut sequence, mut error) = (None, None, None);
    for (name, value) in Fields::of(json) {
        match name {
            b"stream" if stream.is_none() => stream = Some(value),
            b"seq" if sequence.is_none() => sequence = Some(value),
            b"error" if error.is_none() => error = Some(value),
            _ => {}
        }
    }
    let stream = stream.and_then(|stream| stream.strip_prefix(b"\"")?.strip_suffix(b"\""));
    let sequence = sequence.and_then(text::decimal);
    let stored = stream.zip(sequence).map(|(stream, sequence)| Stored { stream, sequence });
    (stored, error.map(failure).unwrap_or_default())
}

fn failure(error: &[u8]) -> Outcome {
    let number = |name| field(error, name).and_then(text::decimal);
    let code = number("err_code").or_else(|| number("code"));
    let description = field(error, "description").unwrap_or_default();
    Outcome {
        error_type: Some(code.map_or_else(|| "_OTHER".to_owned(), |code| code.to_string())),
        message: Some(text::lossy(description.trim_matches_quotes(), MAX_DESCRIPTION_BYTES)),
        is_client_fault: false,
    }
}

/// Returns how many messages a question asks for.
pub(super) fn batch(json: &[u8]) -> u64 {
    // The old form is the number alone.
    field(json, "batch").and_then(text::decimal).or_else(|| text::decimal(json)).unwrap_or(1).max(1)
}

trait Quoted {
    fn trim_matches_quotes(&self) -> &[u8];
}

impl Quoted for [u8] {
    fn trim_matches_quotes(&self) -> &[u8] {
        self.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(self)
    }
}

/// Returns the value of a field of a JSON object, as it stands there; none where it is not there whole.
fn field<'a>(json: &'a [u8], name: &str) -> Option<&'a [u8]> {
    Fields::of(json).find(|(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
}

/// The fields of a JSON object, as they stand there: names without their quotes, and values. It ends with the last that is
/// there whole.
///
/// Only as much of JSON is understood as tells where values end.
struct Fields<'a> {
    /// What stands behind the bracket or comma before the next field; none behind the last.
    rest: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn of(json: &'a [u8]) -> Self {
        Self { rest: json.trim_ascii_start().strip_prefix(b"{") }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?.trim_ascii_start();
        let name = value(rest)?;
        let rest = rest.get(name.len()..)?.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let found = value(rest)?;
        self.rest = rest.get(found.len()..)?.trim_ascii_start().strip_prefix(b",");
        Some((name.trim_matches_quotes(), found))
    }
}

/// Returns the value that `json` begins with; none where it has not ended.
fn value(json: &[u8]) -> Option<&[u8]> {
    match json {
        [b'"', text @ ..] => json.get(..=text_length(text)?),
        [b'{' | b'[', ..] => nested(json),
        _ => {
            let end = json.iter().position(|byte| matches!(byte, b',' | b':' | b'}' | b']'))?;
            json.get(..end).map(<[u8]>::trim_ascii_end)
        }
    }
}

/// Returns the object or array that `json` begins with; none where it has not ended.
fn nested(json: &[u8]) -> Option<&[u8]> {
    let (mut depth, mut next) = (0u32, 0);
    loop {
        let rest = json.get(next..)?;
        let at = next + rest.iter().position(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']'))?;
        next = at + 1;
        match json.get(at)? {
            b'"' => next += text_length(json.get(next..)?)?,
            b'{' | b'[' => depth = depth.saturating_add(1),
            _ => depth -= 1,
        }
        if depth == 0 {
            return json.get(..next);
        }
    }
}

/// Returns the length of a text whose contents `json` begins with, with the quote that ends it.
fn text_length(json: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', json.get(from..)?)?;
        if json.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        from = at + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_told_by_their_subjects() {
        for (subject, operation, stream, consumer) in [
            ("$JS.API.STREAM.CREATE.ORDERS", "STREAM.CREATE", "ORDERS", ""),
            ("$JS.API.STREAM.NAMES", "STREAM.NAMES", "", ""),
            ("$JS.API.CONSUMER.MSG.NEXT.ORDERS.mailer", "CONSUMER.MSG.NEXT", "ORDERS", "mailer"),
            ("$JS.API.CONSUMER.CREATE.ORDERS.mailer.orders.*", "CONSUMER.CREATE", "ORDERS", "mailer"),
            ("$JS.hub.API.INFO", "INFO", "", ""),
        ] {
            assert_eq!(Api::of(subject), Some(Api { operation, stream, consumer }));
        }
        for subject in ["orders", "$JS.ACK.a.b.1.1.1.1.1", "$JS.API.", "$JS.API.what.ever"] {
            assert_eq!(Api::of(subject), None, "{subject}");
        }
    }

    #[test]
    fn places_are_told_by_where_to_acknowledge() {
        let told = AckSubject { stream: b"ORDERS", consumer: b"mailer", sequence: b"12" };
        assert_eq!(AckSubject::of(b"$JS.ACK.ORDERS.mailer.1.12.3.1795282839614850219.2"), Some(told));
        assert_eq!(
            AckSubject::of(b"$JS.ACK.hub.ACC.ORDERS.mailer.1.12.3.1795282839614850219.2.x"),
            Some(told)
        );
        for subject in [&b"$JS.ACK.ORDERS.mailer.1.12.3"[..], b"$JS.ACK.a.b.c.d.e.f.g", b"orders"] {
            assert_eq!(AckSubject::of(subject), None, "{}", subject.escape_ascii());
        }
    }

    #[test]
    fn answers_are_read() {
        let (stored, _) = answer(br#"{"stream":"ORDERS", "seq":7, "duplicate": true}"#);
        assert_eq!(stored, Some(Stored { stream: b"ORDERS", sequence: 7 }));
        assert_eq!(answer(br#"{"seq":7}"#).0, None);
        assert_eq!(answer(b"[1, 2]").0, None);
        let failed =
            br#"{"type":"a,b}","error":{"code":400,"err_code":10071,"description":"wrong: \"3\""},"seq":0}"#;
        let (_, outcome) = answer(failed);
        assert_eq!(outcome.error_type.as_deref(), Some("10071"));
        assert_eq!(outcome.message.as_deref(), Some("wrong: \\\"3\\\""));
        for end in 0..failed.len() {
            let _ = answer(&failed[..end]);
        }
        for (json, expected) in
            [(&b"{\"batch\": 5}"[..], 5), (b"", 1), (b"7", 7), (b"{}", 1), (b"{\"batch\":0}", 1)]
        {
            assert_eq!(batch(json), expected);
        }
    }
}
