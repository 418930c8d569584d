//! Recorded sessions, as `cargo xtask record` writes them.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};

use remora_engine::protocol::Side;

/// A recorded connection.
#[derive(Clone, Debug)]
pub struct Session {
    /// Folder and name, such as `redis/ioredis`.
    pub name: String,
    /// Name of the protocol: the folder.
    pub protocol: String,
    /// Name and version of who asked and of who answered, as the file says.
    pub client: Option<String>,
    pub server: Option<String>,
    /// What passed, in order; no bytes where a side sends no more.
    pub pieces: Vec<(Side, Vec<u8>)>,
}

impl Session {
    /// Returns whether a protocol is that of the session, or the one that it goes on with.
    pub fn speaks(&self, protocol: &str) -> bool {
        let is_upgraded = || self.pieces.iter().any(|(_, bytes)| bytes.starts_with(b"PRI * HTTP/2.0"));
        protocol == self.protocol || (protocol == "http2" && self.protocol == "http1" && is_upgraded())
    }

    /// Returns all bytes of a side.
    pub fn bytes(&self, side: Side) -> Vec<u8> {
        self.pieces.iter().filter(|(from, _)| *from == side).flat_map(|(_, bytes)| bytes.clone()).collect()
    }
}

/// Returns the folder of the recorded sessions.
pub fn folder() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [here.join("fixtures"), here.join("../fixtures")];
    folders.into_iter().find(|folder| folder.is_dir()).expect("fixtures")
}

/// Returns all recorded sessions, ordered by name.
pub fn all() -> Vec<Session> {
    let mut sessions: Vec<Session> = protocols().iter().flat_map(|protocol| of(protocol)).collect();
    sessions.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(sessions.len() > 30, "fixtures are missing");
    sessions
}

/// Returns the protocols of which there are recorded sessions: the names of the folders with some.
fn protocols() -> Vec<String> {
    let entries = fs::read_dir(folder()).expect("fixtures").map(|entry| entry.expect("entry"));
    let folders = entries.filter(|entry| entry.path().is_dir());
    folders.map(|entry| entry.file_name().into_string().expect("a name in UTF-8")).collect()
}

fn of(protocol: &str) -> Vec<Session> {
    let entries = fs::read_dir(folder().join(protocol)).expect("fixtures");
    let paths = entries.map(|entry| entry.expect("entry").path());
    let is_session = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "session");
    paths.filter(is_session).map(|path| read(protocol, &path)).collect()
}

fn read(protocol: &str, path: &Path) -> Session {
    let text = fs::read_to_string(path).expect("session");
    let remark = |label: &str| {
        let mut lines = text.lines().take_while(|line| line.starts_with('#'));
        lines.find_map(|line| line.strip_prefix(label)).map(str::to_owned)
    };
    Session {
        name: format!("{protocol}/{}", path.file_stem().expect("name").to_string_lossy()),
        protocol: protocol.to_owned(),
        client: remark("# client "),
        server: remark("# server "),
        pieces: text.lines().filter(|line| !line.starts_with('#')).map(piece).collect(),
    }
}

fn piece(line: &str) -> (Side, Vec<u8>) {
    let (mark, rest) = line.split_once(' ').expect("a mark");
    let side = if mark.starts_with('>') { Side::Client } else { Side::Server };
    let bytes = rest.split_once(' ').map_or(Vec::new(), |(_, bytes)| unescape(bytes));
    assert_eq!(bytes.is_empty(), mark.ends_with('|'), "{line}");
    (side, bytes)
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next().expect("an escape") {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    let digits = [rest.next().expect("a digit"), rest.next().expect("a digit")];
                    u8::from_str_radix(str::from_utf8(&digits).expect("ascii"), 16).expect("hexadecimal")
                }
                other => other,
            },
            other => other,
        });
    }
    bytes
}
