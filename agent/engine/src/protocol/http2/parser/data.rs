//! Frames of data (RFC 9113 section 6.1): passed over, but for what stands before the messages of gRPC, for those messages
//! that are read, and for what is looked at in bodies.

use super::fields::message;
use super::{Http2Parser, State};
use crate::protocol::http2::frame::{END_STREAM, HEADER_BYTES, Header, PADDED};
use crate::protocol::{Answer, Message, Side};

/// A frame of data whose beginning was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Data {
    pub(super) stream: u32,
    /// Bytes of data that are still to come, without padding.
    pub(super) left: u32,
    /// Bytes after them.
    pub(super) padding: u32,
    pub(super) is_end: bool,
    /// Bytes that were to be skipped, and may not have gone by yet.
    pub(super) is_skipping: bool,
}

impl Data {
    /// Bytes of the frame that are still to come.
    pub(super) fn rest(&self) -> u64 {
        u64::from(self.left) + u64::from(self.padding)
    }
}

impl Http2Parser {
    pub(super) fn data_frame(&mut self, side: Side, header: Header, bytes: &[u8]) -> Answer {
        let length = u32::try_from(header.length).unwrap_or(u32::MAX);
        let (padding, before) = match header.has(PADDED) {
            false => (0, 0),
            true => match bytes.get(HEADER_BYTES) {
                None if length > 0 => return Answer::Need { at_least: HEADER_BYTES + 1 },
                padding => (u32::from(padding.copied().unwrap_or(0)), 1),
            },
        };
        let Some(left) = length.checked_sub(padding + before) else {
            return self.broken("padding longer than the frame");
        };
        self.judge_data(side, header.stream);
        if let Some(stream) = self.streams.hear(header.stream) {
            stream.begin_data(side, left);
        }
        let is_end = header.has(END_STREAM);
        let data = Data { stream: header.stream, left, padding, is_end, is_skipping: false };
        self.data(side, data, bytes, HEADER_BYTES + before as usize)
    }

    /// Goes on with a frame of data, of which `eaten` of `bytes` are read.
    pub(super) fn data(&mut self, side: Side, mut data: Data, bytes: &[u8], mut eaten: usize) -> Answer {
        data.is_skipping = false;
        while data.left > 0 {
            let Some(stream) = self.streams.hear(data.stream).filter(|stream| stream.is_read(side)) else {
                break;
            };
            let unseen = stream.unseen(side, data.left);
            data.left -= unseen;
            eaten += unseen as usize;
            if data.left == 0 {
                break;
            }
            let shown = bytes.get(eaten..).unwrap_or_default();
            let shown = shown.get(..data.left as usize).unwrap_or(shown);
            if shown.is_empty() {
                return self.pause(side, data, bytes, eaten);
            }
            let (read, kind) = stream.read(side, shown);
            data.left -= read as u32;
            eaten += read;
            if let Some(kind) = kind {
                let message = message(stream, kind);
                return self.tell(side, data, eaten, message);
            }
        }
        self.leave(side, data, bytes, eaten)
    }

    /// Tells a message that has ended within a frame, after `eaten` bytes of what is shown.
    fn tell(&mut self, side: Side, data: Data, eaten: usize, message: Message) -> Answer {
        self.half(side).state = match data.rest() {
            0 => State::Passed { stream: data.stream, is_end: data.is_end },
            _ => State::Data(data),
        };
        Answer::Message { eaten, message }
    }

    /// Waits for the next prefix.
    fn pause(&mut self, side: Side, mut data: Data, bytes: &[u8], eaten: usize) -> Answer {
        data.is_skipping = eaten > bytes.len();
        self.half(side).state = State::Data(data);
        match eaten {
            0 => Answer::Need { at_least: bytes.len() + 1 },
            _ if eaten <= bytes.len() => Answer::Nothing { eaten },
            _ => Answer::Skip { length: eaten as u64 },
        }
    }

    /// Passes over what is left of a frame.
    fn leave(&mut self, side: Side, data: Data, bytes: &[u8], eaten: usize) -> Answer {
        let length = eaten as u64 + data.rest();
        let (stream, is_end) = (data.stream, data.is_end);
        match usize::try_from(length) {
            Ok(length) if length <= bytes.len() => {
                self.half(side).state = State::Frame;
                let ended = if is_end { self.end_stream(side, stream) } else { None };
                match ended {
                    Some(message) => Answer::Message { eaten: length, message },
                    None if length == 0 => self.frame(side, bytes),
                    None => Answer::Nothing { eaten: length },
                }
            }
            _ => {
                self.half(side).state = State::Passed { stream, is_end };
                Answer::Skip { length }
            }
        }
    }

    /// Ends one side of a stream, at the end of its data.
    pub(super) fn end_stream(&mut self, side: Side, number: u32) -> Option<Message> {
        match side {
            Side::Client => self.end_request(number),
            Side::Server => self.end_response(number, None),
        }
    }
}
