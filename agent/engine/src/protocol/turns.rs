//! When requests and responses can be paired again, after a start in the middle of a connection or a loss.
//!
//! Where responses come in the order of requests, pairing needs a moment at which nothing is outstanding, and on the
//! wire nothing marks it. What can be seen is how the two sides take turns: where the client waits for all answers
//! before it asks again, each of its turns is such a moment, and the count of requests less the count of responses
//! is the same at each. Where it differs the client overlaps its requests, and much more evidence is asked for.

/// Turns with the same balance after which a client that was seen to overlap its requests counts as waiting.
const TURNS_AFTER_OVERLAP: u32 = 64;

/// Turns that are asked for behind requests that were not seen, or not followed: some of them may still be outstanding.
const TURNS_AFTER_MISSED: u32 = 8;
/// What a turn of several requests counts for then: who keeps requests in flight seldom does so by equal batches.
const TURNS_OF_BATCH: u32 = 7;

/// Watches the two sides take turns.
#[derive(Debug)]
pub(super) struct Turns {
    /// Equal turns that are asked for where no overlap was seen.
    wanted: u32,
    /// Requests less responses since counting began.
    balance: i64,
    /// The balance at the turns so far.
    floor: Option<i64>,
    equal_turns: u32,
    /// Requests since the last turn.
    asked: u32,
    was_response: bool,
    /// The client's last request had begun, and not ended, when the server spoke: it is not among what that answered.
    is_unfinished: bool,
    /// Counting began behind requests that were not seen.
    has_missed: bool,
    has_overlapped: bool,
    is_synchronous: bool,
}

impl Turns {
    /// Returns the watch for a connection that is seen from its start.
    pub(super) fn from_start(wanted: u32) -> Self {
        Self { is_synchronous: true, ..Self::from_middle(wanted) }
    }

    /// Returns the watch for a connection that was there before.
    pub(super) fn from_middle(wanted: u32) -> Self {
        Self {
            wanted,
            balance: 0,
            floor: None,
            equal_turns: 0,
            asked: 0,
            was_response: false,
            is_unfinished: false,
            has_missed: false,
            has_overlapped: false,
            is_synchronous: false,
        }
    }

    /// Returns whether requests and responses are known to match.
    pub(super) fn are_known(&self) -> bool {
        self.is_synchronous
    }

    /// Returns whether requests and responses match by their number so far; none where they are known to.
    pub(super) fn doubt(&self) -> Option<bool> {
        (!self.is_synchronous).then_some(self.balance == 0 && !self.has_overlapped)
    }

    /// Notes a request that will be answered; returns whether its answer will be recognised.
    pub(super) fn request(&mut self) -> bool {
        if std::mem::take(&mut self.was_response) {
            self.turn();
        }
        self.balance = self.balance.saturating_add(1);
        self.asked = self.asked.saturating_add(1);
        self.is_synchronous
    }

    /// Takes back the last request: it will not be answered.
    pub(super) fn withdraw(&mut self) {
        self.balance = self.balance.saturating_sub(1);
    }

    /// Notes a response.
    pub(super) fn response(&mut self) {
        self.was_response = true;
        self.balance = self.balance.saturating_sub(1);
    }

    /// Notes that the server sent something that could not be read as a whole response.
    pub(super) fn speak(&mut self) {
        self.was_response = true;
    }

    /// Notes, as the server speaks or as it turns out later, that the client's last request had begun and not ended.
    pub(super) fn note_unfinished(&mut self, is_unfinished: bool) {
        self.is_unfinished = is_unfinished;
    }

    /// Returns what was last [noted](Self::note_unfinished), until the client's next request.
    pub(super) fn is_unfinished(&self) -> bool {
        self.is_unfinished
    }

    /// Notes that the client asks while it awaits an answer.
    pub(super) fn note_overlap(&mut self) {
        self.has_overlapped = true;
    }

    /// Returns whether the server has sent anything since the client's last request.
    pub(super) fn has_spoken(&self) -> bool {
        self.was_response
    }

    /// Counts from this request on, the first of a turn, and from the one before it if that was unfinished.
    pub(super) fn begin(&mut self) {
        let unfinished = i64::from(std::mem::take(&mut self.is_unfinished));
        (self.balance, self.floor, self.equal_turns) = (1 + unfinished, Some(0), 1);
        (self.asked, self.was_response) = (1, false);
    }

    /// Starts again: something was lost, or what was believed proved wrong.
    pub(super) fn lose(&mut self) {
        *self = Self { has_overlapped: self.has_overlapped, ..Self::from_middle(self.wanted) };
    }

    /// Starts again behind requests that were not seen, or are not followed. All else is known.
    pub(super) fn miss(&mut self) {
        self.lose();
        self.has_missed = true;
    }

    fn turn(&mut self) {
        let balance = self.balance - i64::from(std::mem::take(&mut self.is_unfinished));
        let is_batch = std::mem::take(&mut self.asked) > 1;
        if self.is_synchronous {
            self.has_overlapped |= balance != 0;
            return;
        }
        if self.floor == Some(balance) {
            let is_telling = is_batch && self.has_missed && !self.has_overlapped;
            let turns = if is_telling { TURNS_OF_BATCH } else { 1 };
            self.equal_turns = self.equal_turns.saturating_add(turns);
        } else {
            self.has_overlapped |= self.floor.is_some();
            self.floor = Some(balance);
            self.equal_turns = 1;
        }
        let wanted = match (self.has_overlapped, self.has_missed) {
            (true, _) => TURNS_AFTER_OVERLAP,
            (false, true) => TURNS_AFTER_MISSED,
            (false, false) => self.wanted,
        };
        if self.equal_turns >= wanted {
            self.is_synchronous = true;
            self.balance -= balance;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays `>` as a request and `<` as a response; returns how many requests would have been paired.
    fn paired(mut turns: Turns, play: &str) -> usize {
        let mut paired = 0;
        for step in play.chars() {
            match step {
                '>' => paired += usize::from(turns.request()),
                '<' => turns.response(),
                _ => turns.lose(),
            }
        }
        paired
    }

    #[test]
    fn all_is_known_from_the_start() {
        assert_eq!(paired(Turns::from_start(1), ">><<>><<"), 4);
    }

    #[test]
    fn the_middle_needs_as_many_equal_turns_as_wanted() {
        assert_eq!(paired(Turns::from_middle(1), "><><><"), 2);
        assert_eq!(paired(Turns::from_middle(1), "<><><"), 2);
        assert_eq!(paired(Turns::from_middle(3), "><><><><><"), 2);
    }

    #[test]
    fn batches_of_any_size_are_turns() {
        assert_eq!(paired(Turns::from_middle(2), ">>><<<><>>>>"), 4);
    }

    #[test]
    fn overlapping_needs_much_more() {
        let overlapping = ">>><<>>><<>><<<<";
        assert_eq!(paired(Turns::from_middle(2), overlapping), 0);
        let calm = overlapping.to_owned() + &"><".repeat(70);
        assert_eq!(paired(Turns::from_middle(2), &calm), 7);
    }

    #[test]
    fn what_was_missed_needs_a_batch_or_more_turns() {
        let after = |play: &str| {
            let mut turns = Turns::from_start(2);
            turns.miss();
            paired(turns, play)
        };
        assert_eq!(after(&"><".repeat(10)), 2);
        assert_eq!(after("><><>>>><<<<>"), 1);
        // One that was not seen is still outstanding when the client asks again, and another comes.
        assert_eq!(after("<><<><><><><><><><"), 0);
    }

    #[test]
    fn overlap_is_remembered_across_a_loss() {
        assert_eq!(paired(Turns::from_start(1), ">>>|<<><><><"), 6);
        assert_eq!(paired(Turns::from_start(1), ">><>><<<|<><><><"), 4);
    }
}
