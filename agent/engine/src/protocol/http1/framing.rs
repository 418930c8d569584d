//! Where the body of a message ends, as its fields say.

use crate::protocol::http::field::{Field, values};
use crate::protocol::text;

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
