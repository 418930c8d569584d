//! Tasks that move between threads, and talk by waking each other: what each is for, and which of them carry the calls of
//! others.
//!
//! A task works for whom it was made for. That it was woken says less: a lock that became free wakes whoever waits for it.
//! But a task to which one connection belongs alone, as clients keep one for each connection, is woken by those that have
//! something sent. Its one hard problem is to tell such a carrier from a worker that borrows connections.

use foldhash::HashMap;

use crate::event::ConnectionId;
use crate::pairing::ExchangeId;

/// Tasks that are remembered before the older half is forgotten: nothing tells their end.
const MAX_TASKS: usize = 65_536;
/// Calls in a row by one task after which a connection of unknown origin, or that others have used before, is its own.
const PROVEN_CALLS: u32 = 8;

/// What has woken a task last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mail {
    /// No task has.
    #[default]
    Never,
    /// A task that works for no request.
    Nobody,
    /// A task that works for this request, and when.
    From(ExchangeId, u64),
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The request that it was made for.
    birth: Option<ExchangeId>,
    mail: Mail,
    seen_at_ns: u64,
}

/// For whom a call was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    /// There was none.
    #[default]
    Nobody,
    Request(ExchangeId),
    Unknown,
}

/// Who has made calls on a connection.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// The task that opened it, if any; unset where the opening was not seen.
    opener: Option<Option<u64>>,
    caller: Option<u64>,
    /// Calls in a row by that task.
    calls: u32,
    /// Whether another task has made calls before.
    had_others: bool,
    /// For whom the last call was.
    last: Last,
    /// When a call was last over.
    ended_at_ns: u64,
    /// Calls that are not answered.
    open: u32,
    /// Calls were seen to overlap.
    is_multiplexed: bool,
}

/// How a task stands to the connection on which it makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It works for itself.
    Worker,
    /// It sends what others have it send, one at a time.
    Carrier,
    /// It sends what several others have it send, at the same time.
    Multiplexer,
}

/// The tasks of all processes, and the connections that they use.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    known: HashMap<(u32, u64), Known>,
    lines: HashMap<ConnectionId, Line>,
    /// Where each call is made, and whether its cause shows when it is answered.
    calls: HashMap<ExchangeId, (ConnectionId, bool)>,
}

impl Tasks {
    /// Returns the request that a task was made for, if any.
    pub(super) fn birth(&self, tgid: u32, task: u64) -> Option<ExchangeId> {
        self.known.get(&(tgid, task))?.birth
    }

    /// Returns what has woken a task last.
    pub(super) fn mail(&self, tgid: u32, task: u64) -> Mail {
        self.known.get(&(tgid, task)).map_or(Mail::Never, |known| known.mail)
    }

    /// A task was made, unless it is known already: numbers are not used again.
    pub(super) fn make(&mut self, tgid: u32, task: u64, birth: Option<ExchangeId>, at_ns: u64) {
        self.make_room();
        self.known.entry((tgid, task)).or_insert(Known { birth, mail: Mail::Never, seen_at_ns: at_ns });
    }

    /// A task was woken by one that works for this request.
    pub(super) fn wake(&mut self, tgid: u32, task: u64, waker: Option<ExchangeId>, at_ns: u64) {
        self.make_room();
        let known = self.known.entry((tgid, task)).or_default();
        known.mail = waker.map_or(Mail::Nobody, |request| Mail::From(request, at_ns));
        known.seen_at_ns = at_ns;
    }

    fn make_room(&mut self) {
        if self.known.len() >= MAX_TASKS {
            let mut times: Vec<u64> = self.known.values().map(|known| known.seen_at_ns).collect();
            let middle = times.len() / 2;
            let (_, &mut median, _) = times.select_nth_unstable(middle);
            self.known.retain(|_, known| known.seen_at_ns > median);
        }
    }

    /// A connection was opened, in a task or in none.
    pub(super) fn open(&mut self, connection: ConnectionId, opener: Option<u64>) {
        self.lines.insert(connection, Line { opener: Some(opener), ..Line::default() });
    }

    /// Returns what a task is to a connection. `is_alive` says whether the request it was made for is still served.
    pub(super) fn role(&self, connection: ConnectionId, task: u64, is_alive: bool) -> Role {
        let line = self.lines.get(&connection).copied().unwrap_or_default();
        let is_given = line.opener.is_some_and(|opener| opener != Some(task)) && !line.had_others;
        let is_alone = line.caller.is_none_or(|caller| caller == task);
        let is_proven = line.caller == Some(task) && line.calls >= PROVEN_CALLS && !is_alive;
        match (is_given && is_alone) || is_proven {
            true if line.is_multiplexed || line.open > 0 => Role::Multiplexer,
            true => Role::Carrier,
            false => Role::Worker,
        }
    }

    /// Returns whether a waking by a task of `request` means that it has something sent on a connection, and nobody else.
    ///
    /// Who has sent last may have cleaned up behind itself. Whoever sends while the carrier has not yet run for that wakes
    /// nobody.
    pub(super) fn is_fresh(&self, connection: ConnectionId, request: ExchangeId, at_ns: u64) -> bool {
        self.lines.get(&connection).is_none_or(|line| {
            let is_other = line.last != Last::Unknown && line.last != Last::Request(request);
            is_other && at_ns > line.ended_at_ns
        })
    }

    /// The answer of the last call has shown for whom it was.
    pub(super) fn learn(&mut self, connection: ConnectionId, request: ExchangeId) {
        if let Some(line) = self.lines.get_mut(&connection) {
            line.last = Last::Request(request);
        }
    }

    /// A task begins a call, for this request as far as is known.
    pub(super) fn begin(
        &mut self,
        call: ExchangeId,
        connection: ConnectionId,
        task: u64,
        request: Option<ExchangeId>,
        is_late: bool,
    ) {
        let line = self.lines.entry(connection).or_default();
        line.last = request.map_or(Last::Unknown, Last::Request);
        if line.caller == Some(task) {
            line.calls = line.calls.saturating_add(1);
        } else {
            line.had_others |= line.caller.is_some();
            line.caller = Some(task);
            line.calls = 1;
        }
        line.is_multiplexed |= line.open > 0;
        line.open += 1;
        self.calls.insert(call, (connection, is_late));
    }

    /// Returns whether the cause of a call shows when it is answered.
    pub(super) fn is_late(&self, call: ExchangeId) -> bool {
        self.calls.get(&call).is_some_and(|&(_, is_late)| is_late)
    }

    /// A call is over.
    pub(super) fn end(&mut self, call: ExchangeId, at_ns: u64) {
        if let Some((connection, _)) = self.calls.remove(&call)
            && let Some(line) = self.lines.get_mut(&connection)
        {
            line.open = line.open.saturating_sub(1);
            line.ended_at_ns = line.ended_at_ns.max(at_ns);
        }
    }

    /// Forgets a connection.
    pub(super) fn forget_connection(&mut self, connection: ConnectionId) {
        self.lines.remove(&connection);
    }

    /// Forgets the tasks of a process.
    pub(super) fn forget_process(&mut self, tgid: u32) {
        self.known.retain(|(owner, _), _| *owner != tgid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: u64 = 7;
    const OTHER: u64 = 8;

    fn connection(sock: u64) -> ConnectionId {
        ConnectionId { sock, inode: 0 }
    }

    /// Calls that are answered at once.
    fn call(tasks: &mut Tasks, sock: u64, task: u64, times: u64) {
        for id in 0..times {
            tasks.begin(ExchangeId(id), connection(sock), task, None, false);
            tasks.end(ExchangeId(id), id);
        }
    }

    #[test]
    fn a_task_that_was_given_a_fresh_connection_carries_for_others() {
        let mut tasks = Tasks::default();
        tasks.open(connection(1), Some(OTHER));
        assert_eq!(tasks.role(connection(1), TASK, true), Role::Carrier);
        call(&mut tasks, 1, TASK, 1);
        assert_eq!(tasks.role(connection(1), TASK, true), Role::Carrier);
        assert_eq!(tasks.role(connection(1), OTHER, true), Role::Worker);
        tasks.begin(ExchangeId(50), connection(1), TASK, None, false);
        assert_eq!(tasks.role(connection(1), TASK, true), Role::Multiplexer);
        tasks.begin(ExchangeId(51), connection(1), TASK, None, false);
        tasks.end(ExchangeId(50), 1);
        tasks.end(ExchangeId(51), 1);
        assert_eq!(tasks.role(connection(1), TASK, true), Role::Multiplexer, "it may do so again");
    }

    #[test]
    fn a_task_that_opens_or_borrows_connections_works_for_itself() {
        let mut tasks = Tasks::default();
        tasks.open(connection(1), Some(TASK));
        call(&mut tasks, 1, TASK, 3);
        assert_eq!(tasks.role(connection(1), TASK, true), Role::Worker);
        tasks.open(connection(2), Some(OTHER));
        call(&mut tasks, 2, OTHER, 1);
        call(&mut tasks, 2, TASK, 3);
        assert_eq!(tasks.role(connection(2), TASK, true), Role::Worker);
    }

    #[test]
    fn whoever_uses_a_connection_long_after_its_request_ended_carries() {
        let mut tasks = Tasks::default();
        call(&mut tasks, 1, OTHER, 1);
        call(&mut tasks, 1, TASK, u64::from(PROVEN_CALLS));
        assert_eq!(tasks.role(connection(1), TASK, true), Role::Worker);
        assert_eq!(tasks.role(connection(1), TASK, false), Role::Carrier);
        call(&mut tasks, 1, OTHER, 1);
        assert_eq!(tasks.role(connection(1), TASK, false), Role::Worker);
    }

    #[test]
    fn what_a_task_was_made_for_stays() {
        let mut tasks = Tasks::default();
        tasks.make(1, TASK, Some(ExchangeId(1)), 0);
        tasks.make(1, TASK, Some(ExchangeId(2)), 1);
        tasks.wake(1, TASK, Some(ExchangeId(3)), 2);
        assert_eq!(tasks.birth(1, TASK), Some(ExchangeId(1)));
        assert_eq!(tasks.mail(1, TASK), Mail::From(ExchangeId(3), 2));
        tasks.wake(1, OTHER, None, 3);
        tasks.make(1, OTHER, Some(ExchangeId(2)), 4);
        assert_eq!(tasks.birth(1, OTHER), None, "it was there before");
        tasks.forget_process(1);
        assert_eq!(tasks.birth(1, TASK), None);
    }

    #[test]
    fn who_cleans_up_behind_its_call_sends_nothing() {
        let mut tasks = Tasks::default();
        tasks.open(connection(1), None);
        let is_fresh = |tasks: &Tasks, id, at_ns| tasks.is_fresh(connection(1), ExchangeId(id), at_ns);
        assert!(is_fresh(&tasks, 1, 10));
        tasks.begin(ExchangeId(50), connection(1), TASK, Some(ExchangeId(1)), false);
        tasks.end(ExchangeId(50), 20);
        assert!(!is_fresh(&tasks, 1, 30), "the last one");
        assert!(!is_fresh(&tasks, 2, 15), "it woke while another's call was under way");
        assert!(is_fresh(&tasks, 2, 30));
        tasks.begin(ExchangeId(51), connection(1), TASK, None, false);
        tasks.end(ExchangeId(51), 40);
        assert!(!is_fresh(&tasks, 3, 50), "it may be the last one");
        tasks.learn(connection(1), ExchangeId(2));
        assert!(is_fresh(&tasks, 3, 50));
    }

    #[test]
    fn tasks_are_bounded() {
        let mut tasks = Tasks::default();
        for id in 0..3 * MAX_TASKS as u64 {
            tasks.wake(1, id, None, id);
            assert!(tasks.known.len() <= MAX_TASKS);
        }
        assert_eq!(tasks.mail(1, 3 * MAX_TASKS as u64 - 1), Mail::Nobody);
    }
}
