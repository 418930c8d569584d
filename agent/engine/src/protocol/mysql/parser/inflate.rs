//! Both sides where they compress: what a packet on the wire carries is unpacked and looked at as if it had come so.

use super::MysqlParser;
use crate::protocol::mysql::compressed::{self, HEADER_BYTES, Header, Lane, PREFIX_BYTES, TAIL_BYTES};
use crate::protocol::{Answer, Cut, Message, Side};

impl MysqlParser {
    fn with_lane<T>(&mut self, side: Side, act: impl FnOnce(&mut Lane) -> T) -> T
    where
        T: Default,
    {
        self.compression.as_mut().map(|compression| act(compression.lane(side))).unwrap_or_default()
    }

    /// Looks at bytes on the wire.
    pub(super) fn compressed(&mut self, side: Side, bytes: &[u8]) -> Answer {
        match self.with_lane(side, |lane| std::mem::take(&mut lane.rest)) {
            0 => {}
            length => return Answer::Skip { length },
        }
        if !self.half(side).is_aligned {
            if let Some(answer) = self.align_compressed(side, bytes) {
                return answer;
            }
            self.half(side).is_aligned = true;
        }
        let Some(header) = Header::of(bytes) else {
            return Answer::Need { at_least: HEADER_BYTES.max(bytes.len() + 1) };
        };
        if !header.is_small() {
            return self.pass_large(side, header, bytes);
        }
        let Some(body) = bytes.get(HEADER_BYTES..header.whole()) else {
            return Answer::Need { at_least: header.whole() };
        };
        let is_open = self.with_lane(side, |lane| std::mem::replace(&mut lane.is_open, true));
        if !is_open && !self.follows(side, header) {
            return self.fault(bytes, "packet out of order");
        }
        if !is_open && !self.unpack(side, header, body) {
            return self.fault(bytes, "not what was compressed");
        }
        self.read_unpacked(side, header)
    }

    /// Returns what to answer while the beginning of a packet is not found.
    fn align_compressed(&mut self, side: Side, bytes: &[u8]) -> Option<Answer> {
        if side == Side::Server {
            self.turns.speak();
            return Some(Answer::Nothing { eaten: bytes.len() });
        }
        match compressed::command(bytes) {
            Some(0) => None,
            Some(eaten) => Some(Answer::Nothing { eaten }),
            None => Some(Answer::pass_over(bytes, TAIL_BYTES)),
        }
    }

    /// Returns whether a packet has the number that is expected; each direction goes on from the other.
    fn follows(&mut self, side: Side, header: Header) -> bool {
        let expected = self.with_lane(side, |lane| lane.sequence);
        let next = Some(header.sequence.wrapping_add(1));
        let is_single = self.pending.len() == usize::from(header.sequence != 0);
        match side {
            Side::Server => self.with_lane(side, |lane| lane.sequence = next),
            Side::Client => self.with_lane(Side::Server, |lane| lane.sequence = next.filter(|_| is_single)),
        }
        side == Side::Client || expected.is_none_or(|expected| expected == header.sequence)
    }

    fn unpack(&mut self, side: Side, header: Header, body: &[u8]) -> bool {
        self.with_lane(side, |lane| {
            let is_unpacked = header.unpack(body, &mut lane.unpacked);
            let skip = std::mem::take(&mut lane.skip);
            lane.advance(skip);
            is_unpacked
        })
    }

    /// Looks at what is unpacked until more is needed.
    fn read_unpacked(&mut self, side: Side, header: Header) -> Answer {
        while self.with_lane(side, |lane| lane.is_worthwhile()) {
            let (unpacked, read) = self.with_lane(side, Lane::take);
            let answer = self.plain(side, unpacked.get(read..).unwrap_or_default());
            let is_over = matches!(
                answer,
                Answer::Lost
                    | Answer::Opaque
                    | Answer::Encrypted { .. }
                    | Answer::Upgraded { .. }
                    | Answer::SignsIn { .. }
                    | Answer::Refused { .. }
                    | Answer::Broken { .. }
            );
            if is_over {
                return answer;
            }
            if !self.half(side).is_aligned {
                break;
            }
            self.with_lane(side, |lane| lane.put_back((unpacked, read)));
            match answer {
                Answer::Message { eaten, message } => {
                    let is_last = self.with_lane(side, |lane| {
                        lane.advance(eaten as u64);
                        lane.is_open = lane.unread_bytes() > 0;
                        !lane.is_open
                    });
                    // The exchange ends with its last byte on the wire.
                    return Answer::Message { eaten: if is_last { header.whole() } else { 0 }, message };
                }
                Answer::Nothing { eaten } => self.with_lane(side, |lane| lane.advance(eaten.max(1) as u64)),
                Answer::Skip { length } => self.with_lane(side, |lane| lane.advance(length.max(1))),
                Answer::Need { at_least } => {
                    self.with_lane(side, |lane| lane.needed = at_least.max(lane.unread_bytes() + 1));
                }
                Answer::Wait
                | Answer::Lost
                | Answer::Opaque
                | Answer::Encrypted { .. }
                | Answer::Upgraded { .. }
                | Answer::SignsIn { .. }
                | Answer::Refused { .. }
                | Answer::Broken { .. } => return answer,
            }
        }
        self.with_lane(side, |lane| lane.is_open = false);
        Answer::Nothing { eaten: header.whole() }
    }

    /// Passes over a long packet, of which the beginning is read if it begins a command.
    fn pass_large(&mut self, side: Side, header: Header, bytes: &[u8]) -> Answer {
        let shown = HEADER_BYTES + header.length.min(PREFIX_BYTES);
        let Some(body) = bytes.get(HEADER_BYTES..shown) else { return Answer::Need { at_least: shown } };
        match self.pass_carried(side, header, body) {
            None => self.give_up(),
            Some(None) => Answer::Skip { length: header.whole() as u64 },
            Some(Some(message)) => {
                self.with_lane(side, |lane| lane.rest = (header.whole() - shown) as u64);
                Answer::Message { eaten: shown, message }
            }
        }
    }

    /// Does without what a packet carries, or with its beginning; none where that is not possible.
    fn pass_carried(&mut self, side: Side, header: Header, body: &[u8]) -> Option<Option<Message>> {
        let carried = header.carried() as u64;
        let (unread, skip) = self.with_lane(side, |lane| (lane.unread_bytes(), lane.skip));
        if unread == 0 && skip >= carried {
            self.with_lane(side, |lane| lane.skip = skip - carried);
            return Some(None);
        }
        let begins = unread == 0 && skip == 0;
        let prefix = if begins { header.unpack_prefix(body) } else { Vec::new() };
        let Cut { message, length } = self.cut_plain(side, &prefix, carried)?;
        self.with_lane(side, |lane| {
            // Its number is passed over with it.
            *lane = Lane { skip: length.saturating_sub(carried), ..Lane::default() };
        });
        Some(message)
    }

    /// Does without a packet of which bytes are missing.
    pub(super) fn cut_compressed(&mut self, side: Side, bytes: &[u8], length: u64) -> Option<Cut> {
        let header = Header::of(bytes).filter(|header| header.whole() as u64 >= length)?;
        let message = self.pass_carried(side, header, bytes.get(HEADER_BYTES..)?)?;
        Some(Cut { message, length: header.whole() as u64 })
    }
}
