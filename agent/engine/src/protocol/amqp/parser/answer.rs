//! What the server sends.

use super::super::channel::{Call, Publishing};
use super::super::content::{Content, Purpose};
use super::super::method::{
    ACK, CANCEL, CHANNEL_CLOSE, CHANNEL_CLOSE_OK, CONNECTION_CLOSE, CONSUME_OK, DELIVER, Envelope, GET_OK,
    Id, NACK, QUEUE_DECLARE_OK, RETURN, Reason, Settling,
};
use super::super::wire::Fields;
use super::super::{names, outcome};
use super::{AmqpParser, Said};
use crate::protocol::{MessageKind, Outcome, Response, Side, set};
use crate::semconv;

impl AmqpParser {
    /// Takes a method of the server; none where its arguments are not there.
    pub(super) fn answered(&mut self, number: u16, id: Id, fields: Fields<'_>) -> Option<Said> {
        if id == CONNECTION_CLOSE {
            return Some(self.closed(None, &Closing::read(id, fields)?));
        }
        if id == CHANNEL_CLOSE {
            return Some(self.closed(Some(number), &Closing::read(id, fields)?));
        }
        let Some(channel) = self.channel(number) else { return Some(Said::Nothing) };
        match id {
            DELIVER | RETURN | GET_OK => {
                let envelope = Envelope::read(id, fields)?;
                let purpose = match (id, envelope.reason) {
                    (RETURN, Some(reason)) => Purpose::Return { code: reason.code },
                    (GET_OK, _) => Purpose::Get,
                    _ => Purpose::Deliver,
                };
                *channel.content(Side::Server) = Some(Content::new(purpose, &envelope));
                Some(Said::Nothing)
            }
            ACK | NACK => {
                let settling = Settling::read(id, fields)?;
                let Some(publishing) = channel.confirm(settling.tag, settling.is_multiple) else {
                    return Some(Said::Nothing);
                };
                let number = publishing.number;
                let kind = confirmed(publishing, id == ACK);
                Some(Said::Part(kind, number))
            }
            CANCEL => {
                let mut fields = fields;
                channel.cancel(fields.short_string()?);
                Some(Said::Nothing)
            }
            _ => Some(self.replied(number, id, fields)),
        }
    }

    /// The server ends a channel, or the connection: what waits there has failed, one by one.
    fn closed(&mut self, number: Option<u16>, closing: &Closing<'_>) -> Said {
        let mut meant = self.channels.iter_mut().filter(|(other, _)| number.is_none_or(|it| it == **other));
        if let Some((failed, method)) = meant.find_map(|(_, channel)| channel.fail_one()) {
            let response = Response { outcome: closing.outcome_of(method), ..Response::default() };
            return Said::Part(MessageKind::Response(Box::new(response)), failed);
        }
        for (_, channel) in
            self.channels.iter_mut().filter(|(other, _)| number.is_none_or(|it| it == **other))
        {
            channel.lose();
            channel.is_closing = true;
        }
        Said::Nothing
    }

    /// Takes the answer to a call.
    fn replied(&mut self, number: u16, id: Id, mut fields: Fields<'_>) -> Said {
        let Some(channel) = self.channels.get_mut(&number) else { return Said::Nothing };
        let Some(call) = channel.answer(id) else { return Said::Nothing };
        let mut response = Response::default();
        match id {
            QUEUE_DECLARE_OK => {
                if let Some(queue) = fields.short_string() {
                    channel.last_queue = names::text_of(queue);
                    if call.queue.is_empty() {
                        response.attributes = generated(&channel.last_queue);
                    }
                }
            }
            CONSUME_OK => {
                let tag = fields.short_string().unwrap_or(&call.consumer_tag);
                channel.consume(tag, &call.queue, call.is_no_ack);
            }
            CHANNEL_CLOSE_OK => self.end_channel(number),
            _ => {}
        }
        told(&call, response)
    }
}

/// Returns the answer of a call, if that was told.
pub(super) fn told(call: &Call, response: Response) -> Said {
    match call.is_told {
        true => Said::One(MessageKind::Response(Box::new(response)), call.number),
        false => Said::Nothing,
    }
}

/// The server has made up the queue's name.
fn generated(queue: &str) -> semconv::Attributes {
    let mut attributes = semconv::Attributes::new();
    set(&mut attributes, semconv::MESSAGING_DESTINATION_NAME, queue.to_owned());
    set(&mut attributes, semconv::MESSAGING_DESTINATION_ANONYMOUS, true);
    attributes
}

fn confirmed(publishing: Publishing, is_taken: bool) -> MessageKind {
    let outcome = match (publishing.returned, is_taken) {
        (Some((code, text)), _) => outcome::returned(code, &text),
        (None, true) => Outcome::default(),
        (None, false) => outcome::refused(),
    };
    MessageKind::Response(Box::new(Response { outcome, ..Response::default() }))
}

/// The broker's last word on a channel, or on all.
struct Closing<'a> {
    /// How it says so.
    id: Id,
    reason: Reason<'a>,
    /// The method that has failed, if it was one.
    failed: Option<Id>,
}

impl<'a> Closing<'a> {
    fn read(id: Id, mut fields: Fields<'a>) -> Option<Self> {
        let reason = Reason { code: fields.short()?, text: fields.short_string()? };
        // Some brokers leave out what may be zero.
        let failed = Id::read(&mut fields).filter(|failed| failed.0 != 0);
        Some(Self { id, reason, failed })
    }

    /// Returns how a call went that will not be answered. Where another method has failed, it has not been at fault.
    fn outcome_of(&self, method: Id) -> Outcome {
        let outcome = outcome::failed(self.reason);
        if self.failed.is_none_or(|failed| failed == method) {
            return outcome;
        }
        let error_type = self.id.known().map(|(name, _)| name.to_owned());
        Outcome { error_type, ..outcome }
    }
}
