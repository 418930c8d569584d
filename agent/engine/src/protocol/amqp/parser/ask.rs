//! What the client sends.

use super::super::channel::{Call, Channel};
use super::super::content::{Content, Purpose};
use super::super::method::{
    ACK, Asked, CANCEL, CHANNEL_CLOSE_OK, CHANNEL_OPEN, CONFIRM_SELECT, CONNECTION_OPEN, CONNECTION_START_OK,
    CONSUME, Envelope, GET, Id, NACK, PUBLISH, QUEUE_DECLARE, REJECT, Settling,
};
use super::super::names;
use super::super::wire::Fields;
use super::{AmqpParser, Said};
use crate::protocol::{Category, MessageKind, Outcome, Request, Settled, Source, set};
use crate::semconv;

impl AmqpParser {
    /// Takes a method of the client; none where its arguments are not there.
    pub(super) fn asked(&mut self, number: u16, id: Id, fields: Fields<'_>) -> Option<Said> {
        if id == CHANNEL_OPEN && self.channels.contains_key(&number) {
            self.end_channel(number);
            self.channels.insert(number, Channel::default());
        }
        let Some(channel) = self.channel(number) else { return Some(Said::Nothing) };
        if id == CHANNEL_CLOSE_OK {
            self.end_channel(number);
            return Some(Said::Nothing);
        }
        if channel.is_closing {
            return Some(Said::Nothing);
        }
        match id {
            PUBLISH => {
                let envelope = Envelope::read(id, fields)?;
                let purpose = Purpose::Publish { is_mandatory: envelope.is_mandatory };
                *channel.content(crate::protocol::Side::Client) = Some(Content::new(purpose, &envelope));
                Some(Said::Nothing)
            }
            ACK | NACK | REJECT => Some(settled(channel, id, Settling::read(id, fields)?)),
            // One exchange from the name and password to the open connection.
            CONNECTION_START_OK => Some(self.call(number, CONNECTION_OPEN, &Asked::default())),
            CONNECTION_OPEN => Some(Said::Nothing),
            _ if id.is_answered() => {
                let asked = Asked::read(id, fields)?;
                match id {
                    CONFIRM_SELECT => channel.select_confirms(),
                    CANCEL => channel.cancel(asked.consumer_tag),
                    CONSUME if asked.is_no_wait => {
                        let queue = meant(channel, asked.queue);
                        channel.consume(asked.consumer_tag, &queue, asked.is_no_ack);
                    }
                    _ => {}
                }
                Some(self.call(number, id, &asked))
            }
            _ => Some(Said::Nothing),
        }
    }

    fn call(&mut self, channel_number: u16, id: Id, asked: &Asked<'_>) -> Said {
        let number = self.number();
        let Some(channel) = self.channels.get_mut(&channel_number) else { return Said::Nothing };
        let queue = match id {
            QUEUE_DECLARE => names::text_of(asked.queue),
            _ => meant(channel, asked.queue),
        };
        let mut request = request(id, asked, &queue);
        if asked.is_no_wait {
            request.is_one_way = true;
            return Said::One(MessageKind::Request(Box::new(request)), number);
        }
        self.is_piling |= channel.waiting() > 0;
        let call = Call {
            number,
            method: id,
            queue,
            consumer_tag: asked.consumer_tag.to_vec(),
            is_no_ack: asked.is_no_ack,
            is_told: false,
        };
        match channel.call(call, self.is_piling, &mut self.given_up) {
            true => Said::One(MessageKind::Request(Box::new(request)), number),
            false => Said::Nothing,
        }
    }
}

/// Returns the queue that a name means: where it is empty, that which was declared last.
fn meant(channel: &Channel, queue: &[u8]) -> String {
    if queue.is_empty() { channel.last_queue.clone() } else { names::text_of(queue) }
}

fn request(id: Id, asked: &Asked<'_>, queue: &str) -> Request {
    if id == GET {
        return getting(queue);
    }
    let name = id.known().map_or("", |(name, _)| name);
    let is_of_queue = matches!(id.0, 50) || id == CONSUME;
    let (exchange, routing_key) = (names::text_of(asked.exchange), names::text_of(asked.routing_key));
    let destination = match (is_of_queue, id.0) {
        (true, _) => queue.to_owned(),
        (false, 40) => exchange.clone(),
        _ => String::new(),
    };
    let mut attributes = names::attributes(name, None, &destination);
    if !routing_key.is_empty() {
        set(&mut attributes, semconv::MESSAGING_RABBITMQ_ROUTING_KEY, routing_key);
    }
    if asked.is_temporary {
        set(&mut attributes, semconv::MESSAGING_DESTINATION_TEMPORARY, true);
    }
    Request { name: names::name(name, &destination), attributes, ..Request::default() }
}

/// `basic.get` asks for one message, and does not wait for it.
fn getting(queue: &str) -> Request {
    const OPERATION: &str = "receive";
    let name = (!queue.is_empty()).then(|| queue.to_owned());
    Request {
        name: names::name(OPERATION, queue),
        attributes: names::attributes(OPERATION, Some(OPERATION), queue),
        category: Category::Receive,
        source: Some(Source { hash: names::hash(queue), name, may_wait: false }),
        ..Request::default()
    }
}

fn settled(channel: &mut Channel, id: Id, settling: Settling) -> Said {
    let Some(number) = channel.settle(settling.tag, settling.is_multiple) else { return Said::Nothing };
    // What is to be delivered again did not fail.
    let is_failure = id != ACK && !settling.is_requeued;
    let name = id.known().map_or("", |(name, _)| name);
    let outcome = Outcome { error_type: is_failure.then(|| name.to_owned()), ..Outcome::default() };
    Said::Part(MessageKind::Settled(Box::new(Settled { number, outcome })), number)
}
