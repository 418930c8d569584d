//! TLS libraries that processes have mapped, by the functions that their files define: whatever the files are called, and
//! also where they are part of an executable or deleted since.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use procfs::process::{MMPermissions, MMapPath, Process};

use super::identity::FileIdentity;
use super::probes::{Places, Probe, tls};
use crate::health::Counter;

/// Files whose functions are remembered; beyond it the memory starts over.
const MAX_FILES: usize = 16_384;
/// Where a host's own libraries are, and how the names begin of those for TLS.
const FOLDERS: [&str; 5] =
    ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib", "/lib/x86_64-linux-gnu"];
const NAMES: [&str; 3] = ["libssl.so", "libcrypto.so", "libgnutls.so"];
/// Mappings of one process that are looked at.
const MAX_MAPPINGS: usize = 4096;

/// What is known of files that processes execute.
#[derive(Debug, Default)]
pub(super) struct Libraries {
    known: HashMap<FileIdentity, Places>,
    searched: Counter,
}

impl Libraries {
    /// Returns a memory of no file, which counts those that it searches.
    pub(super) fn counting(searched: Counter) -> Self {
        Self { searched, ..Self::default() }
    }

    /// Returns the places to probe in the files that a process executes, each of which is searched once.
    pub(super) fn of(&mut self, tgid: u32) -> Vec<Probe> {
        let mut found: Vec<Probe> = Vec::new();
        let mut seen = None;
        for (device, inode, path) in executed(tgid) {
            if seen != Some((device, inode)) {
                seen = Some((device, inode));
                found.extend(self.in_file(&path));
            }
        }
        found
    }

    /// Returns the places to probe in the libraries that this host's programs will map: a program that lives for a moment
    /// only would be gone before it was looked at.
    pub(super) fn installed(&mut self) -> Vec<Probe> {
        let folders = FOLDERS.iter().filter_map(|folder| fs::read_dir(folder).ok());
        let files = folders.flat_map(|folder| folder.flatten()).filter(|entry| {
            let name = entry.file_name();
            name.to_str().is_some_and(|name| NAMES.iter().any(|start| name.starts_with(start)))
        });
        // Links lead to files that have their own entry, but need not.
        let mut paths: Vec<PathBuf> = files.filter_map(|entry| fs::canonicalize(entry.path()).ok()).collect();
        paths.sort_unstable();
        paths.dedup();
        paths.iter().flat_map(|path| self.in_file(path)).collect()
    }

    /// Returns the places to probe in a file.
    pub(super) fn in_file(&mut self, path: &Path) -> Vec<Probe> {
        let Some(mut file) = FileIdentity::at(path) else { return Vec::new() };
        if !self.known.contains_key(&file) {
            let Ok(opened) = File::open(path) else { return Vec::new() };
            // Another one may have its place by now.
            let Some(identity) = FileIdentity::of(&opened) else { return Vec::new() };
            file = identity;
            if self.known.len() >= MAX_FILES {
                self.known.clear();
            }
            self.searched.add(u64::from(!self.known.contains_key(&file)));
            // Devices can be mapped too, and some do something when they are read.
            let is_regular = opened.metadata().is_ok_and(|metadata| metadata.is_file());
            let find = || if is_regular { tls::in_file(&opened) } else { Places::new() };
            self.known.entry(file).or_insert_with(find);
        }
        let places = self.known.get(&file).map(Vec::as_slice).unwrap_or_default();
        let probe = |&(purpose, offset): &_| Probe { purpose, path: path.to_owned(), file, offset };
        places.iter().map(probe).collect()
    }
}

/// Returns the files that a process has mapped to execute, each by its device, its inode, and a path that leads there even
/// where it has none any more.
fn executed(tgid: u32) -> Vec<((i32, i32), u64, PathBuf)> {
    let process = i32::try_from(tgid).ok().and_then(|tgid| Process::new(tgid).ok());
    let Some(maps) = process.and_then(|process| process.maps().ok()) else { return Vec::new() };
    let is_executed = |map: &&procfs::process::MemoryMap| {
        map.perms.contains(MMPermissions::EXECUTE)
            && map.inode != 0
            && matches!(map.pathname, MMapPath::Path(_))
    };
    let path = |map: &procfs::process::MemoryMap| {
        let (start, end) = map.address;
        (map.dev, map.inode, PathBuf::from(format!("/proc/{tgid}/map_files/{start:x}-{end:x}")))
    };
    maps.iter().filter(is_executed).take(MAX_MAPPINGS).map(path).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_program_without_tls_has_no_places() {
        let mut libraries = Libraries::default();
        let mut program = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut stdin, mut echo) = (program.stdin.take().unwrap(), [0]);
        stdin.write_all(b"x").unwrap();
        // Once it answers, it has mapped what it needs.
        program.stdout.as_mut().unwrap().read_exact(&mut echo).unwrap();
        let places = libraries.of(program.id());
        let searched = libraries.searched.get();
        assert_eq!((places, libraries.of(program.id())), (Vec::new(), Vec::new()));
        assert_eq!(libraries.searched.get(), searched, "each file is searched once");
        drop(stdin);
        program.wait().unwrap();
        assert!(searched > 0, "its own executable was searched");
        assert_eq!(libraries.of(u32::MAX), Vec::new());
    }
}
