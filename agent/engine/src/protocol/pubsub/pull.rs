//! `Subscriber.Pull` and `Subscriber.StreamingPull`: messages are received, as an answer or as they come.

use super::Operation;
use super::messages::{Messages, set_system};
use super::realm::Realm;
use super::resource::Resource;
use crate::protocol::protobuf::{Fields, Value};
use crate::protocol::rpc::{Body, Call};
use crate::protocol::{Category, Delivery, Ending, MessageKind, Request, Side};
use crate::semconv::Attributes;

/// Returns the subscription that a request names in its first field, as all requests of subscribers do.
pub(super) fn subscription(body: Body<'_>) -> Option<Resource> {
    Fields::of(body.bytes).find_map(|field| match (field.number, field.value) {
        (1, Value::Bytes(path)) => Resource::of(path),
        _ => None,
    })
}

fn messages(body: Body<'_>, subscription: Option<&Resource>, realm: &Realm) -> Messages {
    let project = subscription.map_or("", |subscription| subscription.project.as_str());
    Messages::received(body, project, realm)
}

/// A question for messages.
#[derive(Debug)]
pub(super) struct Pull {
    realm: Realm,
    subscription: Option<Resource>,
    messages: Option<Messages>,
}

impl Pull {
    pub(super) fn new(realm: Realm) -> Self {
        Self { realm, subscription: None, messages: None }
    }
}

impl Call for Pull {
    /// Nobody is taken to work on what the answer brings: libraries ask ahead, and others write for who asks.
    fn begin(&self, request: &mut Request) {
        request.category = Category::Receive;
        request.is_routine = true;
        Operation::RECEIVE.begin(request);
    }

    fn read(&mut self, side: Side, body: Body<'_>) -> Option<MessageKind> {
        match side {
            Side::Client => self.subscription = subscription(body),
            Side::Server => self.messages = Some(messages(body, self.subscription.as_ref(), &self.realm)),
        }
        None
    }

    fn end(&mut self, ending: &mut Ending) {
        if let Some(subscription) = &self.subscription {
            ending.name = Some(subscription.name(Operation::RECEIVE));
            subscription.describe(&mut ending.attributes);
        }
        let Some(mut messages) = self.messages.take() else { return };
        let is_fine = ending.outcome.as_ref().is_some_and(|outcome| outcome.error_type.is_none());
        ending.is_idle = messages.are_none() && is_fine;
        messages.describe(&mut ending.attributes);
        if messages.are_seen() {
            ending.received = Some(Box::new(messages.take_received()));
        }
    }
}

/// A stream of messages that lasts as long as the subscriber.
#[derive(Debug)]
pub(super) struct StreamingPull {
    realm: Realm,
    subscription: Option<Resource>,
}

impl StreamingPull {
    pub(super) fn new(realm: Realm) -> Self {
        Self { realm, subscription: None }
    }

    /// The server has brought messages.
    fn brought(&self, body: Body<'_>) -> Option<MessageKind> {
        let subscription = self.subscription.as_ref();
        let mut messages = messages(body, subscription, &self.realm);
        if !messages.are_seen() {
            return None;
        }
        let mut attributes = Attributes::new();
        set_system(&mut attributes);
        Operation::RECEIVE.describe(&mut attributes);
        subscription.iter().for_each(|subscription| subscription.describe(&mut attributes));
        messages.describe(&mut attributes);
        Some(MessageKind::Delivered(Box::new(Delivery {
            received: messages.take_received(),
            source: None,
            attributes,
            name: subscription.map(|subscription| subscription.name(Operation::RECEIVE).verb.into()),
            // Libraries settle messages in other calls, many at once and later.
            number: None,
            is_routine: false,
        })))
    }
}

impl Call for StreamingPull {
    fn begin(&self, request: &mut Request) {
        request.category = Category::Receive;
        Operation::STREAMING_PULL.begin(request);
    }

    fn read(&mut self, side: Side, body: Body<'_>) -> Option<MessageKind> {
        match side {
            Side::Server => self.brought(body),
            Side::Client => {
                // Only the first request names it.
                self.subscription = self.subscription.take().or_else(|| subscription(body));
                None
            }
        }
    }

    fn end(&mut self, ending: &mut Ending) {
        if let Some(subscription) = &self.subscription {
            ending.name = Some(subscription.name(Operation::STREAMING_PULL));
            subscription.describe(&mut ending.attributes);
        }
    }
}
