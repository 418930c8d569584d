//! One connection, or one socket for datagrams: requests and responses, in any order.

use std::net::SocketAddr;

use super::detect::{self, LENGTH_BYTES};
use super::message::{self, Header, Question, Records, number};
use super::registry;
use crate::held::Held;
use crate::mix::mix_address;
use crate::protocol::aged::Aged;
use crate::protocol::{
    Answer, Cut, Detection, Message, MessageKind, Name, Outcome, Pairing, Parser, Request, Response, Side,
    set,
};
use crate::semconv::{self, Value};

/// Bytes of a message that are looked at; the rest, which only zone transfers have, is passed over.
const LOOK_BYTES: usize = 4096;
/// Most requests without a response that are remembered. A resolver has some hundreds.
const MAX_OUTSTANDING: usize = 1024;

/// State of one connection.
#[derive(Debug)]
pub(super) struct DnsParser {
    /// Ids of requests without a response, and the keys themselves, by the hashes of id and question.
    outstanding: Aged<u64, Outstanding>,
    given_up: Option<u64>,
    /// Stands for the client, where the server's socket has many; 0 where it has one.
    met: u64,
    client: Half,
    server: Half,
}

/// One direction.
#[derive(Clone, Copy, Debug, Default)]
struct Half {
    /// Bytes of a message that has been told.
    rest: u64,
}

#[derive(Clone, Copy, Debug)]
struct Outstanding {
    id: u16,
    met: u64,
    key: u64,
}

impl Default for DnsParser {
    fn default() -> Self {
        Self {
            outstanding: Aged::new(MAX_OUTSTANDING),
            given_up: None,
            met: 0,
            client: Half::default(),
            server: Half::default(),
        }
    }
}

impl DnsParser {
    fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Returns what a message says, if it begins or ends an exchange.
    fn read(&mut self, side: Side, message: &[u8]) -> Option<Message> {
        let header = Header::read(message)?;
        match (side, header.is_response()) {
            (Side::Client, false) => self.request(&header, message),
            (Side::Server, true) => self.response(&header, message),
            // An answer to nobody, or the server's own question.
            _ => None,
        }
    }

    fn request(&mut self, header: &Header, message: &[u8]) -> Option<Message> {
        let question = Question::read(message).filter(|_| header.questions == 1)?;
        let key = question.key(header.id) ^ self.met;
        if self.outstanding.get(&key).is_some() {
            // Sent again, since no answer came, or to another server.
            return None;
        }
        let oldest = self.outstanding.insert(key, Outstanding { id: header.id, met: self.met, key });
        self.given_up = oldest.map(|oldest| oldest.key);
        let kind = MessageKind::Request(Box::new(describe(question)));
        Some(Message { pairing: Pairing::Id(key), kind })
    }

    /// A server that could not read a question does not repeat it: the only one that has this id is meant.
    fn only_of(&self, header: &Header) -> Option<u64> {
        let is_its = |outstanding: &&Outstanding| {
            header.questions == 0 && outstanding.id == header.id && outstanding.met == self.met
        };
        let mut meant = self.outstanding.iter().map(|(_, outstanding)| outstanding).filter(is_its);
        let first = meant.next()?;
        meant.next().is_none().then_some(first.key)
    }

    fn response(&mut self, header: &Header, message: &[u8]) -> Option<Message> {
        let question = Question::read(message).filter(|_| header.questions > 0);
        let key = match &question {
            Some(question) => question.key(header.id) ^ self.met,
            None => self.only_of(header)?,
        };
        self.outstanding.remove(&key)?;
        let end = question.map_or(message::HEADER_BYTES, |question| question.end);
        let records = Records::read(message, header, end);
        let kind = MessageKind::Response(Box::new(answer(header, &records)));
        Some(Message { pairing: Pairing::Id(key), kind })
    }
}

fn describe(question: Question) -> Request {
    let known = registry::type_name(question.kind);
    let mut request = Request {
        name: Name {
            verb: known.map_or_else(|| "DNS".into(), |kind| format!("DNS {kind}").into()),
            path: None,
        },
        ..Request::default()
    };
    let kind = known.map_or_else(|| format!("TYPE{}", question.kind), str::to_owned);
    set(&mut request.attributes, semconv::DNS_QUESTION_NAME, question.name);
    set(&mut request.attributes, semconv::REMORA_DNS_QUESTION_TYPE, kind);
    set(&mut request.attributes, semconv::NETWORK_PROTOCOL_NAME, "dns");
    request
}

fn answer(header: &Header, records: &Records) -> Response {
    let mut response = Response::default();
    let code = message::response_code(header, records);
    let name = registry::code_name(code);
    if code != registry::NO_ERROR {
        let is_client_fault = registry::is_fault_of_client(code);
        response.outcome = Outcome { error_type: Some(name.to_string()), message: None, is_client_fault };
    }
    set(&mut response.attributes, semconv::REMORA_DNS_RESPONSE_CODE, name);
    if header.is_truncated() {
        set(&mut response.attributes, semconv::REMORA_DNS_RESPONSE_TRUNCATED, true);
    }
    if !records.addresses.is_empty() {
        let addresses = records.addresses.iter().map(ToString::to_string).collect();
        set(&mut response.attributes, semconv::DNS_ANSWERS, Value::Texts(addresses));
    }
    response
}

impl Parser for DnsParser {
    fn meet(&mut self, client: Option<SocketAddr>) {
        self.met = client.map_or(0, mix_address);
    }

    fn parse(&mut self, side: Side, bytes: &[u8]) -> Answer {
        let rest = std::mem::take(&mut self.half(side).rest);
        if rest > 0 {
            return Answer::Skip { length: rest };
        }
        let Some(length) = number(bytes, 0).map(usize::from) else {
            return Answer::Need { at_least: LENGTH_BYTES };
        };
        let shown = LENGTH_BYTES + length.min(LOOK_BYTES);
        let Some(message) = bytes.get(LENGTH_BYTES..shown) else { return Answer::Need { at_least: shown } };
        let said = self.read(side, message);
        self.half(side).rest = (LENGTH_BYTES + length - shown) as u64;
        match said {
            Some(message) => Answer::Message { eaten: shown, message },
            None => Answer::Nothing { eaten: shown },
        }
    }

    /// The question stands at the beginning, so that what is missing behind it costs no more than the answers.
    fn cut(&mut self, side: Side, bytes: &[u8], missing: u64) -> Option<Cut> {
        let length = LENGTH_BYTES as u64 + u64::from(number(bytes, 0)?);
        if length < bytes.len() as u64 + missing {
            return None;
        }
        let message = self.read(side, bytes.get(LENGTH_BYTES..)?);
        Some(Cut { message, length })
    }

    fn given_up(&mut self) -> Option<Pairing> {
        self.given_up.take().map(Pairing::Id)
    }

    fn end(&mut self, _side: Side) -> Option<Message> {
        None
    }

    fn held_bytes(&self) -> usize {
        self.outstanding.held_bytes()
    }

    fn lost(&mut self, _side: Side) {
        *self = Self::default();
    }

    /// Datagrams are seen from their beginnings, and so are most messages over TCP.
    fn resync(&self, side: Side, bytes: &[u8]) -> Option<usize> {
        (detect::detect(bytes) == Detection::Yes(side)).then_some(0)
    }
}

impl Held for Outstanding {
    fn held_bytes(&self) -> usize {
        0
    }
}
