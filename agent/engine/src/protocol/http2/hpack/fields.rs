//! The fields of one block, in one piece of memory.

use crate::protocol::http::field::Field;

/// Most fields of a block that are kept.
pub(super) const MAX_FIELDS: usize = 256;
/// Most bytes of names and values that are kept. A block may name a long field of the table as often as it likes.
pub(super) const MAX_LIST_BYTES: usize = 64 * 1024;
/// Room from the start for what most blocks hold.
const TYPICAL_BYTES: usize = 512;
const TYPICAL_FIELDS: usize = 16;

/// Where a field's name begins, where it ends and the value begins, and where that ends.
type Span = (usize, usize, usize);

/// The fields of one block in their order, as far as they are known.
#[derive(Debug, Default)]
pub(in crate::protocol::http2) struct Fields {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    is_partial: bool,
}

impl Fields {
    /// Makes room for what most blocks hold.
    pub(super) fn reserve(&mut self) {
        self.bytes.reserve(TYPICAL_BYTES);
        self.spans.reserve(TYPICAL_FIELDS);
    }

    /// Returns no fields, in the memory of these unless it is more than most blocks need.
    pub(in crate::protocol::http2) fn cleared(mut self) -> Self {
        if self.bytes.capacity() > 2 * TYPICAL_BYTES || self.spans.capacity() > 2 * TYPICAL_FIELDS {
            return Self::default();
        }
        self.bytes.clear();
        self.spans.clear();
        Self { is_partial: false, ..self }
    }

    /// Returns the known fields.
    pub(in crate::protocol::http2) fn list(&self) -> Vec<Field<'_>> {
        let field = |&(start, middle, end): &Span| {
            let name = self.bytes.get(start..middle)?;
            Some(Field { name, value: self.bytes.get(middle..end)? })
        };
        let mut fields = Vec::with_capacity(self.spans.len());
        fields.extend(self.spans.iter().filter_map(field));
        fields
    }

    /// Returns whether there were others.
    pub(in crate::protocol::http2) fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// Notes that there is a field which is not known.
    pub(super) fn leave_out(&mut self) {
        self.is_partial = true;
    }

    /// Adds a field, if there is room for it.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) {
        let start = self.begin();
        if self.spans.len() >= MAX_FIELDS || start + name.len() + value.len() > MAX_LIST_BYTES {
            return self.leave_out();
        }
        self.push(name);
        let middle = self.end();
        self.push(value);
        self.finish(start, middle, true);
    }

    /// Begins a field that is appended to the [`buffer`](Self::buffer).
    pub(super) fn begin(&self) -> usize {
        self.bytes.len()
    }

    /// The end of what was appended.
    pub(super) fn end(&self) -> usize {
        self.bytes.len()
    }

    /// Returns where names and values are appended.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends what is known.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        self.bytes.extend_from_slice(bytes);
        true
    }

    /// Returns name and value of the field that was begun last.
    pub(super) fn cut(&self, start: usize, middle: usize) -> (&[u8], &[u8]) {
        let name = self.bytes.get(start..middle).unwrap_or_default();
        (name, self.bytes.get(middle..).unwrap_or_default())
    }

    /// Ends the field that was begun last; leaves it out where its name is not known or there is no room.
    pub(super) fn finish(&mut self, start: usize, middle: usize, is_known: bool) {
        let end = self.end();
        if is_known && self.spans.len() < MAX_FIELDS && end <= MAX_LIST_BYTES {
            self.spans.push((start, middle, end));
        } else {
            self.bytes.truncate(start);
            self.leave_out();
        }
    }
}
