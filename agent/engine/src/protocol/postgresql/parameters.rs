//! Values of parameters (message `Bind`), as far as they say what a statement is about.

use crate::protocol::marks::{Marks, Search};

/// Format of a value that is sent in binary.
const BINARY: u16 = 1;

/// Returns the marks of the values in a `Bind` message, which follow the names of portal and statement in `rest`. What
/// was cut off is told as partial.
pub(super) fn marks(rest: &[u8], key: Option<u64>) -> Marks {
    let mut search = Search::new(key);
    if search_values(rest, &mut search).is_none() {
        search.skip();
    }
    search.finish()
}

fn search_values(rest: &[u8], search: &mut Search) -> Option<()> {
    let (formats, rest) = take_count(rest)?;
    let (formats, rest) = rest.split_at_checked(2 * formats)?;
    let (count, mut rest) = take_count(rest)?;
    for at in 0..count {
        let (length, after) = rest.split_first_chunk()?;
        // Minus one stands for NULL.
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        let (value, after) = after.split_at_checked(length)?;
        match is_binary(formats, at) {
            true => search.binary(value),
            false => search.text(value),
        }
        rest = after;
    }
    Some(())
}

fn take_count(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (count, rest) = bytes.split_first_chunk()?;
    Some((usize::from(u16::from_be_bytes(*count)), rest))
}

/// No format stands for text, one is that of all values.
fn is_binary(formats: &[u8], at: usize) -> bool {
    let (formats, _) = formats.as_chunks::<2>();
    let format = match formats {
        [one] => Some(one),
        several => several.get(at),
    };
    format.is_some_and(|format| u16::from_be_bytes(*format) == BINARY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rest: &[u8], expected: &[&str], is_partial: bool) {
        let mut search = Search::new(Some(1));
        expected.iter().for_each(|text| search.text(text.as_bytes()));
        let found = marks(rest, Some(1));
        let hashes = |marks: &Marks| marks.iter().map(|mark| mark.hash).collect::<Vec<_>>();
        assert_eq!((hashes(&found), found.is_partial()), (hashes(&search.finish()), is_partial), "{rest:?}");
    }

    #[test]
    fn values_are_read_in_both_formats() {
        check(b"\0\0\0\x01\0\0\0\x0512345\0\0", &["12345"], false);
        check(b"\0\x01\0\x01\0\x01\0\0\0\x04\x29\xb9\x27\x01\0\0", &["700000001"], false);
        let mixed =
            b"\0\x02\0\0\0\x01\0\x03\0\0\0\x0512345\0\0\0\x08\0\0\0\0\x29\xb9\x27\x01\xff\xff\xff\xff\0\0";
        check(mixed, &["12345", "700000001"], false);
        check(b"\0\0\0\0\0\0", &[], false);
    }

    #[test]
    fn what_is_cut_off_is_told() {
        check(b"\0\0\0\x02\0\0\0\x0512345\0\0\0\x05987", &["12345"], true);
        check(b"\0", &[], true);
        check(b"\xff\xff\0", &[], true);
    }
}
