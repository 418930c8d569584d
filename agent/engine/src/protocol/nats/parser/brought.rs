//! What the server brings: answers to requests, and messages of subscriptions.

use super::super::command::Frame;
use super::super::jetstream::{self, AckSubject};
use super::super::message::{Payload, source_hash, stored_key};
use super::super::subject::{self, is_inbox};
use super::published::SERVICE_ERROR_CODE;
use super::{MAX_UNSETTLED, NatsParser, Said, Waiting};
use crate::protocol::{Delivery, MessageKind, Outcome, Response, Source, set, text};
use crate::semconv;

/// Statuses of the server's own messages (ADR-4, ADR-37).
const IDLE: u16 = 100;
const NO_MESSAGES: u16 = 404;
const TIMEOUT: u16 = 408;
const PROCESS: &str = "process";

impl NatsParser {
    pub(super) fn brought(&mut self, frame: &Frame<'_>, payload: &Payload<'_>) -> Said {
        self.is_opening = false;
        if let Some(waiting) = self.waiting.remove(&subject::hash(frame.subject)) {
            return answer(waiting, payload);
        }
        if let Some(status) = payload.headers.status() {
            return self.status(frame, payload, status);
        }
        // The answer to a request that has been given up, or was not seen.
        if is_inbox(frame.subject) {
            return Said::Nothing;
        }
        match self.pulled(frame.sid) {
            Some(number) => {
                self.expect_settling(frame, number);
                let received = Some(Box::new(payload.received(frame)));
                let mut response = Response { received, ..Response::default() };
                payload.describe(&mut response.attributes);
                Said::One(MessageKind::Response(Box::new(response)), number)
            }
            None => self.deliver(frame, payload),
        }
    }

    /// Counts a message that a subscription was promised; returns the question that it answers.
    fn pulled(&mut self, sid: &[u8]) -> Option<u64> {
        let subscription = self.subscriptions.of_sid(sid)?;
        subscription.promised = subscription.promised.map(|promised| promised.saturating_sub(1));
        subscription.pull.take()
    }

    /// The server has no more messages for a consumer, or none any more.
    fn status(
        &mut self,
        frame: &Frame<'_>,
        payload: &Payload<'_>,
        (code, description): (u16, String),
    ) -> Said {
        let Some(subscription) = self.subscriptions.of_sid(frame.sid).filter(|_| code != IDLE) else {
            return Said::Nothing;
        };
        let pending = payload.headers.values("Nats-Pending-Messages").next().and_then(text::decimal);
        // Without a number, nothing is pending.
        subscription.promised = subscription
            .promised
            .map(|promised| pending.map_or(0, |pending| promised.saturating_sub(pending)));
        let Some(number) = subscription.pull.take() else { return Said::Nothing };
        subscription.promised = Some(0);
        let is_fine = matches!(code, NO_MESSAGES | TIMEOUT);
        let outcome = if is_fine { Outcome::default() } else { failed(code, description) };
        let response = Response { outcome, ..Response::default() };
        Said::One(MessageKind::Response(Box::new(response)), number)
    }

    fn deliver(&mut self, frame: &Frame<'_>, payload: &Payload<'_>) -> Said {
        let number = self.number();
        let place = AckSubject::of(frame.reply);
        let destination = subject::text_of(frame.subject);
        let (name, mut attributes) = subject::describe(PROCESS.into(), Some(PROCESS), &destination);
        let subscription = self.subscriptions.of_sid(frame.sid);
        if let Some(subscription) = subscription.filter(|known| !known.group.is_empty()) {
            let group = subject::text_of(&subscription.group);
            set(&mut attributes, semconv::MESSAGING_CONSUMER_GROUP_NAME, group);
        }
        let hash = match place {
            Some(place) => {
                let consumer = subject::text_of(place.consumer);
                let hash = source_hash(&subject::text_of(place.stream), &consumer);
                set(&mut attributes, semconv::MESSAGING_DESTINATION_SUBSCRIPTION_NAME, consumer);
                hash
            }
            None => subject::hash(frame.sid),
        };
        payload.describe(&mut attributes);
        let delivery = Delivery {
            received: payload.received(frame),
            source: Some(Source { hash, name: Some(destination), may_wait: true }),
            attributes,
            name: Some(name.verb.into()),
            number: self.expect_settling(frame, number).then_some(number),
            is_routine: false,
        };
        Said::One(MessageKind::Delivered(Box::new(delivery)), number)
    }

    /// Returns whether the client will say what became of a message, or answer it.
    fn expect_settling(&mut self, frame: &Frame<'_>, number: u64) -> bool {
        if frame.reply.is_empty() {
            return false;
        }
        let is_tracked = self.unsettled.len() < MAX_UNSETTLED;
        if is_tracked {
            self.unsettled.insert(subject::hash(frame.reply), number);
        } else {
            self.untracked = self.untracked.saturating_add(1);
        }
        is_tracked
    }
}

/// Answers a request.
fn answer(waiting: Waiting, payload: &Payload<'_>) -> Said {
    let mut response = Response::default();
    if let Some((code, description)) = payload.headers.status() {
        response.outcome = failed(code, description);
    } else if let Some(code) = payload.headers.value(SERVICE_ERROR_CODE) {
        let message = payload.headers.value("Nats-Service-Error");
        response.outcome = Outcome { error_type: Some(code), message, is_client_fault: false };
    } else {
        let (stored, outcome) = jetstream::answer(payload.beginning);
        if let Some(stored) = stored.filter(|_| outcome.error_type.is_none()) {
            let sequence = stored.sequence.to_string();
            response.sent.add(stored_key(stored.stream, sequence.as_bytes()));
        }
        if stored.is_some() || waiting.is_question {
            response.outcome = outcome;
        }
    }
    Said::One(MessageKind::Response(Box::new(response)), waiting.number)
}

fn failed(code: u16, description: String) -> Outcome {
    let message = (!description.is_empty()).then_some(description);
    Outcome { error_type: Some(code.to_string()), message, is_client_fault: false }
}
