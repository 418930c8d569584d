//! What the client sends.

use super::{MongodbParser, message, pass};
use crate::protocol::mongodb::READ_BYTES;
use crate::protocol::mongodb::bson::{self, Elements};
use crate::protocol::mongodb::command::{self, Command};
use crate::protocol::mongodb::compressed;
use crate::protocol::mongodb::header::{self, COMPRESSED_HEAD_BYTES, HEADER_BYTES, Header, OpCode};
use crate::protocol::mongodb::rest::{Fields, Items, Rest, Step};
use crate::protocol::mongodb::sections::{self, Sections};
use crate::protocol::{Answer, Cut, Message, MessageKind};

/// Most bytes of a command that are decompressed.
const MAX_INFLATED_BYTES: usize = 2 * READ_BYTES;

/// What the client is sending.
#[derive(Debug)]
pub(super) enum Asking {
    /// Nothing: a message comes next.
    Nothing,
    /// A message whose command stands behind sequences of documents, of as many bytes besides its checksum.
    Sequences { id: u32, is_one_way: bool, left: u64, checksum: u64 },
    /// The rest of a message whose command was read.
    Rest { id: u32, is_reported: bool, rest: Rest },
}

/// What a message's beginning says.
struct Begun {
    command: Option<Command>,
    is_one_way: bool,
    /// Where the rest begins, if anything of it is of interest, and the rest.
    rest: Option<(usize, Rest)>,
}

impl MongodbParser {
    pub(super) fn ask(&mut self, bytes: &[u8]) -> Answer {
        match &mut self.asking {
            Asking::Nothing => self.ask_anew(bytes),
            Asking::Sequences { .. } => self.ask_behind(bytes),
            Asking::Rest { id, rest, .. } => {
                let id = *id;
                match rest.step(bytes) {
                    Step::Eat(eaten) => Answer::Nothing { eaten },
                    Step::Skip(length) => Answer::Skip { length },
                    Step::Need(at_least) => Answer::Need { at_least },
                    Step::Fields(length) => {
                        let fields = bytes.get(..length).unwrap_or_default();
                        let database = command::database(Elements::last(fields));
                        self.outstanding.learn(id, None, database);
                        self.ended(bytes, length)
                    }
                    Step::End(eaten) => self.ended(bytes, eaten),
                }
            }
        }
    }

    /// The bytes of a request that were to be passed over have gone by.
    pub(super) fn asked(&mut self) -> Option<Message> {
        let is_over = matches!(&self.asking, Asking::Rest { rest, .. } if rest.left() == 0);
        is_over.then(|| self.end_request()).flatten()
    }

    /// Ends the request if nothing is left of it behind the first of `bytes`.
    fn ended(&mut self, bytes: &[u8], eaten: usize) -> Answer {
        match self.asked() {
            Some(message) => Answer::Message { eaten, message },
            None if eaten > 0 => Answer::Nothing { eaten },
            None => self.ask_anew(bytes),
        }
    }

    fn end_request(&mut self) -> Option<Message> {
        let asking = std::mem::replace(&mut self.asking, Asking::Nothing);
        let Asking::Rest { id, is_reported, rest } = asking else { return None };
        self.outstanding.learn(id, rest.count(), None);
        is_reported.then(|| message(id, MessageKind::RequestEnd))
    }

    fn ask_anew(&mut self, bytes: &[u8]) -> Answer {
        let header = match self.header(crate::protocol::Side::Client, bytes) {
            Ok(header) => header,
            Err(answer) => return answer,
        };
        let wanted = header.length.min(READ_BYTES);
        let Some(beginning) = bytes.get(..wanted) else { return Answer::Need { at_least: wanted } };
        if let Some(asking) = behind_sequences(header, beginning) {
            let Asking::Sequences { left, .. } = &asking else { return pass(header.length, bytes.len()) };
            let length = header.length as u64 - left;
            self.asking = asking;
            return Answer::Skip { length };
        }
        match self.begin(header, beginning) {
            Some(begun) => self.begun(header.id, begun, wanted, header.length as u64),
            None => pass(header.length, bytes.len()),
        }
    }

    /// The command may stand here, behind sequences of documents.
    fn ask_behind(&mut self, bytes: &[u8]) -> Answer {
        let Asking::Sequences { id, is_one_way, left, checksum } = self.asking else {
            return Answer::Need { at_least: bytes.len() + 1 };
        };
        let all = usize::try_from(left.saturating_sub(checksum)).unwrap_or(usize::MAX);
        match bytes.first() {
            None => return Answer::Need { at_least: 1 },
            Some(1) if bytes.len() < 5 => return Answer::Need { at_least: 5 },
            Some(1) => {
                let length = sections::sequence_length(bytes).filter(|&length| length < all);
                let Some(length) = length.map(|length| length as u64 + 1) else {
                    return self.broken("sequence without an end");
                };
                self.asking = Asking::Sequences { id, is_one_way, left: left - length, checksum };
                return Answer::Skip { length };
            }
            Some(_) => {}
        }
        let wanted = READ_BYTES.min(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(beginning) = bytes.get(..wanted) else { return Answer::Need { at_least: wanted } };
        let sections = Sections::read(beginning, 0, all);
        let Some(command) = command::of_sections(&sections, self.options) else {
            return self.broken("message without a command");
        };
        let rest = rest(&command, &sections, left, checksum, is_one_way);
        self.begun(id, Begun { command: Some(command), is_one_way, rest }, wanted, left)
    }

    /// Takes a command whose first bytes were read, `left` of them with what follows.
    fn begun(&mut self, id: u32, begun: Begun, read: usize, left: u64) -> Answer {
        let Begun { command, is_one_way, rest } = begun;
        let is_whole = left <= read as u64;
        let (eaten, rest) = match rest.filter(|_| !is_whole) {
            Some((at, rest)) => (at, rest),
            None => (read, Rest::passing(left.saturating_sub(read as u64))),
        };
        let request = command.and_then(|command| command.request);
        let is_reported = self.expect(id, request.is_some(), is_one_way);
        if !is_whole {
            self.asking = Asking::Rest { id, is_reported, rest };
        } else {
            self.asking = Asking::Nothing;
        }
        let Some(mut request) = request.filter(|_| is_reported) else { return Answer::Nothing { eaten } };
        // Of what is not answered only the beginning is told: nothing could be added at its end.
        request.is_one_way = is_one_way;
        request.is_open = !is_whole && !is_one_way;
        if is_one_way && let Asking::Rest { is_reported, .. } = &mut self.asking {
            *is_reported = false;
        }
        Answer::Message { eaten, message: message(id, MessageKind::Request(request)) }
    }

    /// Notes a request that will be answered; returns whether it is told.
    fn expect(&mut self, id: u32, is_told: bool, is_one_way: bool) -> bool {
        // Some servers answer nevertheless.
        self.may_wait &= !is_one_way;
        if !is_one_way {
            self.outstanding.add(id, is_told);
        }
        is_told
    }

    /// Returns what the beginning of a message says; none where it is of no interest.
    fn begin(&self, header: Header, beginning: &[u8]) -> Option<Begun> {
        let payload = beginning.get(HEADER_BYTES..)?;
        match header.op_code {
            OpCode::Msg => self.begin_message(payload, header.length - HEADER_BYTES),
            OpCode::Query => self.begin_query(payload),
            OpCode::Compressed => {
                let (op_code, payload, length) = inflated(beginning, MAX_INFLATED_BYTES)?;
                let begun = match op_code {
                    OpCode::Msg => self.begin_message(&payload, length),
                    OpCode::Query => self.begin_query(&payload),
                    _ => None,
                };
                begun.map(|begun| Begun { rest: None, ..begun })
            }
            OpCode::Reply | OpCode::Legacy | OpCode::GetMore => None,
        }
    }

    /// `length` is that of the flags and the sections in all.
    fn begin_message(&self, payload: &[u8], length: usize) -> Option<Begun> {
        let flags = header::flags(payload)?;
        let checksum = if flags.has_checksum { header::CHECKSUM_BYTES } else { 0 };
        let sections = Sections::read(payload, 4, length.checked_sub(checksum)?);
        let command = command::of_sections(&sections, self.options)?;
        let is_one_way = flags.more_to_come;
        let rest = rest(&command, &sections, length as u64, checksum as u64, is_one_way)
            .map(|(at, rest)| (at + HEADER_BYTES, rest));
        Some(Begun { command: Some(command), is_one_way, rest })
    }

    /// Flags, the collection's name, two numbers, the query and the wanted fields.
    fn begin_query(&self, payload: &[u8]) -> Option<Begun> {
        let names = payload.get(4..)?;
        let end = memchr::memchr(0, names)?;
        let (target, body) = (names.get(..end)?, names.get(end + 1 + 8..)?);
        let command = command::of_query(target, body, self.options)?;
        Some(Begun { command: Some(command), is_one_way: false, rest: None })
    }

    /// Bytes of a request are missing.
    pub(super) fn cut_request(&mut self, bytes: &[u8], seen: u64) -> Option<Cut> {
        match &self.asking {
            Asking::Nothing => {
                let header = header::read(bytes).filter(|_| self.is_aligned.first() == Some(&true))?;
                let length = header.length as u64;
                let begun = self.begin(header, bytes).filter(|_| length >= seen)?;
                let is_one_way = begun.is_one_way;
                let request = begun.command.and_then(|command| command.request);
                let is_reported = self.expect(header.id, request.is_some(), is_one_way);
                let request = request.filter(|_| is_reported).map(|mut request| {
                    request.is_one_way = is_one_way;
                    message(header.id, MessageKind::Request(request))
                });
                Some(Cut { message: request, length })
            }
            Asking::Rest { rest, .. } => {
                let length = rest.left();
                (length >= seen).then(|| Cut { message: self.end_request(), length })
            }
            Asking::Sequences { .. } => None,
        }
    }
}

/// Returns the state of a long message whose command stands behind sequences of documents.
fn behind_sequences(header: Header, beginning: &[u8]) -> Option<Asking> {
    let payload = beginning.get(HEADER_BYTES..)?;
    let is_long = header.op_code == OpCode::Msg && header.length > READ_BYTES;
    let flags = header::flags(payload).filter(|_| is_long)?;
    let checksum = if flags.has_checksum { header::CHECKSUM_BYTES as u64 } else { 0 };
    let length = payload.get(4..).filter(|sections| sections.first() == Some(&1))?;
    let length = sections::sequence_length(length)? as u64 + 1 + header::MSG_HEAD_BYTES as u64;
    let left = (header.length as u64).checked_sub(length).filter(|&left| left > checksum)?;
    Some(Asking::Sequences { id: header.id, is_one_way: flags.more_to_come, left, checksum })
}

/// Returns where the rest begins that is of interest, in a message of which `length` bytes follow the place from which
/// its sections were read, and the rest.
fn rest(
    command: &Command,
    sections: &Sections<'_>,
    length: u64,
    checksum: u64,
    is_one_way: bool,
) -> Option<(usize, Rest)> {
    // What is found out later is told with the response.
    let left = |at: usize| length.checked_sub(at as u64);
    if is_one_way || left(0)? <= checksum {
        return None;
    }
    let body = sections.body?;
    if body.is_cut() {
        let from = left(body.start.checked_add(command.cut_at?)?)?;
        let fields = Fields { from, until: left(body.end())? };
        let at = body.start + body.bytes.len();
        return Some((at, Rest::fields(left(at)?, fields)));
    }
    let (_, documents) = sections.sequences.first().filter(|_| command.is_batch)?;
    let rest = Rest::items(left(documents.start)?, Items::Documents, left(documents.end())?, None);
    documents.is_cut().then_some((documents.start, rest))
}

/// Returns what was compressed, as far as it is told by a message's beginning and wanted, and its length in all.
pub(super) fn inflated(beginning: &[u8], max: usize) -> Option<(OpCode, Vec<u8>, usize)> {
    let head = beginning.get(HEADER_BYTES..COMPRESSED_HEAD_BYTES)?;
    let op_code = OpCode::of(bson::int32(head)?)?;
    let length = usize::try_from(bson::int32(head.get(4..)?)?).ok()?;
    let compressed = beginning.get(COMPRESSED_HEAD_BYTES..)?;
    let payload = compressed::beginning(*head.last()?, compressed, max.min(length))?;
    Some((op_code, payload, length))
}
