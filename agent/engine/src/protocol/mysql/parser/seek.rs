//! Commands and answers of which bytes are missing.

use super::{Meaning, MysqlParser};
use crate::protocol::mysql::command::Command;
use crate::protocol::mysql::ending::{self, Ending};
use crate::protocol::mysql::packet::{HEADER_BYTES, Header};
use crate::protocol::{Answer, Cut, Message, Side};

impl MysqlParser {
    /// Makes do with the beginning of a command, or looks for the end of what was begun.
    pub(super) fn cut_plain(&mut self, side: Side, bytes: &[u8], length: u64) -> Option<Cut> {
        if let Some(cut) = self.cut_command(side, bytes, length) {
            return Some(cut);
        }
        let is_sought = match side {
            Side::Client => self.seek_answer(),
            Side::Server => self.seek_end(),
        };
        is_sought.then(|| {
            self.half(side).rest = 0;
            Cut { message: None, length }
        })
    }

    /// Returns what the beginning of a statement says that ends behind the missing bytes.
    fn cut_command(&mut self, side: Side, bytes: &[u8], length: u64) -> Option<Cut> {
        let header = Header::of(bytes)?;
        let command = Command::of(*bytes.get(HEADER_BYTES)?)?;
        let is_enough = matches!(command, Command::Query | Command::Prepare | Command::Execute);
        let is_fresh = header.sequence == 0 && !self.client.is_continued && self.client.rest == 0;
        let is_inside = header.whole() as u64 >= length;
        if side == Side::Server || !is_enough || !is_fresh || !is_inside || self.is_busy() {
            return None;
        }
        let payload = bytes.get(HEADER_BYTES..)?;
        let message = match self.question(header, payload).ok()? {
            Meaning::Tell(kind) => Some(Message::in_order(kind)),
            Meaning::Silent => None,
            Meaning::Wait => return None,
        };
        self.client.is_continued = header.is_full();
        Some(Cut { message, length: header.whole() as u64 })
    }

    /// Returns whether something is looked for, or a file sent.
    fn is_busy(&self) -> bool {
        self.client.is_seeking || self.server.is_seeking || self.is_uploading()
    }

    /// Bytes of a long statement or of a file are missing: what the client sends until the server answers is passed
    /// over. Returns whether the answer can only be to that.
    fn seek_answer(&mut self) -> bool {
        let is_sending = self.client.is_continued || self.is_uploading();
        let is_alone = self.turns.are_known() && self.pending.len() == 1 && !self.server.is_seeking;
        self.client.is_seeking |= is_sending && is_alone;
        self.client.is_seeking
    }

    /// Rows are missing: looks for the end of the answer if only one can end there; returns whether that is so.
    fn seek_end(&mut self) -> bool {
        let is_plain = self.answering.as_ref().is_some_and(|answering| answering.has_plain_end());
        let is_alone = self.turns.are_known() && self.pending.len() == 1 && !self.client.is_seeking;
        if is_plain && is_alone {
            self.server.is_seeking = true;
            self.server.is_continued = false;
            // What comes after a wrong end must not wait for the next command and become its answer.
            self.may_wait = false;
        }
        self.server.is_seeking
    }

    /// Takes bytes behind the missing ones: the server says nothing after its answer, so that this ends what is shown.
    pub(super) fn sought(&mut self, bytes: &[u8]) -> Answer {
        let failure = match ending::read(bytes) {
            None => return Answer::pass_over(bytes, ending::MAX_BYTES),
            Some(Ending::Complete { has_more: true, sequence }) => {
                self.server.is_seeking = false;
                self.server.sequence = self.after(sequence);
                if let Some(answering) = &mut self.answering {
                    answering.skip_result();
                }
                return Answer::Nothing { eaten: bytes.len() };
            }
            Some(Ending::Complete { has_more: false, .. }) => None,
            Some(Ending::Failed(failure)) => Some(failure),
        };
        self.answering = None;
        self.server.is_seeking = false;
        match self.finish(None, failure) {
            Meaning::Tell(kind) => Answer::Message { eaten: bytes.len(), message: Message::in_order(kind) },
            Meaning::Silent | Meaning::Wait => Answer::Nothing { eaten: bytes.len() },
        }
    }
}
