//! Node: the part gets in through the inspector, which `SIGUSR1` opens, and which the part closes again.
//!
//! Node says so on its standard error: that a debugger listens, attached, and is ending. Nothing else of the process
//! changes, and no port stays open. `part.js` says what the part does.

mod error;
mod inspector;
mod libuv;
mod namespace;
mod suitable;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use self::inspector::Inspector;
use super::own::OwnConnections;
use super::platform::Mechanism;
use super::refusal::Refusal;
use super::target::Target;
use crate::discover::{Symbols, socket_inodes, tcp_sockets};

pub(super) use error::Error;

/// The part: a function of `require` and an action.
const PART: &str = include_str!("node/part.js");
/// Closes the inspector: a function of `require`, the descriptor of the agent's connection, and what that is.
const CLOSE: &str = include_str!("node/close.js");
/// How long each step may take in a process that is busy.
const STEP_WITHIN: Duration = Duration::from_secs(5);
/// Pause between two looks at the process.
const PAUSE: Duration = Duration::from_millis(20);

/// The way into Node.
pub(super) struct Node {
    own: OwnConnections,
    symbols: Symbols,
}

impl Mechanism for Node {
    fn attach(&mut self, target: &Target) -> Result<(), Refusal> {
        self.visit(target, Action::Attach, Instant::now() + 3 * STEP_WITHIN)
    }

    fn detach(&mut self, target: &Target, until: Instant) -> Result<(), Refusal> {
        self.visit(target, Action::Detach, until)
    }
}

impl Node {
    /// Returns a way that notes its own connections.
    pub(super) fn new(own: OwnConnections) -> Self {
        Self { own, symbols: Symbols::default() }
    }

    /// Returns why a process is left alone, if there is a reason.
    pub(super) fn check(&mut self, target: &Target) -> Result<(), Refusal> {
        Ok(suitable::check(target.tgid, &mut self.symbols)?)
    }

    /// Opens the inspector, has the part act, and sees that the inspector is closed again.
    fn visit(&mut self, target: &Target, action: Action, until: Instant) -> Result<(), Refusal> {
        self.check(target)?;
        let tgid = target.tgid;
        let step = || until.min(Instant::now() + STEP_WITHIN);
        let before = listening(tgid);
        target.signal(Signal::USR1)?;
        let is_new = |address: &SocketAddr| !before.contains(address);
        let opened = wait(step(), || listening(tgid).into_iter().find(is_new));
        let address = opened.ok_or(Error::NotOpened)?;
        let note = |local| self.own.note(tgid, local);
        let talked = namespace::within(tgid, || talk(tgid, address, action, &note, step()));
        let is_closed = || (!listening(tgid).contains(&address)).then_some(());
        let closed = wait(Instant::now() + STEP_WITHIN, is_closed);
        self.own.forget(tgid);
        closed.ok_or(Error::LeftOpen { address })?;
        Ok(talked??)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Attach,
    Detach,
}

impl Action {
    fn expression(self) -> String {
        let name = match self {
            Action::Attach => "attach",
            Action::Detach => "detach",
        };
        format!("{}(require, \"{name}\")", PART.trim_end())
    }
}

/// Has the part act, and the inspector close itself once this connection is gone.
fn talk(
    tgid: u32,
    address: SocketAddr,
    action: Action,
    note: &impl Fn(SocketAddr),
    until: Instant,
) -> Result<(), Error> {
    let mut inspector = Inspector::connect(address, note, until)?;
    let acted = inspector.evaluate(&action.expression(), until);
    if acted.is_err() && action == Action::Attach {
        // It may act yet, when nobody counts on it any more.
        inspector.queue(&Action::Detach.expression())?;
    }
    let (descriptor, socket) = far_end(tgid, address, inspector.local()).unwrap_or((u32::MAX, String::new()));
    inspector.queue(&format!("{}(require, {descriptor}, \"{socket}\")", CLOSE.trim_end()))?;
    inspector.leave(Instant::now() + STEP_WITHIN);
    acted
}

/// Returns where the process listens for TCP connections.
fn listening(tgid: u32) -> Vec<SocketAddr> {
    let inodes = socket_inodes(tgid);
    let sockets = tcp_sockets(tgid).into_iter();
    let own = sockets
        .filter(|socket| socket.state == procfs::net::TcpState::Listen && inodes.contains(&socket.inode));
    own.map(|socket| socket.local_address).collect()
}

/// Returns the process's end of a connection from here: its descriptor, and what `/proc/PID/fd` calls it.
fn far_end(tgid: u32, address: SocketAddr, local: SocketAddr) -> Option<(u32, String)> {
    let mut sockets = tcp_sockets(tgid).into_iter();
    let end = sockets.find(|end| end.local_address == address && end.remote_address == local)?;
    let socket = format!("socket:[{}]", end.inode);
    let entries = std::fs::read_dir(format!("/proc/{tgid}/fd")).ok()?;
    let is_end = |entry: &std::fs::DirEntry| {
        std::fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == socket.as_str())
    };
    let entry = entries.flatten().find(is_end)?;
    Some((entry.file_name().to_str()?.parse().ok()?, socket))
}

/// Returns what `look` finds, if it finds it in time.
fn wait<T>(until: Instant, look: impl Fn() -> Option<T>) -> Option<T> {
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= until {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
}
