//! Node: the part gets in through the inspector, which `SIGUSR1` opens, and which the part closes again.
//!
//! Node says so on its standard error: that a debugger listens, attached, and is ending. Nothing else of the process
//! changes, and no port stays open. `part.js` says what the part does.

mod error;
mod inspector;
mod late;
mod libuv;
mod namespace;
mod stopped;
mod suitable;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use self::inspector::Inspector;
use self::late::LateInspectors;
use super::own::OwnConnections;
use super::platform::Mechanism;
use super::refusal::Refusal;
use super::target::Target;
use crate::discover::{Symbols, socket_inodes, tcp_sockets};

pub(super) use error::Error;

/// The part: a function of `require` and an action.
const PART: &str = include_str!("node/part.js");
/// Closes the inspector: a function of `require`, the descriptor of the agent's connection if it is known, and what that
/// is.
const CLOSE: &str = include_str!("node/close.js");
/// How long each step may take in a process that is busy.
const STEP_WITHIN: Duration = Duration::from_secs(5);
/// How long the process may take to hear the signal before it is sent once more.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long the end of a connection is looked for: a list that the kernel writes piece by piece may lack one.
const FOUND_WITHIN: Duration = Duration::from_millis(500);
/// How long it may take until a connection that has ended is known to have been the agent's.
const SEEN_WITHIN: Duration = Duration::from_millis(100);
/// Pause between two looks at the process.
const PAUSE: Duration = Duration::from_millis(20);

/// The way into Node.
pub(super) struct Node {
    own: OwnConnections,
    reaches_workers: bool,
    symbols: Symbols,
    late: LateInspectors,
}

impl Mechanism for Node {
    fn attach(&mut self, target: &Target) -> Result<(), Refusal> {
        let action = if self.reaches_workers { Action::AttachWithWorkers } else { Action::Attach };
        self.visit(target, action, Instant::now() + 3 * STEP_WITHIN)
    }

    fn detach(&mut self, target: &Target, until: Instant) -> Result<(), Refusal> {
        self.visit(target, Action::Detach, until)
    }

    fn tidy(&mut self) -> bool {
        for (tgid, address) in self.late.opened() {
            // The part may be in, and nobody counts on it any more.
            let told = self.converse(tgid, address, Action::Detach, Instant::now() + STEP_WITHIN);
            if is_no_inspector(&told) {
                self.late.note_other(tgid, address);
                continue;
            }
            self.late.found(tgid);
            if let Err(refusal) = told {
                tracing::warn!(pid = tgid, "its inspector opened late: {refusal}");
            }
        }
        !self.late.is_empty()
    }
}

impl Node {
    /// Returns a way that notes its own connections, and reaches for worker threads or does not.
    pub(super) fn new(own: OwnConnections, reaches_workers: bool) -> Self {
        Self { own, reaches_workers, symbols: Symbols::default(), late: LateInspectors::default() }
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
        let mut others = listening(tgid);
        let Some(address) = self.open(target, &others, step())? else {
            // The signal cannot be taken back.
            self.late.expect(tgid, others);
            return Err(Error::NotOpened.into());
        };
        let told = self.converse(tgid, address, action, step());
        if is_no_inspector(&told) {
            others.push(address);
            self.late.expect(tgid, others);
        }
        told
    }

    /// Asks the process to open its inspector. Returns where it listens then, if it does in time.
    fn open(
        &mut self,
        target: &Target,
        others: &[SocketAddr],
        until: Instant,
    ) -> Result<Option<SocketAddr>, Refusal> {
        let new = || listening(target.tgid).into_iter().find(|address| !others.contains(address));
        loop {
            target.signal(Signal::USR1)?;
            let opened = wait(until.min(Instant::now() + ASK_AGAIN_AFTER), new);
            if opened.is_some() || Instant::now() >= until {
                return Ok(opened);
            }
            // An inspector that was being closed when the signal came has not heard it.
            if self.check(target).is_err() {
                return Ok(wait(until, new));
            }
        }
    }

    /// Has the part act by an open inspector, and sees that it is closed again.
    fn converse(
        &self,
        tgid: u32,
        address: SocketAddr,
        action: Action,
        until: Instant,
    ) -> Result<(), Refusal> {
        let note = |local| self.own.note(tgid, local);
        let talked = namespace::within(tgid, || talk(tgid, address, action, &note, until));
        if let Ok(Err(error @ Error::NoInspector { .. })) = talked {
            std::thread::sleep(SEEN_WITHIN);
            self.own.forget(tgid);
            return Err(error.into());
        }
        let is_open = || listening(tgid).contains(&address);
        let is_closed = || {
            if is_open() {
                return None;
            }
            std::thread::sleep(PAUSE);
            (!is_open()).then_some(())
        };
        let closed = wait(Instant::now() + STEP_WITHIN, is_closed);
        self.own.forget(tgid);
        closed.ok_or(Error::LeftOpen { address })?;
        Ok(talked??)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Attach,
    AttachWithWorkers,
    Detach,
}

impl Action {
    fn expression(self) -> String {
        let name = match self {
            Action::Attach => "attach",
            Action::AttachWithWorkers => "attach with workers",
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
    if acted.is_err() && action != Action::Detach {
        // It may act yet, when nobody counts on it any more.
        inspector.queue(&Action::Detach.expression())?;
    }
    let local = inspector.local();
    let end = wait(until.min(Instant::now() + FOUND_WITHIN), || far_end(tgid, address, local));
    let (descriptor, socket) =
        end.map_or(("null".to_owned(), String::new()), |(fd, name)| (fd.to_string(), name));
    inspector.queue(&format!("{}(require, {descriptor}, \"{socket}\")", CLOSE.trim_end()))?;
    inspector.leave(Instant::now() + STEP_WITHIN);
    let said = acted?;
    if action == Action::AttachWithWorkers {
        tell_of_workers(tgid, &said);
    }
    Ok(())
}

/// Tells which worker threads the part has reached, as it says itself.
fn tell_of_workers(tgid: u32, said: &Value) {
    let number = |key| said.get(key).and_then(Value::as_u64).unwrap_or(0);
    let (workers, refused) = (number("workers"), number("refused"));
    let reason = said.get("reason").and_then(Value::as_str).unwrap_or_default();
    if refused > 0 || !reason.is_empty() {
        tracing::warn!(pid = tgid, workers, refused, reason, "no part is in some worker threads");
    } else if said.get("isVisited") == Some(&Value::Bool(false)) {
        tracing::info!(pid = tgid, "its threads are busy or change: worker threads get the part later");
    } else if workers > 0 {
        tracing::info!(pid = tgid, workers, "a part is in its worker threads");
    }
}

fn is_no_inspector(told: &Result<(), Refusal>) -> bool {
    matches!(told, Err(Refusal::Node(Error::NoInspector { .. })))
}

/// Returns where the process listens for TCP connections from its own host, as an inspector does that a signal opens.
fn listening(tgid: u32) -> Vec<SocketAddr> {
    let inodes = socket_inodes(tgid);
    let sockets = tcp_sockets(tgid).into_iter();
    let own = sockets
        .filter(|socket| socket.state == procfs::net::TcpState::Listen && inodes.contains(&socket.inode));
    own.map(|socket| socket.local_address).filter(|address| address.ip().is_loopback()).collect()
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

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_else_listens_is_told_from_an_inspector() {
        let application = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = application.local_addr().unwrap();
        let serve = || {
            let (mut stream, _) = application.accept().unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).unwrap() > 0);
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap();
        };
        let node = Node::new(OwnConnections::default(), false);
        let until = Instant::now() + STEP_WITHIN;
        let told = std::thread::scope(|scope| {
            scope.spawn(serve);
            node.converse(std::process::id(), address, Action::Detach, until)
        });
        assert!(is_no_inspector(&told), "{told:?}");
    }
}
