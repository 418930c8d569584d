//! Bytes that were not captured.
//!
//! Streams are told by their numbers, so that a hole shifts nothing: what is known of them is kept, the next frame is
//! looked for, and what may have ended in the hole is doubted until it is heard of again.

use super::data::Data;
use super::fields::message;
use super::{Http2Parser, State};
use crate::protocol::http2::frame::{END_HEADERS, END_STREAM, HEADER_BYTES, Header, Kind, block};
use crate::protocol::{Answer, Cut, Message, Side};

impl Http2Parser {
    /// Says what may be skipped where the next bytes are missing.
    pub(super) fn parse_nothing(&mut self, side: Side) -> Answer {
        match self.half(side).state {
            State::Data(data) => self.data(side, data, &[], 0),
            _ => Answer::Need { at_least: 1 },
        }
    }

    pub(super) fn cut_frame(&mut self, side: Side, bytes: &[u8], missing: u64) -> Option<Cut> {
        let hole_end = (bytes.len() as u64).checked_add(missing)?;
        let (message, length) = match self.half(side).state {
            State::Data(data) if !data.is_skipping => (self.cut_data(side, data, hole_end), data.rest()),
            State::Frame => match Header::read(bytes).filter(|header| header.check().is_ok()) {
                Some(header) => self.cut_other(side, header, bytes, hole_end),
                None => (None, 0),
            },
            _ => (None, 0),
        };
        if length < hole_end {
            self.lose_place(side, hole_end);
        }
        Some(Cut { message, length: length.max(hole_end) })
    }

    /// The frame goes on behind the hole, or ends with it.
    fn cut_data(&mut self, side: Side, data: Data, hole_end: u64) -> Option<Message> {
        let told = self.streams.hear(data.stream).and_then(|stream| {
            let kind = stream.miss(side, data.left)?;
            Some(message(stream, kind))
        });
        if data.rest() >= hole_end {
            self.half(side).state = State::Frame;
        }
        // A server of gRPC ends no stream with data.
        if data.is_end { self.end_stream(side, data.stream) } else { told }
    }

    /// Reads what is shown of a frame, and returns its length as far as it is known.
    fn cut_other(
        &mut self,
        side: Side,
        header: Header,
        bytes: &[u8],
        hole_end: u64,
    ) -> (Option<Message>, u64) {
        let payload = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let length = header.frame_bytes() as u64;
        match header.kind {
            Kind::Headers | Kind::PushPromise => {
                // Padding, if there is any, stands behind what is shown or among it: that is not known.
                let is_plain = !header.has(crate::protocol::http2::frame::PADDED);
                let shown = payload.get(..header.length).unwrap_or(payload);
                let shown = block(header, shown).ok().filter(|_| is_plain);
                let fields = self.half(side).decoder.decode_beginning(shown.unwrap_or_default());
                let is_request = header.kind == Kind::Headers && header.stream % 2 == 1 && shown.is_some();
                if side == Side::Client {
                    self.judge_cut_request(header.stream);
                }
                let message = if is_request { self.fields(side, header, &fields) } else { None };
                self.settle_table(side, false);
                if side == Side::Client {
                    self.blocks.ask(header.stream);
                }
                if message.is_none() {
                    // A request, or what its response says, is not known.
                    self.blocks.give_up();
                    self.streams.know_newest(self.streams.is_newest_known() && side == Side::Server);
                }
                (message, if header.has(END_HEADERS) { length } else { 0 })
            }
            // How much of it is padding is not known.
            Kind::Data => {
                self.judge_data(side, header.stream);
                if let Some(stream) = self.streams.hear(header.stream) {
                    stream.lose(side);
                }
                let is_end = header.has(END_STREAM);
                (if is_end { self.end_stream(side, header.stream) } else { None }, length)
            }
            // Which stream is given up is known, why is not.
            Kind::ResetStream => {
                self.streams.doubt();
                (None, length)
            }
            Kind::GoAway => (None, length),
            _ if length >= hole_end => (None, length),
            _ => (None, 0),
        }
    }

    /// Looks for the next frame behind a hole.
    fn lose_place(&mut self, side: Side, unseen: u64) {
        let half = self.half(side);
        half.state = State::Unaligned { is_edge: true };
        half.unseen = half.unseen.saturating_add(unseen);
        self.doubt_table(side);
        if side == Side::Client {
            self.streams.know_newest(false);
        }
        self.streams.doubt();
        self.streams.lose_data(side);
    }
}
