//! Domain names (RFC 1035 section 3.1, 4.1.4).

/// Longest name on the wire (section 2.3.4), with lengths and the root.
const MAX_BYTES: usize = 255;
/// Longest label.
const MAX_LABEL_BYTES: u8 = 63;
/// The two highest bits of a pointer, which stands for the rest of a name.
const POINTER: u8 = 0xc0;

/// Returns the name at `at` in the form of master files (section 5.1), lower case and without a dot at its end, and where
/// it ends. None where it is cut, too long or compressed: the first name of a message has nothing to point at.
pub(super) fn read(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let start = at;
    let mut text = String::with_capacity(32);
    loop {
        let length = *message.get(at)?;
        at += 1;
        if length == 0 {
            break;
        }
        let label = message.get(at..at + usize::from(length)).filter(|_| length <= MAX_LABEL_BYTES)?;
        at += label.len();
        if at - start >= MAX_BYTES {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        label.iter().for_each(|&byte| push(&mut text, byte));
    }
    if text.is_empty() {
        text.push('.');
    }
    Some((text, at))
}

fn push(text: &mut String, byte: u8) {
    match byte {
        b'.' | b'\\' => text.extend(['\\', char::from(byte)]),
        b'!'..=b'~' => text.push(char::from(byte.to_ascii_lowercase())),
        other => text.push_str(&format!("\\{other:03}")),
    }
}

/// Returns where the name at `at` ends. Pointers end a name and are not followed, so that they cannot lead in a circle.
pub(super) fn end(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = *message.get(at)?;
        match length {
            0 => return Some(at + 1),
            POINTER.. => return Some(at + 2),
            length if length <= MAX_LABEL_BYTES => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_and_printable() {
        let name = |bytes| read(bytes, 0).map(|(name, _)| name);
        assert_eq!(read(b"\x03wWw\x07Example\x03com\0?", 0), Some(("www.example.com".into(), 17)));
        assert_eq!(name(b"\0").as_deref(), Some("."));
        assert_eq!(name(b"\x03a.b\x03\x1b\\\xff\0").as_deref(), Some("a\\.b.\\027\\\\\\255"));
    }

    #[test]
    fn hostile_names_are_none() {
        assert_eq!(read(b"\x03ww", 0), None);
        assert_eq!(read(b"\xc0\x00", 0), None);
        assert_eq!(read(b"\x40", 0), None);
        let long = [&b"\x3f"[..], &[b'a'; 63]].concat().repeat(4);
        assert_eq!(read(&[&long[..], b"\0"].concat(), 0), None);
        assert_eq!(read(b"", 7), None);
    }

    #[test]
    fn ends_are_found_without_following_pointers() {
        assert_eq!(end(b"\xc0\x00?", 0), Some(2));
        assert_eq!(end(b"\x01a\xc0\x00", 0), Some(4));
        assert_eq!(end(b"\x01a\0", 0), Some(3));
        assert_eq!(end(b"\x80", 0), None);
        assert_eq!(end(b"\x05a", 0), None);
    }
}
