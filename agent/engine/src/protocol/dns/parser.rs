//! One connection, or one socket for datagrams: requests and responses, in any order.

use std::collections::VecDeque;

use super::detect::{self, LENGTH_BYTES};
use super::message::{self, Header, Question, Records, number};
use super::registry;
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
#[derive(Debug, Default)]
pub(super) struct DnsParser {
    outstanding: VecDeque<Outstanding>,
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
    key: u64,
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
        let key = question.key(header.id);
        if self.outstanding.iter().any(|outstanding| outstanding.key == key) {
            // Sent again, since no answer came, or to another server.
            return None;
        }
        if self.outstanding.len() >= MAX_OUTSTANDING {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back(Outstanding { id: header.id, key });
        let kind = MessageKind::Request(Box::new(describe(question)));
        Some(Message { pairing: Pairing::Id(key), kind })
    }

    fn response(&mut self, header: &Header, message: &[u8]) -> Option<Message> {
        let question = Question::read(message).filter(|_| header.questions > 0);
        let is_its = |outstanding: &Outstanding| match &question {
            Some(question) => outstanding.key == question.key(header.id),
            // A server that could not read the question does not repeat it.
            None => header.questions == 0 && outstanding.id == header.id,
        };
        let at = self.outstanding.iter().position(is_its)?;
        let Outstanding { key, .. } = self.outstanding.remove(at)?;
        let end = question.map_or(message::HEADER_BYTES, |question| question.end);
        let records = Records::read(message, header, end);
        let kind = MessageKind::Response(Box::new(answer(header, &records)));
        Some(Message { pairing: Pairing::Id(key), kind })
    }
}

fn describe(question: Question) -> Request {
    let known = registry::type_name(question.kind);
    let mut request = Request {
        name: Name { verb: known.map_or_else(|| "DNS".to_owned(), |kind| format!("DNS {kind}")), path: None },
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
    if let Some(error_type) = registry::error_name(code) {
        let is_client_fault = registry::is_fault_of_client(code);
        response.outcome = Outcome { error_type: Some(error_type), message: None, is_client_fault };
    }
    if !records.addresses.is_empty() {
        let addresses = records.addresses.iter().map(ToString::to_string).collect();
        set(&mut response.attributes, semconv::DNS_ANSWERS, Value::Texts(addresses));
    }
    response
}

impl Parser for DnsParser {
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

    fn end(&mut self, _side: Side) -> Option<Message> {
        None
    }

    fn lost(&mut self, _side: Side) {
        *self = Self::default();
    }

    /// Datagrams are seen from their beginnings, and so are most messages over TCP.
    fn resync(&self, side: Side, bytes: &[u8]) -> Option<usize> {
        (detect::detect(bytes) == Detection::Yes(side)).then_some(0)
    }
}
