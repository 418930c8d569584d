//! The coverage of TLS in the metrics: connections of which no plaintext was seen, with what is known of them and why.

use std::collections::BTreeMap;

use foldhash::HashMap;
use remora_engine::{TlsCounts, TlsKind};

use crate::discover::Processes;
use crate::health::{Labels, Sample};

/// Kinds of ended connections that are told apart. What is more is told of no server.
const MAX_KINDS: usize = 1024;
/// Where kinds are too many.
const OTHERS: &str = "others";
/// What processes are called that ended before they had a name, or are too many.
const NAMELESS: &str = "unknown_service";

/// Connections and bytes, by what is known of them.
type Counts = BTreeMap<Labels, [u64; 3]>;

/// Makes samples, and remembers what was counted of connections that have ended, by what their processes were called: their
/// numbers are used again.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    ended: Counts,
    /// Names of the processes that had such connections when the last samples were made.
    names: HashMap<u32, String>,
}

impl Coverage {
    /// Returns the connections and their bytes on the wire, one sample for all processes of a name: of those that have ended
    /// since the last time, and of those that live.
    pub(super) fn samples(
        &mut self,
        ended: Vec<(TlsKind, TlsCounts)>,
        living: Vec<(TlsKind, TlsCounts)>,
        processes: &Processes,
    ) -> Vec<Sample> {
        for (kind, counts) in ended {
            let mut labels = self.labels(kind, processes);
            if self.ended.len() >= MAX_KINDS && !self.ended.contains_key(&labels) {
                labels.iter_mut().skip(1).for_each(|(_, value)| *value = "".into());
                labels.iter_mut().skip(1).take(1).for_each(|(_, value)| *value = OTHERS.into());
            }
            add(&mut self.ended, labels, counts);
        }
        let mut names = HashMap::default();
        let mut all = self.ended.clone();
        for (kind, counts) in living {
            names.insert(kind.tgid, self.name(kind.tgid, processes));
            add(&mut all, self.labels(kind, processes), counts);
        }
        self.names = names;
        let samples = all.into_iter().flat_map(|(labels, counts)| {
            let whats = [None, Some("sent"), Some("received")];
            whats.into_iter().zip(counts).map(move |(what, count)| sample(labels.clone(), what, count as f64))
        });
        samples.collect()
    }

    fn labels(&self, kind: TlsKind, processes: &Processes) -> Labels {
        vec![
            ("process", self.name(kind.tgid, processes).into()),
            ("server", kind.server.into()),
            ("version", kind.version.into()),
            ("protocols", kind.protocols.into()),
            ("reason", kind.reason.into()),
        ]
    }

    /// Returns what a process is called; one that is gone is called what it was.
    fn name(&self, tgid: u32, processes: &Processes) -> String {
        let known = processes.get(tgid).map(|process| process.service_name.clone());
        known.or_else(|| self.names.get(&tgid).cloned()).unwrap_or_else(|| NAMELESS.to_owned())
    }
}

fn add(all: &mut Counts, labels: Labels, TlsCounts { connections, bytes: [sent, received] }: TlsCounts) {
    let counts = all.entry(labels).or_default();
    for (count, more) in counts.iter_mut().zip([connections, sent, received]) {
        *count += more;
    }
}

fn sample(mut labels: Labels, direction: Option<&'static str>, value: f64) -> Sample {
    let Some(direction) = direction else {
        return Sample::gauge("remora_agent_tls_unseen_connections", labels, value);
    };
    labels.push(("direction", direction.into()));
    Sample::gauge("remora_agent_tls_unseen_bytes", labels, value)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::discover::Process;

    #[test]
    fn processes_of_one_name_are_counted_together() {
        let processes = Processes::default();
        for tgid in [7, 8] {
            processes.insert(Process { tgid, service_name: "cart".to_owned(), ..Process::default() });
        }
        let unseen = |tgid| {
            let kind = TlsKind {
                tgid,
                server: "api.example".to_owned(),
                version: "1.3",
                protocols: "h2".to_owned(),
                reason: "library_not_seen",
            };
            (kind, TlsCounts { connections: 2, bytes: [10, 20] })
        };
        let mut coverage = Coverage::default();
        let _ = coverage.samples(Vec::new(), vec![unseen(8)], &processes);
        let now = Instant::now();
        processes.end(8, now);
        processes.expire(now + Duration::from_secs(3600));
        assert!(processes.get(8).is_none());
        let samples = coverage.samples(vec![unseen(8)], vec![unseen(7), unseen(9)], &processes);
        let values: Vec<_> = samples
            .iter()
            .map(|sample| (sample.labels[0].1.as_ref(), sample.name.as_ref(), sample.value))
            .collect();
        let expected = [
            ("cart", "remora_agent_tls_unseen_connections", 4.0),
            ("cart", "remora_agent_tls_unseen_bytes", 20.0),
            ("cart", "remora_agent_tls_unseen_bytes", 40.0),
            ("unknown_service", "remora_agent_tls_unseen_connections", 2.0),
            ("unknown_service", "remora_agent_tls_unseen_bytes", 10.0),
            ("unknown_service", "remora_agent_tls_unseen_bytes", 20.0),
        ];
        assert_eq!(values, expected);
    }
}
