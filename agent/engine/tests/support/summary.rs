//! What the recorded sessions of a protocol show.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::collections::BTreeSet;

use remora_engine::protocol::{
    Conversation, Message, MessageKind, Outcome, Pairing, ParserSettings, Protocol,
};
use remora_engine::semconv::Attributes;

use crate::replay::Replay;
use crate::session::Session;

/// What was seen in all sessions of one protocol.
#[derive(Debug, Default)]
pub struct Summary {
    pub connections: usize,
    pub pairs: usize,
    /// Names of requests, without what follows the first word.
    pub requests: BTreeSet<String>,
    pub pairings: BTreeSet<&'static str>,
    pub attributes: BTreeSet<String>,
    /// Values of `error.type`.
    pub errors: BTreeSet<String>,
    /// Kinds of messages besides requests and responses that are whole.
    pub others: BTreeSet<&'static str>,
    /// Where contexts stood.
    pub contexts: BTreeSet<&'static str>,
    pub servers: BTreeSet<String>,
    pub clients: BTreeSet<String>,
    /// Sessions that do not say who speaks.
    pub anonymous: Vec<String>,
}

/// What is spoken by way of another protocol: an attribute that tells it, and how those begin that it has.
const ABOVE: [(&str, &str, &[&str]); 5] = [
    ("gRPC", "rpc.system.name", &["rpc.", "remora.rpc."]),
    ("Google Pub/Sub", "messaging.gcp_pubsub.message.ack_id", &["messaging.", "remora.gcp."]),
    ("WebSocket", "remora.websocket.client_messages", &["remora.websocket."]),
    ("server-sent events", "remora.sse.events", &["remora.sse."]),
    ("GraphQL", "graphql.operation.type", &["graphql."]),
];

/// What the sessions show of one of them.
#[derive(Debug, Default)]
pub struct Above {
    pub name: &'static str,
    pub carriers: BTreeSet<String>,
    pub connections: usize,
    pub attributes: BTreeSet<String>,
    pub servers: BTreeSet<String>,
    pub clients: BTreeSet<String>,
}

/// Returns what the sessions show of what is spoken by way of others.
pub fn above(protocols: &[&dyn Protocol], sessions: &[Session]) -> Vec<Above> {
    let mut all: Vec<_> = ABOVE.iter().map(|(name, ..)| Above { name, ..Above::default() }).collect();
    for session in sessions {
        let Some(protocol) = protocols.iter().find(|protocol| protocol.name() == session.protocol) else {
            continue;
        };
        let keys: BTreeSet<String> =
            of(*protocol, std::slice::from_ref(session)).attributes.into_iter().collect();
        for (above, (_, marker, own)) in all.iter_mut().zip(ABOVE) {
            if !keys.contains(marker) {
                continue;
            }
            above.connections += 1;
            above.carriers.insert(session.protocol.clone());
            above.servers.extend(session.server.clone());
            above.clients.extend(session.client.clone());
            let is_own = |key: &&String| own.iter().any(|beginning| key.starts_with(beginning));
            above.attributes.extend(keys.iter().filter(is_own).cloned());
        }
    }
    all
}

/// Returns what the sessions of `protocol` show.
pub fn of(protocol: &dyn Protocol, sessions: &[Session]) -> Summary {
    let mut summary = Summary::default();
    for session in sessions.iter().filter(|session| session.protocol == protocol.name()) {
        let mut replay = Replay::new(protocol.parser(&Conversation::new(&ParserSettings::default(), true)));
        session.pieces.iter().for_each(|(side, bytes)| replay.feed(*side, bytes));
        replay.end();
        summary.add_speakers(session);
        summary.connections += 1;
        summary.pairs += replay.pairs.len();
        for said in replay.said {
            summary.add(&Message { pairing: said.pairing, kind: said.kind });
        }
        if replay.is_opaque {
            summary.others.insert("what is not read any further");
        }
    }
    summary
}

impl Summary {
    fn add_speakers(&mut self, session: &Session) {
        let (Some(client), Some(server)) = (&session.client, &session.server) else {
            return self.anonymous.push(session.name.clone());
        };
        self.clients.insert(client.clone());
        self.servers.insert(server.clone());
    }

    fn add(&mut self, message: &Message) {
        match &message.kind {
            MessageKind::Request(request) => {
                self.pairings.insert(match message.pairing {
                    Pairing::InOrder => "in order",
                    Pairing::Id(_) => "by number",
                });
                self.add_name(&request.name.verb);
                self.add_attributes(&request.attributes);
                self.note(request.is_open, "requests in parts");
                self.note(request.is_one_way, "requests without a response");
                self.note(request.source.is_some(), "asking for messages");
                self.note(!request.sent.as_slice().is_empty(), "messages sent");
                self.note_contexts(request.context.is_some(), "in requests");
                self.note_contexts(!request.carried.is_empty(), "in messages sent");
            }
            MessageKind::Response(response) => {
                self.note(response.is_open, "responses in parts");
                self.note(response.received.is_some(), "messages received");
                let received = response.received.as_deref();
                let carries = received.is_some_and(|received| !received.contexts.is_empty());
                self.note_contexts(carries, "in messages received");
                self.add_attributes(&response.attributes);
                self.add_outcome(&response.outcome);
                response.name.iter().for_each(|name| self.add_name(&name.verb));
            }
            MessageKind::Interim => self.note(true, "interim responses"),
            MessageKind::OneWay => self.note(true, "messages that answer nothing"),
            MessageKind::Delivered(delivery) => {
                self.note(true, "messages brought unasked");
                self.note_contexts(!delivery.received.contexts.is_empty(), "in messages brought");
                self.add_attributes(&delivery.attributes);
            }
            MessageKind::Settled(settled) => {
                self.note(true, "what became of messages brought");
                self.add_outcome(&settled.outcome);
            }
            MessageKind::ResponseEnd(Some(ending)) => {
                self.note(!ending.sent.as_slice().is_empty(), "messages sent");
                self.note(ending.received.is_some(), "messages received");
                self.note_contexts(!ending.carried.is_empty(), "in messages sent");
                let received = ending.received.as_deref();
                let carries = received.is_some_and(|received| !received.contexts.is_empty());
                self.note_contexts(carries, "in messages received");
                self.add_attributes(&ending.attributes);
                ending.outcome.iter().for_each(|outcome| self.add_outcome(outcome));
                ending.name.iter().for_each(|name| self.add_name(&name.verb));
            }
            MessageKind::RequestEnd
            | MessageKind::ResponseEnd(None)
            | MessageKind::Lost
            | MessageKind::Missed
            | MessageKind::MissedDelivery => {}
        }
    }

    fn note(&mut self, is: bool, what: &'static str) {
        if is {
            self.others.insert(what);
        }
    }

    fn note_contexts(&mut self, are_there: bool, place: &'static str) {
        if are_there {
            self.contexts.insert(place);
        }
    }

    /// One of the spellings of a name in which only the case differs: of two, the upper one.
    fn add_name(&mut self, name: &str) {
        let Some(word) = name.split(' ').next() else { return };
        let upper = word.to_ascii_uppercase();
        if self.requests.contains(&upper) {
            return;
        }
        if word == upper {
            self.requests.retain(|known| known.to_ascii_uppercase() != upper);
        }
        self.requests.insert(word.to_owned());
    }

    fn add_attributes(&mut self, attributes: &Attributes) {
        self.attributes.extend(attributes.iter().map(|(key, _)| key.to_string()));
    }

    fn add_outcome(&mut self, outcome: &Outcome) {
        self.errors.extend(outcome.error_type.clone());
    }
}
