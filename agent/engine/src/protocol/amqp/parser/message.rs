//! Messages in their frames: a header, and a body in any number of frames.

use super::super::channel::Publishing;
use super::super::content::{Content, Header, Purpose};
use super::super::method::GET_OK;
use super::super::names;
use super::super::wire::{HEAD_BYTES, Head};
use super::answer::told;
use super::{AmqpParser, Said};
use crate::protocol::{
    Answer, Category, Delivery, Message, MessageKind, Request, Response, Side, Source, celery,
};

impl AmqpParser {
    pub(super) fn header(&mut self, side: Side, number: u16, payload: &[u8]) -> Said {
        let Some(channel) = self.channels.get_mut(&number) else { return Said::Nothing };
        let Some(mut content) = channel.content(side).take().filter(|content| content.header.is_none())
        else {
            return Said::Nothing;
        };
        let Some(header) = Header::read(payload) else { return Said::Nothing };
        content.left = header.body_bytes;
        content.header = Some(header);
        let said = if content.wanted() == 0 { self.tell(number, &mut content, &[]) } else { Said::Nothing };
        self.keep(side, number, content);
        said
    }

    pub(super) fn body(&mut self, side: Side, head: Head, bytes: &[u8]) -> Answer {
        let channel = self.channels.get_mut(&head.channel);
        let content = channel.and_then(|channel| channel.content(side).as_mut());
        let Some(content) = content.filter(|content| content.header.is_some()) else {
            return self.pass(side, head, bytes);
        };
        if u64::from(head.size) > content.left {
            return self.broken("body longer than announced");
        }
        if content.is_told || head.size == 0 {
            content.left -= u64::from(head.size);
            self.finish(side, head);
            return self.pass(side, head, bytes);
        }
        let wanted = content.wanted().min(usize::try_from(head.size).unwrap_or(usize::MAX));
        let Some(beginning) = bytes.get(HEAD_BYTES..HEAD_BYTES + wanted) else {
            return Answer::Need { at_least: HEAD_BYTES + wanted };
        };
        let said = self.tell_body(side, head, beginning);
        let rest = head.frame_bytes() - (HEAD_BYTES + wanted) as u64;
        self.eat(side, said, HEAD_BYTES + wanted, rest)
    }

    /// Tells the message whose first frame this is, of which only `beginning` is seen.
    fn tell_body(&mut self, side: Side, head: Head, beginning: &[u8]) -> Said {
        let channel = self.channels.get_mut(&head.channel);
        let Some(mut content) = channel.and_then(|channel| channel.content(side).take()) else {
            return Said::Nothing;
        };
        content.left = content.left.saturating_sub(u64::from(head.size));
        let said = self.tell(head.channel, &mut content, beginning);
        self.keep(side, head.channel, content);
        self.flow(side).body = Some((head.channel, head.size));
        said
    }

    /// Tells a message of whose first frame too little was captured. None where there is no such message.
    pub(super) fn cut_body(&mut self, side: Side, head: Head) -> Option<Option<Message>> {
        let content = self.channels.get_mut(&head.channel)?.content(side).as_ref()?;
        if content.header.is_none() || content.is_told || u64::from(head.size) > content.left {
            return None;
        }
        Some(self.tell_body(side, head, &[]).message())
    }

    /// The rest of the body that was last seen has gone by.
    pub(super) fn forget_body(&mut self, side: Side) {
        let flow = self.flow(side);
        flow.ahead = 0;
        if let Some((number, _)) = flow.body.take()
            && let Some(channel) = self.channels.get_mut(&number)
        {
            *channel.content(side) = None;
        }
    }

    /// Passes over a frame.
    fn pass(&mut self, side: Side, head: Head, bytes: &[u8]) -> Answer {
        let length = head.frame_bytes();
        self.flow(side).ahead = length.saturating_sub(bytes.len() as u64);
        Answer::Skip { length }
    }

    /// Forgets a message whose body has ended, and remembers how one comes that has not.
    fn finish(&mut self, side: Side, head: Head) {
        let Some(channel) = self.channels.get_mut(&head.channel) else { return };
        let content = channel.content(side);
        if content.as_ref().is_some_and(|content| content.left == 0) {
            *content = None;
        } else if self.flow(side).body.is_none_or(|(number, _)| number != head.channel) {
            self.flow(side).body = Some((head.channel, head.size));
        }
    }

    fn keep(&mut self, side: Side, number: u16, content: Content) {
        if content.left > 0
            && let Some(channel) = self.channels.get_mut(&number)
        {
            *channel.content(side) = Some(content);
        }
    }

    fn tell(&mut self, number: u16, content: &mut Content, beginning: &[u8]) -> Said {
        content.is_told = true;
        match content.purpose {
            Purpose::Publish { is_mandatory } => self.publish(number, content, is_mandatory, beginning),
            Purpose::Deliver => self.deliver(number, content, beginning),
            Purpose::Get => self.get(number, content, beginning),
            Purpose::Return { code } => {
                if let Some(channel) = self.channels.get_mut(&number) {
                    channel.give_back(hash(content), code, &content.reason);
                }
                Said::Nothing
            }
        }
    }

    fn publish(
        &mut self,
        channel_number: u16,
        content: &Content,
        is_mandatory: bool,
        beginning: &[u8],
    ) -> Said {
        const OPERATION: &str = "send";
        let number = self.number();
        let Some(channel) = self.channels.get_mut(&channel_number) else { return Said::Nothing };
        let publishing = Publishing { number, is_mandatory, hash: hash(content), returned: None };
        let is_one_way = !channel.publish(publishing);
        let destination = names::destination(&content.exchange, &content.routing_key, "");
        let mut request = Request {
            name: names::name(OPERATION, &destination),
            attributes: names::attributes(OPERATION, Some(OPERATION), &destination),
            context: content.header.as_ref().and_then(|header| header.context.clone()),
            category: Category::Send,
            is_one_way,
            is_routine: celery::is_heartbeat(&content.exchange, &content.routing_key),
            ..Request::default()
        };
        request.attributes.extend(content.attributes());
        content.key(beginning).into_iter().for_each(|key| request.sent.add(key));
        Said::One(MessageKind::Request(Box::new(request)), number)
    }

    fn deliver(&mut self, channel_number: u16, content: &Content, beginning: &[u8]) -> Said {
        const OPERATION: &str = "process";
        let number = self.number();
        let Some(channel) = self.channels.get_mut(&channel_number) else { return Said::Nothing };
        let (queue, is_no_ack) = channel.consumer(&content.consumer_tag).unwrap_or(("", false));
        let (queue, is_no_ack) = (queue.to_owned(), is_no_ack);
        let is_settled = !is_no_ack && channel.bring(content.delivery_tag, number);
        let destination = names::destination(&content.exchange, &content.routing_key, &queue);
        let mut attributes = names::attributes(OPERATION, Some(OPERATION), &destination);
        attributes.extend(content.attributes());
        let source =
            Source { hash: names::hash(&queue), name: (!queue.is_empty()).then_some(queue), may_wait: true };
        let delivery = Delivery {
            received: content.received(beginning),
            source: Some(source),
            attributes,
            name: Some(names::name(OPERATION, &destination).verb.into()),
            number: is_settled.then_some(number),
            is_routine: celery::is_heartbeat(&content.exchange, &content.routing_key),
        };
        Said::One(MessageKind::Delivered(Box::new(delivery)), number)
    }

    fn get(&mut self, channel_number: u16, content: &Content, beginning: &[u8]) -> Said {
        let Some(channel) = self.channels.get_mut(&channel_number) else { return Said::Nothing };
        let Some(call) = channel.answer(GET_OK) else { return Said::Nothing };
        let attributes = content.attributes();
        let received = Some(Box::new(content.received(beginning)));
        told(&call, Response { attributes, received, ..Response::default() })
    }
}

/// Returns what a message that comes back is known by.
fn hash(content: &Content) -> u64 {
    let header = content.header.as_ref().map_or(0, |header| header.hash);
    names::hash(&(content.exchange.as_str(), content.routing_key.as_str(), header))
}
