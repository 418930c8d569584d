//! The messages of a gRPC call, in its data: each has five bytes before it, a flag and its length (gRPC over HTTP/2,
//! Length-Prefixed-Message). They are counted, and kept while somebody reads them. Frames need not end where they do.

use super::kept::{Kept, Room};

/// Length of what stands before each message.
const PREFIX_BYTES: usize = 5;

/// What one side of a call has sent.
#[derive(Debug, Default)]
pub(super) struct Messages {
    count: u32,
    /// Bytes of the message that are still to come.
    left: u32,
    prefix: [u8; PREFIX_BYTES],
    /// Bytes of the prefix that are known.
    filled: usize,
    /// Data are missing, or are no messages.
    is_unknown: bool,
    /// Where messages are kept, if anybody reads them.
    room: Option<Room>,
    /// The message that goes by, as long as more of it is wanted.
    kept: Option<Kept>,
}

impl Messages {
    /// Returns those of a side whose messages are read.
    pub(super) fn read_in(room: Room) -> Self {
        Self { room: Some(room), ..Self::default() }
    }

    /// Returns the number of messages that have begun; none where it is not known.
    pub(super) fn count(&self) -> Option<u32> {
        (!self.is_unknown).then_some(self.count)
    }

    /// Returns the number of messages, if all that has begun has ended.
    pub(super) fn whole(&self) -> Option<u32> {
        self.count().filter(|_| self.left == 0 && self.filled == 0)
    }

    /// Notes that data were not seen.
    pub(super) fn lose(&mut self) {
        self.is_unknown = true;
        self.kept = None;
    }

    /// Notes that the next `bytes` of data will not be seen. Returns the message that went by, as far as it was.
    pub(super) fn miss(&mut self, bytes: u32) -> Option<Kept> {
        let kept = self.kept.take();
        match self.left.checked_sub(bytes) {
            Some(left) if bytes > 0 && !self.is_unknown => self.left = left,
            _ => self.lose(),
        }
        kept
    }

    /// Takes in the next of `left` bytes of data: returns how many of them need not be seen. Where it is 0, the next
    /// byte must be: it belongs to a prefix, or to a message that is read.
    pub(super) fn unseen(&mut self, left: u32) -> u32 {
        if self.is_unknown {
            return left;
        }
        if self.kept.is_some() {
            return 0;
        }
        let passed = self.left.min(left);
        self.left -= passed;
        passed
    }

    /// Takes in the next bytes of data, which are shown; returns how many of them were looked at.
    pub(super) fn read(&mut self, data: &[u8]) -> usize {
        if let Some(kept) = &mut self.kept {
            let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
            let added = kept.add(data.get(..wanted).unwrap_or(data));
            self.left = self.left.saturating_sub(u32::try_from(added).unwrap_or(u32::MAX));
            return added;
        }
        self.read_prefix(data)
    }

    fn read_prefix(&mut self, data: &[u8]) -> usize {
        let Some(room) = self.prefix.get_mut(self.filled..) else { return 0 };
        let read = room.len().min(data.len());
        for (to, from) in room.iter_mut().zip(data) {
            *to = *from;
        }
        self.filled += read;
        if self.filled == PREFIX_BYTES {
            let [flag, a, b, c, d] = self.prefix;
            self.filled = 0;
            self.left = u32::from_be_bytes([a, b, c, d]);
            self.count = self.count.saturating_add(1);
            self.is_unknown |= flag > 1;
            let room = self.room.as_ref().filter(|_| !self.is_unknown);
            self.kept = room.map(|room| Kept::new(room.clone(), flag == 1));
        }
        read
    }

    /// Takes the message that went by, once it is whole or no more of it is wanted.
    pub(super) fn take(&mut self) -> Option<Kept> {
        let is_whole = self.left == 0;
        let mut kept = self.kept.take_if(|kept| is_whole || kept.is_full())?;
        kept.is_whole = is_whole;
        Some(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows data in pieces of this length; returns what was kept of each message.
    fn kept(data: &[u8], piece: usize) -> Vec<(Vec<u8>, bool)> {
        let mut messages = Messages::read_in(Room::default());
        let mut found = Vec::new();
        for mut shown in data.chunks(piece) {
            while !shown.is_empty() {
                let unseen = messages.unseen(u32::try_from(shown.len()).unwrap()) as usize;
                shown = &shown[unseen..];
                let read = messages.read(shown);
                shown = &shown[read..];
                found.extend(messages.take().map(|kept| {
                    let body = kept.unpack();
                    (body.bytes().to_vec(), body.is_whole())
                }));
            }
        }
        found
    }

    #[test]
    fn messages_are_kept_whatever_the_pieces() {
        let data = b"\0\0\0\0\x03abc\0\0\0\0\0\0\0\0\0\x01d";
        let expected = vec![(b"abc".to_vec(), true), (Vec::new(), true), (b"d".to_vec(), true)];
        for piece in 1..=data.len() {
            assert_eq!(kept(data, piece), expected, "pieces of {piece}");
        }
    }

    #[test]
    fn of_a_long_message_the_beginning_is_kept() {
        let long = [b"\0\0\x02\0\0".as_slice(), &[7; 1 << 17], b"\0\0\0\0\x01x"].concat();
        let found = kept(&long, 1000);
        assert_eq!(found.len(), 2);
        assert!(!found[0].1 && found[0].0.len() < 1 << 17 && found[0].0.iter().all(|&byte| byte == 7));
        assert_eq!(found[1], (b"x".to_vec(), true));
    }

    #[test]
    fn a_message_whose_end_is_missing_is_read_as_far_as_it_goes() {
        let mut messages = Messages::read_in(Room::default());
        assert_eq!(messages.read(b"\0\0\0\0\x05"), 5);
        assert_eq!(messages.read(b"ab"), 2);
        let missed = messages.miss(3).unwrap().unpack();
        assert_eq!((missed.bytes(), missed.is_whole()), (&b"ab"[..], false));
        assert_eq!(messages.count(), Some(1), "the next message begins right after");
        assert_eq!(messages.read(b"\0\0\0\0\x02"), 5);
        assert!(messages.miss(3).is_some());
        assert_eq!(messages.count(), None, "more is missing than the message");
    }
}
