//! `Subscriber.Acknowledge` and `Subscriber.ModifyAckDeadline`: what became of messages.

use super::Operation;
use super::messages::set_system;
use super::pull::subscription;
use super::resource::Resource;
use crate::protocol::protobuf::Fields;
use crate::protocol::rpc::{Body, Call};
use crate::protocol::{Category, Ending, MessageKind, Request, Side, set, text};
use crate::semconv;

/// Longest acknowledgment id that is kept, in bytes.
const MAX_ACK_ID_BYTES: usize = 256;

/// A call.
#[derive(Debug)]
pub(super) struct Settle {
    method: Method,
    subscription: Option<Resource>,
    settled: i64,
    /// Not all of the request was seen.
    is_partial: bool,
    /// The last id.
    ack_id: String,
    deadline_seconds: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Acknowledge,
    ModifyAckDeadline,
}

impl Settle {
    pub(super) fn acknowledge() -> Self {
        Self::new(Method::Acknowledge)
    }

    pub(super) fn modify_deadline() -> Self {
        Self::new(Method::ModifyAckDeadline)
    }

    fn new(method: Method) -> Self {
        Self {
            method,
            subscription: None,
            settled: 0,
            is_partial: true,
            ack_id: String::new(),
            deadline_seconds: 0,
        }
    }

    /// Whoever wants a message back at once gives no more time for it.
    fn operation(&self) -> Operation {
        match (self.method, self.deadline_seconds) {
            (Method::Acknowledge, _) => Operation::ACK,
            (Method::ModifyAckDeadline, 0) if !self.is_partial => Operation::NACK,
            (Method::ModifyAckDeadline, _) => Operation::MODACK,
        }
    }

    /// Reads an `AcknowledgeRequest` or a `ModifyAckDeadlineRequest`.
    fn asked(&mut self, body: Body<'_>) {
        /// `ack_deadline_seconds`.
        const DEADLINE: u64 = 3;
        let ack_ids = if self.method == Method::Acknowledge { 2 } else { 4 };
        self.subscription = subscription(body);
        let mut fields = Fields::of(body.bytes);
        for field in fields.by_ref() {
            if field.number == ack_ids
                && let Some(id) = field.value.bytes()
            {
                self.settled = self.settled.saturating_add(1);
                self.ack_id = text::lossy(id, MAX_ACK_ID_BYTES);
            } else if field.number == DEADLINE
                && let Some(seconds) = field.value.number()
            {
                self.deadline_seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            }
        }
        self.is_partial = !fields.is_over() || !body.is_whole;
    }
}

impl Call for Settle {
    fn begin(&self, request: &mut Request) {
        request.category = Category::Receive;
        match self.method {
            Method::Acknowledge => Operation::ACK.begin(request),
            // What it is, its message says.
            Method::ModifyAckDeadline => {
                request.name.verb = Operation::MODACK.name.into();
                set_system(&mut request.attributes);
            }
        }
    }

    fn read(&mut self, side: Side, body: Body<'_>) -> Option<MessageKind> {
        if side == Side::Client {
            self.asked(body);
        }
        None
    }

    fn end(&mut self, ending: &mut Ending) {
        let operation = self.operation();
        let attributes = &mut ending.attributes;
        if self.method == Method::ModifyAckDeadline {
            operation.describe(attributes);
            if !self.is_partial {
                let key = semconv::MESSAGING_GCP_PUBSUB_MESSAGE_ACK_DEADLINE;
                set(attributes, key, self.deadline_seconds);
            }
        }
        if let Some(subscription) = &self.subscription {
            ending.name = Some(subscription.name(operation));
            subscription.describe(attributes);
        }
        match self.settled {
            _ if self.is_partial => {}
            1 => {
                let id = std::mem::take(&mut self.ack_id);
                set(attributes, semconv::MESSAGING_GCP_PUBSUB_MESSAGE_ACK_ID, id);
            }
            count => set(attributes, semconv::MESSAGING_BATCH_MESSAGE_COUNT, count),
        }
    }
}
