//! The thread that attaches, one process at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use super::platform::{Mechanism, Platform};
use super::refusal::Refusal;
use super::target::Target;
use super::{Order, Outcome};
use crate::health::Ledger;

/// Age that a process must have: by then its program has said what it does with signals.
const SETTLED: Duration = Duration::from_secs(3);
/// Pause between two looks at a process that is still starting, and how often it is looked at.
const RETRY: Duration = Duration::from_millis(500);
const MAX_TRIES: u32 = 60;
/// How long all parts together may take to leave when the agent ends.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two looks at what is late when all parts have left.
const TIDY_EVERY: Duration = Duration::from_millis(50);
/// How long one part may take to leave a process that is no longer selected.
const DETACH_WITHIN: Duration = Duration::from_secs(5);

/// Puts parts into processes and takes them out.
pub(super) struct Worker {
    platform: Platform,
    mechanism: Box<dyn Mechanism>,
    outcomes: SyncSender<Outcome>,
    ledger: Ledger,
    /// Processes that are looked at again.
    due: HashMap<u32, Try>,
    attached: HashMap<u32, Target>,
    attached_len: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Debug)]
struct Try {
    at: Instant,
    number: u32,
}

impl Worker {
    pub(super) fn new(
        platform: Platform,
        mechanism: Box<dyn Mechanism>,
        outcomes: SyncSender<Outcome>,
        ledger: &Ledger,
    ) -> Self {
        let attached_len = Arc::new(AtomicU64::new(0));
        let shown = Arc::clone(&attached_len);
        ledger.gauge("remora_agent_attached", vec![("platform", platform.label().into())], move || {
            shown.load(Ordering::Relaxed) as f64
        });
        Self {
            platform,
            mechanism,
            outcomes,
            ledger: ledger.clone(),
            due: HashMap::new(),
            attached: HashMap::new(),
            attached_len,
        }
    }

    /// Follows the orders until nobody can give any; then all parts leave.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        loop {
            match orders.recv_timeout(self.next_wait()) {
                Ok(order) => self.handle(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.try_due();
            self.mechanism.tidy();
        }
        let until = Instant::now() + PATIENCE;
        for target in std::mem::take(&mut self.attached).into_values() {
            self.detach(&target, until);
        }
        while self.mechanism.tidy() && Instant::now() < until {
            std::thread::sleep(TIDY_EVERY);
        }
        self.count();
    }

    fn next_wait(&self) -> Duration {
        let next = self.due.values().map(|due| due.at).min();
        next.map_or(RETRY, |at| at.saturating_duration_since(Instant::now()).min(RETRY))
    }

    fn handle(&mut self, order: Order) {
        match order {
            Order::Attach { tgid } => {
                if !self.attached.contains_key(&tgid) {
                    self.due.entry(tgid).or_insert(Try { at: Instant::now(), number: 0 });
                }
            }
            Order::Detach { tgid } => {
                self.due.remove(&tgid);
                if let Some(target) = self.attached.remove(&tgid) {
                    self.detach(&target, Instant::now() + DETACH_WITHIN);
                }
            }
            Order::Forget { tgid } => {
                self.due.remove(&tgid);
                self.attached.remove(&tgid);
            }
        }
        self.count();
    }

    fn try_due(&mut self) {
        let now = Instant::now();
        let due = self.due.iter().filter(|(_, due)| due.at <= now);
        let Some((&tgid, &Try { number, .. })) = due.min_by_key(|(_, due)| due.at) else { return };
        self.due.remove(&tgid);
        match self.attach(tgid) {
            Ok(target) => {
                tracing::info!(pid = tgid, platform = %self.platform, "a part is attached");
                self.attached.insert(tgid, target);
                self.tell(tgid, true, None);
            }
            Err(refusal) if refusal.is_passing() && number < MAX_TRIES => {
                self.due.insert(tgid, Try { at: now + RETRY, number: number + 1 });
            }
            Err(Refusal::Gone) => {}
            Err(refusal) => {
                self.refuse(tgid, "attached", &refusal);
                self.tell(tgid, false, Some(refusal.to_string()));
            }
        }
        self.count();
    }

    fn attach(&mut self, tgid: u32) -> Result<Target, Refusal> {
        let target = Target::open(tgid)?;
        if target.age() < SETTLED {
            return Err(Refusal::Early);
        }
        let attached = self.mechanism.attach(&target);
        attached.map_err(|refusal| if target.is_alive() { refusal } else { Refusal::Gone })?;
        Ok(target)
    }

    fn detach(&mut self, target: &Target, until: Instant) {
        let tgid = target.tgid;
        let refusal = match self.mechanism.detach(target, until) {
            Ok(()) => {
                tracing::info!(pid = tgid, platform = %self.platform, "the part is gone");
                None
            }
            Err(_) if !target.is_alive() => None,
            Err(refusal) => {
                self.refuse(tgid, "detached", &refusal);
                Some(refusal.to_string())
            }
        };
        self.tell(tgid, false, refusal);
    }

    fn tell(&self, tgid: u32, is_attached: bool, refusal: Option<String>) {
        // Nobody listens any more at the end.
        let _ = self.outcomes.try_send(Outcome { tgid, is_attached, refusal });
    }

    fn refuse(&self, tgid: u32, what: &str, refusal: &Refusal) {
        tracing::warn!(pid = tgid, platform = %self.platform, "no part is {what}: {refusal}");
        let labels = vec![("platform", self.platform.label().into()), ("reason", refusal.label().into())];
        self.ledger.counter_with("remora_agent_attach_refused_total", labels).add(1);
    }

    fn count(&self) {
        self.attached_len.store(self.attached.len() as u64, Ordering::Relaxed);
    }
}
