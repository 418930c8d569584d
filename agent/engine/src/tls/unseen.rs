//! Connections that carry TLS of which no plaintext was seen: what is known of them all the same.

use foldhash::{HashMap, HashSet};

/// Kinds of such connections that are told apart. What is more is told of no server.
const MAX_KINDS: usize = 1024;
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
pub struct UnseenTls {
    /// The process that used them last.
    pub tgid: u32,
    /// The name of the server, as the client has asked for it; else the peer's address.
    pub server: String,
    /// Version of TLS, as OpenTelemetry writes it; empty where the beginning was not seen.
    pub version: &'static str,
    /// The protocol that the server chose, or those that the client has offered, where the choice is encrypted (TLS 1.3).
    pub protocols: String,
    /// `tls_off` where nobody looks for plaintext; `nothing_asked` where the client has said nothing after its handshake;
    /// `relayed` where the process passes on what another encrypts; else `library_not_seen`, or `not_joined` where other
    /// connections of the process are seen.
    pub reason: &'static str,
}

/// How many there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnseenCounts {
    /// Connections that have carried application data.
    pub connections: u64,
    /// Bytes on the wire that were sent, and received.
    pub bytes: [u64; 2],
}

impl UnseenCounts {
    fn add(&mut self, other: Self) {
        self.connections += other.connections;
        self.bytes[0] = self.bytes[0].saturating_add(other.bytes[0]);
        self.bytes[1] = self.bytes[1].saturating_add(other.bytes[1]);
    }
}

/// What was counted of connections that have ended, and of which processes plaintext was seen.
#[derive(Debug, Default)]
pub(crate) struct Unseen {
    ended: HashMap<UnseenTls, UnseenCounts>,
    seen: HashSet<u32>,
    is_off: bool,
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

    /// Forgets a process that has ended.
    pub(crate) fn forget_process(&mut self, tgid: u32) {
        self.seen.remove(&tgid);
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
    pub(crate) fn end(&mut self, kind: UnseenTls, counts: UnseenCounts) {
        add(&mut self.ended, kind, counts);
    }

    /// Returns what was counted together with connections that live, sorted.
    pub(crate) fn with(
        &self,
        living: impl Iterator<Item = (UnseenTls, UnseenCounts)>,
    ) -> Vec<(UnseenTls, UnseenCounts)> {
        let mut all = self.ended.clone();
        living.for_each(|(kind, counts)| add(&mut all, kind, counts));
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        all
    }
}

fn add(known: &mut HashMap<UnseenTls, UnseenCounts>, kind: UnseenTls, counts: UnseenCounts) {
    let is_over = known.len() >= MAX_KINDS && !known.contains_key(&kind);
    let kind = if is_over {
        UnseenTls { tgid: 0, server: OTHERS.to_owned(), version: "", protocols: String::new(), ..kind }
    } else {
        kind
    };
    known.entry(kind).or_default().add(counts);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(at: usize) -> UnseenTls {
        UnseenTls {
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
        let one = UnseenCounts { connections: 1, bytes: [2, 3] };
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
    fn a_process_of_which_plaintext_was_seen_has_another_reason() {
        let mut unseen = Unseen::default();
        unseen.see(1);
        assert_eq!([1, 2].map(|tgid| unseen.reason(tgid)), ["not_joined", "library_not_seen"]);
        unseen.forget_process(1);
        assert_eq!(unseen.reason(1), "library_not_seen");
        assert_eq!(Unseen::new(true).reason(1), "tls_off");
    }
}
