//! HPACK: header blocks become fields (RFC 7541).

mod fields;
mod huffman;
mod outline;
mod table;

pub(super) use fields::Fields;
pub(super) use outline::{Outline, outline};
use table::{Found, Table};

use crate::held::Held;

/// Largest number that is believed: no length or index comes near it.
const MAX_NUMBER: usize = 1 << 28;

/// The decoder of the blocks of one side.
#[derive(Debug)]
pub(super) struct Decoder {
    table: Table,
}

impl Decoder {
    /// Returns the decoder of a connection that is seen from its start, or of one that was met later.
    pub(super) fn new(is_start: bool) -> Self {
        Self { table: Table::new(is_start) }
    }

    /// Forgets what was indexed: some blocks were not seen.
    pub(super) fn forget(&mut self) {
        self.table = Table::new(false);
    }

    /// Notes that blocks may be missing: what was indexed before is not told until it is certain that none is.
    pub(super) fn doubt(&mut self) {
        self.table.doubt();
    }

    /// Returns whether blocks may be missing.
    pub(super) fn is_doubtful(&self) -> bool {
        self.table.is_doubtful()
    }

    /// Ends the doubt: blocks are missing, or none is.
    pub(super) fn settle(&mut self, is_proven: bool) {
        match is_proven {
            true => self.table.confirm(),
            false => self.table.refute(),
        }
    }

    /// Returns the fields of a whole block, in the memory of `room`, which is empty. An error names the rule that was
    /// broken.
    pub(super) fn decode(&mut self, block: &[u8], mut room: Fields) -> Result<Fields, &'static str> {
        room.reserve();
        let mut rest = Reader { rest: block };
        while !rest.rest.is_empty() {
            self.field(&mut rest, &mut room)?;
        }
        Ok(room)
    }

    /// Returns the fields that stand whole in the beginning of a block. What the rest adds to the table is not known.
    pub(super) fn decode_beginning(&mut self, block: &[u8]) -> Fields {
        let mut fields = Fields::default();
        let mut rest = Reader { rest: block };
        while !rest.rest.is_empty() && self.field(&mut rest, &mut fields).is_ok() {}
        fields.leave_out();
        self.forget();
        fields
    }

    /// Reads one representation (section 6).
    fn field(&mut self, rest: &mut Reader<'_>, fields: &mut Fields) -> Result<(), &'static str> {
        let first = rest.peek()?;
        match first {
            0x80.. => {
                let index = rest.number(7)?;
                self.indexed(index, fields)
            }
            0x40..=0x7f => self.literal(rest, 6, true, fields),
            0x20..=0x3f => {
                let size = rest.number(5)?;
                self.table.resize(size);
                Ok(())
            }
            0x00..=0x1f => self.literal(rest, 4, false, fields),
        }
    }

    fn indexed(&self, index: usize, fields: &mut Fields) -> Result<(), &'static str> {
        match self.table.get(index) {
            Found::Field(name, value) => fields.add(name, value),
            Found::Nameless(_) | Found::Unknown => fields.leave_out(),
            Found::Nothing => return Err("index outside of the header tables"),
        }
        Ok(())
    }

    fn literal(
        &mut self,
        rest: &mut Reader<'_>,
        prefix: u32,
        is_indexed: bool,
        fields: &mut Fields,
    ) -> Result<(), &'static str> {
        let index = rest.number(prefix)?;
        let literal_name = if index == 0 { Some(rest.text()?) } else { None };
        let value = rest.text()?;
        let field = fields.begin();
        let has_name = match literal_name {
            Some(name) => name.decode(fields.buffer())?,
            None => match self.table.get(index) {
                Found::Field(name, _) => fields.push(name),
                Found::Nameless(_) | Found::Unknown => false,
                Found::Nothing => return Err("index outside of the header tables"),
            },
        };
        let name_end = fields.end();
        value.decode(fields.buffer())?;
        if is_indexed {
            let (name, value) = fields.cut(field, name_end);
            self.table.add(has_name.then_some(name), value);
        }
        fields.finish(field, name_end, has_name);
        Ok(())
    }
}

/// A text as it stands in a block.
#[derive(Clone, Copy, Debug)]
struct Text<'a> {
    bytes: &'a [u8],
    is_huffman: bool,
}

impl Text<'_> {
    fn decode(self, to: &mut Vec<u8>) -> Result<bool, &'static str> {
        if !self.is_huffman {
            to.extend_from_slice(self.bytes);
            return Ok(true);
        }
        if huffman::decode(self.bytes, to) { Ok(true) } else { Err("wrong Huffman code") }
    }
}

/// What is left of a block.
#[derive(Clone, Copy, Debug)]
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Result<u8, &'static str> {
        self.rest.first().copied().ok_or("header block is cut")
    }

    fn byte(&mut self) -> Result<u8, &'static str> {
        let (&byte, rest) = self.rest.split_first().ok_or("header block is cut")?;
        self.rest = rest;
        Ok(byte)
    }

    /// Reads a number that begins in the last `prefix` bits of a byte (section 5.1).
    fn number(&mut self, prefix: u32) -> Result<usize, &'static str> {
        let mask = (1usize << prefix) - 1;
        let mut number = usize::from(self.byte()?) & mask;
        if number < mask {
            return Ok(number);
        }
        let mut shift = 0;
        loop {
            let byte = usize::from(self.byte()?);
            number += (byte & 0x7f) << shift;
            if number > MAX_NUMBER || shift > 28 {
                return Err("number in a header block too large");
            }
            if byte & 0x80 == 0 {
                return Ok(number);
            }
            shift += 7;
        }
    }

    /// Reads a text (section 5.2).
    fn text(&mut self) -> Result<Text<'a>, &'static str> {
        let is_huffman = self.peek()? & 0x80 != 0;
        let length = self.number(7)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or("header block is cut")?;
        self.rest = rest;
        Ok(Text { bytes, is_huffman })
    }
}

impl Held for Decoder {
    fn held_bytes(&self) -> usize {
        self.table.held_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(fields: &Fields) -> Vec<String> {
        let mut told: Vec<String> = fields
            .list()
            .iter()
            .map(|field| format!("{}={}", field.name.escape_ascii(), field.value.escape_ascii()))
            .collect();
        if fields.is_partial() {
            told.push("…".to_owned());
        }
        told
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    fn check(decoder: &mut Decoder, block: &str, expected: &[&str]) {
        assert_eq!(told(&decoder.decode(&hex(block), Fields::default()).unwrap()), expected);
    }

    /// RFC 7541 appendix C.4: requests of one connection with Huffman codes.
    const FIRST: &str = "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff";
    const SECOND: &str = "8286 84be 5886 a8eb 1064 9cbf";
    const THIRD: &str = "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf";

    #[test]
    fn the_requests_of_the_specification_are_read() {
        let mut decoder = Decoder::new(true);
        let common = [":method=GET", ":scheme=http", ":path=/", ":authority=www.example.com"];
        check(&mut decoder, FIRST, &common);
        check(&mut decoder, SECOND, &[&common[..], &["cache-control=no-cache"]].concat());
        check(
            &mut decoder,
            THIRD,
            &[
                ":method=GET",
                ":scheme=https",
                ":path=/index.html",
                ":authority=www.example.com",
                "custom-key=custom-value",
            ],
        );
    }

    #[test]
    fn the_responses_of_the_specification_are_read_with_their_evictions() {
        // RFC 7541 appendix C.5, in a table of 256 bytes.
        let mut decoder = Decoder::new(true);
        decoder.table.resize(256);
        let rest = [
            "cache-control=private",
            "date=Mon, 21 Oct 2013 20:13:21 GMT",
            "location=https://www.example.com",
        ];
        check(
            &mut decoder,
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32
             3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            &[&[":status=302"], &rest[..]].concat(),
        );
        check(&mut decoder, "4803 3330 37c1 c0bf", &[&[":status=307"], &rest[..]].concat());
        assert!(decoder.decode(&hex("c1"), Fields::default()).is_ok(), "cache-control is the oldest");
        assert_eq!(
            decoder.decode(&hex("c2"), Fields::default()).err(),
            Some("index outside of the header tables")
        );
    }

    #[test]
    fn what_was_indexed_before_is_said_and_what_is_indexed_later_is_known() {
        let mut decoder = Decoder::new(false);
        let common = [":method=GET", ":scheme=http", ":path=/"];
        check(&mut decoder, SECOND, &[&common[..], &["cache-control=no-cache", "…"]].concat());
        check(
            &mut decoder,
            THIRD,
            // Index 63 is still the one that nobody saw.
            &[":method=GET", ":scheme=https", ":path=/index.html", "custom-key=custom-value", "…"],
        );
        check(&mut decoder, "be bf c0", &["custom-key=custom-value", "cache-control=no-cache", "…"]);
    }

    #[test]
    fn a_value_whose_name_is_unknown_is_not_told() {
        let mut decoder = Decoder::new(false);
        check(&mut decoder, "7f00 0161", &["…"]);
        check(&mut decoder, "be", &["…"]);
        decoder.decode(&hex("7e 0162"), Fields::default()).unwrap();
        check(&mut decoder, "be 82", &[":method=GET", "…"]);
    }

    #[test]
    fn the_beginning_of_a_block_gives_what_stands_whole_in_it() {
        let mut decoder = Decoder::new(true);
        let block = hex(FIRST);
        let fields = decoder.decode_beginning(&block[..block.len() - 3]);
        assert_eq!(told(&fields), [":method=GET", ":scheme=http", ":path=/", "…"]);
        check(
            &mut decoder,
            SECOND,
            &[":method=GET", ":scheme=http", ":path=/", "cache-control=no-cache", "…"],
        );
    }

    #[test]
    fn wrong_blocks_are_refused() {
        for (block, reason) in [
            ("80", "index outside of the header tables"),
            ("be", "index outside of the header tables"),
            ("ff ff ff ff ff ff 0f", "number in a header block too large"),
            ("ff 80 80 80 80 80 80 00", "number in a header block too large"),
            ("ff", "header block is cut"),
            ("00 05 61", "header block is cut"),
            ("00 ff ff ff ff 7f 61", "number in a header block too large"),
            ("00 81 00 00", "wrong Huffman code"),
        ] {
            assert_eq!(
                Decoder::new(true).decode(&hex(block), Fields::default()).err(),
                Some(reason),
                "{block}"
            );
        }
    }

    #[test]
    fn a_block_that_repeats_a_long_field_is_bounded() {
        let mut decoder = Decoder::new(true);
        // A value of 4000 bytes.
        let mut block = hex("40 01 61 7f a1 1e");
        block.extend_from_slice(&[b'x'; 4000]);
        let block = [block, vec![0xbe; 60_000]].concat();
        let fields = decoder.decode(&block, Fields::default()).unwrap();
        assert!(fields.is_partial() && fields.list().len() <= fields::MAX_FIELDS);
        let bytes: usize = fields.list().iter().map(|field| field.name.len() + field.value.len()).sum();
        assert!(bytes <= fields::MAX_LIST_BYTES, "{bytes}");
    }
}
