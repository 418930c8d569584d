//! Connections made of arbitrary bytes: for fuzzing, and for tests with random numbers.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use remora_engine::protocol::{Conversation, MessageKind, ParserSettings, Protocol, Side};

use crate::replay::{Replay, SIDES, tell};
use crate::session::Session;

/// One thing that happens to a connection.
#[derive(Clone, Debug)]
pub enum Step {
    /// These bytes pass.
    Feed(Side, Vec<u8>),
    /// As many bytes are lost.
    Lose(Side, u64),
}

/// Reads steps from bytes: a byte whose lowest bit is the side, whose second says loss and whose others are the length
/// (all set: two more bytes follow), and then the bytes.
pub fn steps(mut bytes: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    while let Some((&control, rest)) = bytes.split_first() {
        let side = SIDES[usize::from(control & 1)];
        let (length, rest) = match (control >> 2, rest) {
            (63, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            (length, rest) => (usize::from(length), rest),
        };
        let is_loss = control & 2 != 0;
        let (now, later) = if is_loss { (&[][..], rest) } else { rest.split_at(length.min(rest.len())) };
        bytes = later;
        steps.push(match is_loss {
            true => Step::Lose(side, length as u64),
            false => Step::Feed(side, now.to_vec()),
        });
    }
    steps
}

/// Makes steps of a session and changes some: each four bytes of `edits` say which piece, where in it, and how.
pub fn edited(session: &Session, edits: &[u8]) -> Vec<Step> {
    let mut steps: Vec<Step> =
        session.pieces.iter().map(|(side, bytes)| Step::Feed(*side, bytes.clone())).collect();
    for edit in edits.as_chunks::<4>().0 {
        let at = usize::from(edit[0]) % steps.len().max(1);
        let (place, what) = (usize::from(edit[1]) << 2 | usize::from(edit[3] & 3), edit[2]);
        let Some(Step::Feed(side, bytes)) = steps.get_mut(at) else { continue };
        if bytes.is_empty() {
            continue;
        }
        let place = place % bytes.len();
        match edit[3] >> 5 {
            0 => bytes[place] = what,
            1 => bytes[place] ^= 1 << (what & 7),
            2 => bytes.truncate(place),
            3 => bytes.insert(place, what),
            4 => drop(bytes.drain(place..(place + usize::from(what)).min(bytes.len()))),
            5 => {
                let (side, tail) = (*side, bytes.split_off(place));
                let lost = usize::from(what).min(tail.len());
                let rest = tail[lost..].to_vec();
                steps.splice(at + 1..at + 1, [Step::Lose(side, lost as u64), Step::Feed(side, rest)]);
            }
            6 => *side = side.reverse(),
            _ => drop(steps.remove(at)),
        }
    }
    steps
}

/// Plays steps to a protocol, whole and byte by byte: nothing may panic, no answer may break the contract, and where
/// nothing is lost or broken both must say the same.
pub fn check(protocol: &dyn Protocol, is_start: bool, steps: &[Step]) {
    let whole = play(protocol, is_start, steps, usize::MAX);
    let split = play(protocol, is_start, steps, 1);
    let is_lossless = steps.iter().all(|step| matches!(step, Step::Feed(..)));
    let is_intact =
        whole.broken.is_empty() && split.broken.is_empty() && !whole.is_opaque && !split.is_opaque;
    if is_lossless && is_intact && is_start {
        for side in SIDES {
            assert_eq!(told(&whole, side), told(&split, side), "{side:?}");
        }
    }
}

fn play(protocol: &dyn Protocol, is_start: bool, steps: &[Step], window: usize) -> Replay {
    let mut replay = Replay::new(protocol.parser(&Conversation::new(&ParserSettings::default(), is_start)));
    for step in steps {
        match step {
            Step::Feed(side, bytes) => bytes.chunks(window).for_each(|part| replay.feed(*side, part)),
            Step::Lose(side, length) => replay.lose(*side, *length),
        }
    }
    replay.end();
    replay
}

fn told(replay: &Replay, side: Side) -> Vec<String> {
    let is_of_side = |kind: &MessageKind| match side {
        Side::Client => matches!(kind, MessageKind::Request(_) | MessageKind::RequestEnd),
        Side::Server => !matches!(kind, MessageKind::Request(_) | MessageKind::RequestEnd),
    };
    replay.said.iter().filter(|said| is_of_side(&said.kind)).map(|said| tell(&said.kind)).collect()
}
