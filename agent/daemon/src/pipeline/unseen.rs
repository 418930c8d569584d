//! The coverage of TLS in the metrics: connections of which no plaintext was seen, with what is known of them and why.

use std::collections::BTreeMap;

use foldhash::HashMap;
use remora_engine::{TlsCounts, TlsKind};

use crate::discover::Processes;
use crate::health::{Labels, Sample};

/// Names of processes that are remembered, those of ended ones too: what was counted of them stays.
const MAX_NAMES: usize = 4096;
/// What processes are called that ended before they had a name, or are too many.
const NAMELESS: &str = "unknown_service";

/// Makes samples, and remembers what processes are called.
#[derive(Debug, Default)]
pub(super) struct Coverage(HashMap<u32, String>);

impl Coverage {
    /// Returns the connections and their bytes on the wire, one sample for all processes of a name.
    pub(super) fn samples(
        &mut self,
        unseen: Vec<(TlsKind, TlsCounts)>,
        processes: &Processes,
    ) -> Vec<Sample> {
        let mut counts: BTreeMap<(Labels, Option<&str>), u64> = BTreeMap::new();
        for (kind, TlsCounts { connections, bytes: [sent, received] }) in unseen {
            let labels: Labels = vec![
                ("process", self.name(kind.tgid, processes).into()),
                ("server", kind.server.into()),
                ("version", kind.version.into()),
                ("protocols", kind.protocols.into()),
                ("reason", kind.reason.into()),
            ];
            for (what, count) in [(None, connections), (Some("sent"), sent), (Some("received"), received)] {
                *counts.entry((labels.clone(), what)).or_default() += count;
            }
        }
        counts.into_iter().map(|((labels, what), count)| sample(labels, what, count as f64)).collect()
    }

    fn name(&mut self, tgid: u32, processes: &Processes) -> String {
        if let Some(name) = self.0.get(&tgid) {
            return name.clone();
        }
        let Some(process) = processes.get(tgid) else { return NAMELESS.to_owned() };
        if self.0.len() < MAX_NAMES {
            self.0.insert(tgid, process.service_name.clone());
        }
        process.service_name.clone()
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
        let samples = Coverage::default().samples(vec![unseen(7), unseen(8), unseen(9)], &processes);
        let values: Vec<_> = samples
            .iter()
            .map(|sample| (sample.labels[0].1.as_ref(), sample.name.as_ref(), sample.value))
            .collect();
        let expected = [
            ("cart", "remora_agent_tls_unseen_connections", 4.0),
            ("cart", "remora_agent_tls_unseen_bytes", 40.0),
            ("cart", "remora_agent_tls_unseen_bytes", 20.0),
            ("unknown_service", "remora_agent_tls_unseen_connections", 2.0),
            ("unknown_service", "remora_agent_tls_unseen_bytes", 20.0),
            ("unknown_service", "remora_agent_tls_unseen_bytes", 10.0),
        ];
        assert_eq!(values, expected);
    }
}
