//! BSON documents (bsonspec.org, version 1.1), read in place, also where only their beginning is there.

/// Types of elements.
pub(super) mod kind {
    pub(in super::super) const DOUBLE: u8 = 0x01;
    pub(in super::super) const STRING: u8 = 0x02;
    pub(in super::super) const DOCUMENT: u8 = 0x03;
    pub(in super::super) const ARRAY: u8 = 0x04;
    pub(in super::super) const BINARY: u8 = 0x05;
    pub(in super::super) const OBJECT_ID: u8 = 0x07;
    pub(in super::super) const BOOLEAN: u8 = 0x08;
    pub(in super::super) const NULL: u8 = 0x0a;
    pub(in super::super) const INT32: u8 = 0x10;
    pub(in super::super) const INT64: u8 = 0x12;
}

/// Shortest document: a length and the end.
pub(super) const MIN_DOCUMENT_BYTES: usize = 5;
/// Longest name of a field that is read.
const MAX_NAME_BYTES: usize = 1024;

/// One field of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element<'a> {
    /// Its type.
    pub(super) kind: u8,
    /// Its name; the index, in an array.
    pub(super) name: &'a [u8],
    /// Its value, as far as it is there.
    pub(super) value: &'a [u8],
    /// Bytes of its value in all.
    pub(super) length: usize,
    /// Where its value begins, from the beginning of the document.
    pub(super) start: usize,
}

impl<'a> Element<'a> {
    /// Returns whether a part of its value is missing.
    pub(super) fn is_cut(&self) -> bool {
        self.value.len() < self.length
    }

    /// Returns its text, where it is a whole string.
    pub(super) fn text(&self) -> Option<&'a [u8]> {
        let is_string = self.kind == kind::STRING && !self.is_cut();
        self.value.get(4..self.length.checked_sub(1)?).filter(|_| is_string)
    }

    /// Returns its fields, where it is a document or an array.
    pub(super) fn elements(&self) -> Option<Elements<'a>> {
        matches!(self.kind, kind::DOCUMENT | kind::ARRAY).then(|| Elements::of(self.value)).flatten()
    }

    /// Returns its number, without its fraction where it has one.
    pub(super) fn number(&self) -> Option<i64> {
        match self.kind {
            kind::INT32 => Some(i32::from_le_bytes(self.value.try_into().ok()?).into()),
            kind::INT64 => Some(i64::from_le_bytes(self.value.try_into().ok()?)),
            // Saturates, and makes 0 of what is no number.
            kind::DOUBLE => Some(f64::from_le_bytes(self.value.try_into().ok()?) as i64),
            kind::BOOLEAN => self.value.first().map(|&value| i64::from(value != 0)),
            _ => None,
        }
    }
}

/// Walks over the fields of a document. Ends where it ends, where the rest is missing or where it is no document.
#[derive(Clone, Debug)]
pub(super) struct Elements<'a> {
    /// The document, as far as it is there.
    document: &'a [u8],
    /// Its length in all.
    length: usize,
    at: usize,
    is_over: bool,
    is_broken: bool,
}

impl<'a> Elements<'a> {
    /// Returns the fields of the document that `bytes` begin with, or of its beginning.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        let length = document_length(bytes)?;
        let document = bytes.get(..length).unwrap_or(bytes);
        Some(Self { document, length, at: 4, is_over: false, is_broken: false })
    }

    /// Returns the last fields of a document, with which `bytes` begin and end.
    pub(super) fn last(bytes: &'a [u8]) -> Self {
        Self { document: bytes, length: bytes.len(), at: 0, is_over: false, is_broken: false }
    }

    /// Returns whether the bytes are no document; known likewise.
    #[cfg(test)]
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Returns where the fields begin that are not there, or whose beginning is not; known once all others have been
    /// asked for.
    pub(super) fn unread(&self) -> Option<usize> {
        (!self.is_broken && self.at + 1 < self.length).then_some(self.at)
    }

    fn element(&mut self) -> Option<Element<'a>> {
        let rest = self.document.get(self.at..)?;
        let (&kind, rest) = rest.split_first()?;
        if kind == 0 {
            self.is_broken |= self.at + 1 != self.length;
            return None;
        }
        let Some(name_length) = memchr::memchr(0, rest.get(..MAX_NAME_BYTES).unwrap_or(rest)) else {
            self.is_broken |= rest.len() >= MAX_NAME_BYTES || self.document.len() == self.length;
            return None;
        };
        let (name, value) = rest.split_at_checked(name_length)?;
        let value = value.get(1..)?;
        let start = self.at + 1 + name_length + 1;
        let length = match value_length(kind, value) {
            Length::Is(length) => length,
            Length::Unknown if self.document.len() < self.length => return None,
            Length::Unknown | Length::Wrong => return self.fail(),
        };
        let end = start.checked_add(length).filter(|&end| end < self.length);
        let Some(end) = end else { return self.fail() };
        self.at = end;
        Some(Element { kind, name, value: value.get(..length).unwrap_or(value), length, start })
    }

    fn fail<T>(&mut self) -> Option<T> {
        self.is_broken = true;
        None
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let element = if self.is_over { None } else { self.element() };
        self.is_over = element.is_none();
        element
    }
}

/// Returns the length of the document that `bytes` begin with.
pub(super) fn document_length(bytes: &[u8]) -> Option<usize> {
    let length = usize::try_from(int32(bytes)?).ok()?;
    (length >= MIN_DOCUMENT_BYTES).then_some(length)
}

/// Returns the number that `bytes` begin with.
pub(super) fn int32(bytes: &[u8]) -> Option<i32> {
    bytes.first_chunk().map(|number| i32::from_le_bytes(*number))
}

/// The length of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// It is known.
    Is(usize),
    /// More bytes must be seen.
    Unknown,
    /// There is no such value.
    Wrong,
}

/// Returns the length of the value of a type that `value` begins with.
pub(super) fn value_length(kind: u8, value: &[u8]) -> Length {
    let prefixed = |least: usize, besides: usize| match int32(value) {
        Some(length) => match usize::try_from(length).ok().filter(|&length| length >= least) {
            Some(length) => Length::Is(length + besides),
            None => Length::Wrong,
        },
        None => Length::Unknown,
    };
    match kind {
        // Double, date, timestamp, int64.
        0x01 | 0x09 | 0x11 | 0x12 => Length::Is(8),
        // String, code, symbol.
        0x02 | 0x0d | 0x0e => prefixed(1, 4),
        // Document, array.
        0x03 | 0x04 => prefixed(MIN_DOCUMENT_BYTES, 0),
        // Binary.
        0x05 => prefixed(0, 5),
        // Undefined, null, the least and the greatest of all.
        0x06 | 0x0a | 0xff | 0x7f => Length::Is(0),
        // Object id.
        0x07 => Length::Is(12),
        // Boolean.
        0x08 => Length::Is(1),
        0x0b => regular_expression(value),
        // A reference to a document of another collection.
        0x0c => prefixed(1, 4 + 12),
        // Code with its scope: the length is that of all.
        0x0f => prefixed(4 + 5 + MIN_DOCUMENT_BYTES, 0),
        // Int32.
        0x10 => Length::Is(4),
        // Decimal.
        0x13 => Length::Is(16),
        _ => Length::Wrong,
    }
}

fn regular_expression(value: &[u8]) -> Length {
    let end = memchr::memchr_iter(0, value).nth(1);
    end.map_or(Length::Unknown, |end| Length::Is(end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(elements: &[u8]) -> Vec<u8> {
        let length = i32::try_from(elements.len() + 5).unwrap();
        [&length.to_le_bytes(), elements, &[0]].concat()
    }

    fn names(bytes: &[u8]) -> (Vec<String>, bool) {
        let mut elements = Elements::of(bytes).unwrap();
        let names =
            elements.by_ref().map(|element| String::from_utf8_lossy(element.name).into_owned()).collect();
        (names, elements.is_broken())
    }

    #[test]
    fn values_of_all_types_are_passed_over() {
        let mut elements = Vec::new();
        let mut add = |kind: u8, value: &[u8]| {
            elements.extend([kind, b'a', 0]);
            elements.extend(value);
        };
        add(kind::DOUBLE, &[0; 8]);
        add(kind::STRING, b"\x03\0\0\0hi\0");
        add(kind::DOCUMENT, &document(b"\x0ab\0"));
        add(kind::ARRAY, &document(b""));
        add(kind::BINARY, b"\x02\0\0\0\x04ab");
        add(0x06, b"");
        add(kind::OBJECT_ID, &[1; 12]);
        add(kind::BOOLEAN, &[1]);
        add(0x09, &[0; 8]);
        add(kind::NULL, b"");
        add(0x0b, b"^a\0i\0");
        add(0x0c, b"\x02\0\0\0c\0aaaaaaaaaaaa");
        add(0x0d, b"\x02\0\0\0x\0");
        add(0x0f, &[&21i32.to_le_bytes()[..], b"\x02\0\0\0x\0", &document(b"\x0ab\0")[..], b"   "].concat());
        add(kind::INT32, &[0; 4]);
        add(0x11, &[0; 8]);
        add(kind::INT64, &[0; 8]);
        add(0x13, &[0; 16]);
        add(0x7f, b"");
        add(0xff, b"");
        assert_eq!(names(&document(&elements)), (vec!["a".to_owned(); 20], false));
    }

    #[test]
    fn a_part_of_a_document_has_its_first_fields() {
        let whole = document(b"\x0aa\0\x02b\0\x05\0\0\0long\0\x0ac\0");
        for end in 4..whole.len() {
            let (names, is_broken) = names(&whole[..end]);
            assert!(!is_broken && names.len() <= 3, "{end}: {names:?}");
        }
        let cut: Vec<_> = Elements::of(&whole[..16]).unwrap().collect();
        assert_eq!((cut[1].name, cut[1].is_cut(), cut[1].text()), (&b"b"[..], true, None));
    }

    #[test]
    fn hostile_lengths_are_refused() {
        assert!(Elements::of(b"\x04\0\0\0").is_none());
        assert!(Elements::of(b"\xff\xff\xff\xff\0").is_none());
        for elements in [
            &b"\x02a\0\xff\xff\xff\x7fx\0"[..],
            b"\x02a\0\xff\xff\xff\xffx\0",
            b"\x02a\0\0\0\0\0",
            b"\x03a\0\x04\0\0\0",
            b"\x05a\0\xff\xff\xff\xff\0",
            b"\x20a\0",
            b"\x0aa\0\0\x0ab\0",
            b"\x0a",
            b"\x10a\0\0",
        ] {
            assert!(names(&document(elements)).1, "{}", elements.escape_ascii());
        }
    }

    #[test]
    fn numbers_of_all_types_are_read() {
        let bytes = document(
            &[
                &b"\x10a\0\xfe\xff\xff\xff\x12b\0"[..],
                &7i64.to_le_bytes(),
                b"\x01c\0",
                &1.5f64.to_le_bytes(),
                b"\x08d\0\x01\x0ae\0",
            ]
            .concat(),
        );
        let numbers: Vec<_> = Elements::of(&bytes).unwrap().map(|element| element.number()).collect();
        assert_eq!(numbers, [Some(-2), Some(7), Some(1), Some(1), None]);
    }
}
