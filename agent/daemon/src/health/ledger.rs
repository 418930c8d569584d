//! The registry of everything that is counted.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The metric under which every discard is counted, with the labels `stage` and `reason`.
pub const LOSSES: &str = "remora_agent_losses_total";

/// Labels of a sample, in the order in which they are printed.
pub type Labels = Vec<(&'static str, Cow<'static, str>)>;

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One value at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Name of the metric.
    pub name: Cow<'static, str>,
    /// How it behaves.
    pub kind: Kind,
    /// What it is about.
    pub labels: Labels,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// Returns a sample of [`LOSSES`].
    #[must_use]
    pub fn loss(
        stage: impl Into<Cow<'static, str>>,
        reason: impl Into<Cow<'static, str>>,
        count: u64,
    ) -> Self {
        Self {
            name: LOSSES.into(),
            kind: Kind::Counter,
            labels: loss_labels(stage, reason),
            value: count as f64,
        }
    }

    /// Returns a sample of a counter.
    #[must_use]
    pub fn counter(name: impl Into<Cow<'static, str>>, labels: Labels, count: u64) -> Self {
        Self { name: name.into(), kind: Kind::Counter, labels, value: count as f64 }
    }

    /// Returns a sample of a gauge.
    #[must_use]
    pub fn gauge(name: impl Into<Cow<'static, str>>, labels: Labels, value: f64) -> Self {
        Self { name: name.into(), kind: Kind::Gauge, labels, value }
    }
}

/// A line of the loss table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Where something was discarded: `kernel`, `engine`, `queue`, `export`.
    pub stage: String,
    /// Why.
    pub reason: String,
    /// How often.
    pub count: u64,
}

/// A counter that any thread may add to. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds to the counter.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Returns the count so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The shared registry. Clones are handles to the same one.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Inner>>);

type Gauge = Box<dyn Fn() -> f64 + Send>;

#[derive(Default)]
struct Inner {
    counters: BTreeMap<(Cow<'static, str>, Labels), Counter>,
    gauges: BTreeMap<(&'static str, Labels), Gauge>,
    snapshots: BTreeMap<&'static str, Vec<Sample>>,
}

impl Ledger {
    /// Returns the counter of a kind of discard; the same one for the same `stage` and `reason`.
    ///
    /// It is listed at once, so that a loss that never happened reads 0.
    pub fn loss(&self, stage: &'static str, reason: &'static str) -> Counter {
        self.counter_with(LOSSES, loss_labels(stage, reason))
    }

    /// Returns the counter of this name, which ends in `_total`.
    pub fn counter(&self, name: &'static str) -> Counter {
        self.counter_with(name, Vec::new())
    }

    /// Returns the counter of this name and these labels; the same one each time.
    pub fn counter_with(&self, name: &'static str, labels: Labels) -> Counter {
        self.lock().counters.entry((name.into(), labels)).or_default().clone()
    }

    /// Has `read` called whenever the value is wanted. It must be quick and must not use the ledger.
    pub fn gauge(&self, name: &'static str, labels: Labels, read: impl Fn() -> f64 + Send + 'static) {
        self.lock().gauges.insert((name, labels), Box::new(read));
    }

    /// Replaces all samples that `source` has published before: for counters that live with one thread or in a map.
    pub fn publish(&self, source: &'static str, samples: Vec<Sample>) {
        self.lock().snapshots.insert(source, samples);
    }

    /// Returns everything, sorted by name.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        let inner = self.lock();
        let counters = inner.counters.iter().map(|((name, labels), counter)| Sample {
            name: name.clone(),
            kind: Kind::Counter,
            labels: labels.clone(),
            value: counter.get() as f64,
        });
        let gauges =
            inner.gauges.iter().map(|((name, labels), read)| Sample::gauge(*name, labels.clone(), read()));
        let mut samples: Vec<Sample> =
            counters.chain(gauges).chain(inner.snapshots.values().flatten().cloned()).collect();
        samples.sort_by(|a, b| a.name.cmp(&b.name));
        samples
    }

    /// Returns the loss table: every reason, also those that never happened.
    #[must_use]
    pub fn losses(&self) -> Vec<Loss> {
        self.samples().into_iter().filter(|sample| sample.name == LOSSES).map(loss_of).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.samples()).finish()
    }
}

fn loss_labels(stage: impl Into<Cow<'static, str>>, reason: impl Into<Cow<'static, str>>) -> Labels {
    vec![("stage", stage.into()), ("reason", reason.into())]
}

fn loss_of(sample: Sample) -> Loss {
    let label = |key| {
        let found = sample.labels.iter().find(|(name, _)| *name == key);
        found.map(|(_, value)| value.to_string()).unwrap_or_default()
    };
    Loss { stage: label("stage"), reason: label("reason"), count: sample.value as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_reason_is_one_counter() {
        let ledger = Ledger::default();
        ledger.loss("queue", "full").add(2);
        ledger.clone().loss("queue", "full").add(3);
        assert_eq!(ledger.losses(), [Loss { stage: "queue".into(), reason: "full".into(), count: 5 }]);
    }

    #[test]
    fn a_source_replaces_its_own_snapshot_only() {
        let ledger = Ledger::default();
        ledger.publish(
            "kernel",
            vec![Sample::loss("kernel", "ring_full", 1), Sample::loss("kernel", "other", 9)],
        );
        ledger.publish("engine", vec![Sample::loss("engine", "resync", 4)]);
        ledger.publish("kernel", vec![Sample::loss("kernel", "ring_full", 7)]);
        let counts: Vec<_> = ledger.losses().into_iter().map(|loss| (loss.reason, loss.count)).collect();
        assert_eq!(counts, [("resync".to_owned(), 4), ("ring_full".to_owned(), 7)]);
    }

    #[test]
    fn gauges_are_read_when_asked() {
        let ledger = Ledger::default();
        let level = Counter::default();
        let read = level.clone();
        ledger.gauge("remora_agent_queue_bytes", Vec::new(), move || read.get() as f64);
        level.add(11);
        assert_eq!(ledger.samples(), [Sample::gauge("remora_agent_queue_bytes", Vec::new(), 11.0)]);
    }
}
