//! Finding the beginning of a frame in the middle of a stream.
//!
//! Nothing marks it, so it is proven: by a chain of headers each of which is where the one before said, and of which
//! enough is so particular that no other bytes are likely to look like it.

use super::frame::{DEFAULT_MAX_BYTES, END_HEADERS, HEADER_BYTES, Header, Kind, block};
use super::hpack::{self, Outline};
use super::stream::MAX_LEAD;
use crate::protocol::Side;

/// What makes a proof where a connection's protocol is asked for. Data frames alone are weak: a header of theirs is mostly
/// zeros, which is what other binary data are made of too.
const PROOF: u32 = 3;
/// What makes a proof behind a hole, where somebody may have written frames into a body: several of them.
const STRONG_PROOF: u32 = 5;
/// Longest frame of data for whose end is waited, since what stands in it may only look like frames.
const MAX_COVER_BYTES: usize = DEFAULT_MAX_BYTES;
/// Frames that are looked at from one place.
const MAX_FRAMES: usize = 16;

/// What is known of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is open, or was begun by the same chain.
    Open,
    /// Nothing: it may have begun in the hole, or before all that was seen.
    Possible,
    /// Its number is too large to have been reached.
    Impossible,
}

/// What a chain of frames shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// Strength of the proof.
    weight: u32,
    /// Who sends such frames, as far as they tell.
    pub(super) side: Option<Side>,
    /// Its last frame ends with the last byte.
    is_exact: bool,
    /// It begins with data of an open stream that are not there whole.
    is_cover: bool,
    /// The stream that it has begun last.
    begun: Option<u32>,
}

/// Where the next frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Here, for sure.
    At(usize),
    /// Here, if these are data; what stands in them may be anything.
    MaybeAt(usize),
    /// Not known.
    Nowhere,
}

impl Chain {
    /// Returns whether there are frames, for sure.
    pub(super) fn is_proven(&self) -> bool {
        self.weight >= PROOF
    }
}

/// Returns where in `bytes` a frame of `side` begins. One frame that is all that was sent after the hole (`is_edge` says
/// that `bytes` begin there) proves as much as several elsewhere.
pub(super) fn find(side: Side, bytes: &[u8], is_edge: bool, standing: impl Fn(u32) -> Standing) -> Place {
    for at in 0..bytes.len().saturating_sub(HEADER_BYTES - 1) {
        let chain = bytes.get(at..).and_then(|rest| follow(rest, &standing));
        let Some(chain) = chain.filter(|chain| chain.side.is_none_or(|found| found == side)) else {
            continue;
        };
        let is_lone = is_edge && at == 0 && chain.is_exact;
        if chain.weight >= STRONG_PROOF || is_lone && chain.is_proven() {
            return Place::At(at);
        }
        if chain.is_cover {
            return Place::MaybeAt(at);
        }
    }
    Place::Nowhere
}

/// Follows the frames with which `bytes` begin; none where they are no frames.
pub(super) fn follow(bytes: &[u8], standing: impl Fn(u32) -> Standing) -> Option<Chain> {
    let mut chain = Chain::default();
    let mut rest = bytes;
    for number in 0..MAX_FRAMES {
        let Some(header) = Header::read(rest) else {
            return is_beginning(rest).then_some(chain);
        };
        let of_stream = match chain.begun.and_then(|begun| header.stream.checked_sub(begun)) {
            Some(0) => Standing::Open,
            // One after another: a client may send as many requests together as the server takes.
            Some(1..=MAX_LEAD) => Standing::Possible,
            _ => standing(header.stream),
        };
        if !header.is_usual() || of_stream == Standing::Impossible {
            return None;
        }
        let payload = rest.get(HEADER_BYTES..).unwrap_or_default();
        let shown = payload.get(..header.length);
        chain.weight +=
            weight(header, shown.unwrap_or(payload), shown.is_some(), &mut chain.side, of_stream)?;
        if header.kind == Kind::Headers {
            chain.begun = Some(header.stream);
        }
        match rest.get(header.frame_bytes()..) {
            Some(after) if !after.is_empty() => rest = after,
            end => {
                chain.is_exact = end.is_some();
                let is_data = header.kind == Kind::Data && of_stream == Standing::Open;
                let is_waited_for = is_data && (1..=MAX_COVER_BYTES).contains(&header.length);
                chain.is_cover = number == 0 && is_waited_for;
                break;
            }
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
    standing: Standing,
) -> Option<u32> {
    match header.kind {
        Kind::Data if standing == Standing::Open && header.length > 0 => Some(2),
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

    fn standing(stream: u32) -> Standing {
        match stream {
            7 => Standing::Open,
            0..100 => Standing::Possible,
            _ => Standing::Impossible,
        }
    }

    fn check(side: Side, bytes: &[u8], expected: Place) {
        assert_eq!(find(side, bytes, true, standing), expected, "{}", bytes.escape_ascii());
    }

    fn data(stream: u8) -> Vec<u8> {
        [b"\x00\x00\x02\x00\x00\x00\x00\x00", &[stream][..], b"ab"].concat()
    }

    #[test]
    fn several_frames_are_found_in_data() {
        let two = [REQUEST, WINDOW].concat();
        check(Side::Client, &[&b"end of data"[..], &two].concat(), Place::At(11));
        check(Side::Client, &[&[0; 100][..], &two].concat(), Place::At(100));
        check(Side::Client, &[b"x", REQUEST, &data(5)].concat(), Place::At(1));
        check(Side::Server, &two, Place::Nowhere);
        check(Side::Server, &[b"x", WINDOW, WINDOW].concat(), Place::At(1));
    }

    #[test]
    fn one_frame_is_found_where_nothing_else_was_sent() {
        check(Side::Client, REQUEST, Place::At(0));
        assert_eq!(find(Side::Client, REQUEST, false, standing), Place::Nowhere);
        check(Side::Client, &[b"end of data", REQUEST].concat(), Place::Nowhere);
        check(Side::Client, &REQUEST[..12], Place::Nowhere);
    }

    #[test]
    fn data_alone_prove_little() {
        check(Side::Server, &data(5), Place::Nowhere);
        check(Side::Server, &data(5).repeat(2), Place::Nowhere);
        check(Side::Server, &data(7).repeat(3), Place::At(0));
        check(Side::Server, &[0; 1000], Place::Nowhere);
        check(Side::Server, &[0, 0, 0, 0, 0, 0, 0, 0, 1].repeat(2), Place::Nowhere);
    }

    #[test]
    fn what_stands_in_data_is_not_looked_at_before_they_end() {
        let forged = [REQUEST, WINDOW].concat();
        let inside = [b"x\x00\x01\x00\x00\x00\x00\x00\x00\x07", &forged[..]].concat();
        check(Side::Client, &inside, Place::MaybeAt(1));
    }

    #[test]
    fn streams_that_cannot_be_there_are_none() {
        let far = b"\x00\x00\x04\x01\x05\x00\x00\x01\x05\x83\x86\xc2\xc1";
        check(Side::Client, &[&far[..], WINDOW].concat(), Place::Nowhere);
    }

    #[test]
    fn a_chain_leads_to_streams_that_could_not_be_there_alone() {
        let request = |stream: u8| [&REQUEST[..8], &[stream], &REQUEST[9..]].concat();
        let many: Vec<u8> = (95..127).step_by(2).flat_map(request).collect();
        check(Side::Client, &many, Place::At(0));
        let gap: Vec<u8> = [95, 125, 127].into_iter().flat_map(request).collect();
        check(Side::Client, &gap, Place::Nowhere);
    }

    #[test]
    fn a_chain_that_breaks_is_none() {
        check(Side::Client, &[REQUEST, WINDOW, b"GET / HTTP/1.1\r\n"].concat(), Place::Nowhere);
        check(Side::Client, &[REQUEST, WINDOW, &WINDOW[..5]].concat(), Place::At(0));
    }
}
