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
    /// What passed, in order; no bytes where a side sends no more.
    pub pieces: Vec<(Side, Vec<u8>)>,
}

impl Session {
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
    let mut sessions = Vec::new();
    let folders = fs::read_dir(folder()).expect("fixtures").map(|entry| entry.expect("entry").path());
    for folder in folders.filter(|path| path.is_dir()) {
        let protocol = folder.file_name().expect("name").to_string_lossy().into_owned();
        let entries = fs::read_dir(&folder).expect("fixtures");
        for path in entries.map(|entry| entry.expect("entry").path()) {
            if path.extension().is_some_and(|extension| extension == "session") {
                let name = path.file_stem().expect("name").to_string_lossy();
                let pieces = parse(&fs::read_to_string(&path).expect("session"));
                let name = format!("{protocol}/{name}");
                sessions.push(Session { name, protocol: protocol.clone(), pieces });
            }
        }
    }
    sessions.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(sessions.len() > 30, "fixtures are missing");
    sessions
}

fn parse(text: &str) -> Vec<(Side, Vec<u8>)> {
    text.lines().filter(|line| !line.starts_with('#')).map(piece).collect()
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
