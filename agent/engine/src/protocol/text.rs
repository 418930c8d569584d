//! Wire bytes as text: bounded, and never failing.

/// Returns `bytes` as text of at most `max` bytes, with U+FFFD for what is not UTF-8 and for control characters but
/// white space: a terminal would obey them.
pub(super) fn lossy(bytes: &[u8], max: usize) -> String {
    let shown = bytes.get(..max).unwrap_or(bytes);
    if let Some(plain) = plain(shown) {
        return plain.to_owned();
    }
    let mut text = String::from_utf8_lossy(shown).into_owned();
    let is_obeyed = |character: char| character.is_control() && !matches!(character, '\t' | '\n' | '\r');
    if text.contains(is_obeyed) {
        text = text.replace(is_obeyed, "\u{fffd}");
    }
    truncate(&mut text, max);
    text
}

/// Returns `bytes` as they are, where all of them are visible ASCII or spaces: what most texts are.
fn plain(bytes: &[u8]) -> Option<&str> {
    // Without an early end, which keeps the compiler from looking at many bytes at once.
    let is_plain = bytes.iter().fold(true, |is_plain, &byte| is_plain & matches!(byte, b' '..=b'~'));
    str::from_utf8(bytes).ok().filter(|_| is_plain)
}

/// A short word in lower case.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lower {
    bytes: [u8; MAX_LOWER_BYTES],
    length: usize,
}

/// Longest word that [`Lower`] holds: longer than any that parsers look for.
const MAX_LOWER_BYTES: usize = 32;

impl Lower {
    /// Returns `word` in lower case; nothing in place of a word that is too long.
    pub(super) fn of(word: &[u8]) -> Self {
        let mut lower = Self::verbatim(word);
        lower.bytes.make_ascii_lowercase();
        lower
    }

    fn verbatim(word: &[u8]) -> Self {
        let mut verbatim = Self { bytes: [0; MAX_LOWER_BYTES], length: 0 };
        if let Some(room) = verbatim.bytes.get_mut(..word.len()) {
            room.copy_from_slice(word);
            verbatim.length = word.len();
        }
        verbatim
    }

    /// Returns its bytes.
    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// A short word in upper case; none in place of a word that is too long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upper(Lower);

impl Default for Upper {
    fn default() -> Self {
        Self::NONE
    }
}

impl Upper {
    /// No word.
    pub(super) const NONE: Self = Self(Lower { bytes: [0; MAX_LOWER_BYTES], length: 0 });

    pub(super) fn of(word: &[u8]) -> Self {
        let mut upper = Lower::verbatim(word);
        upper.bytes.make_ascii_uppercase();
        Self(upper)
    }

    /// Returns its bytes.
    pub(super) fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// Cuts `text` to at most `max` bytes, between characters.
pub(super) fn truncate(text: &mut String, max: usize) {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.truncate(end);
}

/// Returns the number that `digits` spell; none for an empty text, other characters or an overflow.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, &digit| {
        let value = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(value)
    })
}

/// Returns `text` with its percent-encoded bytes decoded (RFC 3986 section 2.1); what is no code stays.
pub(super) fn percent_decoded(mut text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    while let [byte, rest @ ..] = text {
        let digits = rest.get(..2).filter(|_| *byte == b'%').and_then(|digits| str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                text = rest.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push(*byte);
                text = rest;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_not_passed_on() {
        assert_eq!(lossy(b"/a\x1b]0;x\x07\x7fb\tc\nd", 64), "/a\u{fffd}]0;x\u{fffd}\u{fffd}b\tc\nd");
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(lossy("añb".as_bytes(), 2), "a");
        assert_eq!(lossy("añb".as_bytes(), 3), "añ");
        assert_eq!(lossy(&[b'a', 0xff, b'b'], 10), "a\u{fffd}b");
    }

    #[test]
    fn words_that_are_too_long_are_none() {
        assert_eq!(Lower::of(b"GeoRadius").as_slice(), b"georadius");
        assert_eq!(Upper::of(b"GeoRadius").as_slice(), b"GEORADIUS");
        assert_eq!((Upper::of(&[b'a'; 99]).as_slice(), Upper::NONE.as_slice()), (&b""[..], &b""[..]));
        assert_eq!(Lower::of(&[b'A'; MAX_LOWER_BYTES]).as_slice(), [b'a'; MAX_LOWER_BYTES]);
        assert_eq!(Lower::of(&[b'A'; MAX_LOWER_BYTES + 1]).as_slice(), b"");
    }

    #[test]
    fn decimals_are_strict() {
        assert_eq!(decimal(b"0018"), Some(18));
        for wrong in ["", "+1", "-1", "1 ", "0x1", "99999999999999999999"] {
            assert_eq!(decimal(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
