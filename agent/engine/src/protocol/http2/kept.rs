//! A message of gRPC that is kept while it goes by, and what is in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::protocol::inflate;
use crate::protocol::rpc::Body;

/// Bytes of a message that are kept; of what it unpacks to no more are looked at either.
const MAX_MESSAGE_BYTES: usize = 64 << 10;
/// Bytes that all streams of a connection keep together. Of a message that finds no room the beginning is read.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// The room for messages on one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Room {
    taken: Arc<AtomicUsize>,
}

impl Room {
    /// Takes up to `wanted` bytes of the room; returns how many.
    fn take(&self, wanted: usize) -> usize {
        let taken = self.taken.load(Ordering::Relaxed);
        let given = wanted.min(MAX_KEPT_BYTES.saturating_sub(taken));
        self.taken.store(taken.saturating_add(given), Ordering::Relaxed);
        given
    }

    /// Returns the bytes that are kept.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn give_back(&self, bytes: usize) {
        let taken = self.taken.load(Ordering::Relaxed);
        self.taken.store(taken.saturating_sub(bytes), Ordering::Relaxed);
    }
}

/// A message, as far as it has gone by.
#[derive(Debug)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    room: Room,
    is_packed: bool,
    is_crowded: bool,
    /// Nothing of it is missing.
    pub(super) is_whole: bool,
}

impl Kept {
    /// Returns a message of which nothing was seen yet.
    pub(super) fn new(room: Room, is_packed: bool) -> Self {
        Self { bytes: Vec::new(), room, is_packed, is_crowded: false, is_whole: false }
    }

    /// Adds as many bytes as there is room for; returns how many.
    pub(super) fn add(&mut self, bytes: &[u8]) -> usize {
        let wanted = bytes.len().min(MAX_MESSAGE_BYTES.saturating_sub(self.bytes.len()));
        let given = self.room.take(wanted);
        self.is_crowded |= given < bytes.len();
        self.bytes.extend_from_slice(bytes.get(..given).unwrap_or_default());
        given
    }

    /// Returns whether there is no room for more.
    pub(super) fn is_full(&self) -> bool {
        self.is_crowded
    }

    /// Returns what is in it. What is packed in a way that is not known is not told.
    pub(super) fn unpack(mut self) -> Content {
        if !self.is_packed {
            let bytes = std::mem::take(&mut self.bytes);
            self.room.give_back(bytes.len());
            return Content { bytes, is_whole: self.is_whole };
        }
        // What gRPC calls `deflate` is a zlib stream.
        let (bytes, is_all) = inflate::gzip_or_zlib(&self.bytes, MAX_MESSAGE_BYTES);
        Content { bytes, is_whole: self.is_whole && is_all }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.room.give_back(self.bytes.len());
    }
}

/// What is in a message.
#[derive(Debug)]
pub(super) struct Content {
    bytes: Vec<u8>,
    is_whole: bool,
}

impl Content {
    /// Returns it to who reads it.
    pub(super) fn body(&self) -> Body<'_> {
        Body { bytes: &self.bytes, is_whole: self.is_whole }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[cfg(test)]
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn packed(bytes: &[u8], is_whole: bool) -> Content {
        let mut kept = Kept::new(Room::default(), true);
        kept.add(bytes);
        kept.is_whole = is_whole;
        kept.unpack()
    }

    #[test]
    fn packed_messages_are_unpacked_within_bounds() {
        let text = b"a message that is packed ".repeat(10);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(&vec![7; 10 * MAX_MESSAGE_BYTES]).unwrap();
        let zlib = zlib.finish().unwrap();
        let whole = packed(&gzip, true);
        assert!(whole.is_whole && whole.bytes == text);
        let cut = packed(&gzip[..gzip.len() - 12], false);
        assert!(!cut.is_whole && text.starts_with(&cut.bytes));
        let bomb = packed(&zlib, true);
        assert_eq!((bomb.bytes.len(), bomb.is_whole), (MAX_MESSAGE_BYTES, false));
        let strange = packed(b"\x28\xb5\x2f\xfd what is packed in another way", true);
        assert_eq!((strange.bytes.len(), strange.is_whole), (0, false));
    }

    #[test]
    fn a_connection_has_so_much_room_and_gets_it_back() {
        let room = Room::default();
        let many = (MAX_KEPT_BYTES / MAX_MESSAGE_BYTES) + 1;
        let mut all: Vec<Kept> = (0..many).map(|_| Kept::new(room.clone(), false)).collect();
        let long = vec![7; MAX_MESSAGE_BYTES];
        let added: Vec<usize> = all.iter_mut().map(|kept| kept.add(&long)).collect();
        assert_eq!((added[0], added[many - 1]), (MAX_MESSAGE_BYTES, 0));
        assert!(!all[0].is_full() && all[many - 1].is_full());
        let content = all.pop().unwrap().unpack();
        assert!(content.bytes.is_empty());
        drop(all);
        assert_eq!(room.taken.load(Ordering::Relaxed), 0);
    }
}
