//! What a program has libuv do for it, read from the memory of the living process.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// Offsets in `uv_signal_t` on 64-bit systems, the same in all of libuv 1: behind the 96 bytes of `uv_handle_t` and the
/// callback.
const SIGNUM: u64 = 104;
const LEFT: u64 = 112;
const RIGHT: u64 = 120;
/// Watchers that are looked at; a program with more is not understood.
const MAX_WATCHERS: usize = 1024;
/// Largest signal number of Linux.
const MAX_SIGNAL: u32 = 64;

/// Returns the numbers of the signals that are watched (`uv__signal_tree`); none if what is there is something else.
pub(super) fn watched_signals(memory: &File, tree: u64) -> Option<Vec<u32>> {
    let mut signals = Vec::new();
    let mut watchers = vec![word(memory, tree)?];
    while let Some(watcher) = watchers.pop() {
        if watcher == 0 {
            continue;
        }
        let signal = u32::from_ne_bytes(bytes(memory, watcher.checked_add(SIGNUM)?)?);
        if signals.len() >= MAX_WATCHERS || !(1..=MAX_SIGNAL).contains(&signal) {
            return None;
        }
        signals.push(signal);
        watchers.push(word(memory, watcher.checked_add(LEFT)?)?);
        watchers.push(word(memory, watcher.checked_add(RIGHT)?)?);
    }
    Some(signals)
}

fn word(memory: &File, address: u64) -> Option<u64> {
    bytes(memory, address).map(u64::from_ne_bytes)
}

fn bytes<const N: usize>(memory: &File, address: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    memory.read_exact_at(&mut bytes, address).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as memory: the root at 0, watchers where they are said to be.
    fn memory(root: u64, watchers: &[(u64, u32, u64, u64)]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 16).unwrap();
        file.write_all_at(&root.to_ne_bytes(), 0).unwrap();
        for (at, signal, left, right) in watchers {
            file.write_all_at(&signal.to_ne_bytes(), at + SIGNUM).unwrap();
            file.write_all_at(&left.to_ne_bytes(), at + LEFT).unwrap();
            file.write_all_at(&right.to_ne_bytes(), at + RIGHT).unwrap();
        }
        file
    }

    #[test]
    fn all_watchers_are_found() {
        assert_eq!(watched_signals(&memory(0, &[]), 0), Some(vec![]));
        let three = memory(4096, &[(4096, 15, 8192, 12288), (8192, 10, 0, 0), (12288, 28, 0, 0)]);
        let mut signals = watched_signals(&three, 0).unwrap();
        signals.sort_unstable();
        assert_eq!(signals, [10, 15, 28]);
    }

    #[test]
    fn what_does_not_fit_is_not_believed() {
        assert_eq!(watched_signals(&memory(4096, &[(4096, 65, 0, 0)]), 0), None);
        assert_eq!(watched_signals(&memory(4096, &[(4096, 0, 0, 0)]), 0), None);
        assert_eq!(watched_signals(&memory(1 << 40, &[]), 0), None, "not mapped");
        assert_eq!(watched_signals(&memory(u64::MAX, &[]), 0), None);
        assert_eq!(watched_signals(&memory(4096, &[(4096, 10, 4096, 0)]), 0), None, "a circle");
        assert_eq!(watched_signals(&memory(0, &[]), 1 << 40), None);
    }
}
