//! The thread that batches, sends, retries and spools.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::Error;
use super::backlog::Backlog;
use super::backoff::Pause;
use super::intake::{Intake, SpanSink};
use super::settings::Settings;
use super::spool::{self, Spool};
use super::transport::{Accepted, Failure, Transport};
use crate::health::{Counter, Ledger};

/// Where losses of this room are booked.
const STAGE: &str = "export";
/// Failures between two lines in the log, once the first has been told.
const FAILURES_PER_LOG_LINE: u32 = 30;

/// The running exporter.
#[derive(Debug)]
pub struct Exporter {
    stop: oneshot::Sender<Instant>,
    thread: JoinHandle<u64>,
}

impl Exporter {
    /// Starts an exporter on a thread of its own. Returns it with the door for spans.
    ///
    /// # Errors
    /// The settings hold a header or certificate that is none, the spool is required and cannot be used, or there is
    /// no thread to be had. That the receiver is away is no error.
    pub fn start(settings: Settings, ledger: &Ledger) -> Result<(Self, SpanSink), Error> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
        let transport = {
            let _inside = runtime.enter();
            Transport::new(&settings)?
        };
        let counters = Counters::new(ledger);
        let spool = open_spool(&settings, &counters)?;
        let intake = Arc::new(Intake::new(
            settings.queue_bytes,
            settings.batch_spans,
            ledger.loss(STAGE, "queue_full"),
            ledger.loss(STAGE, "exporter_ended"),
        ));
        let level = intake.clone();
        ledger.gauge("remora_agent_export_queue_bytes", Vec::new(), move || level.bytes() as f64);
        let spooled = Arc::new(AtomicU64::new(0));
        let level = spooled.clone();
        let read = move || level.load(Ordering::Relaxed) as f64;
        ledger.gauge("remora_agent_export_spooled_spans", Vec::new(), read);
        let (stop, stopped) = oneshot::channel();
        let worker = Worker {
            backlog: Backlog::new(
                spool,
                intake.clone(),
                ledger.counter("remora_agent_export_spool_errors_total"),
            ),
            pause: Pause::new(settings.backoff),
            transport: Arc::new(transport),
            intake: intake.clone(),
            settings,
            counters,
            spooled,
            in_flight: None,
            cut_at: None,
            retry_at: None,
        };
        let body = move || runtime.block_on(worker.run(stopped));
        let thread =
            std::thread::Builder::new().name("remora-export".to_owned()).spawn(body).map_err(Error::Start)?;
        Ok((Self { stop, thread }, SpanSink(intake)))
    }

    /// Sends what waits, for as long as `patience`; keeps the rest in the spool, or counts it as lost. Returns the
    /// spans that are left in the spool.
    pub fn shutdown(self, patience: Duration) -> u64 {
        let _gone = self.stop.send(Instant::now() + patience);
        self.thread.join().unwrap_or_else(|_| {
            tracing::error!("the exporter's thread has panicked");
            0
        })
    }
}

fn open_spool(settings: &Settings, counters: &Counters) -> Result<Option<Spool>, Error> {
    let Some(wanted) = &settings.spool else {
        return Ok(None);
    };
    match Spool::open(&wanted.folder, wanted.max_bytes, counters.spool.clone()) {
        Ok(spool) => {
            if !spool.is_empty() {
                tracing::info!(
                    spans = spool.spans(),
                    bytes = spool.bytes(),
                    "spans of an earlier run wait in the spool"
                );
            }
            Ok(Some(spool))
        }
        Err(source) if wanted.is_required => Err(Error::Spool { folder: wanted.folder.clone(), source }),
        Err(error) => {
            let folder = wanted.folder.display();
            tracing::warn!(%error, %folder, "no spool: spans wait in memory only while the receiver is away");
            Ok(None)
        }
    }
}

#[derive(Debug)]
struct Counters {
    exported: Counter,
    requests: Counter,
    failures: Counter,
    rejected: Counter,
    partly_rejected: Counter,
    unsent: Counter,
    spool: spool::Counters,
}

impl Counters {
    fn new(ledger: &Ledger) -> Self {
        Self {
            exported: ledger.counter("remora_agent_exported_spans_total"),
            requests: ledger.counter("remora_agent_export_requests_total"),
            failures: ledger.counter("remora_agent_export_failures_total"),
            rejected: ledger.loss(STAGE, "rejected"),
            partly_rejected: ledger.loss(STAGE, "partial_success"),
            unsent: ledger.loss(STAGE, "shutdown"),
            spool: spool::Counters {
                full: ledger.loss(STAGE, "spool_full"),
                corrupt: ledger.loss(STAGE, "spool_corrupt_segments"),
            },
        }
    }
}

type Answer = (Result<Accepted, Failure>, u32);

struct Worker {
    settings: Settings,
    transport: Arc<Transport>,
    intake: Arc<Intake>,
    backlog: Backlog,
    pause: Pause,
    counters: Counters,
    /// Spans in the spool, for the metrics.
    spooled: Arc<AtomicU64>,
    /// The oldest batch, on its way. One at a time keeps the order.
    in_flight: Option<Pin<Box<dyn Future<Output = Answer> + Send>>>,
    /// When spans that wait for others go alone.
    cut_at: Option<Instant>,
    /// When the next attempt may be made.
    retry_at: Option<Instant>,
}

impl Worker {
    async fn run(mut self, mut stopped: oneshot::Receiver<Instant>) -> u64 {
        let deadline = loop {
            self.launch();
            self.spooled.store(self.backlog.spooled(), Ordering::Relaxed);
            let far = Instant::now() + Duration::from_secs(3600);
            let intake = self.intake.clone();
            tokio::select! {
                deadline = &mut stopped => break deadline.unwrap_or_else(|_| Instant::now()),
                () = intake.arrived.notified() => self.handle_arrival(),
                () = sleep_until(self.cut_at.unwrap_or(far)), if self.cut_at.is_some() => self.cut(),
                () = sleep_until(self.retry_at.unwrap_or(far)), if self.retry_at.is_some() => self.retry_at = None,
                answer = answer(&mut self.in_flight) => self.handle_answer(answer),
            }
        };
        self.intake.end();
        self.cut();
        self.drain(deadline).await;
        let lost = self.backlog.finish();
        self.counters.unsent.add(lost);
        self.backlog.spooled()
    }

    /// Sends until nothing waits, the receiver fails, or time is up.
    async fn drain(&mut self, deadline: Instant) {
        // One last attempt, whatever the pause says.
        self.retry_at = None;
        while self.retry_at.is_none() {
            self.launch();
            if self.in_flight.is_none() {
                return;
            }
            tokio::select! {
                () = sleep_until(deadline) => return,
                answer = answer(&mut self.in_flight) => self.handle_answer(answer),
            }
        }
    }

    fn handle_arrival(&mut self) {
        let (full, has_begun) = self.intake.take_full();
        if !full.is_empty() {
            self.cut_at = None;
        }
        for draft in full {
            self.backlog.push(draft.finish());
        }
        if has_begun && self.cut_at.is_none() {
            self.cut_at = Some(Instant::now() + self.settings.batch_delay);
        }
    }

    /// Makes batches of all spans that wait.
    fn cut(&mut self) {
        self.cut_at = None;
        for draft in self.intake.take() {
            self.backlog.push(draft.finish());
        }
    }

    /// Sends the oldest batch, if nothing is on its way and the receiver is not left alone.
    fn launch(&mut self) {
        if self.in_flight.is_some() || self.retry_at.is_some() {
            return;
        }
        let Some(batch) = self.backlog.front() else {
            return;
        };
        let (transport, spans) = (self.transport.clone(), batch.spans);
        self.counters.requests.add(1);
        self.in_flight = Some(Box::pin(async move { (transport.send(batch).await, spans) }));
    }

    fn handle_answer(&mut self, (answer, spans): Answer) {
        self.in_flight = None;
        let spans = u64::from(spans);
        match answer {
            Ok(accepted) => {
                self.handle_accepted(&accepted, spans);
                self.handle_reachable();
            }
            Err(Failure::Permanent { reason }) => {
                tracing::error!(%reason, spans, "the receiver refuses spans");
                self.counters.failures.add(1);
                self.counters.rejected.add(spans);
                self.backlog.pop();
                self.handle_reachable();
            }
            Err(Failure::Temporary { reason, retry_after }) => {
                self.counters.failures.add(1);
                if self.pause.failures().is_multiple_of(FAILURES_PER_LOG_LINE) {
                    tracing::warn!(%reason, endpoint = %self.settings.endpoint, "cannot export; spans wait");
                }
                self.retry_at = Some(Instant::now() + self.pause.after_failure(retry_after));
                self.backlog.handle_away();
            }
        }
    }

    fn handle_accepted(&mut self, accepted: &Accepted, spans: u64) {
        let rejected = accepted.rejected_spans.min(spans);
        if rejected > 0 {
            tracing::error!(rejected, reason = %accepted.message, "the receiver refuses some spans");
        } else if !accepted.message.is_empty() {
            tracing::warn!(message = %accepted.message, "the receiver warns");
        }
        self.counters.partly_rejected.add(rejected);
        self.counters.exported.add(spans - rejected);
        self.backlog.pop();
    }

    fn handle_reachable(&mut self) {
        if self.pause.failures() > 0 {
            tracing::info!(endpoint = %self.settings.endpoint, "exporting again");
        }
        self.pause.reset();
        self.backlog.handle_back();
    }
}

/// Waits for the answer to what is on its way; for ever if nothing is.
async fn answer(in_flight: &mut Option<Pin<Box<dyn Future<Output = Answer> + Send>>>) -> Answer {
    match in_flight {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
