//! Beginnings of what was compressed: no more is unpacked than is wanted, and the first byte that is missing or broken ends
//! it.

mod lz4;
mod snappy;

use std::cell::RefCell;
use std::io::Read as _;

use flate2::bufread::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::DParameter;

/// Greatest window of a Zstandard frame, as a power of two: what the format asks every decoder for (RFC 8878, section
/// 3.1.1.1.2).
const MAX_WINDOW_LOG: u32 = 23;
/// What a gzip member begins with (RFC 1952, section 2.3.1).
const GZIP: &[u8] = &[0x1f, 0x8b];
/// Room that is made at first for each packed byte. Where it is not enough, it is doubled.
const TYPICAL_RATIO: usize = 4;

pub(super) use lz4::beginning as lz4;
pub(super) use snappy::{beginning as snappy, stream as snappy_stream};

thread_local! {
    /// Making it takes longer than unpacking an ordinary message, since its window is cleared.
    static ZLIB: RefCell<Decompress> = RefCell::new(Decompress::new(true));
}

/// Returns at most `max` bytes of a zlib stream (RFC 1950).
pub(super) fn zlib(compressed: &[u8], max: usize) -> Vec<u8> {
    unpack_zlib(compressed, max).0
}

/// Returns all of a zlib stream, if it is whole and of as many bytes.
pub(super) fn zlib_whole(compressed: &[u8], length: usize) -> Option<Vec<u8>> {
    let (bytes, is_whole) = unpack_zlib(compressed, length.checked_add(1)?);
    (is_whole && bytes.len() == length).then_some(bytes)
}

/// Returns at most `max` bytes of a zlib stream, and whether they are all and their checksum is right.
fn unpack_zlib(compressed: &[u8], max: usize) -> (Vec<u8>, bool) {
    ZLIB.with_borrow_mut(|decompress| {
        decompress.reset(true);
        let mut rest = compressed;
        let mut is_whole = false;
        let bytes = unpack(compressed.len(), max, |bytes| {
            let before = decompress.total_in();
            let status = decompress.decompress_vec(rest, bytes, FlushDecompress::None).ok();
            let read = usize::try_from(decompress.total_in() - before).unwrap_or(usize::MAX);
            rest = rest.get(read..).unwrap_or_default();
            is_whole = status == Some(Status::StreamEnd);
            status == Some(Status::Ok)
        });
        (bytes, is_whole)
    })
}

/// Returns at most `max` bytes of a gzip member (RFC 1952).
pub(super) fn gzip(compressed: &[u8], max: usize) -> Vec<u8> {
    unpack_gzip(compressed, max).0
}

/// Returns at most `max` bytes of a gzip member or, if it does not begin like one, of a zlib stream; and whether they are
/// all and their checksum is right.
pub(super) fn gzip_or_zlib(compressed: &[u8], max: usize) -> (Vec<u8>, bool) {
    let more = max.saturating_add(1);
    let (mut bytes, is_whole) = match compressed.starts_with(GZIP) {
        true => unpack_gzip(compressed, more),
        false => unpack_zlib(compressed, more),
    };
    let is_all = is_whole && bytes.len() <= max;
    bytes.truncate(max);
    (bytes, is_all)
}

/// Returns at most `max` bytes of a gzip member, and whether nothing was wrong with it.
fn unpack_gzip(compressed: &[u8], max: usize) -> (Vec<u8>, bool) {
    let mut bytes = Vec::with_capacity(compressed.len().saturating_mul(TYPICAL_RATIO).min(max));
    // What was unpacked before an error is right.
    let outcome = GzDecoder::new(compressed).take(max as u64).read_to_end(&mut bytes);
    (bytes, outcome.is_ok())
}

/// Returns at most `max` bytes of a Zstandard frame.
pub(super) fn zstd(compressed: &[u8], max: usize) -> Vec<u8> {
    let Ok(mut decoder) = Decoder::new() else { return Vec::new() };
    if decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG)).is_err() {
        return Vec::new();
    }
    let mut input = InBuffer::around(compressed);
    unpack(compressed.len(), max, |bytes| {
        let written = bytes.len();
        let mut output = OutBuffer::around_pos(bytes, written);
        // What is left of the frame is not known to be there.
        decoder.run(&mut input, &mut output).is_ok_and(|left| left > 0)
    })
}

/// Returns what `step` appends, as far as there is room for it: it is called until it says that there is no more, or
/// appends nothing. `packed` bytes are to be unpacked, to at most `max`.
fn unpack(packed: usize, max: usize, mut step: impl FnMut(&mut Vec<u8>) -> bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(packed.saturating_mul(TYPICAL_RATIO).min(max));
    loop {
        let before = bytes.len();
        let goes_on = step(&mut bytes);
        if !goes_on || bytes.len() == before || bytes.len() >= max {
            break;
        }
        bytes.reserve_exact(bytes.len().min(max - bytes.len()));
    }
    bytes.truncate(max);
    bytes
}

/// Repeats what was written before; it may overlap what is written.
fn repeat(bytes: &mut Vec<u8>, offset: usize, length: usize) -> Option<()> {
    let start = bytes.len().checked_sub(offset).filter(|_| offset > 0)?;
    let mut left = length;
    while left > 0 {
        // What was repeated is there to be repeated in turn.
        let piece = left.min(bytes.len() - start);
        bytes.extend_from_within(start..start + piece);
        left -= piece;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn as_much_is_unpacked_as_is_wanted_and_there() {
        let text: Vec<u8> = (0..20_000u32).flat_map(|number| number.to_be_bytes()).collect();
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&text).expect("memory");
        let by_zlib = encoder.finish().expect("memory");
        let by_zstd = ::zstd::bulk::compress(&text, 3).expect("memory");
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&text).expect("memory");
        let by_gzip = encoder.finish().expect("memory");
        for (unpack, packed) in
            [(zlib as fn(&[u8], usize) -> Vec<u8>, by_zlib), (zstd, by_zstd), (gzip, by_gzip)]
        {
            assert_eq!(unpack(&packed, 100), text[..100]);
            assert_eq!(unpack(&packed, usize::MAX), text);
            let cut = unpack(&packed[..packed.len() / 2], usize::MAX);
            assert!(cut.len() < text.len() && text.starts_with(&cut));
            assert_eq!(unpack(b"noise", 100), b"");
        }
    }
}
