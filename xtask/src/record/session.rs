//! The files: one connection each, as text.
//!
//! Lines that begin with `#` are remarks: `# client NAME VERSION` and `# server NAME VERSION` say who spoke. Every other line is a piece that passed: `>` from the client or `<` from the
//! server, the microseconds since the connection began, and the bytes, escaped as in a Rust byte string. `>|` and `<|`
//! say that this side sends no more.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Longest run of bytes on one line.
const MAX_LINE_BYTES: usize = 4096;

/// One connection.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) pieces: Vec<Piece>,
}

/// Something that passed.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) is_from_client: bool,
    /// Microseconds since the connection began.
    pub(super) at_us: u128,
    /// Empty where the side sends no more.
    pub(super) bytes: Vec<u8>,
}

impl Session {
    /// Returns whether no byte passed.
    fn is_empty(&self) -> bool {
        self.pieces.iter().all(|piece| piece.bytes.is_empty())
    }

    fn text(&self, remarks: &str) -> String {
        let mut text = format!("# cargo xtask record, format 1\n{remarks}");
        for piece in &self.pieces {
            let side = if piece.is_from_client { '>' } else { '<' };
            if piece.bytes.is_empty() {
                let _ = writeln!(text, "{side}| {}", piece.at_us);
            }
            for part in piece.bytes.chunks(MAX_LINE_BYTES) {
                let _ = writeln!(text, "{side} {} {}", piece.at_us, part.escape_ascii());
            }
        }
        text
    }
}

/// Writes `PREFIX.session`, or `PREFIX-1.session` and so on where there are several, in place of what was there.
/// `remarks` are lines for the head of each.
pub(super) fn write_all(prefix: &Path, remarks: &str, sessions: &[Session]) -> Result<()> {
    let sessions: Vec<&Session> = sessions.iter().filter(|session| !session.is_empty()).collect();
    let folder = prefix.parent().context("the prefix has no folder")?;
    let name = prefix.file_name().context("the prefix has no name")?.to_string_lossy();
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    for (at, session) in sessions.iter().enumerate() {
        let number = if sessions.len() > 1 { format!("-{}", at + 1) } else { String::new() };
        let path = folder.join(format!("{name}{number}.session"));
        fs::write(&path, session.text(remarks)).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
