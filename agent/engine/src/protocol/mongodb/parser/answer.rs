//! What the server sends.

use super::outstanding::Waiting;
use super::question::inflated;
use super::{MongodbParser, message, pass};
use crate::protocol::mongodb::READ_BYTES;
use crate::protocol::mongodb::bson::{self, Elements};
use crate::protocol::mongodb::header::{self, HEADER_BYTES, Header, OpCode, REPLY_HEAD_BYTES};
use crate::protocol::mongodb::reply::Reply;
use crate::protocol::mongodb::rest::{Fields, Items, Rest, Step};
use crate::protocol::mongodb::sections::{Part, Sections};
use crate::protocol::{Answer, Cut, Ending, Message, MessageKind, Outcome, Response, Side};
use crate::semconv::Attributes;

/// Most bytes of a reply that are decompressed: its documents are counted if there are no more.
const MAX_INFLATED_BYTES: usize = 16 * READ_BYTES;

/// What the server is sending.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each connection, and boxing it would be once for each long reply"
)]
pub(super) enum Answering {
    /// Nothing: a message comes next.
    Nothing,
    /// The rest of a response whose beginning was read.
    Rest { waiting: Waiting, begun: Begun, rest: Rest, id: u32 },
}

/// What a message's beginning says.
#[derive(Debug, Default)]
pub(super) struct Begun {
    reply: Reply,
    /// Another response follows, without being asked for.
    more_to_come: bool,
    /// Where the rest begins, if anything of it is of interest, and the rest.
    rest: Option<(usize, Rest)>,
}

impl MongodbParser {
    pub(super) fn answer(&mut self, bytes: &[u8]) -> Answer {
        let Answering::Rest { rest, begun, .. } = &mut self.answering else { return self.answer_anew(bytes) };
        let eaten = match rest.step(bytes) {
            Step::Eat(eaten) => return Answer::Nothing { eaten },
            Step::Skip(length) => return Answer::Skip { length },
            Step::Need(at_least) => return Answer::Need { at_least },
            Step::Fields(length) => {
                begun.reply.take(&mut Elements::last(bytes.get(..length).unwrap_or_default()));
                length
            }
            Step::End(eaten) => eaten,
        };
        match self.answered() {
            Some(message) => Answer::Message { eaten, message },
            None if eaten > 0 => Answer::Nothing { eaten },
            None => self.answer_anew(bytes),
        }
    }

    /// The bytes of a response that were to be passed over have gone by.
    pub(super) fn answered(&mut self) -> Option<Message> {
        let is_over = matches!(&self.answering, Answering::Rest { rest, .. } if rest.left() == 0);
        is_over.then(|| self.end_response()).flatten()
    }

    fn end_response(&mut self) -> Option<Message> {
        let answering = std::mem::replace(&mut self.answering, Answering::Nothing);
        let Answering::Rest { waiting, mut begun, rest, id } = answering else { return None };
        begun.reply.rows = rest.count().or(begun.reply.rows);
        self.conclude(waiting, &begun, id)
    }

    fn answer_anew(&mut self, bytes: &[u8]) -> Answer {
        let header = match self.header(Side::Server, bytes) {
            Ok(header) => header,
            Err(answer) => return answer,
        };
        if !self.outstanding.knows(header.response_to) {
            let is_early = self.may_wait && self.outstanding.is_empty();
            return if is_early { Answer::Wait } else { pass(header.length, bytes.len()) };
        }
        let wanted = header.length.min(READ_BYTES);
        let Some(beginning) = bytes.get(..wanted) else { return Answer::Need { at_least: wanted } };
        // What cannot be read answers the request nevertheless.
        let mut begun = begin(header, beginning).unwrap_or_default();
        let Some(mut waiting) = self.outstanding.take(header.response_to) else {
            return pass(header.length, bytes.len());
        };
        if !waiting.is_reported {
            if begun.more_to_come {
                self.outstanding.put_back(header.id, waiting);
            }
            return pass(header.length, bytes.len());
        }
        if header.length <= wanted {
            return match self.conclude(waiting, &begun, header.id) {
                Some(message) => Answer::Message { eaten: wanted, message },
                None => Answer::Nothing { eaten: wanted },
            };
        }
        let left = (header.length - wanted) as u64;
        let (eaten, rest) = begun.rest.take().unwrap_or((wanted, Rest::passing(left)));
        let first = self.open(&mut waiting);
        self.answering = Answering::Rest { waiting, begun, rest, id: header.id };
        first.map_or(Answer::Nothing { eaten }, |message| Answer::Message { eaten, message })
    }

    /// Begins the response, unless it has begun.
    fn open(&self, waiting: &mut Waiting) -> Option<Message> {
        if std::mem::replace(&mut waiting.is_answered, true) {
            return None;
        }
        let response = Response { is_open: true, ..Response::default() };
        Some(message(waiting.id, MessageKind::Response(Box::new(response))))
    }

    /// A response, or one of several, has come to its end.
    fn conclude(&mut self, mut waiting: Waiting, begun: &Begun, id: u32) -> Option<Message> {
        waiting.rows = waiting.rows.zip(begun.reply.rows).map(|(before, rows)| before.saturating_add(rows));
        if begun.more_to_come {
            let first = self.open(&mut waiting);
            self.outstanding.put_back(id, waiting);
            return first;
        }
        let (mut attributes, outcome) = begun.reply.tell(waiting.rows);
        attributes.append(&mut waiting.late);
        Some(message(waiting.id, last(waiting.is_answered, attributes, outcome)))
    }

    /// Bytes of a response are missing.
    pub(super) fn cut_response(&mut self, bytes: &[u8], seen: u64) -> Option<Cut> {
        if let Answering::Rest { rest, .. } = &self.answering {
            let length = rest.left();
            return (length >= seen).then(|| Cut { message: self.end_response(), length });
        }
        let header = header::read(bytes).filter(|_| self.is_aligned.last() == Some(&true))?;
        let length = header.length as u64;
        if length < seen {
            return None;
        }
        if !self.outstanding.knows(header.response_to) {
            return (!self.may_wait).then_some(Cut { message: None, length });
        }
        let begun = begin(header, bytes)?;
        let waiting = self.outstanding.take(header.response_to)?;
        let message = match waiting.is_reported {
            true => self.conclude(waiting, &begun, header.id),
            false if begun.more_to_come => {
                self.outstanding.put_back(header.id, waiting);
                None
            }
            false => None,
        };
        Some(Cut { message, length })
    }
}

fn last(is_answered: bool, attributes: Attributes, outcome: Outcome) -> MessageKind {
    match is_answered {
        true => MessageKind::ResponseEnd(Some(Box::new(Ending {
            attributes,
            outcome: Some(outcome),
            ..Ending::default()
        }))),
        false => MessageKind::Response(Box::new(Response { attributes, outcome, ..Response::default() })),
    }
}

/// Returns what the beginning of a message says; none where it is no reply.
fn begin(header: Header, beginning: &[u8]) -> Option<Begun> {
    let payload = beginning.get(HEADER_BYTES..)?;
    match header.op_code {
        OpCode::Msg => begin_message(payload, header.length - HEADER_BYTES),
        OpCode::Reply => begin_reply(payload),
        OpCode::Compressed => {
            let (op_code, payload, length) = inflated(beginning, MAX_INFLATED_BYTES)?;
            let begun = match op_code {
                OpCode::Msg => begin_message(&payload, length)?,
                OpCode::Reply => begin_reply(&payload)?,
                _ => return None,
            };
            Some(Begun { rest: None, ..begun })
        }
        OpCode::Legacy | OpCode::Query | OpCode::GetMore => None,
    }
}

/// `length` is that of the flags and the sections in all.
fn begin_message(payload: &[u8], length: usize) -> Option<Begun> {
    let flags = header::flags(payload)?;
    let checksum = if flags.has_checksum { header::CHECKSUM_BYTES } else { 0 };
    let sections = Sections::read(payload, 4, length.checked_sub(checksum)?);
    let body = sections.body?;
    let reply = Reply::read(body.bytes);
    let rest = rest(&reply, body, length).map(|(at, rest)| (at + HEADER_BYTES, rest));
    Some(Begun { reply, more_to_come: flags.more_to_come, rest })
}

/// Flags, the cursor, where it stands, the number of documents, and these.
fn begin_reply(payload: &[u8]) -> Option<Begun> {
    let head = REPLY_HEAD_BYTES - HEADER_BYTES;
    let number = bson::int32(payload.get(head - 4..)?)?;
    let mut reply = Reply::read(payload.get(head..)?);
    if !reply.is_of_command() {
        reply.rows = u64::try_from(number).ok();
    }
    Some(Begun { reply, more_to_come: false, rest: None })
}

/// Returns where the rest begins that is of interest, and the rest.
fn rest(reply: &Reply, body: Part<'_>, length: usize) -> Option<(usize, Rest)> {
    let left = |at: usize| length.checked_sub(at).map(|left| left as u64);
    let fields = Fields { from: left(body.start.checked_add(reply.cut_at?)?)?, until: left(body.end())? };
    if let Some((first, end)) = reply.batch {
        let (at, end) = (body.start + first, body.start.checked_add(end)?);
        return Some((at, Rest::items(left(at)?, Items::Elements, left(end)?, Some(fields))));
    }
    let at = body.start + body.bytes.len();
    Some((at, Rest::fields(left(at)?, fields)))
}
