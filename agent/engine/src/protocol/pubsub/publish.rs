//! `Publisher.Publish`: messages are handed over, and named.

use super::Operation;
use super::messages::Messages;
use super::realm::Realm;
use super::resource::Resource;
use crate::protocol::protobuf::{Fields, Value};
use crate::protocol::rpc::{Body, Call};
use crate::protocol::{Category, Ending, Keys, MessageKind, Request, Side, set, text};
use crate::semconv;

/// Longest id that is kept, in bytes.
const MAX_ID_BYTES: usize = 256;

/// A call.
#[derive(Debug)]
pub(super) struct Publish {
    realm: Realm,
    topic: Option<Resource>,
    messages: Messages,
    /// What the server has named the messages.
    named: Named,
}

#[derive(Debug, Default)]
struct Named {
    keys: Keys,
    /// The last id.
    id: String,
    count: i64,
    /// The whole answer was seen.
    is_whole: bool,
}

impl Publish {
    pub(super) fn new(realm: Realm) -> Self {
        Self { realm, topic: None, messages: Messages::default(), named: Named::default() }
    }

    /// Reads a `PublishRequest`.
    fn asked(&mut self, body: Body<'_>) {
        let mut fields = Fields::of(body.bytes);
        for field in fields.by_ref() {
            match (field.number, field.value) {
                (1, Value::Bytes(path)) => self.topic = Resource::of(path),
                (2, value) => {
                    self.messages.add(value.shown().unwrap_or_default(), &self.realm);
                }
                _ => {}
            }
        }
        if !fields.is_over() || !body.is_whole {
            self.messages.cut();
        }
    }

    /// Reads a `PublishResponse`.
    fn answered(&mut self, body: Body<'_>) {
        let mut fields = Fields::of(body.bytes);
        let project = self.topic.as_ref().map(|topic| topic.project.as_str());
        for field in fields.by_ref() {
            let (1, Value::Bytes(id)) = (field.number, field.value) else { continue };
            self.named.count = self.named.count.saturating_add(1);
            self.named.id = text::lossy(id, MAX_ID_BYTES);
            match project.and_then(|project| self.realm.key(project, id)) {
                Some(key) => self.named.keys.add(key),
                None => self.named.keys.leave_out(1),
            }
        }
        self.named.is_whole = fields.is_over() && body.is_whole;
    }
}

impl Call for Publish {
    fn begin(&self, request: &mut Request) {
        request.category = Category::Send;
        Operation::SEND.begin(request);
    }

    fn read(&mut self, side: Side, body: Body<'_>) -> Option<MessageKind> {
        match side {
            Side::Client => self.asked(body),
            Side::Server => self.answered(body),
        }
        None
    }

    fn end(&mut self, ending: &mut Ending) {
        if let Some(topic) = &self.topic {
            ending.name = Some(topic.name(Operation::SEND));
            topic.describe(&mut ending.attributes);
        }
        self.messages.describe(&mut ending.attributes);
        let Named { keys, id, count, is_whole } = std::mem::take(&mut self.named);
        let is_counted =
            ending.attributes.iter().any(|(key, _)| *key == semconv::MESSAGING_BATCH_MESSAGE_COUNT);
        match (is_whole, count) {
            (true, 1) => set(&mut ending.attributes, semconv::MESSAGING_MESSAGE_ID, id),
            // Of a long request the beginning is read; there are as many names as messages.
            (true, 2..) if !is_counted => {
                set(&mut ending.attributes, semconv::MESSAGING_BATCH_MESSAGE_COUNT, count);
            }
            _ => {}
        }
        ending.sent = keys;
        ending.carried = self.messages.take_contexts();
    }
}
