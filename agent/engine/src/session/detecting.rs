//! Finding out which protocol is spoken, and who the client is.

use super::rehearsal::Rehearsal;
use super::{Outcome, Session, State, Surroundings, side_of};
use crate::connection::{Chunk, Content};
use crate::event::Direction;
use crate::protocol::{DETECTION_BUDGET_BYTES, Detection, Protocol, REGISTRY, Side};

impl Session {
    /// Asks the protocols whose bytes these are.
    pub(super) fn detect(
        &mut self,
        direction: Direction,
        chunk: Chunk,
        around: &Surroundings<'_>,
        out: &mut Vec<Outcome>,
    ) {
        let is_gap = matches!(chunk.content, Content::Missing(_));
        self.first_speaker.get_or_insert(direction);
        let first = chunk.clone();
        let lane = self.lane(direction);
        let is_first = lane.unread().is_empty();
        let _ = lane.push(chunk);
        if is_gap {
            lane.clear();
        } else {
            match ask(lane.unread()) {
                Verdict::Is(protocol, side) => {
                    let client = if side == Side::Client { direction } else { direction.reverse() };
                    self.speak(protocol, client, around, out);
                    if self.doubt().is_some() {
                        let mut rehearsal = Rehearsal::new(client);
                        let is_kept = is_first && rehearsal.note(direction, &first, side == Side::Client);
                        self.rehearsal = is_kept.then_some(rehearsal);
                    }
                    self.settle_other(direction.reverse(), out);
                    // What was asked waited, undecided, for this answer.
                    self.advance(client, out);
                    return;
                }
                Verdict::Unsure => {
                    if let Some((protocol, client)) = self.ask_both() {
                        self.speak(protocol, client, around, out);
                        // Requests before their responses.
                        self.advance(client, out);
                    }
                    return;
                }
                Verdict::No => lane.clear(),
            }
        }
        self.unknown_chunks += 1;
        if self.unknown_chunks > self.max_unknown_chunks {
            self.is_strange = true;
            self.ignore("protocol_unknown", out);
        }
    }

    fn speak(
        &mut self,
        protocol: &'static dyn Protocol,
        client: Direction,
        around: &Surroundings<'_>,
        out: &mut Vec<Outcome>,
    ) {
        let parser = around.parser(protocol, client, self.is_whole());
        want(protocol, out);
        // A mail may quote a request.
        self.is_doubtful = self.is_from_start && !self.is_whole();
        self.state = State::Speaking { protocol, parser, client };
    }

    /// Goes on with the protocol that both sides have agreed on.
    pub(super) fn go_on(
        &mut self,
        token: &str,
        is_answering: bool,
        around: &Surroundings<'_>,
        out: &mut Vec<Outcome>,
    ) {
        let State::Speaking { client, .. } = &self.state else { return };
        let client = *client;
        let next = REGISTRY.iter().find(|protocol| protocol.upgrade_token() == Some(token));
        let Some(protocol) = next.copied() else { return self.ignore("opaque", out) };
        want(protocol, out);
        let conversation = around.conversation(client, true);
        let parser = match is_answering {
            true => protocol.upgraded_parser(&conversation),
            false => protocol.parser(&conversation),
        };
        self.state = State::Speaking { protocol, parser, client };
    }

    /// Returns whether all bytes since the connection's beginning are there, or understood.
    fn is_whole(&self) -> bool {
        self.is_from_start && self.unknown_chunks == 0
    }

    /// Asks the protocols about both directions, each of which alone leaves them unsure.
    fn ask_both(&self) -> Option<(&'static dyn Protocol, Direction)> {
        let client = self.first_speaker.filter(|_| self.is_whole())?;
        let (asked, answered) = match client {
            Direction::Egress => (self.egress.unread(), self.ingress.unread()),
            Direction::Ingress => (self.ingress.unread(), self.egress.unread()),
        };
        let protocol = REGISTRY.iter().find(|protocol| protocol.detect_exchange(asked, answered))?;
        Some((*protocol, client))
    }

    /// What the other direction has kept so far was undecided; it is of the same protocol or not from a message's
    /// beginning.
    fn settle_other(&mut self, direction: Direction, out: &mut Vec<Outcome>) {
        let State::Speaking { parser, client, .. } = &self.state else { return };
        let side = side_of(direction, *client);
        let lane = match direction {
            Direction::Egress => &mut self.egress,
            Direction::Ingress => &mut self.ingress,
        };
        if lane.unread().is_empty() || (self.is_from_start && self.unknown_chunks == 0) {
            return;
        }
        if side == Side::Server && parser.answers_begin_with_pieces() {
            return lane.clear();
        }
        match parser.resync(side, lane.unread()) {
            Some(offset) => lane.advance(offset),
            None => {
                lane.clear();
                lane.is_lost = true;
                out.push(Outcome::Lost { at_least: 0 });
            }
        }
    }
}

enum Verdict {
    Is(&'static dyn Protocol, Side),
    Unsure,
    No,
}

fn ask(bytes: &[u8]) -> Verdict {
    let seen = bytes.get(..DETECTION_BUDGET_BYTES).unwrap_or(bytes);
    let mut verdict = Verdict::No;
    for &protocol in REGISTRY {
        match protocol.detect(seen) {
            Detection::Yes(side) => return Verdict::Is(protocol, side),
            Detection::Unsure if bytes.len() < DETECTION_BUDGET_BYTES => verdict = Verdict::Unsure,
            Detection::Unsure | Detection::No => {}
        }
    }
    verdict
}

/// Asks for as much of each call as the protocol's parser needs.
fn want(protocol: &dyn Protocol, out: &mut Vec<Outcome>) {
    if protocol.capture_bytes() > 0 {
        let wanted = Some(protocol.capture_bytes());
        out.extend(
            [Direction::Egress, Direction::Ingress].map(|direction| Outcome::Wants(direction, wanted)),
        );
    }
}
