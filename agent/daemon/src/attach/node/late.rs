//! Inspectors that were asked for and have not opened: a process that was busy or stopped opens its own later, and it
//! must not stay open.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::listening;
use crate::attach::target::Target;

/// How long an inspector is expected. A process that is stopped for longer keeps it open.
const EXPECTED_FOR: Duration = Duration::from_secs(3600);
/// Processes that are watched. For one more, the oldest is given up.
const MAX_EXPECTED: usize = 1024;

/// The processes that owe an inspector.
#[derive(Debug, Default)]
pub(super) struct LateInspectors(Vec<Expected>);

#[derive(Debug)]
struct Expected {
    target: Target,
    /// Where the process listens that is no inspector: it did so before it was asked, or has said so.
    others: Vec<SocketAddr>,
    until: Instant,
}

impl LateInspectors {
    /// Notes that a process was asked to open its inspector, and listens here for others.
    pub(super) fn expect(&mut self, tgid: u32, others: Vec<SocketAddr>) {
        let Ok(target) = Target::open(tgid) else { return };
        if self.0.len() >= MAX_EXPECTED {
            self.0.remove(0);
        }
        self.0.push(Expected { target, others, until: Instant::now() + EXPECTED_FOR });
    }

    /// Returns where the processes listen since, which may be their inspectors.
    pub(super) fn opened(&mut self) -> Vec<(u32, SocketAddr)> {
        let mut opened = Vec::new();
        self.0.retain_mut(|expected| {
            let tgid = expected.target.tgid;
            if Instant::now() >= expected.until || !expected.target.is_alive() {
                return false;
            }
            let present = listening(tgid);
            expected.others.retain(|address| present.contains(address));
            for address in present {
                if !expected.others.contains(&address) && !opened.contains(&(tgid, address)) {
                    opened.push((tgid, address));
                }
            }
            true
        });
        opened
    }

    /// The inspector of a process was found.
    pub(super) fn found(&mut self, tgid: u32) {
        self.0.retain(|expected| expected.target.tgid != tgid);
    }

    /// What listens there is no inspector.
    pub(super) fn note_other(&mut self, tgid: u32, address: SocketAddr) {
        let meant = self.0.iter_mut().filter(|expected| expected.target.tgid == tgid);
        meant.for_each(|expected| expected.others.push(address));
    }

    /// Returns whether none is expected.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn an_inspector_is_expected_until_it_is_found() {
        let tgid = std::process::id();
        let listen = |address: &str| TcpListener::bind(address).unwrap();
        let place = |listener: &TcpListener| (tgid, listener.local_addr().unwrap());
        let before = listen("127.0.0.1:0");
        let mut late = LateInspectors::default();
        late.expect(tgid, vec![before.local_addr().unwrap()]);
        let (application, everywhere) = (listen("127.0.0.1:0"), listen("0.0.0.0:0"));
        let opened = late.opened();
        assert!(opened.contains(&place(&application)));
        assert!(!opened.contains(&place(&before)) && !opened.contains(&place(&everywhere)), "{opened:?}");
        let (_, address) = place(&application);
        late.note_other(tgid, address);
        let inspector = listen("127.0.0.1:0");
        let opened = late.opened();
        assert!(opened.contains(&place(&inspector)) && !opened.contains(&place(&application)), "{opened:?}");
        late.found(tgid);
        assert!(late.is_empty() && late.opened().is_empty());
    }
}
