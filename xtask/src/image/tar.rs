//! Archives in the ustar format (POSIX.1-2017, pax), without owners' names, and with one time for all.

use anyhow::{Result, ensure};

const BLOCK: usize = 512;
/// Room for a path; longer ones would need its prefix or a record of their own.
const MAX_PATH: usize = 100;

#[derive(Default)]
pub(super) struct Tar(Vec<u8>);

impl Tar {
    /// Adds a folder; its parents must have been added before.
    pub(super) fn folder(&mut self, path: &str, owner: u32) -> Result<()> {
        self.header(&format!("{path}/"), b'5', 0o755, owner, 0)
    }

    /// Adds a file of root's.
    pub(super) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.header(path, b'0', mode, 0, content.len())?;
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        Ok(())
    }

    /// Returns the archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }

    fn header(&mut self, path: &str, kind: u8, mode: u32, owner: u32, size: usize) -> Result<()> {
        ensure!(path.len() < MAX_PATH && path.is_ascii(), "{path}: not a short ASCII path");
        let mut header = [0; BLOCK];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, path);
        put(100, &format!("{mode:07o}"));
        put(108, &format!("{owner:07o}"));
        put(116, &format!("{owner:07o}"));
        put(124, &format!("{size:011o}"));
        put(136, &format!("{:011o}", 0));
        // The sum counts its own field as blanks.
        put(148, "        ");
        put(257, "ustar");
        put(263, "00");
        header[156] = kind;
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0.extend_from_slice(&header);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn tar_lists_what_was_added() {
        let mut tar = Tar::default();
        tar.folder("usr", 0).unwrap();
        tar.folder("data", 65_532).unwrap();
        tar.file("usr/program", 0o755, &[b'x'; 700]).unwrap();
        assert!(tar.file(&"x".repeat(MAX_PATH), 0o644, b"").is_err());
        let mut list = Command::new("tar")
            .args(["--list", "--verbose", "--numeric-owner", "--utc", "--file", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        list.stdin.take().unwrap().write_all(&tar.finish()).unwrap();
        let output = list.wait_with_output().unwrap();
        assert!(output.status.success());
        let lines = String::from_utf8(output.stdout).unwrap();
        let words: Vec<Vec<&str>> = lines.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[0], ["drwxr-xr-x", "0/0", "0", "1970-01-01", "00:00", "usr/"]);
        assert_eq!(words[1][1..3], ["65532/65532", "0"]);
        assert_eq!(words[2], ["-rwxr-xr-x", "0/0", "700", "1970-01-01", "00:00", "usr/program"]);
    }
}
