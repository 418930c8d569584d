//! Fields of a head, looked up and recorded.

use crate::protocol::{set, text};
use crate::semconv::{Attributes, Value};

/// Longest value that is recorded, in bytes.
pub(super) const MAX_VALUE_BYTES: usize = 1024;
/// What stands for a value that is not recorded.
pub(super) const REDACTED: &str = "REDACTED";

/// One field line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    /// As it was sent, in any case.
    pub(super) name: &'a [u8],
    /// Without white space around it.
    pub(super) value: &'a [u8],
}

/// Returns the values of all fields called `name` (lower case), in their order.
pub(super) fn values<'a>(fields: &'a [Field<'a>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let is_it = move |field: &&Field<'_>| field.name.eq_ignore_ascii_case(name.as_bytes());
    fields.iter().filter(is_it).map(|field| field.value)
}

/// Returns the value of the first field called `name` (lower case).
pub(super) fn value<'a>(fields: &'a [Field<'a>], name: &'a str) -> Option<&'a [u8]> {
    values(fields, name).next()
}

/// Returns whether a comma-separated list in fields called `name` has this member, in any case.
pub(super) fn lists<'a>(fields: &'a [Field<'a>], name: &'a str, member: &str) -> bool {
    values(fields, name)
        .flat_map(|list| list.split(|&byte| byte == b','))
        .any(|found| found.trim_ascii().eq_ignore_ascii_case(member.as_bytes()))
}

/// Records the fields that were asked for as `<prefix>.<name>`.
pub(super) fn record(
    attributes: &mut Attributes,
    fields: &[Field<'_>],
    prefix: &str,
    captured: &[String],
    redacted: &[String],
) {
    for name in captured {
        let is_redacted = redacted.contains(name);
        let text =
            |value| if is_redacted { REDACTED.to_owned() } else { text::lossy(value, MAX_VALUE_BYTES) };
        let texts: Vec<String> = values(fields, name).map(text).collect();
        if !texts.is_empty() {
            set(attributes, format!("{prefix}.{name}").into(), Value::Texts(texts));
        }
    }
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Nothing.
    None,
    /// As many bytes; not 0.
    Length(u64),
    /// Chunks.
    Chunked,
    /// All until the connection ends.
    UntilEnd,
}

/// Returns what `Transfer-Encoding` and `Content-Length` say follows, or `absent` where neither is there
/// (RFC 9112 section 6.3). An error names the rule that was broken.
pub(super) fn framing(fields: &[Field<'_>], absent: Framing) -> Result<Framing, &'static str> {
    let coding =
        values(fields, "transfer-encoding").last().and_then(|list| list.rsplit(|&byte| byte == b',').next());
    match coding {
        Some(last) if last.trim_ascii().eq_ignore_ascii_case(b"chunked") => return Ok(Framing::Chunked),
        Some(last) if !last.trim_ascii().eq_ignore_ascii_case(b"identity") => return Ok(Framing::UntilEnd),
        _ => {}
    }
    let mut length = None;
    for member in values(fields, "content-length").flat_map(|list| list.split(|&byte| byte == b',')) {
        let found = text::decimal(member.trim_ascii()).ok_or("content-length is no number")?;
        if length.is_some_and(|known| known != found) {
            return Err("content-length is ambiguous");
        }
        length = Some(found);
    }
    Ok(match length {
        None => absent,
        Some(0) => Framing::None,
        Some(length) => Framing::Length(length),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &[(&str, &str)], expected: Result<Framing, &'static str>) {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| Field { name: name.as_bytes(), value: value.as_bytes() })
            .collect();
        assert_eq!(framing(&fields, Framing::UntilEnd), expected, "{fields:?}");
    }

    #[test]
    fn framing_follows_the_rules() {
        check(&[], Ok(Framing::UntilEnd));
        check(&[("content-length", "0")], Ok(Framing::None));
        check(&[("Content-Length", "5")], Ok(Framing::Length(5)));
        check(&[("content-length", "5, 5"), ("content-length", "5")], Ok(Framing::Length(5)));
        check(&[("content-length", "5"), ("content-length", "6")], Err("content-length is ambiguous"));
        check(&[("content-length", "+5")], Err("content-length is no number"));
        check(&[("content-length", "5"), ("Transfer-Encoding", "gzip, Chunked")], Ok(Framing::Chunked));
        check(&[("transfer-encoding", "chunked"), ("transfer-encoding", "gzip")], Ok(Framing::UntilEnd));
        check(&[("transfer-encoding", "identity"), ("content-length", "7")], Ok(Framing::Length(7)));
    }
}
