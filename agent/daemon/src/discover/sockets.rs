//! Which process has which TCP port, asked of `/proc` when it matters.

use std::collections::{HashMap, HashSet};
use std::fs;

use procfs::net::{TcpNetEntry, TcpState};

/// Returns the TCP sockets that a process sees in its network namespace; none where `/proc` does not say.
#[must_use]
pub fn tcp_sockets(tgid: u32) -> Vec<TcpNetEntry> {
    let Some(process) = i32::try_from(tgid).ok().and_then(|pid| procfs::process::Process::new(pid).ok())
    else {
        return Vec::new();
    };
    let (v4, v6) = (process.tcp().unwrap_or_default(), process.tcp6().unwrap_or_default());
    v4.into_iter().chain(v6).collect()
}

/// Returns the inode numbers of the sockets that a process has open.
#[must_use]
pub fn socket_inodes(tgid: u32) -> HashSet<u64> {
    let Ok(entries) = fs::read_dir(format!("/proc/{tgid}/fd")) else {
        return HashSet::new();
    };
    let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect()
}

/// Socket tables of one moment, each network namespace read once.
#[derive(Debug, Default)]
pub(super) struct Snapshot(HashMap<String, Vec<(u64, u16, bool)>>);

impl Snapshot {
    /// Returns whether the process has a TCP socket with this local port; if `listening`, only listening ones count.
    pub(super) fn has_port(&mut self, tgid: u32, port: u16, listening: bool) -> bool {
        let Ok(namespace) = fs::read_link(format!("/proc/{tgid}/ns/net")) else {
            return false;
        };
        let entries = self.0.entry(namespace.to_string_lossy().into_owned()).or_insert_with(|| {
            let entry = |entry: TcpNetEntry| {
                (entry.inode, entry.local_address.port(), entry.state == TcpState::Listen)
            };
            tcp_sockets(tgid).into_iter().map(entry).collect()
        });
        let wanted =
            |&&(_, local, is_listening): &&(u64, u16, bool)| local == port && (is_listening || !listening);
        let mut candidates = entries.iter().filter(wanted).peekable();
        if candidates.peek().is_none() {
            return false;
        }
        let open = socket_inodes(tgid);
        candidates.any(|(inode, _, _)| open.contains(inode))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn listening_and_connected_ports_of_this_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (listening, connected) =
            (listener.local_addr().unwrap().port(), stream.local_addr().unwrap().port());
        let me = std::process::id();
        let mut snapshot = Snapshot::default();
        assert!(snapshot.has_port(me, listening, true));
        assert!(snapshot.has_port(me, connected, false));
        assert!(!snapshot.has_port(me, connected, true));
        assert!(!snapshot.has_port(std::os::unix::process::parent_id(), listening, true));
    }
}
