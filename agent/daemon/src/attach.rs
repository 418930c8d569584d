//! Parts inside processes, where a runtime keeps to itself who works for whom.
//!
//! Takes wishes (a process and its platform), gives [`Outcome`]s: a part is in, or is gone again. It knows nothing of
//! spans or sockets' bytes. Its one hard problem is to do nothing to a process that is not certainly harmless: in doubt
//! it refuses, and says why.

mod jvm;
mod node;
mod own;
mod platform;
mod refusal;
mod target;
mod worker;

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

pub use platform::{Platform, Platforms, UnknownPlatform};

use crate::health::{Counter, Ledger};
use node::Node;
use own::OwnConnections;
use platform::Mechanism;
use target::Target;
use worker::Worker;

/// Orders and outcomes under way, for each platform. One more order is refused and counted.
const CHANNEL_LENGTH: usize = 4096;

/// What is wished of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// The part is to be put in, as soon as that is safe.
    Attach { tgid: u32 },
    /// The part is to be taken out.
    Detach { tgid: u32 },
    /// The process is gone, and the part with it.
    Forget { tgid: u32 },
}

/// What became of a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The process.
    pub tgid: u32,
    /// Whether the part is in and at work.
    pub is_attached: bool,
    /// Why not all was done, if so.
    pub refusal: Option<String>,
}

/// Returns why the part for Node cannot be put into a process, as far as that can be told without doing it.
#[must_use]
pub fn obstacle_in_node(tgid: u32) -> Option<String> {
    let checked =
        Target::open(tgid).and_then(|target| Node::new(OwnConnections::default(), false).check(&target));
    checked.err().map(|refusal| refusal.to_string())
}

/// The threads that attach, one for each platform that was asked for.
#[derive(Debug)]
pub struct Attacher {
    lanes: Vec<Lane>,
    own: OwnConnections,
    refused: Counter,
}

#[derive(Debug)]
struct Lane {
    platform: Platform,
    /// None once the parts are to leave.
    orders: Option<SyncSender<Order>>,
    outcomes: Receiver<Outcome>,
    thread: JoinHandle<()>,
}

impl Attacher {
    /// Returns an attacher for these platforms; it does nothing where there is none.
    #[must_use]
    pub fn start(platforms: &Platforms, ledger: &Ledger) -> Self {
        let own = OwnConnections::default();
        let start = |platform: Platform| Lane::start(platform, platform.mechanism(&own, platforms), ledger);
        let lanes = platforms.iter().filter_map(start).collect();
        Self { lanes, own, refused: ledger.loss("attach", "order_queue_full") }
    }

    /// Wishes that the part of `platform` is in a process. Returns whether parts of that platform are attached at all.
    pub fn attach(&self, tgid: u32, platform: Platform) -> bool {
        let lane = self.lanes.iter().find(|lane| lane.platform == platform);
        lane.inspect(|lane| self.send(lane, Order::Attach { tgid })).is_some()
    }

    /// Wishes that no part is in a process.
    pub fn detach(&self, tgid: u32, platform: Platform) {
        self.lanes
            .iter()
            .filter(|lane| lane.platform == platform)
            .for_each(|lane| self.send(lane, Order::Detach { tgid }));
    }

    /// Tells that a process is gone or runs another program.
    pub fn forget(&self, tgid: u32, platform: Platform) {
        self.lanes
            .iter()
            .filter(|lane| lane.platform == platform)
            .for_each(|lane| self.send(lane, Order::Forget { tgid }));
    }

    /// Returns what has become of a wish, if there is news.
    pub fn poll_outcome(&self) -> Option<Outcome> {
        self.lanes.iter().find_map(|lane| lane.outcomes.try_recv().ok())
    }

    /// Returns whether a process talks to this agent, which attaches.
    #[must_use]
    pub fn is_own(&self, tgid: u32, peer: SocketAddr) -> bool {
        !self.lanes.is_empty() && self.own.contains(tgid, peer)
    }

    /// Wishes that all parts leave. It is done when [`is_finished`](Self::is_finished) says so.
    pub fn leave(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.orders = None);
    }

    /// Returns whether nothing is left to do after [`leave`](Self::leave): a bounded time later.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.lanes.iter().all(|lane| lane.thread.is_finished())
    }

    fn send(&self, lane: &Lane, order: Order) {
        let Some(orders) = &lane.orders else { return };
        if let Err(TrySendError::Full(_)) = orders.try_send(order) {
            self.refused.add(1);
        }
    }
}

impl Lane {
    fn start(platform: Platform, mechanism: Box<dyn Mechanism>, ledger: &Ledger) -> Option<Self> {
        let (orders, orders_rx) = sync_channel(CHANNEL_LENGTH);
        let (outcomes_tx, outcomes) = sync_channel(CHANNEL_LENGTH);
        let worker = Worker::new(platform, mechanism, outcomes_tx, ledger);
        let builder = std::thread::Builder::new().name(format!("remora-{platform}"));
        match builder.spawn(move || worker.run(&orders_rx)) {
            Ok(thread) => Some(Self { platform, orders: Some(orders), outcomes, thread }),
            Err(error) => {
                tracing::error!("no parts are attached to {platform}: start a thread: {error}");
                None
            }
        }
    }
}
