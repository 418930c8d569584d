//! Values of parameters, and attributes that drivers add to a query (MySQL internals manual, "COM_STMT_EXECUTE" and
//! "COM_QUERY").

use super::packet::Reader;
use crate::protocol::marks::{Marks, Search};
use crate::protocol::{WireContext, context};

/// Most attributes of a query that are looked at.
const MAX_ATTRIBUTES: u64 = 64;
/// `CURSOR_TYPE_…` and whether attributes follow the parameters.
const HAS_ATTRIBUTES: u8 = 1 << 3;

/// Types of values, in the lower of their two bytes.
mod kind {
    pub(super) const TINY: u8 = 0x01;
    pub(super) const SHORT: u8 = 0x02;
    pub(super) const LONG: u8 = 0x03;
    pub(super) const FLOAT: u8 = 0x04;
    pub(super) const DOUBLE: u8 = 0x05;
    pub(super) const NULL: u8 = 0x06;
    pub(super) const TIMESTAMP: u8 = 0x07;
    pub(super) const LONGLONG: u8 = 0x08;
    pub(super) const INT24: u8 = 0x09;
    pub(super) const DATE: u8 = 0x0a;
    pub(super) const TIME: u8 = 0x0b;
    pub(super) const DATETIME: u8 = 0x0c;
    pub(super) const YEAR: u8 = 0x0d;
}

/// What values say.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) marks: Marks,
    /// The trace context that a driver passes on as attributes of the query.
    pub(super) context: Option<WireContext>,
    /// Types of the parameters, where they were sent along.
    pub(super) types: Vec<u8>,
}

/// The statement that `COM_QUERY` carries, and what its attributes say.
pub(super) fn query(payload: &[u8], key: Option<u64>) -> Option<(&[u8], Found)> {
    let mut search = Values::new(key);
    let mut reader = Reader::new(payload);
    // No statement begins with a control character and a one: so begin attributes, and there is one set of them.
    if !matches!(payload, [count, 1, ..] if *count < b' ') {
        return Some((payload, search.finish(Vec::new())));
    }
    let count = reader.number().filter(|&count| count <= MAX_ATTRIBUTES)?;
    reader.number()?;
    if count > 0 {
        search.read(&mut reader, usize::try_from(count).ok()?, &[], true)?;
    }
    Some((reader.rest(), search.finish(Vec::new())))
}

/// Reads what follows the number of the statement in `COM_STMT_EXECUTE`. `types` are those that were sent last.
pub(super) fn execute(rest: &[u8], count: u16, types: &[u8], key: Option<u64>) -> Found {
    let mut search = Values::new(key);
    let sent = read_execute(rest, count, types, &mut search);
    if sent.is_none() {
        search.search.skip();
    }
    search.finish(sent.unwrap_or_default())
}

fn read_execute(rest: &[u8], count: u16, types: &[u8], search: &mut Values) -> Option<Vec<u8>> {
    let mut reader = Reader::new(rest);
    let flags = reader.u8()?;
    // How often: always once.
    reader.u32()?;
    let has_attributes = flags & HAS_ATTRIBUTES != 0;
    let mut all = usize::from(count);
    if has_attributes {
        all = usize::try_from(reader.number()?.min(u64::from(count) + MAX_ATTRIBUTES)).ok()?;
    }
    match all {
        0 => Some(Vec::new()),
        _ => search.read(&mut reader, all, types, has_attributes),
    }
}

/// Values that are being read.
struct Values {
    search: Search,
    parent: Vec<u8>,
    state: Vec<u8>,
}

impl Values {
    fn new(key: Option<u64>) -> Self {
        Self { search: Search::new(key), parent: Vec::new(), state: Vec::new() }
    }

    fn finish(self, types: Vec<u8>) -> Found {
        let context = context::of_w3c(&[&self.parent], &[&self.state]);
        Found { marks: self.search.finish(), context, types }
    }

    /// Reads a block of values: which are null, their types and names where they are sent, and themselves. Returns the
    /// types that were sent.
    fn read(
        &mut self,
        reader: &mut Reader<'_>,
        count: usize,
        known: &[u8],
        has_names: bool,
    ) -> Option<Vec<u8>> {
        let nulls = reader.take(count.div_ceil(8))?;
        let is_sent = reader.u8()? == 1;
        let mut types = Vec::new();
        let mut names = Vec::new();
        for _ in 0..if is_sent { count } else { 0 } {
            types.extend_from_slice(reader.take(2)?);
            names.push(if has_names { reader.text()? } else { &[] });
        }
        let shown = if is_sent { types.as_slice() } else { known };
        let (kinds, _) = shown.as_chunks::<2>();
        for at in 0..count {
            let is_null = nulls.get(at / 8)? & 1 << (at % 8) != 0;
            let [kind, flags] = *kinds.get(at)?;
            if is_null {
                continue;
            }
            let is_unsigned = flags & 0x80 != 0;
            self.value(reader, kind, is_unsigned, names.get(at).copied().unwrap_or_default())?;
        }
        Some(types)
    }

    fn value(&mut self, reader: &mut Reader<'_>, kind: u8, is_unsigned: bool, name: &[u8]) -> Option<()> {
        let number = match kind {
            kind::NULL => return Some(()),
            kind::TINY => return reader.take(1).map(drop),
            kind::SHORT | kind::YEAR => return reader.take(2).map(drop),
            kind::FLOAT => return reader.take(4).map(drop),
            kind::DOUBLE => return reader.take(8).map(drop),
            kind::DATE | kind::DATETIME | kind::TIMESTAMP | kind::TIME => {
                let length = reader.u8()?;
                return reader.take(usize::from(length)).map(drop);
            }
            kind::LONG | kind::INT24 => {
                let value = reader.u32()?;
                if is_unsigned { u64::from(value) } else { u64::from(value.cast_signed().unsigned_abs()) }
            }
            kind::LONGLONG => {
                let value = reader.chunk().map(u64::from_le_bytes)?;
                if is_unsigned { value } else { value.cast_signed().unsigned_abs() }
            }
            _ => {
                let text = reader.text()?;
                self.text(name, text);
                return Some(());
            }
        };
        self.search.text(number.to_string().as_bytes());
        Some(())
    }

    fn text(&mut self, name: &[u8], text: &[u8]) {
        match name {
            b"traceparent" => self.parent = text.to_vec(),
            b"tracestate" => self.state = text.to_vec(),
            _ => self.search.text(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(marks: &Marks) -> Vec<u64> {
        marks.iter().map(|mark| mark.hash).collect()
    }

    fn marks_of(texts: &[&str]) -> Vec<u64> {
        let mut search = Search::new(Some(1));
        texts.iter().for_each(|text| search.text(text.as_bytes()));
        hashes(&search.finish())
    }

    #[test]
    fn values_of_all_types_are_read() {
        let types = b"\x03\x00\x08\x80\xfd\x00\x0c\x00\x05\x00\x01\x00\x06\x00";
        let values = b"\x01\xb1\xb9\x29\x07\0\0\0\0\0\0\0\x05abcde\x04\x01\x02\x03\x04\0\0\0\0\0\0\0\0\x07";
        let rest = [&b"\0\x01\0\0\0\0\x01"[..], types, values].concat();
        let found = execute(&rest, 7, b"", Some(1));
        assert_eq!(hashes(&found.marks), marks_of(&["700035329"]));
        assert!(!found.marks.is_partial());
        assert_eq!(found.types, types);
        // The second time the types are known.
        let rest = [&b"\0\x01\0\0\0\x02\0"[..], &values[..4]].concat();
        let found = execute(&rest, 2, types, Some(1));
        assert_eq!((hashes(&found.marks), found.types.len()), (marks_of(&["700035329"]), 0));
    }

    #[test]
    fn what_is_cut_off_is_told() {
        for rest in [&b""[..], b"\0\x01\0\0\0", b"\0\x01\0\0\0\0\x01\xfd\0\x50abc", b"\0\x01\0\0\0\0\0"] {
            assert!(execute(rest, 1, b"", Some(1)).marks.is_partial(), "{}", rest.escape_ascii());
        }
    }

    #[test]
    fn attributes_bring_contexts() {
        let parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let payload = [
            &b"\x01\x01\0\x01\xfe\0\x0btraceparent"[..],
            &[u8::try_from(parent.len()).expect("short")],
            parent,
            b"SELECT 1",
        ]
        .concat();
        let (statement, found) = query(&payload, None).expect("attributes");
        assert_eq!((statement, found.context.map(|context| context.flags)), (&b"SELECT 1"[..], Some(1)));
        assert_eq!(query(b"\0\x01SELECT 1", None).map(|(statement, _)| statement), Some(&b"SELECT 1"[..]));
        assert_eq!(query(b"\n SELECT 1", None).map(|(statement, _)| statement), Some(&b"\n SELECT 1"[..]));
        assert!(query(b"\x02\x01\0\x01\xfe\0\x50", None).is_none());
    }
}
