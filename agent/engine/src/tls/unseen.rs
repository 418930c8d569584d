//! Connections that carry TLS: what is known of those of which no plaintext was seen, and how many there were of each process.

use foldhash::{HashMap, HashSet};

/// Kinds of such connections that are told apart. What is more is told of no server.
const MAX_KINDS: usize = 1024;
/// Kinds that are told apart of one process.
const MAX_KINDS_OF_PROCESS: usize = 64;
/// Processes of which connections that have ended are remembered. For one more, the one is forgotten whose last connection
/// ended first.
const MAX_ENDED: usize = 1024;
/// Processes of which it is remembered that plaintext was seen.
const MAX_PROCESSES: usize = 16_384;
/// Where kinds are too many.
const OTHERS: &str = "others";

/// Why nothing was seen.
pub(super) mod reason {
    /// Nobody looks for plaintext.
    pub(super) const OFF: &str = "tls_off";
    /// The client has said nothing after its handshake.
    pub(crate) const NOTHING_ASKED: &str = "nothing_asked";
    /// The process passes on what another encrypts: it has the same hello on two connections.
    pub(crate) const RELAYED: &str = "relayed";
    /// No plaintext of the process ever was: its library is not known, or not found.
    pub(super) const LIBRARY: &str = "library_not_seen";
    /// Plaintext of the process was seen, but none that belongs to the connection.
    pub(super) const CONNECTION: &str = "not_joined";
}

/// What connections have in common that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TlsKind {
    /// The process that used them last.
    pub tgid: u32,
    /// The name of the server, as the client has asked for it; else the peer's address.
    pub server: String,
    /// Version of TLS, as OpenTelemetry writes it; empty where the beginning was not seen.
    pub version: &'static str,
    /// The protocol that the server chose, or those that the client has offered, where the choice is encrypted (TLS 1.3).
    pub protocols: String,
    /// Why no plaintext was seen, empty where some was: `tls_off` where nobody looks for plaintext; `nothing_asked` where the client has said nothing after its handshake;
    /// `relayed` where the process passes on what another encrypts; else `library_not_seen`, or `not_joined` where other
    /// connections of the process are seen.
    pub reason: &'static str,
}

/// How many there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsCounts {
    /// Connections that have carried application data.
    pub connections: u64,
    /// Bytes on the wire that were sent, and received.
    pub bytes: [u64; 2],
}

impl TlsKind {
    /// Returns whether no plaintext was seen.
    #[must_use]
    pub fn is_unseen(&self) -> bool {
        !self.reason.is_empty()
    }
}

impl TlsCounts {
    fn add(&mut self, other: Self) {
        self.connections += other.connections;
        self.bytes[0] = self.bytes[0].saturating_add(other.bytes[0]);
        self.bytes[1] = self.bytes[1].saturating_add(other.bytes[1]);
    }
}

/// What was counted of connections that have ended, and of which processes plaintext was seen.
#[derive(Debug, Default)]
pub(crate) struct Unseen {
    ended: HashMap<TlsKind, TlsCounts>,
    seen: HashSet<u32>,
    is_off: bool,
    /// All that have ended, those of which plaintext was seen too, by process.
    processes: HashMap<u32, Ended>,
    /// How many have ended.
    number: u64,
}

/// Connections of a process that have ended.
#[derive(Debug, Default)]
struct Ended {
    kinds: HashMap<TlsKind, TlsCounts>,
    /// Number of the last one.
    last: u64,
}

impl Unseen {
    /// Returns the counts where plaintext is looked for, or where it `is_off`.
    pub(crate) fn new(is_off: bool) -> Self {
        Self { is_off, ..Self::default() }
    }

    /// Notes that plaintext of a process was seen.
    pub(crate) fn see(&mut self, tgid: u32) {
        if self.seen.len() < MAX_PROCESSES {
            self.seen.insert(tgid);
        }
    }

    /// Forgets a process that has ended, or whose number is used again.
    pub(crate) fn forget_process(&mut self, tgid: u32) {
        self.seen.remove(&tgid);
        self.processes.remove(&tgid);
    }

    /// Returns why nothing is seen of a connection of this process.
    pub(crate) fn reason(&self, tgid: u32) -> &'static str {
        match self.seen.contains(&tgid) {
            _ if self.is_off => reason::OFF,
            true => reason::CONNECTION,
            false => reason::LIBRARY,
        }
    }

    /// Counts a connection that has ended.
    pub(crate) fn end(&mut self, kind: TlsKind, counts: TlsCounts) {
        self.number += 1;
        if self.processes.len() >= MAX_ENDED && !self.processes.contains_key(&kind.tgid) {
            let oldest = self.processes.iter().min_by_key(|(_, ended)| ended.last).map(|(tgid, _)| *tgid);
            oldest.map(|tgid| self.processes.remove(&tgid));
        }
        let of_process = self.processes.entry(kind.tgid).or_default();
        of_process.last = self.number;
        add_of_process(&mut of_process.kinds, kind.clone(), counts);
        if kind.is_unseen() {
            add(&mut self.ended, kind, counts);
        }
    }

    /// Returns what was counted of one process together with its connections that live, sorted.
    pub(crate) fn of_process(
        &self,
        tgid: u32,
        living: impl Iterator<Item = (TlsKind, TlsCounts)>,
    ) -> Vec<(TlsKind, TlsCounts)> {
        let ended = self.processes.get(&tgid).map(|ended| ended.kinds.clone());
        let mut all = ended.unwrap_or_default();
        living.for_each(|(kind, counts)| add_of_process(&mut all, kind, counts));
        sorted(all)
    }

    /// Returns what was counted of connections that have ended, and counts anew.
    pub(crate) fn take_ended(&mut self) -> Vec<(TlsKind, TlsCounts)> {
        sorted(std::mem::take(&mut self.ended))
    }

    /// Returns what was counted together with connections that live, sorted.
    pub(crate) fn with(
        &self,
        living: impl Iterator<Item = (TlsKind, TlsCounts)>,
    ) -> Vec<(TlsKind, TlsCounts)> {
        let mut all = self.ended.clone();
        living.for_each(|(kind, counts)| add(&mut all, kind, counts));
        sorted(all)
    }
}

fn sorted(kinds: HashMap<TlsKind, TlsCounts>) -> Vec<(TlsKind, TlsCounts)> {
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
    kinds
}

fn add(known: &mut HashMap<TlsKind, TlsCounts>, kind: TlsKind, counts: TlsCounts) {
    let is_over = known.len() >= MAX_KINDS && !known.contains_key(&kind);
    let kind = if is_over { TlsKind { tgid: 0, ..others(kind) } } else { kind };
    known.entry(kind).or_default().add(counts);
}

fn add_of_process(known: &mut HashMap<TlsKind, TlsCounts>, kind: TlsKind, counts: TlsCounts) {
    let is_over = known.len() >= MAX_KINDS_OF_PROCESS && !known.contains_key(&kind);
    known.entry(if is_over { others(kind) } else { kind }).or_default().add(counts);
}

fn others(kind: TlsKind) -> TlsKind {
    TlsKind { server: OTHERS.to_owned(), version: "", protocols: String::new(), ..kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(at: usize) -> TlsKind {
        TlsKind {
            tgid: 1,
            server: format!("{at}.example"),
            version: "1.3",
            protocols: "h2".to_owned(),
            reason: reason::LIBRARY,
        }
    }

    #[test]
    fn kinds_are_bounded_and_nothing_is_lost() {
        let mut unseen = Unseen::default();
        let one = TlsCounts { connections: 1, bytes: [2, 3] };
        (0..5000).for_each(|at| unseen.end(kind(at), one));
        let all = unseen.with([(kind(0), one)].into_iter());
        assert!(all.len() <= MAX_KINDS + 1);
        assert_eq!(all.iter().map(|(_, counts)| counts.connections).sum::<u64>(), 5001);
        assert_eq!(
            all.iter().find(|(known, _)| *known == kind(0)).map(|(_, counts)| counts.connections),
            Some(2)
        );
    }

    #[test]
    fn connections_of_a_process_are_told_apart_and_bounded() {
        let mut unseen = Unseen::default();
        let one = TlsCounts { connections: 1, bytes: [2, 3] };
        let joined = TlsKind { reason: "", ..kind(0) };
        (0..5000).for_each(|at| unseen.end(kind(at), one));
        unseen.end(TlsKind { tgid: 2, ..joined.clone() }, one);
        unseen.end(joined, one);
        assert_eq!(unseen.of_process(2, std::iter::empty()).len(), 1);
        let all = unseen.of_process(1, [(kind(0), one)].into_iter());
        assert!(all.len() <= MAX_KINDS_OF_PROCESS + 2, "{}", all.len());
        let count = |is_unseen| {
            let kinds = all.iter().filter(|(kind, _)| kind.is_unseen() == is_unseen);
            kinds.map(|(_, counts)| counts.connections).sum::<u64>()
        };
        assert_eq!((count(true), count(false)), (5001, 1));
        assert!(unseen.take_ended().iter().all(|(kind, _)| kind.is_unseen()));
        assert_eq!(unseen.with(std::iter::empty()), []);
        unseen.forget_process(1);
        assert_eq!(unseen.of_process(1, std::iter::empty()), []);
    }

    #[test]
    fn the_process_is_forgotten_whose_last_connection_ended_first() {
        let mut unseen = Unseen::default();
        let mut end = |tgid| unseen.end(TlsKind { tgid, ..kind(0) }, TlsCounts::default());
        (0..1024).for_each(&mut end);
        end(0);
        end(5000);
        let knows = |tgid| !unseen.of_process(tgid, std::iter::empty()).is_empty();
        assert_eq!([0, 1, 2, 5000].map(knows), [true, false, true, true]);
    }

    #[test]
    fn a_process_of_which_plaintext_was_seen_has_another_reason() {
        let mut unseen = Unseen::default();
        unseen.see(1);
        assert_eq!([1, 2].map(|tgid| unseen.reason(tgid)), ["not_joined", "library_not_seen"]);
        unseen.forget_process(1);
        assert_eq!(unseen.reason(1), "library_not_seen");
        assert_eq!(Unseen::new(true).reason(1), "tls_off");
    }
}
