//! Bytes that are missing: passed over if nobody wanted them, guessed from what came before if that is enough, or lost.

use super::lane::Passage;
use super::{MIN_SKIP_HINT_BYTES, Outcome, Session, State, Step, side_of, tell_given_up};
use crate::connection::Chunk;
use crate::event::Direction;
use crate::protocol::{Answer, Side};

/// Runs of bytes that nobody wants which one gap may hold, one after the other.
const MAX_SKIPS_IN_GAP: usize = 16;

impl Session {
    /// Bytes are missing: passed over if nobody wanted them, guessed from what came before if that is enough, or lost.
    pub(super) fn take_missing(
        &mut self,
        direction: Direction,
        chunk: &Chunk,
        missing: u64,
        out: &mut Vec<Outcome>,
    ) {
        let lane = self.lane(direction);
        lane.note(chunk);
        if lane.is_lost {
            return lane.clear();
        }
        let missing = self.pass_over_gap(direction, missing, out);
        if missing == 0 {
            return;
        }
        self.want_more(direction, out);
        let State::Speaking { protocol, parser, client } = &mut self.state else { return };
        let (name, client) = (protocol.name(), *client);
        let side = side_of(direction, client);
        let lane = if direction == Direction::Egress { &mut self.egress } else { &mut self.ingress };
        let shown = lane.unread().len();
        let Some((cut, rest)) = parser.cut(side, lane.unread(), missing).and_then(|cut| {
            let rest = cut.length.checked_sub(shown as u64)?.checked_sub(missing)?;
            Some((cut, rest))
        }) else {
            // What was not told before it is missing is in nobody's list.
            let at_least = u64::from(!parser.counts_missing(side));
            return self.lose_more(at_least, out);
        };
        tell_given_up(parser.as_mut(), lane, name, client, out);
        let place = lane.place();
        let (first, _) = lane.eat(shown);
        lane.skip_silently(missing, rest);
        if let Some(message) = cut.message {
            out.push(Outcome::Step(Step {
                message,
                protocol: name,
                client,
                first,
                last: chunk.stamp,
                place,
            }));
        }
    }

    /// Asks once for as much of each call in a direction as can be.
    pub(super) fn want_more(&mut self, direction: Direction, out: &mut Vec<Outcome>) {
        if !std::mem::replace(&mut self.lane(direction).has_wanted_more, true) {
            out.push(Outcome::Wants(direction, None));
        }
    }

    /// Passes over those of `missing` bytes that nobody wanted; returns how many are left.
    fn pass_over_gap(&mut self, direction: Direction, mut missing: u64, out: &mut Vec<Outcome>) -> u64 {
        for _ in 0..MAX_SKIPS_IN_GAP {
            let State::Speaking { parser, client, .. } = &mut self.state else { return 0 };
            let side = side_of(direction, *client);
            let lane = if direction == Direction::Egress { &mut self.egress } else { &mut self.ingress };
            if lane.is_between_messages()
                && let Answer::Skip { length } = parser.parse(side, &[])
            {
                lane.skip(length.max(1));
                if length.saturating_sub(missing) >= MIN_SKIP_HINT_BYTES {
                    out.push(Outcome::SkipUntil(direction, lane.skip_target()));
                }
            }
            let passed = lane.pending_skip().min(missing);
            if passed == 0 || !lane.unread().is_empty() {
                break;
            }
            missing -= passed;
            if lane.pass_over_missing(passed) == Passage::Whole {
                self.passed(direction, out);
            }
            if missing == 0 {
                break;
            }
        }
        missing
    }

    /// What was to be skipped has gone by.
    pub(super) fn passed(&mut self, direction: Direction, out: &mut Vec<Outcome>) {
        let State::Speaking { protocol, parser, client } = &mut self.state else { return };
        let (name, client) = (protocol.name(), *client);
        let side = side_of(direction, client);
        let lane = if direction == Direction::Egress { &mut self.egress } else { &mut self.ingress };
        let Some(message) = parser.passed(side) else { return };
        let stamp = lane.passed_stamp();
        out.push(Outcome::Step(Step {
            message,
            protocol: name,
            client,
            first: stamp,
            last: stamp,
            place: lane.place_between(),
        }));
    }

    pub(super) fn resync(&mut self, direction: Direction) {
        let State::Speaking { parser, client, .. } = &self.state else { return };
        let side = side_of(direction, *client);
        let lane = match direction {
            Direction::Egress => &mut self.egress,
            Direction::Ingress => &mut self.ingress,
        };
        match parser.resync(side, lane.unread()) {
            Some(offset) => {
                lane.advance(offset);
                lane.is_lost = false;
            }
            None => lane.clear(),
        }
    }

    /// Bytes that mattered are missing: both sides start over at the next request that can be told.
    pub(super) fn lose(&mut self, out: &mut Vec<Outcome>) {
        self.lose_more(0, out);
    }

    fn lose_more(&mut self, at_least: u64, out: &mut Vec<Outcome>) {
        if let State::Speaking { parser, .. } = &mut self.state {
            parser.lost(Side::Client);
            parser.lost(Side::Server);
        }
        for lane in [&mut self.egress, &mut self.ingress] {
            lane.clear();
            lane.is_lost = true;
        }
        out.push(Outcome::Lost { at_least });
    }

    /// The parser gave up what was open, and goes on with the bytes of the other side than this one.
    pub(super) fn start_over(&mut self, direction: Direction, out: &mut Vec<Outcome>) {
        let lane = self.lane(direction);
        lane.clear();
        lane.is_lost = true;
        out.push(Outcome::Lost { at_least: 0 });
    }
}
