//! Go programs: which version built them, and where that version keeps a goroutine's id.

mod build_info;
mod offsets;
pub(super) mod types;

use std::collections::HashMap;
use std::fs::File;

use super::identity::FileIdentity;
use super::process::{GoOffsets, Runtime};

/// Executables whose answer is remembered; beyond it the memory starts over.
const MAX_EXECUTABLES: usize = 4096;

/// What is known of a Go program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GoProgram {
    /// `runtime.Version()`.
    pub version: String,
    /// Offsets, where the version is in the table, or the program's types tell.
    pub offsets: Option<GoOffsets>,
}

impl From<GoProgram> for Runtime {
    fn from(program: GoProgram) -> Self {
        Runtime::Go { version: program.version, offsets: program.offsets }
    }
}

/// Looks at executables, each once.
#[derive(Debug, Default)]
pub(super) struct GoPrograms(HashMap<FileIdentity, Option<GoProgram>>);

impl GoPrograms {
    /// Returns what is known of the program that a process runs; none if it is not written in Go, or gone.
    ///
    /// Reads through `/proc/PID/exe`, so that deleted files and other mount namespaces make no difference.
    pub(super) fn look_at(&mut self, tgid: u32) -> Option<GoProgram> {
        let file = File::open(format!("/proc/{tgid}/exe")).ok()?;
        let identity = FileIdentity::of(&file)?;
        if self.0.len() >= MAX_EXECUTABLES {
            self.0.clear();
        }
        self.0.entry(identity).or_insert_with(|| read(&file)).clone()
    }
}

fn read(file: &File) -> Option<GoProgram> {
    let (version, is_64_bit) = build_info::version(file)?;
    let offsets = is_64_bit.then(|| offsets::of(&version).or_else(|| types::goroutine(file))).flatten();
    Some(GoProgram { version, offsets })
}
