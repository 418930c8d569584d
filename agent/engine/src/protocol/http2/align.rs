//! Finding the beginning of a frame in the middle of a stream.
//!
//! Nothing marks it, so it is proven: by a chain of headers each of which is where the one before said, and of which
//! enough is so particular that no other bytes are likely to look like it.

use super::frame::{END_HEADERS, HEADER_BYTES, Header, Kind, block};
use super::hpack::{self, Outline};
use crate::protocol::Side;

/// What makes a proof. Data frames alone are weak: a header of theirs is mostly zeros, which is what other binary data
/// are made of too.
const PROOF: u32 = 3;
/// Frames that are looked at from one place.
const MAX_FRAMES: usize = 16;

/// What a chain of frames shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// Strength of the proof.
    weight: u32,
    /// Who sends such frames, as far as they tell.
    pub(super) side: Option<Side>,
}

impl Chain {
    /// Returns whether there are frames, for sure.
    pub(super) fn is_proven(&self) -> bool {
        self.weight >= PROOF
    }
}

/// Returns where in `bytes` a frame of `side` begins, for sure. Data of streams that `is_open` knows count more.
pub(super) fn find(side: Side, bytes: &[u8], is_open: impl Fn(u32) -> bool) -> Option<usize> {
    (0..bytes.len().saturating_sub(HEADER_BYTES - 1)).find(|&at| {
        let chain = bytes.get(at..).and_then(|rest| follow(rest, &is_open));
        chain.is_some_and(|chain| chain.is_proven() && chain.side.is_none_or(|found| found == side))
    })
}

/// Follows the frames with which `bytes` begin; none where they are no frames.
pub(super) fn follow(bytes: &[u8], is_open: impl Fn(u32) -> bool) -> Option<Chain> {
    let mut chain = Chain::default();
    let mut rest = bytes;
    for _ in 0..MAX_FRAMES {
        let Some(header) = Header::read(rest) else {
            return is_beginning(rest).then_some(chain);
        };
        if !header.is_usual() {
            return None;
        }
        let payload = rest.get(HEADER_BYTES..).unwrap_or_default();
        let shown = payload.get(..header.length);
        chain.weight += weight(header, shown.unwrap_or(payload), shown.is_some(), &mut chain.side, &is_open)?;
        match rest.get(header.frame_bytes()..) {
            Some(after) if !after.is_empty() => rest = after,
            _ => break,
        }
    }
    Some(chain)
}

/// Whether what is too short for a header may begin one. Frames are shorter than 64 KiB, but for few.
fn is_beginning(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(|&byte| byte <= 0x10) && bytes.get(3).is_none_or(|&kind| kind <= 0x9)
}

/// Returns what a frame proves; none where it is none.
fn weight(
    header: Header,
    payload: &[u8],
    is_whole: bool,
    side: &mut Option<Side>,
    is_open: impl Fn(u32) -> bool,
) -> Option<u32> {
    match header.kind {
        Kind::Data if is_open(header.stream) && header.length > 0 => Some(2),
        Kind::Data => Some(1),
        Kind::Headers => {
            let found = match block(header, payload) {
                Ok(block) => hpack::outline(block, is_whole && header.has(END_HEADERS))?,
                Err(_) if is_whole => return None,
                Err(_) => Outline::default(),
            };
            if side.is_some() && found.side.is_some() && *side != found.side {
                return None;
            }
            *side = side.or(found.side);
            // A whole block that fits to the byte, and says something.
            Some(if is_whole && found.fields > 0 || found.fields > 1 { PROOF } else { 1 })
        }
        // Without its beginning a block says nothing.
        Kind::Continuation | Kind::PushPromise => Some(1),
        _ if is_whole => header.is_payload_usual(payload).then_some(PROOF),
        _ => Some(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"\x00\x00\x04\x01\x05\x00\x00\x00\x05\x83\x86\xc2\xc1";
    const WINDOW: &[u8] = b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x10\x00";

    fn check(side: Side, bytes: &[u8], expected: Option<usize>) {
        assert_eq!(find(side, bytes, |stream| stream == 7), expected, "{}", bytes.escape_ascii());
    }

    #[test]
    fn frames_are_found_in_data() {
        check(Side::Client, REQUEST, Some(0));
        check(Side::Client, &[b"end of data", REQUEST].concat(), Some(11));
        check(Side::Client, &[&[0; 100][..], REQUEST].concat(), Some(100));
        check(Side::Server, REQUEST, None);
        check(Side::Server, &[b"x", WINDOW].concat(), Some(1));
    }

    #[test]
    fn data_alone_prove_little() {
        let data = |stream: u8| [b"\x00\x00\x02\x00\x00\x00\x00\x00", &[stream][..], b"ab"].concat();
        check(Side::Server, &data(5), None);
        check(Side::Server, &[data(5), data(5)].concat(), None);
        check(Side::Server, &[data(7), data(7)].concat(), Some(0));
        check(Side::Server, &[&data(5)[..], WINDOW].concat(), Some(0));
        check(Side::Server, &[0; 1000], None);
        check(Side::Server, &[0, 0, 0, 0, 0, 0, 0, 0, 1].repeat(2), None);
    }

    #[test]
    fn a_chain_that_breaks_is_none() {
        check(Side::Client, &[REQUEST, b"GET / HTTP/1.1\r\n"].concat(), None);
        check(Side::Client, &[REQUEST, WINDOW, &WINDOW[..5]].concat(), Some(0));
    }
}
