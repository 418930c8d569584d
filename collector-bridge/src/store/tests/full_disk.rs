//! A start on a disk without room.

use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, Instant};

use super::damage::{copy, sealed, traces};
use super::*;

/// A file system of its own, so that it can be filled up.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Returns a full disk with three segments and a log of eight requests on it; none without root.
    fn full() -> Option<Self> {
        let disk = tempfile::tempdir().unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", disk.path(), "tmpfs", flags, c"size=8m").ok()?;
        let disk = Self(disk);
        let dir = sealed(3);
        let store = store(dir.path());
        for trace in 4..=8 {
            store.append_blocking(batch("front", vec![otlp_span(trace, trace * 100 + 1)])).unwrap();
        }
        // As a kill leaves it.
        copy(dir.path(), disk.0.path());
        let mut filler = File::create(disk.0.path().join("filler")).unwrap();
        while filler.write_all(&[7; 4096]).is_ok() {}
        Some(disk)
    }

    fn settings(&self) -> StoreSettings {
        StoreSettings { seal_bytes: 1, ..StoreSettings::at(self.0.path()) }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_start_on_a_full_disk_keeps_all_live_until_there_is_room() {
    let Some(disk) = SmallDisk::full() else {
        println!("skipped: mounting a tmpfs needs root");
        return;
    };
    let all: Vec<u64> = (1..=8).collect();
    for _ in 0..2 {
        let store = Store::open(disk.settings(), decode).unwrap();
        assert_eq!(traces(&store), all);
        assert_eq!((store.sizes().segment_spans, store.sizes().live_spans), (3, 5));
        assert!(store.counters().seal_failures.load(Ordering::Relaxed) >= 1);
        let refused = store.append_blocking(batch("front", vec![otlp_span(9, 901)]));
        assert!(matches!(refused, Err(AppendError::Log(_))), "{refused:?}");
    }
    let store = Store::open(disk.settings(), decode).unwrap();
    fs::remove_file(disk.0.path().join("filler")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while store.sizes().live_spans > 0 {
        assert!(Instant::now() < deadline, "spans stay live: {:?}", store.sizes());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(traces(&store), all);
    drop(store);
    assert_eq!(traces(&Store::open(disk.settings(), decode).unwrap()), all);
}

#[test]
fn retention_makes_room_for_what_is_in_the_log() {
    let Some(disk) = SmallDisk::full() else {
        println!("skipped: mounting a tmpfs needs root");
        return;
    };
    let settings = StoreSettings { retention_bytes: 1, ..disk.settings() };
    let store = Store::open(settings, decode).unwrap();
    assert_eq!(store.counters().seal_failures.load(Ordering::Relaxed), 0);
    assert_eq!(store.counters().sealed_spans.load(Ordering::Relaxed), 5);
    assert_eq!(store.counters().retired_by_size.load(Ordering::Relaxed).min(2), 2);
}
