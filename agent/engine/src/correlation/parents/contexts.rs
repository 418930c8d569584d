//! What Python's contexts are for: a request, or a connection and whatever is asked on it.

use foldhash::HashMap;

use crate::event::ConnectionId;
use crate::pairing::ExchangeId;

/// Contexts that are remembered before the older half is forgotten: nothing tells their end.
const MAX_CONTEXTS: usize = 65_536;
/// Answers on one connection, and on no other, after which a context of unknown origin is that connection's.
const PROVEN_ANSWERS: u32 = 2;
/// Guesses of a voucher that must come true before it is believed; after each that did not, four times as many.
const PROVEN_GUESSES: u32 = 2;

/// What a task works for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// One request.
    Request(ExchangeId),
    /// The requests of one connection, one after the other.
    Connection(ConnectionId),
    /// No request.
    Nobody,
}

/// What a task is probably for, made by a context that serves nobody itself: a server's own, which makes a task for each
/// connection or request right after it was accepted or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guess {
    owner: Owner,
    /// What its calls may be for: of a connection's requests the one that was being served when it was made.
    pub(super) hoped: Owner,
    /// The context that made the task.
    voucher: u64,
    /// When it made the task, which tells it from others that it made.
    made_at_ns: u64,
}

impl Guess {
    /// Returns whether it says that a request is worked on, which came on this connection.
    pub(super) fn means(&self, server: ExchangeId, connection: ConnectionId) -> bool {
        [Owner::Request(server), Owner::Connection(connection)].contains(&self.owner)
    }

    /// Returns whether both come from the same making of a task.
    pub(super) fn is_same(&self, other: &Guess) -> bool {
        (self.voucher, self.made_at_ns) == (other.voucher, other.made_at_ns)
    }
}

/// What is known of a context that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) owner: Owner,
    pub(super) guess: Option<Guess>,
    made_at_ns: u64,
    /// Who has made it, by guess, and in which turn of which thread.
    put_off: Option<(u64, Turn)>,
}

/// A thread, and the number of its turn.
type Turn = (u32, u32);

/// A new context, at an address that may have been another's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    pub(super) context: u64,
    /// The context from which it was copied.
    pub(super) maker: u64,
    /// The turn in which it was.
    pub(super) turn: Turn,
    pub(super) at_ns: u64,
}

#[derive(Debug)]
struct Trust {
    came_true: u32,
    required: u32,
}

#[derive(Debug)]
struct Answers {
    /// None where there were several.
    connection: Option<ConnectionId>,
    count: u32,
}

/// The contexts of all processes, by process and address.
#[derive(Debug, Default)]
pub(super) struct Contexts {
    known: HashMap<(u32, u64), Known>,
    vouchers: HashMap<(u32, u64), Trust>,
    answers: HashMap<(u32, u64), Answers>,
}

impl Contexts {
    /// Returns what a context is for; none where it was not seen being made and has not shown it.
    pub(super) fn owner(&self, tgid: u32, context: u64) -> Option<Owner> {
        self.known(tgid, context).map(|known| known.owner)
    }

    /// Returns all that is known of a context.
    pub(super) fn known(&self, tgid: u32, context: u64) -> Option<Known> {
        self.known.get(&(tgid, context)).copied()
    }

    /// Notes a new context, at an address that may have been another's.
    pub(super) fn make(&mut self, tgid: u32, context: u64, maker: u64, owner: Owner, at_ns: u64) {
        // What it answers shows whether the guess was right.
        let guess = self.known.get(&(tgid, maker)).and_then(|maker| maker.guess);
        let guess = guess.map(|guess| Guess { hoped: owner, ..guess });
        self.insert(tgid, context, Known { owner, guess, made_at_ns: at_ns, put_off: None });
    }

    /// Returns who has made a context that serves nobody, in this turn: it is that of a callback that was put off until
    /// something else is done, such as a handshake, and which works in its maker's stead.
    pub(super) fn put_off_by(&self, tgid: u32, context: u64, turn: Turn) -> Option<u64> {
        let known = self.known.get(&(tgid, context))?;
        let (maker, made_in) = known.put_off?;
        let is_plain = known.owner == Owner::Nobody && known.guess.is_none();
        (is_plain && made_in == turn).then_some(maker)
    }

    /// Notes a new context, made by one that serves nobody; `nearest` is what its thread had just accepted or read, and
    /// `voucher` who makes tasks for that. Returns what it is guessed to be for.
    pub(super) fn make_by_guess(
        &mut self,
        tgid: u32,
        made: Made,
        voucher: u64,
        nearest: Option<Owner>,
    ) -> Option<Owner> {
        let Made { context, maker, turn, at_ns } = made;
        let inherited = self.known.get(&(tgid, maker)).and_then(|maker| maker.guess);
        let new = |owner| Guess { owner, hoped: owner, voucher, made_at_ns: at_ns };
        let guess = inherited.or(nearest.map(new));
        let is_believed = |guess: &Guess| {
            let voucher = self.vouchers.get(&(tgid, guess.voucher));
            voucher.is_some_and(|trust| trust.came_true >= trust.required)
        };
        let owner = guess.filter(is_believed).map_or(Owner::Nobody, |guess| guess.hoped);
        self.insert(tgid, context, Known { owner, guess, made_at_ns: at_ns, put_off: Some((maker, turn)) });
        guess.map(|guess| guess.hoped)
    }

    /// A context that is guessed to be for a connection was made while this request of it was served.
    pub(super) fn narrow(&mut self, tgid: u32, context: u64, server: ExchangeId) {
        let Some(known) = self.known.get_mut(&(tgid, context)) else { return };
        let hoped = Owner::Request(server);
        if known.owner != Owner::Nobody {
            known.owner = hoped;
        }
        known.guess = known.guess.map(|guess| Guess { hoped, ..guess });
    }

    /// Says what a known context is for from here on. Returns what it was for.
    pub(super) fn lend(&mut self, tgid: u32, context: u64, owner: Owner) -> Option<Owner> {
        let known = self.known.get_mut(&(tgid, context))?;
        Some(std::mem::replace(&mut known.owner, owner))
    }

    fn insert(&mut self, tgid: u32, context: u64, known: Known) {
        self.make_room();
        self.forget(tgid, context);
        self.known.insert((tgid, context), known);
    }

    fn make_room(&mut self) {
        if self.known.len() < MAX_CONTEXTS {
            return;
        }
        let mut times: Vec<_> = self.known.iter().map(|(place, known)| (known.made_at_ns, *place)).collect();
        let middle = times.len() / 2;
        let (older, _, _) = times.select_nth_unstable(middle);
        for &mut (_, (tgid, context)) in older {
            self.forget(tgid, context);
        }
    }

    /// Forgets a context that has ended, and what it was trusted with: its address may become another's.
    pub(super) fn forget(&mut self, tgid: u32, context: u64) {
        self.known.remove(&(tgid, context));
        self.answers.remove(&(tgid, context));
        self.vouchers.remove(&(tgid, context));
    }

    /// Returns whether a context is still the one of which this was known.
    pub(super) fn is_still(&self, tgid: u32, context: u64, known: Option<Known>) -> bool {
        let made_at_ns = |known: Known| known.made_at_ns;
        self.known(tgid, context).map(made_at_ns) == known.map(made_at_ns)
    }

    /// Notes that a request was answered under a context that may have ended since; `known` is what was known of it.
    pub(super) fn confirm(&mut self, tgid: u32, known: &Known, connection: ConnectionId, server: ExchangeId) {
        if let Some(guess) = known.guess {
            self.judge((tgid, guess.voucher), guess.means(server, connection));
        }
    }

    /// Notes that a request of a connection was answered under a context.
    pub(super) fn answer(
        &mut self,
        tgid: u32,
        context: u64,
        connection: ConnectionId,
        server: ExchangeId,
        at_ns: u64,
    ) {
        let place = (tgid, context);
        if let Some(known) = self.known(tgid, context) {
            self.confirm(tgid, &known, connection, server);
        }
        if self.answers.len() >= MAX_CONTEXTS {
            self.answers.clear();
        }
        let first = Answers { connection: Some(connection), count: 0 };
        let answers = self.answers.entry(place).or_insert(first);
        answers.connection = answers.connection.filter(|&before| before == connection);
        answers.count += 1;
        let is_proven = answers.connection.is_some() && answers.count >= PROVEN_ANSWERS;
        let is_shared = answers.connection.is_none();
        match self.known.get_mut(&place) {
            Some(known) if is_shared => {
                if matches!(known.owner, Owner::Connection(_)) {
                    known.owner = Owner::Nobody;
                }
            }
            Some(known) => match known.owner {
                Owner::Nobody | Owner::Request(_) if is_proven => known.owner = Owner::Connection(connection),
                Owner::Nobody => known.owner = Owner::Request(server),
                Owner::Request(_) | Owner::Connection(_) => {}
            },
            None if is_proven => {
                let owner = Owner::Connection(connection);
                let known = Known { owner, guess: None, made_at_ns: at_ns, put_off: None };
                self.make_room();
                self.known.insert(place, known);
            }
            None => {}
        }
    }

    fn judge(&mut self, voucher: (u32, u64), is_true: bool) {
        if self.vouchers.len() >= MAX_CONTEXTS {
            self.vouchers.clear();
        }
        let trust = self.vouchers.entry(voucher).or_insert(Trust { came_true: 0, required: PROVEN_GUESSES });
        if is_true {
            trust.came_true = trust.came_true.saturating_add(1);
        } else {
            trust.came_true = 0;
            trust.required = trust.required.saturating_mul(4);
        }
    }

    /// Forgets the contexts of a process.
    pub(super) fn forget_process(&mut self, tgid: u32) {
        self.known.retain(|(owner, _), _| *owner != tgid);
        self.answers.retain(|(owner, _), _| *owner != tgid);
        self.vouchers.retain(|(owner, _), _| *owner != tgid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: u32 = 1;
    const SERVER: u64 = 100;

    fn connection(sock: u64) -> ConnectionId {
        ConnectionId { sock, inode: 0 }
    }

    fn made(context: u64, maker: u64, at_ns: u64) -> Made {
        Made { context, maker, turn: (1, at_ns as u32), at_ns }
    }

    fn request(id: u64) -> Owner {
        Owner::Request(ExchangeId(id))
    }

    #[test]
    fn who_puts_off_a_callback_vouches_for_what_that_makes_in_the_same_turn() {
        let mut contexts = Contexts::default();
        contexts.make_by_guess(P, made(1, SERVER, 7), SERVER, None);
        assert_eq!(contexts.put_off_by(P, 1, (1, 7)), Some(SERVER));
        assert_eq!(contexts.put_off_by(P, 1, (1, 8)), None, "what is still there later works for itself");
        assert_eq!(contexts.put_off_by(P, 1, (2, 7)), None, "another thread");
        assert_eq!(contexts.put_off_by(P, SERVER, (1, 7)), None, "nothing is known of it");
        contexts.make_by_guess(P, made(2, SERVER, 7), SERVER, Some(request(1)));
        assert_eq!(contexts.put_off_by(P, 2, (1, 7)), None, "it may be a request's");
    }

    #[test]
    fn a_server_that_makes_a_task_for_what_it_just_read_is_believed_after_a_while() {
        let mut contexts = Contexts::default();
        for id in 1..4 {
            contexts.make_by_guess(P, made(id, SERVER, id), SERVER, Some(request(id)));
            let expected = if id < 3 { Owner::Nobody } else { request(3) };
            assert_eq!(contexts.owner(P, id), Some(expected), "{id}");
            contexts.answer(P, id, connection(id), ExchangeId(id), id);
        }
        // A background task that is made in the same round of the loop has another maker.
        contexts.make_by_guess(P, made(50, 200, 5), 200, Some(request(9)));
        assert_eq!(contexts.owner(P, 50), Some(Owner::Nobody));
        // A guess that did not come true costs the belief.
        contexts.make_by_guess(P, made(10, SERVER, 10), SERVER, Some(request(10)));
        contexts.answer(P, 10, connection(11), ExchangeId(11), 11);
        contexts.make_by_guess(P, made(12, SERVER, 12), SERVER, Some(request(12)));
        assert_eq!(contexts.owner(P, 12), Some(Owner::Nobody));
    }

    #[test]
    fn a_guess_without_proof_is_believed_of_nobody() {
        let mut contexts = Contexts::default();
        contexts.make_by_guess(P, made(1, SERVER, 1), SERVER, Some(request(1)));
        // A background task, made in the same round of the loop.
        contexts.make_by_guess(P, made(2, 200, 1), 200, Some(request(1)));
        for context in [1, 2] {
            assert_eq!(contexts.owner(P, context), Some(Owner::Nobody));
        }
    }

    #[test]
    fn an_address_that_is_used_again_starts_over() {
        let mut contexts = Contexts::default();
        contexts.make(P, 1, SERVER, request(1), 1);
        contexts.forget(P, 1);
        assert_eq!(contexts.owner(P, 1), None);
        // The trust of the former user is not the next one's.
        for id in 10..12 {
            contexts.make_by_guess(P, made(id, 5, id), 5, Some(request(id)));
            contexts.answer(P, id, connection(id), ExchangeId(id), id);
        }
        contexts.make(P, 5, SERVER, Owner::Nobody, 20);
        contexts.make_by_guess(P, made(30, 5, 30), 5, Some(request(30)));
        assert_eq!(contexts.owner(P, 30), Some(Owner::Nobody));
    }

    #[test]
    fn contexts_of_one_moment_are_bounded_too() {
        let mut contexts = Contexts::default();
        let last = 2 * MAX_CONTEXTS as u64;
        for id in 1..=last {
            contexts.make(P, id, 0, request(id), 7);
            assert!(contexts.known.len() <= MAX_CONTEXTS);
        }
        assert_eq!(contexts.owner(P, last), Some(request(last)));
    }

    #[test]
    fn what_a_connections_task_makes_is_guessed_alike() {
        let mut contexts = Contexts::default();
        contexts.make_by_guess(P, made(1, SERVER, 1), SERVER, Some(Owner::Connection(connection(1))));
        contexts.make_by_guess(P, made(2, 1, 2), 1, Some(request(7)));
        contexts.answer(P, 2, connection(1), ExchangeId(3), 3);
        contexts.answer(P, 2, connection(1), ExchangeId(4), 4);
        contexts.make_by_guess(P, made(5, SERVER, 5), SERVER, Some(Owner::Connection(connection(5))));
        assert_eq!(contexts.owner(P, 5), Some(Owner::Connection(connection(5))));
    }

    #[test]
    fn a_context_that_answers_on_one_connection_only_is_that_connections() {
        let mut contexts = Contexts::default();
        contexts.answer(P, 1, connection(1), ExchangeId(1), 1);
        assert_eq!(contexts.owner(P, 1), None);
        contexts.answer(P, 1, connection(1), ExchangeId(2), 2);
        assert_eq!(contexts.owner(P, 1), Some(Owner::Connection(connection(1))));
        contexts.answer(P, 1, connection(2), ExchangeId(3), 3);
        assert_eq!(contexts.owner(P, 1), Some(Owner::Nobody));
        contexts.forget_process(P);
        assert_eq!(contexts.owner(P, 1), None);
    }
}
