//! Google Pub/Sub: the methods of its services that move messages (`google/pubsub/v1/pubsub.proto`).
//!
//! The server names messages, and says so to who published them and with the messages to who gets them: that name brings
//! both ends together. What creates and lists topics and subscriptions is a call like any other.

mod messages;
mod publish;
mod pull;
mod realm;
mod resource;
mod settle;
#[cfg(test)]
mod tests;

use super::rpc::{Around, Call, Methods};
use super::{Request, set};
use crate::semconv;
use realm::Realm;

/// Value of `messaging.system`.
const SYSTEM: &str = "gcp_pubsub";
/// What all methods begin with.
const PACKAGE: &[u8] = b"google.pubsub.v1.";

/// Publisher and Subscriber of Google Pub/Sub.
#[derive(Debug)]
pub(super) struct PubSub;

impl Methods for PubSub {
    fn call(&self, method: &[u8], around: Around<'_>) -> Option<Box<dyn Call>> {
        let realm = || Realm::new(around);
        Some(match method.strip_prefix(PACKAGE)? {
            b"Publisher/Publish" => Box::new(publish::Publish::new(realm())),
            b"Subscriber/Pull" => Box::new(pull::Pull::new(realm())),
            b"Subscriber/StreamingPull" => Box::new(pull::StreamingPull::new(realm())),
            b"Subscriber/Acknowledge" => Box::new(settle::Settle::acknowledge()),
            b"Subscriber/ModifyAckDeadline" => Box::new(settle::Settle::modify_deadline()),
            _ => return None,
        })
    }
}

/// What is done with messages: its name in the conventions, and its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Operation {
    name: &'static str,
    kind: Option<&'static str>,
}

impl Operation {
    const SEND: Self = Self { name: "send", kind: Some("send") };
    const RECEIVE: Self = Self { name: "receive", kind: Some("receive") };
    /// The stream in which messages are delivered; the deliveries are what is received.
    const STREAMING_PULL: Self = Self { name: "streaming_pull", kind: None };
    const ACK: Self = Self { name: "ack", kind: Some("settle") };
    const NACK: Self = Self { name: "nack", kind: Some("settle") };
    const MODACK: Self = Self { name: "modack", kind: None };

    /// Says what a request asks for.
    fn begin(self, request: &mut Request) {
        request.name.verb = self.name.into();
        set(&mut request.attributes, semconv::MESSAGING_SYSTEM, SYSTEM);
        self.describe(&mut request.attributes);
    }

    /// Adds the operation alone.
    fn describe(self, attributes: &mut semconv::Attributes) {
        set(attributes, semconv::MESSAGING_OPERATION_NAME, self.name);
        if let Some(kind) = self.kind {
            set(attributes, semconv::MESSAGING_OPERATION_TYPE, kind);
        }
    }
}
