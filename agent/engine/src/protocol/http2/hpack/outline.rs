//! The shape of a block, without its tables: whether bytes can be one, and whose.

use super::Reader;
use crate::protocol::Side;

/// Largest index of the static table.
const STATIC_ENTRIES: usize = 61;
/// Largest index that is plausible: a table of 64 KiB holds no more entries.
const MAX_INDEX: usize = STATIC_ENTRIES + 2048;
/// Largest size of a table that is plausible.
const MAX_TABLE_BYTES: usize = 1 << 24;

/// What a block looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::protocol::http2) struct Outline {
    /// Who sends such blocks, as far as pseudo-header fields of the static table tell.
    pub(in crate::protocol::http2) side: Option<Side>,
    /// Fields that stand whole in what was shown.
    pub(in crate::protocol::http2) fields: usize,
}

/// Returns the shape of a block, or of its beginning; none where it is no block.
pub(in crate::protocol::http2) fn outline(block: &[u8], is_whole: bool) -> Option<Outline> {
    let mut outline = Outline::default();
    let mut rest = Reader { rest: block };
    let mut is_regular = false;
    while !rest.rest.is_empty() {
        let Ok(index) = field(&mut rest) else { return (!is_whole).then_some(outline) };
        let index = index?;
        let side = match index {
            1..=7 => Some(Side::Client),
            8..=14 => Some(Side::Server),
            _ => None,
        };
        // Pseudo-header fields come first, and only those of one side (RFC 9113 section 8.3).
        let is_misplaced =
            side.is_some() && (is_regular || outline.side.is_some_and(|known| Some(known) != side));
        if is_misplaced {
            return None;
        }
        is_regular |= (15..=STATIC_ENTRIES).contains(&index);
        outline.side = outline.side.or(side);
        outline.fields += 1;
    }
    Some(outline)
}

/// Reads a representation: the index of its name (0 for a literal or none); nothing where it cannot be one. An error
/// says that it is cut.
fn field(rest: &mut Reader<'_>) -> Result<Option<usize>, &'static str> {
    let first = rest.peek()?;
    let prefix = match first {
        0x80.. => 7,
        0x40..=0x7f => 6,
        0x20..=0x3f => 5,
        0x00..=0x1f => 4,
    };
    let Ok(index) = number(rest, prefix)? else { return Ok(None) };
    match first {
        0x80.. => return Ok((1..=MAX_INDEX).contains(&index).then_some(index)),
        0x20..=0x3f => return Ok((index <= MAX_TABLE_BYTES).then_some(0)),
        _ if index > MAX_INDEX => return Ok(None),
        _ => {}
    }
    if index == 0 {
        let name = rest.text()?;
        let is_name = |&byte: &u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
        if name.bytes.is_empty() || !(name.is_huffman || name.bytes.iter().all(is_name)) {
            return Ok(None);
        }
    }
    let value = rest.text()?;
    let is_value = value.is_huffman || value.bytes.iter().all(|&byte| byte >= b' ' || byte == b'\t');
    Ok(is_value.then_some(index))
}

/// Numbers that are too large are no numbers, rather than cut ones.
fn number(rest: &mut Reader<'_>, prefix: u32) -> Result<Result<usize, ()>, &'static str> {
    match rest.number(prefix) {
        Ok(number) => Ok(Ok(number)),
        Err(cut) if rest.rest.is_empty() => Err(cut),
        Err(_) => Ok(Err(())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(block: &[u8], is_whole: bool, expected: Option<(Option<Side>, usize)>) {
        let found = outline(block, is_whole).map(|outline| (outline.side, outline.fields));
        assert_eq!(found, expected, "{block:02x?}");
    }

    #[test]
    fn blocks_tell_their_side() {
        check(b"\x82\x86\x84\xbe", true, Some((Some(Side::Client), 4)));
        check(b"\x88\xbf\xbe", true, Some((Some(Side::Server), 3)));
        check(b"\xc0\xbf\xbe", true, Some((None, 3)));
        check(b"\x44\x03/ab\x83", true, Some((Some(Side::Client), 2)));
        check(b"\x40\x03:me\x03GET", true, Some((None, 1)));
        check(b"", true, Some((None, 0)));
    }

    #[test]
    fn what_is_no_block_is_told() {
        check(b"\x82\x88", true, None);
        check(b"\x82\x90\x84", true, None);
        check(b"\x80", true, None);
        check(b"\x40\x03Abc\x00", true, None);
        check(b"\x40\x00\x00", true, None);
        check(b"\x00\x01a\x01\x00", true, None);
        check(b"\xff\xff\xff\x7f", true, None);
    }

    #[test]
    fn beginnings_are_judged_by_what_is_whole() {
        check(b"\x82\x44\x03/a", false, Some((Some(Side::Client), 1)));
        check(b"\x82\x44\x03/a", true, None);
        check(b"\x82\x88\x44", false, None);
    }
}
