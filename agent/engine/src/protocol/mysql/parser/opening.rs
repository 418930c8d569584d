//! The opening of a connection: who speaks, to which database, and in which manner.

use super::answer::response;
use super::{MysqlParser, Opening};
use crate::protocol::mysql::failure::{self, Report};
use crate::protocol::mysql::handshake::{Greeting, Login};
use crate::protocol::mysql::packet::{ERROR, HEADER_BYTES, Header, OK};
use crate::protocol::mysql::{request, status};
use crate::protocol::{Answer, Cut, Refusal, Side};

/// Longest packet of an opening: a login with the attributes of its client.
const MAX_PACKET_BYTES: usize = 128 << 10;
/// Most of a login that is read: the names stand before the attributes.
const MAX_LOGIN_BYTES: usize = 4096;

impl MysqlParser {
    /// Takes the server's greeting, or its reason not to greet.
    pub(super) fn greeting(&mut self, bytes: &[u8]) -> Answer {
        let (header, payload) = match opening_packet(bytes, MAX_PACKET_BYTES) {
            Ok(packet) => packet,
            Err(answer) => return self.refuse(answer),
        };
        if payload.first() == Some(&ERROR) {
            return self.refused(header, payload);
        }
        let Some(greeting) = Greeting::of(payload) else { return self.broken("not a greeting") };
        self.identity.system = if greeting.is_mariadb { "mariadb" } else { "mysql" };
        self.shared.note(self.identity.system);
        self.opening = Opening::Login(greeting);
        Answer::Nothing { eaten: header.whole() }
    }

    /// Takes the client's answer to the greeting.
    pub(super) fn login(&mut self, greeting: Greeting, bytes: &[u8]) -> Answer {
        let (header, payload) = match opening_packet(bytes, MAX_LOGIN_BYTES) {
            Ok(packet) => packet,
            Err(answer) => return self.refuse(answer),
        };
        match greeting.answer(payload, header.length) {
            // The login itself follows.
            Some(Login::Encryption) => return Answer::Encrypted { eaten: header.whole().min(bytes.len()) },
            Some(Login::Old) => {
                self.is_opaque = true;
                return Answer::Opaque;
            }
            Some(Login::Names { user, database, is_compressed, manner }) => {
                self.identity.log_in(user, database);
                self.manner = manner;
                self.compression = is_compressed.then(Box::default);
            }
            None => return self.broken("not a login"),
        }
        self.opening = Opening::Authentication;
        let eaten = header.whole().min(bytes.len());
        self.client.rest = (header.whole() - eaten) as u64;
        Answer::SignsIn { eaten }
    }

    /// Takes what the server says before the client has answered: that it waits no longer.
    pub(super) fn early_error(&mut self, bytes: &[u8]) -> Answer {
        match (bytes.get(HEADER_BYTES), Header::of(bytes)) {
            (Some(&ERROR), Some(header)) => Answer::Skip { length: header.whole() as u64 },
            (None, _) => Answer::Need { at_least: HEADER_BYTES + 1 },
            _ => Answer::Wait,
        }
    }

    /// Takes what proves who the client is. A command can only mean that the server's word is still to be shown.
    pub(super) fn authentication(&mut self, bytes: &[u8]) -> Answer {
        match Header::of(bytes) {
            None => Answer::Need { at_least: HEADER_BYTES.max(bytes.len() + 1) },
            Some(Header { sequence: 0, .. }) => Answer::Wait,
            Some(header) if header.length > MAX_PACKET_BYTES => {
                self.broken("impossible length of an opening")
            }
            Some(header) => Answer::Skip { length: header.whole() as u64 },
        }
    }

    /// Takes what the server says to that.
    pub(super) fn authenticated(&mut self, bytes: &[u8]) -> Answer {
        let (header, payload) = match opening_packet(bytes, status::MAX_BYTES) {
            Ok(packet) => packet,
            Err(answer) => return self.refuse(answer),
        };
        match payload.first() {
            Some(&OK) => {
                self.opening = Opening::Done;
                if let Some(status) = status::read(payload, self.manner.tracks_session) {
                    self.stand(status);
                }
            }
            Some(&ERROR) => return self.refused(header, payload),
            // Asked for more, or for another manner of proof.
            Some(&(0x01 | 0xfe)) => {}
            _ => return self.broken("not an answer to a login"),
        }
        Answer::Skip { length: header.whole() as u64 }
    }

    /// Takes an error, of which the beginning is shown, with which the server refuses the client.
    fn refused(&mut self, header: Header, payload: &[u8]) -> Answer {
        let Some(Report::Failure(failure)) = failure::read(payload) else {
            return self.broken("error without a number");
        };
        self.opening = Opening::Done;
        let (request, response) = (request::connect(&self.identity), response(None, Some(failure)));
        let eaten = HEADER_BYTES + payload.len();
        self.server.rest = (header.whole() - eaten) as u64;
        Answer::Refused { eaten, refusal: Box::new(Refusal { request, response }) }
    }

    /// A packet that cannot be part of an opening breaks it.
    fn refuse(&mut self, answer: Answer) -> Answer {
        match answer {
            Answer::Broken { reason } => self.broken(reason),
            answer => answer,
        }
    }

    fn broken(&mut self, reason: &'static str) -> Answer {
        self.lose();
        Answer::Broken { reason }
    }
}

/// Returns the length of a packet of which the end is missing, where it is one that only proves who the client is.
pub(super) fn cut_proof(side: Side, bytes: &[u8], length: u64) -> Option<Cut> {
    let header = Header::of(bytes).filter(|header| header.sequence != 0)?;
    let whole = header.whole() as u64;
    let is_proof = side == Side::Client || matches!(bytes.get(HEADER_BYTES), Some(0x01 | 0xfe));
    let is_inside = whole >= length && header.length <= MAX_PACKET_BYTES;
    (is_proof && is_inside).then_some(Cut { message: None, length: whole })
}

/// Returns the packet that `bytes` begin with, and its payload up to `most` bytes; otherwise what to answer.
fn opening_packet(bytes: &[u8], most: usize) -> Result<(Header, &[u8]), Answer> {
    let Some(header) = Header::of(bytes) else {
        return Err(Answer::Need { at_least: HEADER_BYTES.max(bytes.len() + 1) });
    };
    if header.length == 0 || header.length > MAX_PACKET_BYTES {
        return Err(Answer::Broken { reason: "impossible length of an opening" });
    }
    let read = HEADER_BYTES + header.length.min(most);
    match bytes.get(HEADER_BYTES..read) {
        Some(payload) => Ok((header, payload)),
        None => Err(Answer::Need { at_least: read }),
    }
}
