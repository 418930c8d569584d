//! Whether header blocks are among the bytes that were not captured.
//!
//! What they would have added shifts all that was in the table before. So nothing from before a hole is told until it is
//! proven that the hole held none, by what each side sends with fields and in which order (RFC 9113 sections 5.1.1 and 8.1).

use std::collections::BTreeSet;

use super::Http2Parser;
use crate::protocol::Side;
use crate::protocol::http2::frame::{END_STREAM, Header, Kind};
use crate::protocol::http2::hpack::outline;
use crate::protocol::http2::stream::Streams;

/// What is known of the header blocks of a connection.
#[derive(Debug)]
pub(super) struct Blocks {
    /// The number that a client's next request should have.
    next: u32,
    /// No request was missed, and no response is under way of which nothing is known.
    is_complete: bool,
    /// The next request when a client gave up a stream; its server may have sent fields of it before it heard of that.
    reset_at: Option<u32>,
    /// Streams whose responses may have gone on in what is missing.
    silent: BTreeSet<u32>,
    /// Such a response did.
    is_missed: bool,
}

impl Blocks {
    pub(super) fn new(is_start: bool) -> Self {
        Self { next: 1, is_complete: is_start, reset_at: None, silent: BTreeSet::new(), is_missed: false }
    }

    /// Notes a number that a client uses.
    pub(super) fn ask(&mut self, number: u32) {
        self.next = self.next.max(number.saturating_add(2));
    }

    /// Notes that a client gave up a stream.
    pub(super) fn reset(&mut self) {
        self.reset_at = Some(self.next);
    }

    /// Notes that there is a stream of which nothing is known any more.
    pub(super) fn give_up(&mut self) {
        self.is_complete = false;
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.silent.len() * 2 * size_of::<u32>()
    }

    /// Takes in the beginning of a server's frame with data or fields, and whether it may be the next of its stream.
    fn hear(&mut self, number: u32, is_next: bool) {
        match is_next {
            true => drop(self.silent.remove(&number)),
            false => self.is_missed = true,
        }
    }

    /// Returns whether no block of a server is missing; none where that is not known yet.
    fn verdict(&self, streams: &Streams) -> Option<bool> {
        let is_over = |number: &u32| !streams.is_open(*number);
        let is_refuted = self.is_missed || !self.is_complete || !streams.are_all_grpc();
        if is_refuted || self.silent.iter().any(is_over) {
            return Some(false);
        }
        (self.silent.is_empty() && streams.is_newest_known()).then_some(true)
    }
}

impl Http2Parser {
    /// Notes that whole frames of a side are missing.
    pub(super) fn doubt_table(&mut self, side: Side) {
        self.half(side).decoder.doubt();
        let is_provable = match side {
            Side::Client => !self.streams.may_send_trailers(),
            // Others than those of gRPC may send interim responses, or push.
            Side::Server => {
                self.blocks.is_complete && self.blocks.reset_at.is_none() && self.streams.are_all_grpc()
            }
        };
        if !is_provable {
            self.settle_table(side, false);
        } else if side == Side::Server {
            self.blocks.silent.extend(self.streams.numbers());
        }
    }

    /// Notes a request of which it is known only now, or bytes of the server among which no frame was found: responses may be
    /// among what is missing.
    pub(super) fn doubt_answers(&mut self, of: Option<u32>) {
        if self.server.decoder.is_doubtful() {
            match of {
                Some(number) => drop(self.blocks.silent.insert(number)),
                None => self.blocks.silent.extend(self.streams.numbers()),
            }
        }
    }

    /// Notes a request whose beginning alone was seen: whether one is missing before it.
    pub(super) fn judge_cut_request(&mut self, number: u32) {
        self.blocks.is_complete &= self.streams.is_newest_known() || number == self.blocks.next;
    }

    /// Takes in a block before it is read: it may tell that none is missing before it.
    pub(super) fn judge_table(&mut self, side: Side, header: Header, block: &[u8]) {
        match side {
            Side::Client => self.judge_client(header, block),
            Side::Server => self.judge_server(header, block),
        }
    }

    /// A client's numbers follow one another. Its trailers have no pseudo-header fields.
    fn judge_client(&mut self, header: Header, block: &[u8]) {
        if !self.streams.is_newest_known() {
            let is_request = outline(block, true).is_some_and(|found| found.side == Some(Side::Client));
            let is_next = is_request && header.stream == self.blocks.next;
            self.blocks.is_complete &= is_next;
            self.settle_table(Side::Client, is_next);
        }
        self.blocks.ask(header.stream);
    }

    /// A server of gRPC sends fields with a status, then data, then fields without. What ends a response at once has a status.
    fn judge_server(&mut self, header: Header, block: &[u8]) {
        if header.kind == Kind::PushPromise || header.stream.is_multiple_of(2) {
            self.blocks.give_up();
        }
        self.blocks.reset_at = self.blocks.reset_at.filter(|&next| header.stream < next);
        if !self.server.decoder.is_doubtful() {
            return;
        }
        if let Some(has_begun) = self.streams.has_begun_to_answer(header.stream) {
            let has_status = outline(block, true).is_some_and(|found| found.side == Some(Side::Server));
            let is_end = header.has(END_STREAM);
            let is_next = if has_begun { is_end && !has_status } else { has_status || !is_end };
            self.blocks.hear(header.stream, is_next);
        }
        if let Some(is_proven) = self.blocks.verdict(&self.streams) {
            self.settle_table(Side::Server, is_proven);
        }
    }

    /// Takes in a frame of data: what comes before it in its stream is not among what is missing, if it was seen.
    pub(super) fn judge_data(&mut self, side: Side, number: u32) {
        if side == Side::Server
            && self.server.decoder.is_doubtful()
            && let Some(has_begun) = self.streams.has_begun_to_answer(number)
        {
            self.blocks.hear(number, has_begun);
        }
    }

    /// Ends the doubt of a side's table.
    pub(super) fn settle_table(&mut self, side: Side, is_proven: bool) {
        self.half(side).decoder.settle(is_proven);
        if side == Side::Server {
            self.blocks.silent.clear();
            self.blocks.is_missed = false;
        }
    }
}
