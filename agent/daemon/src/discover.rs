//! Which processes there are, who they are, and which of them are observed.
//!
//! Takes [`Notice`]s from the kernel side, keeps the shared table of [`Processes`], and answers with [`Verdict`]s.
//! It never sees a span or a socket's bytes. Its one hard problem is that processes vanish while being looked at: a
//! notice carries enough to name them all the same.

mod bounded;
mod container;
mod environment;
mod glob;
mod go;
mod identity;
mod inspect;
mod libraries;
mod notice;
mod probes;
mod process;
mod python;
mod root;
mod selection;
mod service;
mod sockets;
mod table;
mod tokio;
mod waiting;
mod worker;

use std::path::PathBuf;

pub use container::{Membership, cgroup2_mount, host_cgroup2_mount};
pub use environment::Environment;
pub use identity::FileIdentity;
pub use notice::{Notice, Verdict};
pub use probes::{Probe, Purpose, Symbols};
pub use process::{ContextOffsets, GoOffsets, Instance, NameSource, Process, Runtime, TokioOffsets};
pub use selection::{Decision, Error, KEYS, Rule, Selection};
pub use sockets::{socket_inodes, tcp_sockets};
pub use table::{LINGER, MAX_PROCESSES, Processes};
pub use worker::{Discovery, ProbeAttacher, ProbeUser};

/// Whose functions give plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsFunctions {
    /// OpenSSL's, BoringSSL's or GnuTLS'.
    OpenSsl,
    /// Those of `crypto/tls`.
    Go,
    /// Those of rustls.
    Rustls,
}

/// Returns the files that a process executes and that hold functions of TLS which can be probed, by their paths in its root.
#[must_use]
pub fn tls_files(process: &Process) -> Vec<(PathBuf, TlsFunctions)> {
    let mut probes = libraries::Libraries::default().of(process.tgid);
    probes.extend(probes::Probes::default().of(process.tgid, &process.runtime));
    let file = |probe: &Probe| {
        let functions = match probe.purpose {
            Purpose::TlsReturned => TlsFunctions::OpenSsl,
            Purpose::TlsGoReturned => TlsFunctions::Go,
            Purpose::RustlsDecrypted => TlsFunctions::Rustls,
            _ => return None,
        };
        Some((std::fs::read_link(&probe.path).ok()?, functions))
    };
    let mut files: Vec<_> = probes.iter().filter_map(file).collect();
    files.sort_unstable();
    files.dedup();
    files
}

/// Returns what `/proc` says of one process and what `selection` says of it; none if there is no such process.
#[must_use]
pub fn look_at(tgid: u32, selection: &Selection) -> Option<(Process, Decision)> {
    let process = inspect::Inspector::new().inspect(tgid)?;
    let decision = worker::decide(selection, &process);
    Some((process, decision))
}
