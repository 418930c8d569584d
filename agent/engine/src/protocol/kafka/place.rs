//! Where the bytes of one side are: between two frames, or in one of which nothing or only batches are of interest.

use super::walk::{Then, Walk};
use crate::held::Held;
use crate::protocol::Answer;

/// A place in the bytes of one side. `D` is what is due when the frame has gone by.
#[derive(Debug)]
pub(super) enum Place<D> {
    /// A frame is looked for where a call begins.
    Lost,
    /// A frame begins.
    Head,
    /// Among topics, partitions and batches.
    Batches(Box<Walk>, D),
    /// So many bytes are left, and do not matter.
    Rest(u64, D),
}

/// What came of some bytes within a frame.
pub(super) enum Progress<D> {
    /// The frame goes on.
    Say(Answer),
    /// It is over after as many bytes.
    End { eaten: usize, end: End<D> },
}

/// A frame that has gone by.
pub(super) struct End<D> {
    pub(super) walk: Option<Box<Walk>>,
    pub(super) due: D,
}

impl<D> Place<D> {
    /// Goes on through a frame.
    pub(super) fn go_on(&mut self, bytes: &[u8]) -> Progress<D> {
        let walk = match self {
            Place::Batches(walk, _) => walk,
            Place::Rest(left, _) => {
                let length = std::mem::take(left);
                return Progress::Say(Answer::Skip { length: length.max(1) });
            }
            Place::Lost | Place::Head => return Progress::Say(Answer::Need { at_least: bytes.len() + 1 }),
        };
        if bytes.is_empty() {
            return Progress::Say(Answer::Skip { length: walk.pass_missing().max(1) });
        }
        match walk.advance(bytes, false) {
            (0, Then::Need(at_least)) => Progress::Say(Answer::Need { at_least }),
            (0, Then::Skip(length)) => {
                walk.skip(length);
                Progress::Say(Answer::Skip { length })
            }
            (eaten, Then::Over) if walk.left() <= (bytes.len() - eaten) as u64 => {
                let eaten = eaten + usize::try_from(walk.left()).unwrap_or(0);
                match self.end() {
                    Some(end) => Progress::End { eaten, end },
                    None => Progress::Say(Answer::Nothing { eaten: eaten.max(1) }),
                }
            }
            (0, Then::Over) => Progress::Say(Answer::Skip { length: walk.give_up().max(1) }),
            (eaten, _) => Progress::Say(Answer::Nothing { eaten }),
        }
    }

    /// Notes that what was passed over has gone by. Returns what is due if the frame is over.
    pub(super) fn passed(&mut self) -> Option<End<D>> {
        match self {
            Place::Batches(walk, _) if walk.left() == 0 => self.end(),
            Place::Rest(0, _) => self.end(),
            _ => None,
        }
    }

    /// Notes that bytes are missing behind these, after which `seen` of those that were left have gone by. Returns how many
    /// may be passed over, and what is due if the frame is over then; none if it ends among them.
    pub(super) fn cut(&mut self, bytes: &[u8], seen: u64) -> Option<(u64, Option<End<D>>)> {
        if let Place::Batches(walk, _) = self
            && let Some(length) = walk.cut_batch(bytes, seen)
        {
            let is_over = walk.left() == 0;
            return Some((length, if is_over { self.end() } else { None }));
        }
        let left = match self {
            Place::Batches(walk, _) if walk.left() >= seen => walk.give_up(),
            Place::Rest(left, _) if *left >= seen => *left,
            _ => return None,
        };
        Some((left, Some(self.end()?)))
    }

    fn end(&mut self) -> Option<End<D>> {
        match std::mem::replace(self, Place::Head) {
            Place::Batches(walk, due) => Some(End { walk: Some(walk), due }),
            Place::Rest(_, due) => Some(End { walk: None, due }),
            Place::Lost | Place::Head => None,
        }
    }
}

impl<D: Held> Held for Place<D> {
    fn held_bytes(&self) -> usize {
        match self {
            Place::Lost | Place::Head => 0,
            Place::Batches(walk, due) => walk.held_bytes() + due.held_bytes(),
            Place::Rest(_, due) => due.held_bytes(),
        }
    }
}
