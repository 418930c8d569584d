//! WebSocket (RFC 6455) after its opening handshake, which is an HTTP request: both sides' messages are counted, their
//! payloads are passed over.
//!
//! It has no messages of its own for the engine: the exchange that opened it lasts until it ends, and is told then what
//! was counted. Where bytes are missing, counting goes on if a frame seems to begin behind them.

mod frame;

use super::{Ending, Outcome, Side, set};
use crate::semconv;
use frame::{Frame, Read};

/// Why a connection ended that nobody closed (RFC 6455 section 7.4.1: never sent, only reported).
const ABNORMAL: u16 = 1006;
/// The codes by which an end says that the other one has done wrong.
const BLAMES: &[u16] = &[1002, 1003, 1007, 1008, 1009, 1010, 3000, 3003, 3008];
/// The codes by which an end says that it has failed itself.
const FAILURES: &[u16] = &[1011, 1013, 1014, 1015];

/// How much is passed over at once of what is no WebSocket after all. Positions are 32-bit, so it stays far below.
const BROKEN_BYTES: u64 = 1 << 30;

/// The state of one WebSocket: both sides.
#[derive(Debug, Default)]
pub(super) struct WebSocket {
    client: Half,
    server: Half,
    /// What was said first of why it ends.
    closed: Option<Close>,
}

/// One direction.
#[derive(Clone, Copy, Debug, Default)]
struct Half {
    /// Messages whose last frame has begun.
    messages: u64,
    is_closed: bool,
    /// Bytes are missing, and it is not known yet whether a frame begins behind them.
    is_lost: bool,
    /// None seems to: nothing is counted until other bytes are missing.
    is_adrift: bool,
    /// Frames may be missing.
    is_partial: bool,
    /// What came was no frame: nothing that follows is.
    is_broken: bool,
}

/// A close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Close {
    by: Side,
    /// None where the frame has no code, which is the same as a normal end.
    code: Option<u16>,
}

/// What the bytes shown are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// As many bytes are counted.
    Eat(usize),
    /// As many bytes are counted, and need not be seen.
    Skip(u64),
    /// At least so many bytes must be seen.
    Need(usize),
    /// After as many bytes, both sides have said that they will send no more.
    End(usize),
}

impl WebSocket {
    /// Looks at the beginning of `bytes`, the unread bytes of `side`.
    pub(super) fn parse(&mut self, side: Side, bytes: &[u8]) -> Step {
        let half = self.half(side);
        if half.is_broken {
            return Step::Skip(BROKEN_BYTES);
        }
        if half.is_lost && !bytes.is_empty() {
            let Some(begins) = frame::seems_to_begin(bytes, side == Side::Client) else {
                return Step::Need(2);
            };
            (half.is_lost, half.is_adrift) = (false, !begins);
        }
        if half.is_adrift && !bytes.is_empty() {
            return Step::Eat(bytes.len());
        }
        match frame::read(bytes) {
            Read::Need(at_least) => Step::Need(at_least),
            Read::Frame(frame) => self.frame(side, frame),
            // Behind missing bytes it was guessed where a frame begins.
            Read::Broken if half.is_partial => {
                half.is_adrift = true;
                Step::Eat(bytes.len())
            }
            Read::Broken => {
                (half.is_broken, half.is_partial) = (true, true);
                Step::Skip(BROKEN_BYTES)
            }
        }
    }

    fn frame(&mut self, side: Side, frame: Frame) -> Step {
        let Frame { length, ends_message, close, .. } = frame;
        let half = self.half(side);
        half.messages += u64::from(ends_message);
        let Some(code) = close else { return Step::Skip(length) };
        half.is_closed = true;
        self.closed.get_or_insert(Close { by: side, code });
        let eaten = usize::try_from(length).unwrap_or(usize::MAX);
        if self.client.is_closed && self.server.is_closed { Step::End(eaten) } else { Step::Eat(eaten) }
    }

    /// Notes that bytes of `side` are missing which may have been frames.
    pub(super) fn missed(&mut self, side: Side) {
        let half = self.half(side);
        (half.is_lost, half.is_adrift, half.is_partial) = (true, false, true);
    }

    /// Returns whether the beginning of the next frame of a side is not known.
    pub(super) fn is_lost(&self, side: Side) -> bool {
        match side {
            Side::Client => self.client.is_lost,
            Side::Server => self.server.is_lost,
        }
    }

    /// Goes on behind missing bytes where `length` bytes of a side, of which the first are shown, are one whole frame. Returns
    /// whether they are; none where more of them must be seen.
    pub(super) fn resume(&mut self, side: Side, bytes: &[u8], length: u64) -> Option<bool> {
        let is_whole = match frame::read(bytes) {
            Read::Need(at_least) if at_least as u64 <= length => return None,
            Read::Need(_) | Read::Broken => false,
            Read::Frame(frame) => frame.length == length && frame.is_masked == (side == Side::Client),
        };
        self.half(side).is_lost &= !is_whole;
        Some(is_whole)
    }

    /// Returns whether a side has said that it will send no more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Returns what is to be told at the end.
    pub(super) fn ending(&self) -> Ending {
        let mut attributes = Vec::with_capacity(4);
        let count = |messages: u64| i64::try_from(messages).unwrap_or(i64::MAX);
        set(&mut attributes, semconv::REMORA_WEBSOCKET_CLIENT_MESSAGES, count(self.client.messages));
        set(&mut attributes, semconv::REMORA_WEBSOCKET_SERVER_MESSAGES, count(self.server.messages));
        if let Some(code) = self.closed.and_then(|close| close.code) {
            set(&mut attributes, semconv::REMORA_WEBSOCKET_CLOSE_CODE, i64::from(code));
        }
        let is_partial = self.client.is_partial || self.server.is_partial;
        if is_partial {
            set(&mut attributes, semconv::REMORA_INCOMPLETE, "messages_missing");
        }
        // The frame that closed it may be among what is missing.
        let outcome = match self.closed {
            Some(close) => outcome(close),
            None if is_partial => None,
            None => Some(Outcome {
                error_type: Some(ABNORMAL.to_string()),
                message: Some("the connection ended without a close frame".to_owned()),
                is_client_fault: false,
            }),
        };
        Ending { attributes, outcome, ..Ending::default() }
    }

    fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }
}

/// Who goes away, restarts or is done has not failed; what the codes from 4000 on mean only the application knows.
fn outcome(close: Close) -> Option<Outcome> {
    let code = close.code?;
    let blames = BLAMES.contains(&code);
    (blames || FAILURES.contains(&code)).then(|| Outcome {
        error_type: Some(code.to_string()),
        message: None,
        is_client_fault: blames == (close.by == Side::Server),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(by: Side, code: Option<u16>) -> Option<(String, bool)> {
        let outcome = outcome(Close { by, code })?;
        Some((outcome.error_type?, outcome.is_client_fault))
    }

    #[test]
    fn close_codes_tell_whose_fault_it_was() {
        for code in [None, Some(1000), Some(1001), Some(1012), Some(4321)] {
            assert_eq!(close(Side::Client, code), None, "{code:?}");
        }
        assert_eq!(close(Side::Server, Some(1009)), Some(("1009".to_owned(), true)));
        assert_eq!(close(Side::Client, Some(1009)), Some(("1009".to_owned(), false)));
        assert_eq!(close(Side::Server, Some(1011)), Some(("1011".to_owned(), false)));
        assert_eq!(close(Side::Client, Some(1011)), Some(("1011".to_owned(), true)));
    }

    #[test]
    fn what_is_no_frame_ends_the_count_of_its_side() {
        let mut socket = WebSocket::default();
        assert_eq!(socket.parse(Side::Server, b"\x81\x02hi"), Step::Skip(4));
        assert_eq!(socket.parse(Side::Server, b"\x83\x02hi"), Step::Skip(BROKEN_BYTES));
        assert_eq!(socket.parse(Side::Server, b"\x81\x02hi"), Step::Skip(BROKEN_BYTES));
        assert_eq!(socket.parse(Side::Client, b"\x81\x02hi"), Step::Skip(4));
    }

    #[test]
    fn after_missing_bytes_frames_count_again_that_begin_there() {
        let mut socket = WebSocket::default();
        socket.missed(Side::Server);
        assert_eq!(socket.parse(Side::Server, b"h"), Step::Need(2));
        assert_eq!(socket.parse(Side::Server, b"hi"), Step::Eat(2));
        assert_eq!(socket.parse(Side::Server, b"\x81\x02hi"), Step::Eat(4));
        socket.missed(Side::Server);
        assert_eq!(socket.parse(Side::Server, b"\x81\x82hi\x81\x00"), Step::Eat(6));
        // What seemed to be a frame was none.
        socket.missed(Side::Server);
        assert_eq!(socket.parse(Side::Server, b"\x82\x01a\x07"), Step::Skip(3));
        assert_eq!(socket.parse(Side::Server, b"\x07\x00"), Step::Eat(2));
        socket.missed(Side::Server);
        assert_eq!(socket.parse(Side::Server, b"\x81\x02hi\x81\x00"), Step::Skip(4));
        let ending = socket.ending();
        assert_eq!(ending.outcome, None);
        assert!(ending.attributes.contains(&(semconv::REMORA_WEBSOCKET_SERVER_MESSAGES, 2i64.into())));
        assert!(ending.attributes.contains(&(semconv::REMORA_INCOMPLETE, "messages_missing".into())));
    }
}
