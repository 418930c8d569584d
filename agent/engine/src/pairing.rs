//! Requests find their responses.
//!
//! Takes [`Step`]s, makes [`Exchange`]s. It knows two rules, in order and by id, and no protocol.

mod numbered;

use std::collections::VecDeque;

use crate::connection::Stamp;
use crate::held::Held;
use crate::protocol::{Ending, MAX_OUTSTANDING, MessageKind, Pairing as Rule, Request, Response};
use crate::semconv::{self, Attributes};
use crate::session::{Place, Step};
use numbered::Numbered;

/// What an open exchange holds elsewhere: its ids, who serves it, and by what it is found.
const EXCHANGE_BYTES: usize = 1024;

/// Names an exchange while the engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ExchangeId(pub(crate) u64);

/// A request that has begun.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) id: ExchangeId,
    /// First byte of the request, and last byte of its head.
    pub(crate) first: Stamp,
    pub(crate) last: Stamp,
    pub(crate) place: Place,
    /// Hash of what a proxy passes on as it got it.
    pub(crate) content: Option<u64>,
    /// Its number, where the protocol numbers its requests: others may be answered before it.
    pub(crate) number: Option<u64>,
    /// Who writes it says nothing of who asks.
    pub(crate) is_relayed: bool,
}

/// A request and what became of it.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) id: ExchangeId,
    pub(crate) request: Box<Request>,
    /// None where the connection ended first.
    pub(crate) response: Option<Box<Response>>,
    /// First and last byte of the request.
    pub(crate) request_first: Stamp,
    pub(crate) request_last: Stamp,
    /// First and last byte of the response.
    pub(crate) response_first: Option<Stamp>,
    pub(crate) response_last: Option<Stamp>,
}

impl Exchange {
    /// Returns whether its span says that something of it is missing.
    pub(crate) fn is_incomplete(&self) -> bool {
        let said =
            |attributes: &Attributes| attributes.iter().any(|(key, _)| *key == semconv::REMORA_INCOMPLETE);
        said(&self.request.attributes)
            || self.response.as_ref().is_some_and(|response| said(&response.attributes))
    }

    /// Returns whether it is repeated all the time, and nothing came of it.
    pub(crate) fn is_idle(&self) -> bool {
        self.request.is_routine && self.response.as_ref().is_none_or(|response| response.is_idle)
    }
}

/// What a step led to.
#[derive(Debug)]
pub(crate) enum Paired {
    /// A request begins.
    Started(Started),
    /// The request has been sent whole.
    Sent(ExchangeId, Stamp),
    /// The response begins.
    Answering(ExchangeId),
    /// The exchange is over.
    Finished(Exchange),
    /// A response without a request.
    Unasked,
    /// An exchange of which nothing has been told, nor can be.
    Missed,
    /// A request that is not followed, since too many are outstanding. Responses that come in order would from here on be
    /// taken for those of others: all that is outstanding has to be given up.
    Refused,
    /// A request to which no answer will be told: bytes are missing, or another has its number now.
    Superseded(Exchange),
}

#[derive(Debug)]
struct Open {
    exchange: Exchange,
    is_sending: bool,
}

impl Held for Open {
    fn held_bytes(&self) -> usize {
        EXCHANGE_BYTES + self.exchange.request.held_bytes() + self.exchange.response.held_bytes()
    }
}

impl Held for Pairing {
    fn held_bytes(&self) -> usize {
        self.in_order.held_bytes() + self.by_id.held_bytes()
    }
}

/// The outstanding requests of one connection.
#[derive(Debug, Default)]
pub(crate) struct Pairing {
    in_order: VecDeque<Open>,
    by_id: Numbered,
    /// What requests held as they were added, since that was last asked.
    added_bytes: usize,
}

impl Pairing {
    /// Takes in a step. `next_id` gives the id of a new exchange.
    pub(crate) fn handle(&mut self, step: Step, next_id: impl FnOnce() -> ExchangeId, out: &mut Vec<Paired>) {
        let Step { message, first, last, place, protocol: _, client: _ } = step;
        match message.kind {
            MessageKind::Request(request) => {
                self.request(message.pairing, request, first, last, place, next_id(), out)
            }
            MessageKind::RequestEnd => self.request_end(message.pairing, last, out),
            MessageKind::Response(response) => self.response(message.pairing, response, first, last, out),
            MessageKind::ResponseEnd(ending) => self.finish(message.pairing, ending, last, out),
            MessageKind::Lost => {
                let lost = self.take(message.pairing);
                out.extend(lost.map(|open| Paired::Superseded(open.exchange)));
            }
            MessageKind::Missed => out.push(Paired::Missed),
            MessageKind::Interim
            | MessageKind::OneWay
            | MessageKind::Delivered(_)
            | MessageKind::MissedDelivery
            | MessageKind::Settled(_) => {}
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one step, taken apart once")]
    fn request(
        &mut self,
        rule: Rule,
        request: Box<Request>,
        first: Stamp,
        last: Stamp,
        place: Place,
        id: ExchangeId,
        out: &mut Vec<Paired>,
    ) {
        if self.len() >= MAX_OUTSTANDING {
            if rule == Rule::InOrder {
                out.push(Paired::Refused);
                return;
            }
            self.give_up_older_half(out);
        }
        out.push(Paired::Started(Started {
            id,
            first,
            last,
            place,
            content: request.content(),
            number: rule.number(),
            is_relayed: request.is_relayed,
        }));
        let is_sending = request.is_open;
        let is_one_way = request.is_one_way;
        let exchange = Exchange {
            id,
            request,
            response: None,
            request_first: first,
            request_last: last,
            response_first: None,
            response_last: None,
        };
        if is_one_way {
            out.push(Paired::Finished(exchange));
            return;
        }
        if !is_sending {
            out.push(Paired::Sent(id, last));
        }
        let open = Open { exchange, is_sending };
        self.added_bytes = self.added_bytes.saturating_add(open.held_bytes());
        match rule {
            Rule::InOrder => self.in_order.push_back(open),
            Rule::Id(number) => {
                let older = self.by_id.insert(number, open);
                out.extend(older.map(|older| Paired::Superseded(older.exchange)));
            }
        }
    }

    /// Gives up those numbered requests that have waited longest: most will never be answered.
    fn give_up_older_half(&mut self, out: &mut Vec<Paired>) {
        let mut ids: Vec<_> = self.by_id.iter().map(|(number, open)| (open.exchange.id, *number)).collect();
        ids.sort_unstable();
        for (_, number) in ids.iter().take(ids.len().div_ceil(2)) {
            let older = self.by_id.remove(*number);
            out.extend(older.map(|older| Paired::Superseded(older.exchange)));
        }
    }

    fn request_end(&mut self, rule: Rule, last: Stamp, out: &mut Vec<Paired>) {
        let end = |open: &mut Open| {
            open.is_sending = false;
            open.exchange.request_last = last;
            Paired::Sent(open.exchange.id, last)
        };
        out.extend(match rule {
            Rule::InOrder => self.in_order.iter_mut().rev().find(|open| open.is_sending).map(end),
            Rule::Id(number) => self.by_id.update(number, end),
        });
    }

    fn response(
        &mut self,
        rule: Rule,
        response: Box<Response>,
        first: Stamp,
        last: Stamp,
        out: &mut Vec<Paired>,
    ) {
        let is_open = response.is_open;
        let answer = |open: &mut Open| {
            open.exchange.response = Some(response);
            open.exchange.response_first = Some(first);
            open.exchange.response_last = Some(last);
            Paired::Answering(open.exchange.id)
        };
        let answered = match rule {
            Rule::InOrder => {
                self.in_order.iter_mut().find(|open| open.exchange.response.is_none()).map(answer)
            }
            Rule::Id(number) => self.by_id.update(number, answer),
        };
        let Some(answered) = answered else {
            out.push(Paired::Unasked);
            return;
        };
        out.push(answered);
        if !is_open {
            self.finish(rule, None, last, out);
        }
    }

    fn finish(&mut self, rule: Rule, ending: Option<Box<Ending>>, last: Stamp, out: &mut Vec<Paired>) {
        let is_answered = |open: &Open| open.exchange.response.is_some();
        let open = match rule {
            Rule::InOrder if !self.in_order.front().is_some_and(is_answered) => None,
            rule => self.take(rule),
        };
        let Some(mut open) = open else { return };
        open.exchange.response_last = Some(last);
        if let Some(ending) = ending {
            // One that was given up has no other response.
            open.exchange.response.get_or_insert_default().end(*ending);
        }
        out.push(Paired::Finished(open.exchange));
    }

    fn take(&mut self, rule: Rule) -> Option<Open> {
        match rule {
            Rule::InOrder => self.in_order.pop_front(),
            Rule::Id(number) => self.by_id.remove(number),
        }
    }

    /// Ends all that is outstanding, oldest first.
    pub(crate) fn take_all(&mut self) -> Vec<Exchange> {
        let mut open: Vec<_> = self.in_order.drain(..).chain(self.by_id.drain()).collect();
        open.sort_by_key(|open| open.exchange.id);
        open.into_iter().map(|open| open.exchange).collect()
    }

    /// Returns the oldest of several exchanges without an answer, or the only one.
    pub(crate) fn oldest(&self) -> Option<ExchangeId> {
        let ordered = self.in_order.front().map(|open| open.exchange.id);
        ordered.or_else(|| self.by_id.iter().map(|(_, open)| open.exchange.id).min())
    }

    /// Returns the oldest exchange that is not over, if it is the only one.
    pub(crate) fn only(&self) -> Option<ExchangeId> {
        if self.len() == 1 { self.oldest() } else { None }
    }

    /// Returns whether several numbered exchanges are under way: which of them bytes belong to is not known before they
    /// are read.
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.by_id.len() > 1
    }

    /// Returns whether a numbered exchange is under way.
    pub(crate) fn is_numbered(&self) -> bool {
        self.by_id.len() > 0
    }

    /// Returns whether bytes of the client may be more of a numbered request that has begun before, and those of the
    /// server more of such a response.
    pub(crate) fn is_streaming(&self) -> (bool, bool) {
        self.by_id.is_streaming()
    }

    /// Returns the exchange whose request is still being sent.
    pub(crate) fn sending(&self) -> Option<ExchangeId> {
        let lone = self.by_id.iter().map(|(_, open)| open).take(usize::from(!self.is_multiplexed()));
        self.in_order.iter().rev().chain(lone).find(|open| open.is_sending).map(|open| open.exchange.id)
    }

    /// Returns how many bytes requests held that were added since this was last asked: few bytes of a peer may stand for
    /// many of a request, where its protocol compresses.
    pub(crate) fn take_added_bytes(&mut self) -> usize {
        std::mem::take(&mut self.added_bytes)
    }

    /// Returns how many requests are outstanding.
    pub(crate) fn len(&self) -> usize {
        self.in_order.len() + self.by_id.len()
    }
}
