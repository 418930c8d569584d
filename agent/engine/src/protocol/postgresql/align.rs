//! Finding the beginning of a message in the middle of a stream.

use super::detect::chain;
use super::message::is_kind;
use crate::protocol::{Detection, Side};

/// `ReadyForQuery` without its state.
const READY: &[u8] = b"Z\0\0\0\x05";

/// Returns where in `bytes` a message of the client plausibly begins.
pub(super) fn client(bytes: &[u8]) -> Option<usize> {
    let is_start = |at: &usize| {
        let rest = bytes.get(*at..).unwrap_or_default();
        rest.first().is_some_and(|&kind| is_kind(Side::Client, kind))
            && rest.get(1) == Some(&0)
            && (is_short_query(rest) || chain(Side::Client, rest) == Detection::Yes(Side::Client))
    };
    (0..bytes.len()).find(is_start)
}

/// Returns whether `bytes` are one query of at most two characters. It is no sign of PostgreSQL, but where PostgreSQL is
/// spoken it must not be left unread: the answer to it would go to the next query.
fn is_short_query(bytes: &[u8]) -> bool {
    matches!(bytes, [b'Q', 0, 0, 0, length @ 5..=7, .., 0] if usize::from(*length) + 1 == bytes.len())
}

/// Returns where in `bytes` the server is ready for the next query: the place after `ReadyForQuery`.
pub(super) fn ready(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find_iter(bytes, READY)
        .map(|at| at + READY.len())
        .find_map(|state| matches!(bytes.get(state), Some(b'I' | b'T' | b'E')).then_some(state + 1))
}

/// Returns what is before a `ReadyForQuery` that ends `bytes`, and its state.
pub(super) fn ready_at_end(bytes: &[u8]) -> Option<(&[u8], u8)> {
    let (&state, rest) = bytes.split_last()?;
    let before = rest.strip_suffix(READY)?;
    matches!(state, b'I' | b'T' | b'E').then_some((before, state))
}

/// How many of the last bytes may begin what [`ready`] looks for.
pub(super) const READY_TAIL_BYTES: usize = READY.len();
/// How many of the last bytes may begin what [`client`] looks for.
pub(super) const CLIENT_TAIL_BYTES: usize = 64;
