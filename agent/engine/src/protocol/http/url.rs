//! Request targets and authorities (RFC 9112 section 3.2, RFC 3986).

use super::field::REDACTED;
use crate::protocol::text;
use crate::semconv::Text;

/// Longest path and query that are recorded, in bytes each.
const MAX_PART_BYTES: usize = 2048;

/// What a request target says.
#[derive(Debug, Default, PartialEq)]
pub(in crate::protocol) struct Target {
    /// Scheme of an absolute target, lower case.
    pub(in crate::protocol) scheme: Option<Text>,
    /// Authority of an absolute target.
    pub(in crate::protocol) authority: Option<(String, Option<u16>)>,
    /// Path; none for `CONNECT` and `*`.
    pub(in crate::protocol) path: Option<String>,
    /// Query, redacted.
    pub(in crate::protocol) query: Option<String>,
}

/// Returns what `target` says. Values of the query parameters called `redacted` (lower case) are replaced.
pub(in crate::protocol) fn parse(target: &[u8], redacted: &[String]) -> Target {
    if target.starts_with(b"/") {
        return with_path(Target::default(), target, redacted);
    }
    let Some(colon) = memchr::memmem::find(target, b"://") else { return Target::default() };
    let scheme = target.get(..colon).map(|scheme| Text::Owned(text::lossy(scheme, 16).to_ascii_lowercase()));
    let rest = target.get(colon + 3..).unwrap_or_default();
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (host, path) = rest.split_at_checked(end).unwrap_or_default();
    let path = if path.starts_with(b"/") { path.to_vec() } else { [b"/", path].concat() };
    with_path(Target { scheme, authority: authority(host), ..Target::default() }, &path, redacted)
}

/// Returns host and port of `host[:port]`, without user information; none where there is no host.
pub(in crate::protocol) fn authority(text: &[u8]) -> Option<(String, Option<u16>)> {
    let text = memchr::memrchr(b'@', text).map_or(Some(text), |at| text.get(at + 1..))?;
    let (host, port) = match text.strip_prefix(b"[") {
        Some(literal) => {
            let end = memchr::memchr(b']', literal)?;
            (literal.get(..end)?, literal.get(end + 1..)?.strip_prefix(b":"))
        }
        None => match memchr::memchr(b':', text) {
            Some(colon) => (text.get(..colon)?, text.get(colon + 1..)),
            None => (text, None),
        },
    };
    let is_host = !host.is_empty() && host.len() <= 255 && host.iter().all(u8::is_ascii_graphic);
    let host = str::from_utf8(host).ok().filter(|_| is_host)?;
    let port = port.and_then(text::decimal).and_then(|port| u16::try_from(port).ok());
    Some((host.to_owned(), port))
}

fn with_path(mut target: Target, text: &[u8], redacted: &[String]) -> Target {
    let text = before(b'#', text);
    let path = before(b'?', text);
    let query = text.get(path.len() + 1..).unwrap_or_default();
    target.path = Some(text::lossy(path, MAX_PART_BYTES));
    target.query = (!query.is_empty()).then(|| redact(query, redacted));
    target
}

/// Returns what stands before the first such byte: all, where there is none.
fn before(byte: u8, text: &[u8]) -> &[u8] {
    memchr::memchr(byte, text).and_then(|end| text.get(..end)).unwrap_or(text)
}

fn redact(query: &[u8], redacted: &[String]) -> String {
    let mut text = String::new();
    for parameter in query.split(|&byte| byte == b'&') {
        if text.len() >= MAX_PART_BYTES {
            break;
        }
        if !text.is_empty() {
            text.push('&');
        }
        match memchr::memchr(b'=', parameter).and_then(|equals| parameter.split_at_checked(equals)) {
            Some((name, _)) if is_redacted(name, redacted) => {
                text.push_str(&text::lossy(name, MAX_PART_BYTES));
                text.push('=');
                text.push_str(REDACTED);
            }
            _ => text.push_str(&text::lossy(parameter, MAX_PART_BYTES)),
        }
    }
    text::truncate(&mut text, MAX_PART_BYTES);
    text
}

fn is_redacted(name: &[u8], redacted: &[String]) -> bool {
    let name = text::percent_decoded(name).to_ascii_lowercase();
    redacted.iter().any(|redacted| redacted.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(target: &str) -> (Option<String>, Option<String>) {
        let redacted = ["token".to_owned(), "sig".to_owned()];
        let target = parse(target.as_bytes(), &redacted);
        (target.path, target.query)
    }

    #[test]
    fn targets_are_read_in_all_forms() {
        assert_eq!(part("/a?b=c#d"), (Some("/a".into()), Some("b=c".into())));
        assert_eq!(part("/a?"), (Some("/a".into()), None));
        assert_eq!(part("*"), (None, None));
        assert_eq!(part("a.example:443"), (None, None));
        let absolute = parse(b"HTTP://u:p@a.example:81?x=1", &[]);
        assert_eq!(absolute.scheme.as_deref(), Some("http"));
        assert_eq!(absolute.authority, Some(("a.example".into(), Some(81))));
        assert_eq!((absolute.path.as_deref(), absolute.query.as_deref()), (Some("/"), Some("x=1")));
    }

    #[test]
    fn secrets_are_replaced_however_they_are_written() {
        let query = part("/?a=1&TOKEN=s3cret&%74oken=s3cret&sig=&token&b=token=x").1;
        assert_eq!(
            query.as_deref(),
            Some("a=1&TOKEN=REDACTED&%74oken=REDACTED&sig=REDACTED&token&b=token=x")
        );
    }

    #[test]
    fn authorities_are_read() {
        assert_eq!(authority(b"a"), Some(("a".into(), None)));
        assert_eq!(authority(b"[::1]:8080"), Some(("::1".into(), Some(8080))));
        assert_eq!(authority(b"[::1]"), Some(("::1".into(), None)));
        assert_eq!(authority(b"a:99999"), Some(("a".into(), None)));
        for wrong in ["", ":80", "[::1", "a b"] {
            assert_eq!(authority(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
