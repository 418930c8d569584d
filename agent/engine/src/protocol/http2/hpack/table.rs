//! The two tables of HPACK (RFC 7541 section 2.3).

use std::collections::VecDeque;

use crate::held::Held;

/// Size of the dynamic table until its owner says another (RFC 9113 section 6.5.2).
const INITIAL_BYTES: usize = 4096;
/// Most bytes of a dynamic table that are kept, as HPACK counts them. Of a larger one the oldest entries are unknown.
const MAX_BYTES: usize = 64 * 1024;
/// What HPACK adds to the size of each entry (section 4.1).
const ENTRY_BYTES: usize = 32;

/// The static table (appendix A), from index 1 on.
#[rustfmt::skip]
static STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// An entry of the dynamic table. Its name is unknown where it was taken from an entry that nobody saw.
#[derive(Debug)]
struct Entry {
    name: Option<Box<[u8]>>,
    value: Box<[u8]>,
}

impl Entry {
    fn size(&self) -> usize {
        self.name.as_ref().map_or(0, |name| name.len()) + self.value.len() + ENTRY_BYTES
    }
}

/// What an index stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// Name and value.
    Field(&'a [u8], &'a [u8]),
    /// A value whose name was never seen.
    Nameless(&'a [u8]),
    /// An entry that was never seen, or is no longer kept.
    Unknown,
    /// Nothing: the index is wrong.
    Nothing,
}

/// What one side has indexed so far.
///
/// An index counts from the newest entry, so that entries which were seen to be added are known by it, whatever lies
/// behind them.
#[derive(Debug)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    bytes: usize,
    max_bytes: usize,
    /// All that was ever added is known, unless there is a doubt.
    is_whole: bool,
    /// Where bytes are missing in which others may have been added: how many were added since, which alone are certain.
    since_doubt: Option<usize>,
}

impl Table {
    /// Returns the empty table of a connection that is seen from its start, or of one whose entries are unknown.
    pub(super) fn new(is_whole: bool) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, max_bytes: INITIAL_BYTES, is_whole, since_doubt: None }
    }

    /// Returns what an index stands for.
    pub(super) fn get(&self, index: usize) -> Found<'_> {
        let Some(place) = index.checked_sub(1) else { return Found::Nothing };
        if let Some((name, value)) = STATIC.get(place) {
            return Found::Field(name.as_bytes(), value.as_bytes());
        }
        let place = place - STATIC.len();
        if self.since_doubt.is_some_and(|certain| place >= certain) {
            return Found::Unknown;
        }
        match self.entries.get(place) {
            Some(Entry { name: Some(name), value }) => Found::Field(name, value),
            Some(Entry { name: None, value }) => Found::Nameless(value),
            None if self.is_whole && self.max_bytes <= MAX_BYTES => Found::Nothing,
            None => Found::Unknown,
        }
    }

    /// Adds an entry, and drops the oldest where there is no more room.
    pub(super) fn add(&mut self, name: Option<&[u8]>, value: &[u8]) {
        let entry = Entry { name: name.map(Into::into), value: value.into() };
        let limit = self.limit();
        self.bytes += entry.size();
        self.entries.push_front(entry);
        self.since_doubt = self.since_doubt.map(|certain| certain.saturating_add(1));
        self.evict(limit);
    }

    /// Notes that entries may have been added, which nobody saw.
    pub(super) fn doubt(&mut self) {
        self.since_doubt = Some(0);
    }

    /// Returns whether entries may have been added, which nobody saw.
    pub(super) fn is_doubtful(&self) -> bool {
        self.since_doubt.is_some()
    }

    /// Notes that none was.
    pub(super) fn confirm(&mut self) {
        self.since_doubt = None;
    }

    /// Notes that some were, or that nobody will know: those that were there before are not known any more.
    pub(super) fn refute(&mut self) {
        let Some(certain) = self.since_doubt.take() else { return };
        self.entries.truncate(certain);
        self.bytes = self.entries.iter().map(Entry::size).sum();
        self.is_whole = false;
    }

    /// Takes in a new size (section 6.3).
    pub(super) fn resize(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes;
        if max_bytes == 0 {
            // An empty table is a known one.
            (self.is_whole, self.since_doubt) = (true, None);
        }
        self.evict(self.limit());
    }

    /// The size of a table that was met later is not known, and it does not matter: nobody names what was dropped.
    fn limit(&self) -> usize {
        if self.is_whole { self.max_bytes.min(MAX_BYTES) } else { MAX_BYTES }
    }

    fn evict(&mut self, limit: usize) {
        while self.bytes > limit
            && let Some(oldest) = self.entries.pop_back()
        {
            self.bytes -= oldest.size();
        }
    }
}

impl Held for Table {
    /// The entries' sizes are counted as the specification has it, which is about what they take.
    fn held_bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entries_go_first() {
        let mut table = Table::new(true);
        table.resize(100);
        table.add(Some(b"a"), b"1");
        table.add(Some(b"b"), b"2");
        assert_eq!(table.get(62), Found::Field(b"b", b"2"));
        assert_eq!(table.get(63), Found::Field(b"a", b"1"));
        table.add(Some(b"c"), b"3");
        assert_eq!((table.get(63), table.get(64)), (Found::Field(b"b", b"2"), Found::Nothing));
        table.resize(0);
        assert_eq!((table.get(62), table.bytes), (Found::Nothing, 0));
        table.add(Some(b"too large"), b"for an empty table");
        assert_eq!((table.get(62), table.bytes), (Found::Nothing, 0));
    }

    #[test]
    fn what_was_added_before_is_unknown() {
        let mut table = Table::new(false);
        assert_eq!(table.get(62), Found::Unknown);
        table.add(None, b"1");
        table.add(Some(b"b"), b"2");
        assert_eq!(table.get(62), Found::Field(b"b", b"2"));
        assert_eq!((table.get(63), table.get(64)), (Found::Nameless(b"1"), Found::Unknown));
        assert_eq!((table.get(0), table.get(61)), (Found::Nothing, Found::Field(b"www-authenticate", b"")));
    }

    #[test]
    fn a_table_that_was_emptied_is_known() {
        let mut table = Table::new(false);
        table.resize(0);
        table.resize(4096);
        assert_eq!(table.get(62), Found::Nothing);
    }

    #[test]
    fn what_stood_before_a_hole_is_known_again_once_it_is_proven() {
        let doubtful = || {
            let mut table = Table::new(true);
            table.add(Some(b"a"), b"1");
            table.doubt();
            table.add(Some(b"b"), b"2");
            assert_eq!(table.get(62), Found::Field(b"b", b"2"));
            assert_eq!((table.get(63), table.get(64)), (Found::Unknown, Found::Unknown));
            table
        };
        let mut table = doubtful();
        table.confirm();
        assert_eq!((table.get(63), table.get(64)), (Found::Field(b"a", b"1"), Found::Nothing));
        let mut table = doubtful();
        table.refute();
        assert_eq!((table.get(62), table.get(63)), (Found::Field(b"b", b"2"), Found::Unknown));
        assert_eq!(table.bytes, 34);
        table.confirm();
        assert_eq!(table.get(63), Found::Unknown);
        let mut table = doubtful();
        table.resize(0);
        assert_eq!((table.get(62), table.is_doubtful()), (Found::Nothing, false));
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let mut table = Table::new(true);
        table.resize(usize::MAX);
        for _ in 0..10_000 {
            table.add(Some(b"name"), &[b'x'; 100]);
        }
        assert!(table.bytes <= MAX_BYTES && table.entries.len() < 600);
        assert_eq!(table.get(10_000), Found::Unknown);
    }
}
