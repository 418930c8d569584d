//! Methods: what they are called, who sends them, and the arguments that matter.

use super::wire::Fields;
use crate::protocol::Side;

/// A class and a method of it (AMQP 0-9-1 specification, section 1.3; and RabbitMQ's extensions).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(pub(super) u16, pub(super) u16);

pub(super) const CONNECTION_START: Id = Id(10, 10);
pub(super) const CONNECTION_START_OK: Id = Id(10, 11);
pub(super) const CONNECTION_OPEN: Id = Id(10, 40);
pub(super) const CONNECTION_CLOSE: Id = Id(10, 50);
pub(super) const CHANNEL_OPEN: Id = Id(20, 10);
pub(super) const CHANNEL_CLOSE: Id = Id(20, 40);
pub(super) const CHANNEL_CLOSE_OK: Id = Id(20, 41);
pub(super) const EXCHANGE_UNBIND: Id = Id(40, 40);
pub(super) const QUEUE_DECLARE: Id = Id(50, 10);
pub(super) const QUEUE_DECLARE_OK: Id = Id(50, 11);
pub(super) const CONSUME: Id = Id(60, 20);
pub(super) const CONSUME_OK: Id = Id(60, 21);
pub(super) const CANCEL: Id = Id(60, 30);
pub(super) const PUBLISH: Id = Id(60, 40);
pub(super) const RETURN: Id = Id(60, 50);
pub(super) const DELIVER: Id = Id(60, 60);
pub(super) const GET: Id = Id(60, 70);
pub(super) const GET_OK: Id = Id(60, 71);
pub(super) const GET_EMPTY: Id = Id(60, 72);
pub(super) const ACK: Id = Id(60, 80);
pub(super) const REJECT: Id = Id(60, 90);
pub(super) const RECOVER_ASYNC: Id = Id(60, 100);
pub(super) const NACK: Id = Id(60, 120);
pub(super) const CONFIRM_SELECT: Id = Id(85, 10);

/// Who sends a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Server,
    Either,
}

impl Id {
    /// Reads the method that a payload begins with.
    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self(fields.short()?, fields.short()?))
    }

    /// Returns the name in the specification, and who sends it; none where there is no such method.
    pub(super) fn known(self) -> Option<(&'static str, Sender)> {
        use Sender::{Client, Either, Server};
        Some(match (self.0, self.1) {
            (10, 10) => ("connection.start", Server),
            (10, 11) => ("connection.start-ok", Client),
            (10, 20) => ("connection.secure", Server),
            (10, 21) => ("connection.secure-ok", Client),
            (10, 30) => ("connection.tune", Server),
            (10, 31) => ("connection.tune-ok", Client),
            (10, 40) => ("connection.open", Client),
            (10, 41) => ("connection.open-ok", Server),
            (10, 50) => ("connection.close", Either),
            (10, 51) => ("connection.close-ok", Either),
            (10, 60) => ("connection.blocked", Server),
            (10, 61) => ("connection.unblocked", Server),
            (10, 70) => ("connection.update-secret", Client),
            (10, 71) => ("connection.update-secret-ok", Server),
            (20, 10) => ("channel.open", Client),
            (20, 11) => ("channel.open-ok", Server),
            (20, 20) => ("channel.flow", Either),
            (20, 21) => ("channel.flow-ok", Either),
            (20, 40) => ("channel.close", Either),
            (20, 41) => ("channel.close-ok", Either),
            (40, 10) => ("exchange.declare", Client),
            (40, 11) => ("exchange.declare-ok", Server),
            (40, 20) => ("exchange.delete", Client),
            (40, 21) => ("exchange.delete-ok", Server),
            (40, 30) => ("exchange.bind", Client),
            (40, 31) => ("exchange.bind-ok", Server),
            (40, 40) => ("exchange.unbind", Client),
            (40, 51) => ("exchange.unbind-ok", Server),
            (50, 10) => ("queue.declare", Client),
            (50, 11) => ("queue.declare-ok", Server),
            (50, 20) => ("queue.bind", Client),
            (50, 21) => ("queue.bind-ok", Server),
            (50, 30) => ("queue.purge", Client),
            (50, 31) => ("queue.purge-ok", Server),
            (50, 40) => ("queue.delete", Client),
            (50, 41) => ("queue.delete-ok", Server),
            (50, 50) => ("queue.unbind", Client),
            (50, 51) => ("queue.unbind-ok", Server),
            (60, 10) => ("basic.qos", Client),
            (60, 11) => ("basic.qos-ok", Server),
            (60, 20) => ("basic.consume", Client),
            (60, 21) => ("basic.consume-ok", Server),
            (60, 30) => ("basic.cancel", Either),
            (60, 31) => ("basic.cancel-ok", Either),
            (60, 40) => ("basic.publish", Client),
            (60, 50) => ("basic.return", Server),
            (60, 60) => ("basic.deliver", Server),
            (60, 70) => ("basic.get", Client),
            (60, 71) => ("basic.get-ok", Server),
            (60, 72) => ("basic.get-empty", Server),
            (60, 80) => ("basic.ack", Either),
            (60, 90) => ("basic.reject", Client),
            (60, 100) => ("basic.recover-async", Client),
            (60, 110) => ("basic.recover", Client),
            (60, 111) => ("basic.recover-ok", Server),
            (60, 120) => ("basic.nack", Either),
            (85, 10) => ("confirm.select", Client),
            (85, 11) => ("confirm.select-ok", Server),
            (90, 10) => ("tx.select", Client),
            (90, 11) => ("tx.select-ok", Server),
            (90, 20) => ("tx.commit", Client),
            (90, 21) => ("tx.commit-ok", Server),
            (90, 30) => ("tx.rollback", Client),
            (90, 31) => ("tx.rollback-ok", Server),
            _ => return None,
        })
    }

    /// Returns whether this side may send it.
    pub(super) fn is_of(self, side: Side) -> bool {
        match self.known() {
            Some((_, Sender::Client)) => side == Side::Client,
            Some((_, Sender::Server)) => side == Side::Server,
            Some((_, Sender::Either)) => true,
            None => false,
        }
    }

    /// Returns whether it is about the whole connection, and so on channel 0.
    pub(super) fn is_of_connection(self) -> bool {
        self.0 == 10
    }

    /// Returns whether the server answers it, where the client sends it and does not refuse an answer.
    pub(super) fn is_answered(self) -> bool {
        let is_answer = self.known().is_none_or(|(name, _)| name.ends_with("-ok"));
        let is_asynchronous = matches!(self, PUBLISH | ACK | REJECT | NACK | RECOVER_ASYNC);
        !is_answer && !is_asynchronous && self.is_of(Side::Client)
    }

    /// Returns whether `answer` is the answer to it.
    pub(super) fn is_answered_by(self, answer: Self) -> bool {
        match self {
            // The numbers of the specification's own.
            EXCHANGE_UNBIND => answer == Id(40, 51),
            GET => matches!(answer, GET_OK | GET_EMPTY),
            Id(class, method) => answer == Id(class, method.wrapping_add(1)),
        }
    }
}

/// What a client's method asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    pub(super) exchange: &'a [u8],
    pub(super) queue: &'a [u8],
    pub(super) routing_key: &'a [u8],
    pub(super) consumer_tag: &'a [u8],
    /// The server sends no answer.
    pub(super) is_no_wait: bool,
    /// The consumer does not acknowledge messages.
    pub(super) is_no_ack: bool,
    /// The queue goes with the connection, or with its last consumer.
    pub(super) is_temporary: bool,
}

impl<'a> Asked<'a> {
    /// Reads the arguments of a client's method; none where they are not there whole.
    pub(super) fn read(id: Id, mut fields: Fields<'a>) -> Option<Self> {
        let mut asked = Self::default();
        if matches!(id.0, 40 | 50) || matches!(id, CONSUME | PUBLISH | GET) {
            // A field that is reserved.
            fields.short()?;
        }
        let bit = |fields: &mut Fields<'_>, number: u8| Some(fields.octet()? >> number & 1 != 0);
        match (id.0, id.1) {
            (40, 10) => {
                asked.exchange = fields.short_string()?;
                fields.short_string()?;
                asked.is_no_wait = bit(&mut fields, 4)?;
            }
            (40, 20) => {
                asked.exchange = fields.short_string()?;
                asked.is_no_wait = bit(&mut fields, 1)?;
            }
            (40, 30 | 40) => {
                asked.exchange = fields.short_string()?;
                fields.short_string()?;
                asked.routing_key = fields.short_string()?;
                asked.is_no_wait = bit(&mut fields, 0)?;
            }
            (50, 10) => {
                asked.queue = fields.short_string()?;
                let bits = fields.octet()?;
                // Exclusive, auto-delete.
                asked.is_temporary = bits & 0b1100 != 0;
                asked.is_no_wait = bits >> 4 & 1 != 0;
            }
            (50, 20 | 50) => {
                asked.queue = fields.short_string()?;
                asked.exchange = fields.short_string()?;
                asked.routing_key = fields.short_string()?;
                asked.is_no_wait = id.1 == 20 && bit(&mut fields, 0)?;
            }
            (50, 30) => {
                asked.queue = fields.short_string()?;
                asked.is_no_wait = bit(&mut fields, 0)?;
            }
            (50, 40) => {
                asked.queue = fields.short_string()?;
                asked.is_no_wait = bit(&mut fields, 2)?;
            }
            (60, 20) => {
                asked.queue = fields.short_string()?;
                asked.consumer_tag = fields.short_string()?;
                let bits = fields.octet()?;
                asked.is_no_ack = bits >> 1 & 1 != 0;
                asked.is_no_wait = bits >> 3 & 1 != 0;
            }
            (60, 30) => {
                asked.consumer_tag = fields.short_string()?;
                asked.is_no_wait = bit(&mut fields, 0)?;
            }
            (60, 70) => {
                asked.queue = fields.short_string()?;
                asked.is_no_ack = bit(&mut fields, 0)?;
            }
            (85, 10) => asked.is_no_wait = bit(&mut fields, 0)?,
            _ => {}
        }
        Some(asked)
    }
}

/// The method that goes before a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    pub(super) exchange: &'a [u8],
    pub(super) routing_key: &'a [u8],
    pub(super) consumer_tag: &'a [u8],
    /// 0 where there is none.
    pub(super) delivery_tag: u64,
    /// The message is to come back where no queue wants it.
    pub(super) is_mandatory: bool,
    /// Why it has come back.
    pub(super) reason: Option<Reason<'a>>,
}

/// Why something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reason<'a> {
    pub(super) code: u16,
    pub(super) text: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Reads the arguments of the methods that go before messages; none for others.
    pub(super) fn read(id: Id, mut fields: Fields<'a>) -> Option<Self> {
        let mut envelope = Self {
            exchange: &[],
            routing_key: &[],
            consumer_tag: &[],
            delivery_tag: 0,
            is_mandatory: false,
            reason: None,
        };
        match id {
            PUBLISH => {
                fields.short()?;
            }
            RETURN => envelope.reason = Some(Reason { code: fields.short()?, text: fields.short_string()? }),
            DELIVER => {
                envelope.consumer_tag = fields.short_string()?;
                envelope.delivery_tag = fields.long_long()?;
                fields.octet()?;
            }
            GET_OK => {
                envelope.delivery_tag = fields.long_long()?;
                fields.octet()?;
            }
            _ => return None,
        }
        envelope.exchange = fields.short_string()?;
        envelope.routing_key = fields.short_string()?;
        if id == PUBLISH {
            envelope.is_mandatory = fields.octet()? & 1 != 0;
        }
        Some(envelope)
    }
}

/// What became of one message or of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settling {
    pub(super) tag: u64,
    /// It is about all up to this one.
    pub(super) is_multiple: bool,
    /// The message is to be delivered again.
    pub(super) is_requeued: bool,
}

impl Settling {
    /// Reads the arguments of `basic.ack`, `basic.nack` or `basic.reject`.
    pub(super) fn read(id: Id, mut fields: Fields<'_>) -> Option<Self> {
        let (tag, bits) = (fields.long_long()?, fields.octet()?);
        Some(match id {
            REJECT => Self { tag, is_multiple: false, is_requeued: bits & 1 != 0 },
            _ => Self { tag, is_multiple: bits & 1 != 0, is_requeued: id == NACK && bits & 2 != 0 },
        })
    }
}
