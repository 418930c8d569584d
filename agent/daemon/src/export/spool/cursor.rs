//! Where reading goes on after a restart.

use std::path::Path;
use std::{fs, io};

/// The next batch to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Its segment.
    pub sequence: u64,
    /// Its offset there.
    pub offset: u64,
}

impl Cursor {
    /// Returns the cursor of a folder; the very beginning if it is not there or not readable.
    pub(super) fn load(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join("cursor")).unwrap_or_default();
        let parsed = text.trim().split_once(' ').and_then(|(sequence, offset)| {
            Some(Self { sequence: sequence.parse().ok()?, offset: offset.parse().ok()? })
        });
        parsed.unwrap_or_default()
    }

    /// Replaces the cursor of a folder, all or nothing.
    pub(super) fn save(self, folder: &Path) -> io::Result<()> {
        let fresh = folder.join("cursor.new");
        fs::write(&fresh, format!("{} {}\n", self.sequence, self.offset))?;
        fs::rename(fresh, folder.join("cursor"))
    }
}
