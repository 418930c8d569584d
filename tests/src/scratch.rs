//! Folders that are gone after the test.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

/// A folder that every user may enter, since servers drop their privileges, and that ends with its owner.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// Returns a new, empty folder.
    pub fn new(name: &str) -> Result<Self> {
        let folder =
            tempfile::Builder::new().prefix(&format!("remora-{name}-")).tempdir().context("make a folder")?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        Ok(Self(folder))
    }

    /// Returns its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file into it and returns the file's path.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path().join(name);
        fs::write(&path, contents).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}
