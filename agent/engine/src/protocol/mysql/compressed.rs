//! Packets that carry compressed packets (MySQL internals manual, "Compression").
//!
//! Both algorithms begin what they make with bytes of their own, so that it need not be known which was agreed on.

use std::borrow::Cow;

use super::packet::Reader;
use super::{detect, packet};
use crate::held::Held;
use crate::protocol::{Side, inflate};

/// Length, number, and length before compression.
pub(super) const HEADER_BYTES: usize = 7;
/// Longest packet that is read whole. Servers send 16 KiB at once; what is longer carries one long row or statement.
pub(super) const MAX_PACKET_BYTES: usize = 64 << 10;
/// Longest contents that are made of one.
pub(super) const MAX_INFLATED_BYTES: usize = 1 << 20;
/// How much of a longer one is read, and how much is made of that.
pub(super) const PREFIX_BYTES: usize = 8 << 10;
const MAX_PREFIX_BYTES: usize = 16 << 10;
/// How many of the last bytes may begin what [`command`] looks for.
pub(super) const TAIL_BYTES: usize = 64;
/// The first bytes of a zstd frame (RFC 8878, section 3.1.1).
const ZSTD_MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";
/// The first byte of a zlib stream with the usual window (RFC 1950, section 2.2).
const ZLIB_MAGIC: &[u8] = b"\x78";

/// The beginning of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes behind the header.
    pub(super) length: usize,
    /// Number of the packet in its exchange, modulo 256: packets on the wire are counted for themselves.
    pub(super) sequence: u8,
    /// Bytes before compression; 0 where it is not compressed.
    original: usize,
}

impl Header {
    /// Returns the header that `bytes` begin with; none where there are too few.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes.get(..HEADER_BYTES)?);
        let mut length =
            || reader.chunk().map(|[low, middle, high]| u32::from_le_bytes([low, middle, high, 0]));
        let compressed = usize::try_from(length()?).ok()?;
        let [sequence, low, middle, high] = *bytes.get(3..)?.first_chunk()?;
        let original = usize::try_from(u32::from_le_bytes([low, middle, high, 0])).ok()?;
        Some(Self { length: compressed, sequence, original })
    }

    /// Returns the bytes of the packet with its header.
    pub(super) fn whole(self) -> usize {
        HEADER_BYTES + self.length
    }

    /// Returns the bytes that it carries.
    pub(super) fn carried(self) -> usize {
        if self.original == 0 { self.length } else { self.original }
    }

    /// Returns whether it is read whole.
    pub(super) fn is_small(self) -> bool {
        self.length <= MAX_PACKET_BYTES && self.original <= MAX_INFLATED_BYTES
    }

    /// Appends what the packet carries to `out`; returns whether it is what the header says.
    pub(super) fn unpack(self, body: &[u8], out: &mut Vec<u8>) -> bool {
        if self.original == 0 {
            out.extend_from_slice(body);
            return true;
        }
        let unpacked = if body.starts_with(ZSTD_MAGIC) {
            zstd::bulk::decompress(body, self.original).ok()
        } else {
            inflate::zlib_whole(body, self.original)
        };
        let unpacked = unpacked.filter(|unpacked| unpacked.len() == self.original);
        unpacked.map(|unpacked| out.extend_from_slice(&unpacked)).is_some()
    }

    /// Returns the beginning of what the packet carries, as far as its own beginning tells.
    pub(super) fn unpack_prefix(self, body: &[u8]) -> Vec<u8> {
        let body = body.get(..PREFIX_BYTES).unwrap_or(body);
        if self.original == 0 {
            body.to_vec()
        } else if body.starts_with(ZSTD_MAGIC) {
            inflate::zstd(body, MAX_PREFIX_BYTES)
        } else {
            inflate::zlib(body, MAX_PREFIX_BYTES)
        }
    }
}

/// Returns where in `bytes` a compressed command of the client plausibly begins.
pub(super) fn command(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len()).find(|&at| is_command(bytes.get(at..).unwrap_or_default()))
}

/// Returns whether `bytes` begin with a compressed command.
pub(super) fn is_command(bytes: &[u8]) -> bool {
    let Some(header) = Header::of(bytes).filter(|header| header.sequence == 0 && header.length > 0) else {
        return false;
    };
    let body = bytes.get(HEADER_BYTES..header.whole().min(bytes.len())).unwrap_or_default();
    let carried = match header.original {
        0 => Cow::Borrowed(body),
        original
            if original < header.length
                || !(body.starts_with(ZSTD_MAGIC) || body.starts_with(ZLIB_MAGIC)) =>
        {
            return false;
        }
        _ => Cow::Owned(header.unpack_prefix(body)),
    };
    // A command that ends with what is shown must end with its packet.
    let fits = packet::Header::of(&carried).is_some_and(|inner| match inner.whole() == carried.len() {
        true => inner.whole() == header.carried(),
        false => inner.whole() <= header.carried(),
    });
    fits && detect::is_command(&carried)
}

/// What both sides have unpacked.
#[derive(Debug, Default)]
pub(super) struct Compression {
    client: Lane,
    server: Lane,
}

impl Compression {
    pub(super) fn lane(&mut self, side: Side) -> &mut Lane {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What is unpacked of one direction and not yet understood.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Unpacked bytes; so many of them have been read.
    pub(super) unpacked: Vec<u8>,
    pub(super) read: usize,
    /// Bytes yet to be unpacked that are not of interest.
    pub(super) skip: u64,
    /// Unread bytes that make another look worthwhile.
    pub(super) needed: usize,
    /// The packet on the wire is unpacked.
    pub(super) is_open: bool,
    /// Bytes of the packet on the wire that are not of interest.
    pub(super) rest: u64,
    /// Number of the next packet on the wire, where it is known.
    pub(super) sequence: Option<u8>,
}

impl Lane {
    /// Drops the first `count` bytes.
    pub(super) fn advance(&mut self, count: u64) {
        let here = usize::try_from(count).unwrap_or(usize::MAX).min(self.unread_bytes());
        self.read += here;
        // Moving what is left costs no more than reading it did.
        if self.read >= self.unread_bytes() {
            self.unpacked.drain(..self.read);
            self.read = 0;
        }
        self.skip = count - here as u64;
        self.needed = 0;
    }

    /// Returns whether there is anything to look at.
    pub(super) fn is_worthwhile(&self) -> bool {
        self.unread_bytes() > 0 && self.unread_bytes() >= self.needed
    }

    /// Returns how many bytes are unpacked and not read.
    pub(super) fn unread_bytes(&self) -> usize {
        self.unpacked.len().saturating_sub(self.read)
    }

    /// Takes the unpacked bytes, and how many of them have been read.
    pub(super) fn take(&mut self) -> (Vec<u8>, usize) {
        (std::mem::take(&mut self.unpacked), std::mem::take(&mut self.read))
    }

    /// Puts back what was taken.
    pub(super) fn put_back(&mut self, (unpacked, read): (Vec<u8>, usize)) {
        (self.unpacked, self.read) = (unpacked, read);
    }
}

impl Held for Compression {
    fn held_bytes(&self) -> usize {
        self.client.unpacked.held_bytes() + self.server.unpacked.held_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn both_algorithms_are_told_by_their_first_bytes() {
        let text = b"SELECT 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1".repeat(9);
        for body in [zlib(&text), zstd::bulk::compress(&text, 3).expect("memory")] {
            let header = Header { length: body.len(), sequence: 0, original: text.len() };
            let mut out = Vec::new();
            assert!(header.unpack(&body, &mut out) && out == text);
            assert!(text.starts_with(&header.unpack_prefix(&body[..body.len() - 1])));
            // Neither more nor less than the header says.
            for original in [text.len() - 1, text.len() + 1] {
                assert!(!Header { original, ..header }.unpack(&body, &mut Vec::new()));
            }
            assert!(!header.unpack(&body[..body.len() / 2], &mut Vec::new()));
            assert!(!header.unpack(b"noise", &mut Vec::new()));
        }
    }

    #[test]
    fn commands_are_found_behind_noise() {
        let plain = b"\x0d\0\0\0\0\0\0\x09\0\0\0\x03SELECT 1";
        assert_eq!(command(&[b"noise", &plain[..]].concat()), Some(5));
        let packet = [b"\x60\0\0\0\x03", &b"SELECT 1 FROM t WHERE a IN (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)"[..]].concat();
        let body = zlib(&packet);
        let length = u8::try_from(body.len()).expect("short");
        let small =
            [&[length, 0, 0, 0, u8::try_from(packet.len()).expect("short"), 0, 0], &body[..]].concat();
        assert_eq!(command(&small), None, "the packet in it is longer than what is carried");
        assert_eq!(command(b"\x0d\0\0\x01\0\0\0\x09\0\0\0\x03SELECT 1"), None);
    }
}
