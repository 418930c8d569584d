//! What the client publishes: messages, requests, questions to JetStream, and words about messages that it got.

use super::super::command::Frame;
use super::super::jetstream::{ACK, Api, batch};
use super::super::message::{Payload, source_hash};
use super::super::subject::{self, is_inbox};
use super::{NatsParser, Said, Waiting};
use crate::protocol::{Category, MessageKind, Outcome, Request, Settled, Source, set};
use crate::semconv;

/// In a service's answer: what went wrong (ADR-32).
pub(super) const SERVICE_ERROR_CODE: &str = "Nats-Service-Error-Code";
/// What a client says of a message on which it still works.
const GOES_ON: &[u8] = b"+WPI";
const PULL: &str = "receive";
const SEND: &str = "send";

impl NatsParser {
    pub(super) fn published(&mut self, frame: &Frame<'_>, payload: &Payload<'_>) -> Said {
        if let Some(number) = self.unsettled.get(&subject::hash(frame.subject)).copied() {
            return self.settle(frame, payload, number);
        }
        // About a message, or the answer to one, that was not seen.
        if frame.subject.starts_with(ACK) && !payload.beginning.starts_with(GOES_ON) {
            return self.settle_unseen();
        }
        if frame.subject.starts_with(ACK) || frame.subject.starts_with(b"$JS.FC.") || is_inbox(frame.subject)
        {
            return Said::Nothing;
        }
        let subject = subject::text_of(frame.subject);
        match Api::of(&subject) {
            Some(api) if api.is_pull() => self.pull(frame, payload, &api),
            Some(api) => {
                let request = question(&subject, &api);
                self.request(frame, request, true)
            }
            None => {
                let request = message(&subject, frame, payload);
                self.request(frame, request, false)
            }
        }
    }

    /// Tells a request, whose answer is awaited if it arrives on this connection.
    fn request(&mut self, frame: &Frame<'_>, mut request: Request, is_question: bool) -> Said {
        let is_answered = !frame.reply.is_empty() && self.subscriptions.expect(frame.reply);
        let number = self.number();
        request.is_one_way = !is_answered;
        if is_answered {
            self.wait(frame.reply, Waiting { number, is_question });
        }
        Said::One(MessageKind::Request(Box::new(request)), number)
    }

    /// A consumer asks for messages. What comes answers it, if it asks for one and was promised no other.
    fn pull(&mut self, frame: &Frame<'_>, payload: &Payload<'_>, api: &Api<'_>) -> Said {
        let wanted = payload.whole().map(batch);
        let number = self.number();
        let subscription = self.subscriptions.of_subject(frame.reply);
        let is_answered = match subscription {
            Some(subscription) => {
                let is_lone = subscription.promised == Some(0) && wanted == Some(1);
                let promised = subscription.promised.zip(wanted);
                subscription.promised = promised.map(|(promised, wanted)| promised.saturating_add(wanted));
                if is_lone {
                    subscription.pull = Some(number);
                }
                is_lone
            }
            None => false,
        };
        let (name, mut attributes) = subject::describe(PULL.into(), Some(PULL), api.stream);
        if !api.consumer.is_empty() {
            set(&mut attributes, semconv::MESSAGING_DESTINATION_SUBSCRIPTION_NAME, api.consumer.to_owned());
        }
        let stream = (!api.stream.is_empty()).then(|| api.stream.to_owned());
        let request = Request {
            is_one_way: !is_answered,
            name,
            attributes,
            category: Category::Receive,
            source: is_answered.then(|| Source {
                hash: source_hash(api.stream, api.consumer),
                name: stream,
                may_wait: true,
            }),
            ..Request::default()
        };
        Said::One(MessageKind::Request(Box::new(request)), number)
    }

    /// The client says what became of a message, or answers it.
    fn settle(&mut self, frame: &Frame<'_>, payload: &Payload<'_>, number: u64) -> Said {
        let is_word = frame.subject.starts_with(ACK);
        let word = payload.beginning;
        let is_cut = word.len() < GOES_ON.len() && payload.whole().is_none();
        if is_word && (is_cut || word.starts_with(GOES_ON)) {
            return Said::Nothing;
        }
        self.unsettled.remove(&subject::hash(frame.subject));
        let error_type = match is_word {
            true => word.starts_with(b"+TERM").then(|| "term".to_owned()),
            false => payload.headers.value(SERVICE_ERROR_CODE),
        };
        let outcome = Outcome { error_type, ..Outcome::default() };
        Said::One(MessageKind::Settled(Box::new(Settled { number, outcome })), number)
    }
}

fn question(subject: &str, api: &Api<'_>) -> Request {
    let domain = subject.find("API.").map_or(0, |at| at + "API.".len());
    let operation = format!("{}{}", subject.get(..domain).unwrap_or_default(), api.operation);
    let (name, attributes) = subject::describe(operation.into(), None, api.stream);
    Request { name, attributes, ..Request::default() }
}

fn message(subject: &str, frame: &Frame<'_>, payload: &Payload<'_>) -> Request {
    let (name, attributes) = subject::describe(SEND.into(), Some(SEND), subject);
    let mut request = Request {
        name,
        attributes,
        context: payload.headers.context(),
        category: Category::Send,
        ..Request::default()
    };
    payload.describe(&mut request.attributes);
    payload.key(frame).into_iter().for_each(|key| request.sent.add(key));
    request
}
