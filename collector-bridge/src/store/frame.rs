//! Frames: length (u32, little endian), CRC-32C of the payload (likewise), payload. A file of frames that was cut
//! anywhere can be read up to the cut.

use std::io;

/// Bytes before each payload.
pub(crate) const HEADER_BYTES: usize = 8;

/// Largest request in bytes: the one limit that settings, log and frames share.
pub const MAX_REQUEST_BYTES: usize = 256 << 20;

/// Longest payload: the largest request and what compression may add to it. A longer one is damage and never allocated.
pub(crate) const MAX_PAYLOAD_BYTES: usize = MAX_REQUEST_BYTES + MAX_REQUEST_BYTES / 64;

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
}

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    /// Returns the next payload; none at the end or at the first frame that is cut or damaged.
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.end..)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (crc, rest) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_PAYLOAD_BYTES {
            return None;
        }
        let payload = rest.get(..length)?;
        if crc32c::crc32c(payload) != u32::from_le_bytes(*crc) {
            return None;
        }
        // A hole of zeros (space that was reserved and never written) has a matching CRC; no writer makes such a frame.
        if length == 0 {
            return None;
        }
        self.end += HEADER_BYTES + length;
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
    fn zeros_are_no_frames() {
        assert_eq!(Frames::new(&[0; 64], 0).count(), 0);
    }
}
