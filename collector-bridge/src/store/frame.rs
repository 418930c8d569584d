//! Frames: length (u32, little endian), CRC-32C of the payload (likewise), payload. A file of frames that was cut
//! anywhere can be read up to the cut.

use std::io;

/// Bytes before each payload.
pub(crate) const HEADER_BYTES: usize = 8;

/// Largest request in bytes: the one limit that settings, log and frames share.
pub const MAX_REQUEST_BYTES: usize = 256 << 20;

/// Longest payload: the largest request and what compression may add to it. A longer one is damage and never allocated.
pub(crate) const MAX_PAYLOAD_BYTES: usize = MAX_REQUEST_BYTES + MAX_REQUEST_BYTES / 64;

/// Bytes that are checked in the search for a frame behind damage, at most: a sender can make bytes look like the heads
/// of long frames.
const MAX_SEARCHED_BYTES: usize = 4 << 30;

/// Appends a frame whose payload `fill` writes; appends nothing if it would be too long to be read back.
pub(crate) fn put(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    fill(out);
    let payload_start = start + HEADER_BYTES;
    let payload_bytes = out.len() - payload_start;
    if payload_bytes > MAX_PAYLOAD_BYTES {
        out.truncate(start);
        let reason = format!("a frame of {payload_bytes} bytes is longer than {MAX_PAYLOAD_BYTES}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    let (head, payload) = out.split_at_mut(payload_start);
    let length = payload.len() as u32;
    let crc = crc32c::crc32c(payload);
    head[start..start + 4].copy_from_slice(&length.to_le_bytes());
    head[start + 4..].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

/// The whole frames at the start of some bytes.
pub(crate) struct Frames<'a> {
    bytes: &'a [u8],
    /// Offset behind the last whole frame.
    pub(crate) end: usize,
}

impl<'a> Frames<'a> {
    pub(crate) fn new(bytes: &'a [u8], start: usize) -> Self {
        Self { bytes, end: start }
    }

    /// Returns whether bytes are left that are no whole frame.
    pub(crate) fn is_torn(&self) -> bool {
        self.end < self.bytes.len()
    }

    /// Returns whether the bytes end inside of the next frame, or were reserved for it and never written: what an
    /// interrupted write leaves. A damaged length may look the same.
    pub(crate) fn is_cut(&self) -> bool {
        let rest = self.bytes.get(self.end..).unwrap_or_default();
        let declared = rest.first_chunk::<4>().map(|length| u32::from_le_bytes(*length) as usize);
        match declared {
            _ if rest.len() < HEADER_BYTES => true,
            Some(length) if length <= MAX_PAYLOAD_BYTES && rest.len() - HEADER_BYTES < length => true,
            _ => rest.iter().all(|byte| *byte == 0),
        }
    }

    /// Steps over damage, to the next whole frame whose payload looks likely; returns the bytes between. None and no
    /// step if there is no such frame.
    pub(crate) fn resume(&mut self, is_likely: impl Fn(&[u8]) -> bool) -> Option<usize> {
        let rest = self.bytes.get(self.end..)?;
        let is_whole = |offset: usize, left: &mut usize| {
            let found = rest.get(offset..).and_then(split).filter(|(_, payload)| is_likely(payload));
            found.is_some_and(|(crc, payload)| {
                *left = left.saturating_sub(payload.len());
                *left > 0 && crc32c::crc32c(payload) == crc
            })
        };
        let mut left = MAX_SEARCHED_BYTES;
        // Mostly the payload is damaged and the length is not.
        let declared =
            rest.first_chunk::<4>().map(|length| u32::from_le_bytes(*length) as usize + HEADER_BYTES);
        let skipped = declared
            .filter(|offset| is_whole(*offset, &mut left))
            .or_else(|| (1..rest.len()).find(|offset| is_whole(*offset, &mut left)))?;
        self.end += skipped;
        Some(skipped)
    }
}

/// Returns CRC and payload of the frame at the start of some bytes, if it is all there. The CRC is not checked.
fn split(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    // A hole of zeros (space that was reserved and never written) has a matching CRC; no writer makes such a frame.
    if length == 0 || length > MAX_PAYLOAD_BYTES {
        return None;
    }
    Some((u32::from_le_bytes(*crc), rest.get(..length)?))
}

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    /// Returns the next payload; none at the end or at the first frame that is cut or damaged.
    fn next(&mut self) -> Option<&'a [u8]> {
        let (crc, payload) = self.bytes.get(self.end..).and_then(split)?;
        if crc32c::crc32c(payload) != crc {
            return None;
        }
        self.end += HEADER_BYTES + payload.len();
        Some(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_frames() -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, |out| out.extend_from_slice(b"first")).unwrap();
        put(&mut bytes, |out| out.extend_from_slice(b"second")).unwrap();
        bytes
    }

    #[test]
    fn every_cut_leaves_the_frames_before_it() {
        let bytes = two_frames();
        let first_end = HEADER_BYTES + 5;
        for cut in 0..=bytes.len() {
            let mut frames = Frames::new(&bytes[..cut], 0);
            let expected = usize::from(cut >= first_end) + usize::from(cut == bytes.len());
            assert_eq!(frames.by_ref().count(), expected, "cut at {cut}");
            let is_at_border = [0, first_end, bytes.len()].contains(&cut);
            assert_eq!(frames.is_torn(), !is_at_border, "cut at {cut}");
        }
    }

    #[test]
    fn every_flipped_bit_ends_the_frames() {
        let bytes = two_frames();
        for bit in 0..(HEADER_BYTES + 5) * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let mut frames = Frames::new(&damaged, 0);
            assert_ne!(frames.next(), Some(b"first".as_slice()), "bit {bit}");
        }
    }

    #[test]
    fn what_could_not_be_read_back_is_not_written() {
        let mut bytes = two_frames();
        let before = bytes.clone();
        let error = put(&mut bytes, |out| out.resize(out.len() + MAX_PAYLOAD_BYTES + 1, 0)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(bytes, before);
    }

    #[test]
    fn damage_anywhere_in_a_frame_hides_no_other() {
        let bytes = two_frames();
        let first_end = HEADER_BYTES + 5;
        for bit in 0..first_end * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let mut frames = Frames::new(&damaged, 0);
            assert_eq!(frames.next(), None, "bit {bit}");
            assert_eq!(frames.resume(|_| true), Some(first_end), "bit {bit}");
            assert_eq!(frames.next(), Some(b"second".as_slice()), "bit {bit}");
            assert_eq!((frames.is_torn(), frames.resume(|_| true)), (false, None), "bit {bit}");
        }
    }

    #[test]
    fn zeros_are_no_frames() {
        assert_eq!(Frames::new(&[0; 64], 0).count(), 0);
    }
}
