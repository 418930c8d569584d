//! One connection: commands and what answers them.

mod answer;
mod outstanding;
mod question;

use super::command::Options;
use super::detect;
use super::header::{self, HEADER_BYTES, Header, TELLING_BYTES};
use crate::held::Held;
use crate::protocol::{Answer, Cut, Message, MessageKind, Pairing, Parser, ParserSettings, Side};
use answer::Answering;
use outstanding::Outstanding;
use question::Asking;

/// State of one connection.
#[derive(Debug)]
pub(super) struct MongodbParser {
    options: Options,
    /// What the client is sending.
    asking: Asking,
    /// What the server is sending.
    answering: Answering,
    outstanding: Outstanding,
    /// A message begins where the bytes of the client, and of the server, begin.
    is_aligned: [bool; 2],
    /// A response without a request can only mean that the request is still to be shown.
    may_wait: bool,
}

impl MongodbParser {
    pub(super) fn new(settings: &ParserSettings, is_start: bool) -> Self {
        let options = Options {
            redact: settings.redact_statements,
            max_bytes: settings.max_statement_bytes,
            mark_key: settings.mark_key,
        };
        Self {
            options,
            asking: Asking::Nothing,
            answering: Answering::Nothing,
            outstanding: Outstanding::default(),
            is_aligned: [is_start; 2],
            may_wait: is_start,
        }
    }

    /// Returns the header of the message that begins with `bytes`, or what to do instead.
    fn header(&mut self, side: Side, bytes: &[u8]) -> Result<Header, Answer> {
        let is_aligned = self.is_aligned.get_mut(side as usize).is_some_and(|is_aligned| *is_aligned);
        if !is_aligned {
            self.align(side, bytes)?;
        }
        if bytes.len() < HEADER_BYTES {
            return Err(Answer::Need { at_least: HEADER_BYTES });
        }
        header::read(bytes).ok_or_else(|| self.broken("not a message"))
    }

    /// Looks for the beginning of a message of `side`; that of one may be at the end.
    fn align(&mut self, side: Side, bytes: &[u8]) -> Result<(), Answer> {
        match detect::find(bytes, side) {
            Some(0) => {
                if let Some(is_aligned) = self.is_aligned.get_mut(side as usize) {
                    *is_aligned = true;
                }
                Ok(())
            }
            Some(eaten) => Err(Answer::Nothing { eaten }),
            None if bytes.len() < TELLING_BYTES => Err(Answer::Need { at_least: TELLING_BYTES }),
            None => Err(Answer::Nothing { eaten: bytes.len() - (TELLING_BYTES - 1) }),
        }
    }

    fn broken(&mut self, reason: &'static str) -> Answer {
        self.lose();
        Answer::Broken { reason }
    }

    fn lose(&mut self) {
        self.asking = Asking::Nothing;
        self.answering = Answering::Nothing;
        self.outstanding = Outstanding::default();
        self.is_aligned = [false; 2];
        self.may_wait = false;
    }
}

impl Parser for MongodbParser {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Answer {
        match side {
            Side::Client => self.ask(bytes),
            Side::Server => self.answer(bytes),
        }
    }

    fn passed(&mut self, side: Side) -> Option<Message> {
        match side {
            Side::Client => self.asked(),
            Side::Server => self.answered(),
        }
    }

    fn cut(&mut self, side: Side, bytes: &[u8], missing: u64) -> Option<Cut> {
        let seen = u64::try_from(bytes.len()).ok()?.checked_add(missing)?;
        match side {
            Side::Client => self.cut_request(bytes, seen),
            Side::Server => self.cut_response(bytes, seen),
        }
    }

    fn given_up(&mut self) -> Option<Pairing> {
        self.outstanding.take_given_up().map(|id| Pairing::Id(id.into()))
    }

    fn end(&mut self, _side: Side) -> Option<Message> {
        None
    }

    fn held_bytes(&self) -> usize {
        self.outstanding.held_bytes()
    }

    fn lost(&mut self, _side: Side) {
        self.lose();
    }

    /// Every place will do: the next message is looked for.
    fn resync(&self, _side: Side, _bytes: &[u8]) -> Option<usize> {
        Some(0)
    }
}

fn message(id: u32, kind: MessageKind) -> Message {
    Message { pairing: Pairing::Id(id.into()), kind }
}

/// Passes over a whole message of which as many bytes are shown.
fn pass(length: usize, shown: usize) -> Answer {
    if length <= shown { Answer::Nothing { eaten: length } } else { Answer::Skip { length: length as u64 } }
}
