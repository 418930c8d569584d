//! What a process has open.

use std::{fmt, fs};

use procfs::net::TcpState;
use serde::Serialize;

/// Counts of open files that matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Sockets {
    /// Local ports that it listens on.
    pub listening: Vec<u16>,
    /// Connected TCP sockets.
    pub connected: usize,
    /// Other sockets: Unix, UDP, netlink.
    pub other: usize,
    /// io_uring instances.
    pub rings: usize,
}

impl Sockets {
    /// Returns what a process has open; nothing where `/proc` does not say.
    pub(super) fn of(tgid: u32) -> Self {
        let links: Vec<String> = fs::read_dir(format!("/proc/{tgid}/fd"))
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(fs::read_link(entry.ok()?.path()).ok()?.to_string_lossy().into_owned()))
            .collect();
        let inode = |link: &String| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok();
        let open: Vec<u64> = links.iter().filter_map(inode).collect();
        let mut sockets = Self {
            rings: links.iter().filter(|link| link.contains("[io_uring]")).count(),
            ..Self::default()
        };
        let mut tcp = 0;
        if let Some(process) =
            i32::try_from(tgid).ok().and_then(|pid| procfs::process::Process::new(pid).ok())
        {
            let entries =
                process.tcp().unwrap_or_default().into_iter().chain(process.tcp6().unwrap_or_default());
            for entry in entries.filter(|entry| open.contains(&entry.inode)) {
                tcp += 1;
                match entry.state {
                    TcpState::Listen => sockets.listening.push(entry.local_address.port()),
                    _ => sockets.connected += 1,
                }
            }
        }
        sockets.listening.sort_unstable();
        sockets.listening.dedup();
        sockets.other = open.len().saturating_sub(tcp);
        sockets
    }
}

impl fmt::Display for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports: Vec<String> = self.listening.iter().map(u16::to_string).collect();
        let ports = if ports.is_empty() { "none".to_owned() } else { ports.join(", ") };
        write!(
            f,
            "listening on {ports}; {} connected, {} other, {} io_uring",
            self.connected, self.other, self.rings
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let sockets = Sockets::of(std::process::id());
        assert!(sockets.listening.contains(&listener.local_addr().unwrap().port()));
    }
}
