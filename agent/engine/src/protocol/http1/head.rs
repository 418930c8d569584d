//! The head of a message: start line and fields (RFC 9112 section 2.1).

use super::detect::is_token;
use crate::protocol::http::field::Field;

/// Longest head. Servers' own limits are lower (nginx 32 KiB, Node 16 KiB), Go's is 1 MiB.
pub(super) const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Lines of a head for which there is room from the start.
const TYPICAL_FIELDS: usize = 16;
/// Most lines of a head.
pub(super) const MAX_FIELDS: usize = 256;

/// A head, cut into its lines.
#[derive(Debug)]
pub(super) struct Head<'a> {
    /// Request line or status line.
    pub(super) start_line: &'a [u8],
    /// Fields in their order.
    pub(super) fields: Vec<Field<'a>>,
}

impl<'a> Head<'a> {
    /// Returns the lines of the head that `bytes` begin, up to the empty line, and its length with that; or all lines
    /// but a last one without its end, and no length. None where there are too many fields.
    pub(super) fn read(bytes: &'a [u8]) -> Option<(Self, Option<usize>)> {
        let mut lines = Lines { rest: bytes };
        let start_line = lines.next().unwrap_or_default();
        let mut fields = Vec::with_capacity(TYPICAL_FIELDS);
        while let Some(line) = lines.next() {
            if line.is_empty() {
                return Some((Self { start_line, fields }, Some(bytes.len() - lines.rest.len())));
            }
            if fields.len() == MAX_FIELDS {
                return None;
            }
            fields.extend(field(line));
        }
        Some((Self { start_line, fields }, None))
    }
}

/// Returns the length of the head that `bytes` begin, including the empty line. `scanned` bytes are known to contain
/// no end, apart from the last few.
pub(super) fn length(bytes: &[u8], scanned: usize) -> Option<usize> {
    let start = scanned.saturating_sub("\n\r".len());
    for at in memchr::memchr_iter(b'\n', bytes.get(start..)?) {
        let line_end = start + at + 1;
        match bytes.get(line_end..)? {
            [b'\n', ..] => return Some(line_end + 1),
            [b'\r', b'\n', ..] => return Some(line_end + 2),
            _ => {}
        }
    }
    None
}

/// Lines that end with a line feed, with or without a carriage return before it (RFC 9112 section 2.2).
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let (line, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..)?;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

/// Returns the field of a line; none for folded lines and such that no server would take.
fn field(line: &[u8]) -> Option<Field<'_>> {
    let name_length = line.iter().position(|&byte| !is_token(byte))?;
    let (name, rest) = line.split_at_checked(name_length).filter(|(name, _)| !name.is_empty())?;
    Some(Field { name, value: rest.strip_prefix(b":")?.trim_ascii() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_wherever_scanning_stopped() {
        for head in [
            &b"GET / HTTP/1.1\r\nA: b\r\n\r\n"[..],
            b"GET / HTTP/1.1\nA: b\n\n",
            b"GET / HTTP/1.1\r\nA: b\n\r\n",
        ] {
            let shown = [head, b"rest"].concat();
            for scanned in 0..head.len() {
                assert_eq!(length(&shown, scanned), Some(head.len()), "{scanned}");
            }
            for end in 0..head.len() {
                assert_eq!(length(&head[..end], 0), None, "{end}");
            }
        }
    }

    #[test]
    fn fields_are_read_and_bad_lines_passed_over() {
        let shown = b"GET / HTTP/1.1\r\nHost:a\r\n folded\r\nX : y\r\nno colon\r\nB:  c \n\r\nrest\n";
        let (head, length) = Head::read(shown).expect("few");
        let names: Vec<_> = head.fields.iter().map(|field| (field.name, field.value)).collect();
        assert_eq!(head.start_line, b"GET / HTTP/1.1");
        assert_eq!(names, [(&b"Host"[..], &b"a"[..]), (b"B", b"c")]);
        assert_eq!(length, Some(shown.len() - b"rest\n".len()));
    }

    #[test]
    fn a_head_without_its_end_has_no_length() {
        let head = b"GET / HTTP/1.1\r\nA: b\r\n\r\n";
        for end in 0..=head.len() {
            let (_, length) = Head::read(&head[..end]).expect("few");
            assert_eq!(length, (end == head.len()).then_some(end), "{end}");
        }
    }

    #[test]
    fn too_many_fields_are_refused() {
        let head = |count: usize| [b"GET / HTTP/1.1\r\n".to_vec(), b"a: b\r\n".repeat(count)].concat();
        assert!(Head::read(&head(MAX_FIELDS)).is_some());
        assert!(Head::read(&head(MAX_FIELDS + 1)).is_none());
    }
}
