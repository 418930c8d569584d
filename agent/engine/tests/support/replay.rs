//! Plays bytes of two sides to a parser as the engine does, and tells what the parser said.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use remora_engine::protocol::{
    Answer, Conversation, Keys, Message, MessageKind, Outcome, Pairing, Parser, ParserSettings, REGISTRY,
    Received, Side, WireContext,
};
use remora_engine::semconv::{Attributes, Value};

/// The sides in the order in which arrays here hold them.
pub const SIDES: [Side; 2] = [Side::Client, Side::Server];

/// A message and where its bytes stood.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    pub side: Side,
    /// Position of the message's first byte, as far as it was eaten together with the last.
    pub start: u64,
    /// Position after the message's bytes.
    pub end: u64,
    /// The message was made of its beginning: its true end is not known.
    pub is_cut: bool,
    pub pairing: Pairing,
    pub kind: MessageKind,
}

/// A request and its response, by their positions.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    pub request: Said,
    pub response: Said,
    /// The number by which they were told, and where the response ended if its end was told apart.
    pub number: Option<u64>,
    pub ended: Option<u64>,
    /// It ended without a response, which is the end instead: one may have been under way.
    pub is_given_up: bool,
}

/// One connection and its parser.
pub struct Replay {
    parser: Box<dyn Parser>,
    halves: [Half; 2],
    pub said: Vec<Said>,
    pub pairs: Vec<Pair>,
    pub broken: Vec<&'static str>,
    pub is_opaque: bool,
    outstanding: VecDeque<Said>,
    numbered: HashMap<u64, Said>,
    open: Option<Said>,
    resyncs_both: bool,
    sign_in: Option<Range<u64>>,
}

#[derive(Default)]
struct Half {
    unread: Vec<u8>,
    /// Position of the first unread byte.
    position: u64,
    skipped: u64,
    needed: usize,
    is_lost: bool,
}

impl Replay {
    pub fn new(parser: Box<dyn Parser>) -> Self {
        Self {
            parser,
            halves: Default::default(),
            said: Vec::new(),
            pairs: Vec::new(),
            broken: Vec::new(),
            is_opaque: false,
            outstanding: VecDeque::new(),
            numbered: HashMap::new(),
            open: None,
            resyncs_both: true,
            sign_in: None,
        }
    }

    /// After a loss, lets the parser find its place on the side that lost bytes only.
    pub fn resyncing_one(mut self) -> Self {
        self.resyncs_both = false;
        self
    }

    /// Begins at these positions.
    pub fn starting_at(mut self, positions: [u64; 2]) -> Self {
        for (half, position) in self.halves.iter_mut().zip(positions) {
            half.position = position;
        }
        self
    }

    pub fn feed(&mut self, side: Side, bytes: &[u8]) {
        self.halves[side as usize].unread.extend_from_slice(bytes);
        // The other side may have waited for this, and this one for that.
        for side in [side, side.reverse(), side] {
            self.drain(side);
        }
    }

    /// Leaves out as many bytes.
    pub fn lose(&mut self, side: Side, missing: u64) {
        if missing == 0 || self.is_opaque {
            return;
        }
        let missing = self.pass_over_gap(side, missing);
        if missing == 0 {
            return self.drain(side);
        }
        let half = &mut self.halves[side as usize];
        let shown = std::mem::take(&mut half.unread);
        half.skipped = 0;
        let start = half.position;
        half.position += shown.len() as u64 + missing;
        half.needed = 0;
        let end = half.position;
        if half.is_lost {
            return self.lost(side);
        }
        let cut = self.parser.cut(side, &shown, missing);
        self.take_given_up(side);
        match cut {
            Some(cut) if cut.length >= shown.len() as u64 + missing => {
                self.halves[side as usize].skipped = cut.length - shown.len() as u64 - missing;
                if let Some(message) = cut.message {
                    self.say(side, start..end, true, message);
                }
            }
            Some(cut) => {
                if let Some(message) = cut.message {
                    self.say(side, start..end, true, message);
                }
                self.lost(side);
            }
            None => self.lost(side),
        }
    }

    /// Passes over those of `missing` bytes that nobody wanted; returns how many are left.
    fn pass_over_gap(&mut self, side: Side, mut missing: u64) -> u64 {
        while missing > 0 && self.halves[side as usize].unread.is_empty() {
            let half = &mut self.halves[side as usize];
            if half.skipped == 0 && !half.is_lost {
                // What is to be skipped may not have been asked for yet.
                if let Answer::Skip { length } = self.parser.parse(side, &[]) {
                    half.skipped = length;
                }
            }
            let passed = half.skipped.min(missing);
            if passed == 0 {
                break;
            }
            half.position += passed;
            missing -= passed;
            self.pass(side, passed);
        }
        missing
    }

    pub fn end(&mut self) {
        for side in SIDES {
            let end = self.halves[side as usize].position;
            while !self.is_opaque
                && let Some(message) = self.parser.end(side)
            {
                self.say(side, end..end, false, message);
            }
        }
    }

    /// Bytes that were neither understood nor given up.
    pub fn unread(&self) -> [usize; 2] {
        [self.halves[0].unread.len(), self.halves[1].unread.len()]
    }

    fn lost(&mut self, side: Side) {
        self.parser.lost(side);
        self.forget();
        self.open = None;
        self.halves[side as usize].is_lost = true;
        if self.resyncs_both {
            let other = &mut self.halves[side.reverse() as usize];
            other.is_lost |= other.skipped == 0;
        }
    }

    fn pass(&mut self, side: Side, passed: u64) {
        let half = &mut self.halves[side as usize];
        half.skipped -= passed;
        if half.skipped == 0 {
            let end = half.position;
            if let Some(message) = self.parser.passed(side) {
                self.say(side, end..end, false, message);
            }
        }
    }

    fn eat(&mut self, side: Side, eaten: usize) {
        let half = &mut self.halves[side as usize];
        half.unread.drain(..eaten);
        half.position += eaten as u64;
    }

    fn drain(&mut self, side: Side) {
        // Every answer eats, asks or stops, apart from messages without bytes: they are counted.
        let mut idle = 0;
        loop {
            let half = &mut self.halves[side as usize];
            if self.is_opaque {
                let eaten = half.unread.len();
                return self.eat(side, eaten);
            }
            if half.skipped > 0 && !half.unread.is_empty() {
                let passed = half.unread.len().min(usize::try_from(half.skipped).unwrap_or(usize::MAX));
                self.eat(side, passed);
                self.pass(side, passed as u64);
                continue;
            }
            if half.unread.is_empty() || half.unread.len() < half.needed {
                return;
            }
            half.needed = 0;
            if half.is_lost {
                let found = self.parser.resync(side, &half.unread);
                half.is_lost = found.is_none();
                let eaten = found.unwrap_or(half.unread.len());
                self.eat(side, eaten);
                continue;
            }
            let shown = half.unread.len();
            let answer = self.parser.parse(side, &half.unread);
            self.take_given_up(side);
            match answer {
                Answer::Message { eaten, message } => {
                    idle = if eaten == 0 { idle + 1 } else { 0 };
                    assert!(idle < 10_000, "messages without bytes do not end");
                    self.eat(side, eaten);
                    let end = self.halves[side as usize].position;
                    self.say(side, end - eaten as u64..end, false, message);
                }
                Answer::Nothing { eaten } => {
                    assert!(eaten > 0 && eaten <= shown, "nothing of {eaten} bytes");
                    self.eat(side, eaten);
                }
                Answer::SignsIn { eaten } => {
                    assert!(eaten > 0 && eaten <= shown, "nothing of {eaten} bytes");
                    let start = self.halves[side as usize].position;
                    self.sign_in = Some(start..start + eaten as u64);
                    self.eat(side, eaten);
                }
                Answer::Refused { eaten, refusal } => {
                    assert!(eaten > 0 && eaten <= shown, "nothing of {eaten} bytes");
                    self.eat(side, eaten);
                    let end = self.halves[side as usize].position;
                    let asked = self.sign_in.take().unwrap_or(0..0);
                    let request = MessageKind::Request(Box::new(refusal.request));
                    let response = MessageKind::Response(Box::new(refusal.response));
                    let message = |kind| Message { pairing: Pairing::InOrder, kind };
                    self.say(side.reverse(), asked, false, message(request));
                    self.say(side, end - eaten as u64..end, false, message(response));
                }
                Answer::Skip { length } => {
                    assert!(length > 0, "skip of nothing");
                    self.halves[side as usize].skipped = length;
                }
                Answer::Need { at_least } => {
                    assert!(at_least > shown, "need of {at_least} where {shown} are shown");
                    self.halves[side as usize].needed = at_least;
                    return;
                }
                Answer::Wait => return,
                Answer::Lost => {
                    idle += 1;
                    assert!(idle < 10_000, "losses do not end");
                    self.forget();
                    self.open = None;
                    let other = &mut self.halves[side.reverse() as usize];
                    let dropped = other.unread.len();
                    (other.skipped, other.is_lost, other.needed) = (0, true, 0);
                    self.eat(side.reverse(), dropped);
                }
                Answer::Upgraded { token, is_answering } => {
                    let next = REGISTRY.iter().find(|protocol| protocol.upgrade_token() == Some(token));
                    let settings = ParserSettings::default();
                    let conversation = Conversation::new(&settings, true);
                    let next = next.expect("a protocol of this token");
                    self.parser = match is_answering {
                        true => next.upgraded_parser(&conversation),
                        false => next.parser(&conversation),
                    };
                }
                // Recorded sessions go on with ciphertext.
                Answer::Opaque | Answer::Encrypted { .. } => self.is_opaque = true,
                Answer::Broken { reason } => {
                    self.broken.push(reason);
                    self.eat(side, shown);
                    self.forget();
                    self.open = None;
                    for half in &mut self.halves {
                        half.is_lost = true;
                    }
                }
            }
        }
    }

    fn take_given_up(&mut self, side: Side) {
        let end = self.halves[side as usize].position;
        while let Some(pairing) = self.parser.given_up() {
            self.say(side, end..end, false, Message { pairing, kind: MessageKind::Lost });
        }
    }

    fn forget(&mut self) {
        self.outstanding.clear();
        self.numbered.clear();
    }

    fn say(&mut self, side: Side, place: Range<u64>, is_cut: bool, message: Message) {
        let said = Said {
            side,
            start: place.start,
            end: place.end,
            is_cut,
            pairing: message.pairing,
            kind: message.kind,
        };
        match &said.kind {
            MessageKind::Request(request) if !request.is_one_way => match message.pairing {
                Pairing::InOrder => self.outstanding.push_back(said.clone()),
                Pairing::Id(number) => drop(self.numbered.insert(number, said.clone())),
            },
            MessageKind::Response(_) => {
                let number = number_of(message.pairing);
                let request = match message.pairing {
                    Pairing::InOrder => Some(self.outstanding.pop_front().expect("a response to no request")),
                    // The request may have been lost: its number tells so.
                    Pairing::Id(number) => self.numbered.remove(&number),
                };
                self.pairs.extend(request.map(|request| {
                    let response = said.clone();
                    Pair { request, response, number, ended: None, is_given_up: false }
                }));
            }
            MessageKind::ResponseEnd(_) => {
                let number = number_of(message.pairing);
                let given_up = number.and_then(|number| self.numbered.remove(&number));
                self.pairs.extend(given_up.map(|request| {
                    let response = said.clone();
                    Pair { request, response, number, ended: None, is_given_up: true }
                }));
                let mut pairs = self.pairs.iter_mut().rev();
                if let Some(pair) = pairs.find(|pair| number.is_some() && pair.number == number) {
                    pair.ended.get_or_insert(said.end);
                }
            }
            MessageKind::Lost => {
                number_of(said.pairing).and_then(|number| self.numbered.remove(&number));
            }
            _ => {}
        }
        self.said.push(said);
    }
}

fn number_of(pairing: Pairing) -> Option<u64> {
    match pairing {
        Pairing::InOrder => None,
        Pairing::Id(number) => Some(number),
    }
}

/// Returns one line that says all of a message.
pub fn tell(kind: &MessageKind) -> String {
    match kind {
        MessageKind::Request(request) => {
            let mut text = format!("request {}", request.name.verb);
            if let Some(path) = &request.name.path {
                text.push_str(&format!(" | {path}"));
            }
            for (is, word) in
                [(request.is_open, "open"), (request.is_one_way, "one-way"), (request.is_routine, "routine")]
            {
                if is {
                    text.push_str(&format!(" ({word})"));
                }
            }
            if let Some((host, port)) = &request.authority {
                let port = port.map_or(String::new(), |port| format!(":{port}"));
                text.push_str(&format!(" @{host}{port}"));
            }
            request.context.iter().for_each(|context| text.push_str(&tell_context("context", context)));
            request.carried.iter().for_each(|context| text.push_str(&tell_context("carried", context)));
            if request.source.is_some() {
                text.push_str(" asking for messages");
            }
            text + &tell_keys("sent", &request.sent) + &tell_attributes(&request.attributes)
        }
        MessageKind::RequestEnd => "request end".to_owned(),
        MessageKind::Lost => "lost".to_owned(),
        MessageKind::Missed => "missed".to_owned(),
        MessageKind::MissedDelivery => "missed delivery".to_owned(),
        MessageKind::Interim => "interim".to_owned(),
        MessageKind::Response(response) => {
            let mut text = "response".to_owned();
            if response.is_open {
                text.push_str(" (open)");
            }
            if response.is_idle {
                text.push_str(" (idle)");
            }
            if let Some(name) = &response.name {
                text.push_str(&format!(" named {}", name.verb));
            }
            text.push_str(&tell_outcome(&response.outcome));
            text.push_str(&tell_moved(&response.sent, &response.carried, response.received.as_deref()));
            text + &tell_attributes(&response.attributes)
        }
        MessageKind::ResponseEnd(None) => "response end".to_owned(),
        MessageKind::ResponseEnd(Some(ending)) => {
            let mut text = "response end".to_owned();
            if let Some(name) = &ending.name {
                text.push_str(&format!(" named {}", name.verb));
            }
            if ending.is_idle {
                text.push_str(" (idle)");
            }
            text.push_str(&ending.outcome.as_ref().map_or(String::new(), tell_outcome));
            text.push_str(&tell_moved(&ending.sent, &ending.carried, ending.received.as_deref()));
            text + &tell_attributes(&ending.attributes)
        }
        MessageKind::OneWay => "one way".to_owned(),
        MessageKind::Delivered(delivery) => {
            let mut text = "delivered".to_owned();
            if let Some(name) = &delivery.name {
                text.push_str(&format!(" {name}"));
            }
            if let Some(queue) = delivery.source.as_ref().and_then(|source| source.name.as_ref()) {
                text.push_str(&format!(" from {queue}"));
            }
            if let Some(number) = delivery.number {
                text.push_str(&format!(" number={number}"));
            }
            text + &tell_received(&delivery.received) + &tell_attributes(&delivery.attributes)
        }
        MessageKind::Settled(settled) => {
            format!("settled number={}{}", settled.number, tell_outcome(&settled.outcome))
        }
    }
}

fn tell_outcome(outcome: &Outcome) -> String {
    let Some(error) = &outcome.error_type else { return String::new() };
    let fault = if outcome.is_client_fault { " of the client" } else { "" };
    format!(" error{fault} {error} {:?}", outcome.message.as_deref().unwrap_or(""))
}

fn tell_context(label: &str, context: &WireContext) -> String {
    let WireContext { trace_id, span_id, flags, state } = context;
    format!(" {label}={trace_id:02x?}/{span_id:02x?}/{flags}/{state}")
}

fn tell_moved(sent: &Keys, carried: &[WireContext], received: Option<&Received>) -> String {
    let mut text = tell_keys("sent", sent);
    carried.iter().for_each(|context| text.push_str(&tell_context("carried", context)));
    if let Some(received) = received {
        let certainty = if received.is_certain { "received" } else { "maybe received" };
        text.push_str(&format!(" ({certainty})"));
        text.push_str(&tell_received(received));
    }
    text
}

fn tell_received(received: &Received) -> String {
    let contexts: String = received.contexts.iter().map(|context| tell_context("carried", context)).collect();
    tell_keys("received", &received.keys) + &contexts
}

fn tell_keys(label: &str, keys: &Keys) -> String {
    let mut text: String = keys.as_slice().iter().map(|key| format!(" {label}:{key}")).collect();
    if keys.left_out() > 0 {
        text.push_str(&format!(" ({} left out)", keys.left_out()));
    }
    text
}

fn tell_attributes(attributes: &Attributes) -> String {
    attributes.iter().map(|(key, value)| format!("\n    {key} = {}", tell_value(value))).collect()
}

/// Returns the value of an attribute as text.
pub fn attribute(attributes: &Attributes, key: &str) -> Option<String> {
    attributes.iter().find(|(found, _)| found == key).map(|(_, value)| tell_value(value))
}

fn tell_value(value: &Value) -> String {
    match value {
        Value::Text(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}
