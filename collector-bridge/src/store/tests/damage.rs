//! What a start does with files that are not as they were written.

use std::fs;
use std::path::PathBuf;

use super::*;

/// Returns a directory with one trace in each of `segments` segments.
pub(super) fn sealed(segments: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    for trace in 1..=segments {
        store.append_blocking(batch("front", vec![otlp_span(trace, trace * 100 + 1)])).unwrap();
        store.seal().unwrap();
    }
    drop(store);
    dir
}

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Returns all files of all segments, with their bytes.
fn segment_files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let segments = dir.join("segments");
    let mut files: Vec<_> = names(&segments)
        .iter()
        .flat_map(|segment| {
            let segment = segments.join(segment);
            names(&segment).into_iter().map(move |file| segment.join(file))
        })
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

fn refusal(dir: &Path) -> String {
    match Store::open(StoreSettings::at(dir), decode) {
        Ok(_) => panic!("the store was opened"),
        Err(error) => {
            assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
            error.to_string()
        }
    }
}

pub(super) fn copy(from: &Path, to: &Path) {
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

fn copied(from: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(from, dir.path());
    dir
}

#[test]
fn a_damaged_manifest_stops_the_start_and_every_segment_stays() {
    let dir = sealed(3);
    // The second start leaves a snapshot alone in the file.
    drop(store(dir.path()));
    let manifest = dir.path().join("manifest");
    let whole = fs::read(&manifest).unwrap();
    let before = segment_files(dir.path());
    assert_eq!(before.len(), 18);
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(&manifest, &damaged).unwrap();
        let refusal = refusal(dir.path());
        assert!(refusal.contains(manifest.to_str().unwrap()), "{refusal}");
        assert!(refusal.contains("offset 0"), "{refusal}");
        assert!(refusal.contains("move the data directory away"), "{refusal}");
        assert_eq!(fs::read(&manifest).unwrap(), damaged, "bit {bit}");
    }
    for cut in [0, 1, 8, whole.len() - 1] {
        fs::write(&manifest, &whole[..cut]).unwrap();
        refusal(dir.path());
    }
    assert_eq!(segment_files(dir.path()), before);
    fs::write(&manifest, whole).unwrap();
    assert_eq!(store(dir.path()).sizes().segment_spans, 3);
}

#[test]
fn a_missing_manifest_stops_the_start_where_there_was_one() {
    let dir = sealed(2);
    fs::remove_file(dir.path().join("manifest")).unwrap();
    let before = segment_files(dir.path());
    let refused = refusal(dir.path());
    assert!(refused.contains("the file is missing, but there are 2 segments"), "{refused}");
    assert_eq!(segment_files(dir.path()), before);
    fs::remove_dir_all(dir.path().join("segments")).unwrap();
    fs::write(dir.path().join("wal/0000000000000007.wal"), "RMRWAL01").unwrap();
    let refused = refusal(dir.path());
    assert!(refused.contains("the log begins with file 7"), "{refused}");
    assert!(!dir.path().join("manifest").exists());
}

#[test]
fn a_manifest_older_than_the_segments_stops_the_start() {
    let dir = sealed(1);
    let manifest = dir.path().join("manifest");
    let old = fs::read(&manifest).unwrap();
    let store = store(dir.path());
    for trace in 2..=4 {
        store.append_blocking(batch("front", vec![otlp_span(trace, trace * 100 + 1)])).unwrap();
        store.seal().unwrap();
    }
    drop(store);
    fs::write(&manifest, old).unwrap();
    let before = segment_files(dir.path());
    let refused = refusal(dir.path());
    assert!(refused.contains("the manifest is older than this segment"), "{refused}");
    assert_eq!(segment_files(dir.path()), before);
}

#[test]
fn an_edit_torn_at_any_byte_never_happened_and_its_segment_is_set_aside() {
    let dir = sealed(1);
    drop(store(dir.path()));
    let before = fs::read(dir.path().join("manifest")).unwrap().len();
    let store = store(dir.path());
    store.append_blocking(batch("front", vec![otlp_span(2, 201)])).unwrap();
    drop(store);
    let whole = fs::read(dir.path().join("manifest")).unwrap();
    for cut in before..whole.len() {
        let copy = copied(dir.path());
        fs::write(copy.path().join("manifest"), &whole[..cut]).unwrap();
        let store = self::store(copy.path());
        assert_eq!(store.sizes().segment_spans, 1, "cut at {cut}");
        let is_torn = cut > before;
        let aside = copy.path().join("segments/0000000000000002.damaged-1");
        assert_eq!(aside.join("spans.parquet").exists(), is_torn, "cut at {cut}");
        assert!(!copy.path().join("segments/0000000000000002").exists(), "cut at {cut}");
        // The id is free again.
        store.append_blocking(batch("front", vec![otlp_span(3, 301)])).unwrap();
        store.seal().unwrap();
        drop(store);
        let store = self::store(copy.path());
        assert_eq!((store.sizes().segments, aside.exists()), (2, is_torn), "cut at {cut}");
    }
}

#[test]
fn only_what_a_crash_leaves_is_removed_from_the_segments() {
    let dir = sealed(2);
    let segments = dir.path().join("segments");
    let left = |name: &str| {
        fs::create_dir(segments.join(name)).unwrap();
        fs::write(segments.join(name).join("spans.parquet"), "half").unwrap();
    };
    // Unfinished, finished before its edit, and retired (the ids before the first one are).
    for name in ["0000000000000003.tmp", "0000000000000003", "0000000000000000", "lost+found", "7"] {
        left(name);
    }
    assert_eq!(store(dir.path()).sizes().segments, 2);
    let expected = ["0000000000000001", "0000000000000002", "7", "lost+found"].map(str::to_owned);
    assert_eq!(names(&segments), BTreeSet::from(expected));
}

/// Returns a directory whose log has eight requests in two files, as a kill leaves it, and the offsets of the frames in
/// the older file.
fn logged() -> (tempfile::TempDir, Vec<usize>) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("wal")).unwrap();
    let mut offsets = Vec::new();
    for file in 1..=2 {
        let mut bytes = b"RMRWAL01".to_vec();
        for trace in file * 4 - 3..=file * 4 {
            if file == 1 {
                offsets.push(bytes.len());
            }
            let request = batch("front", vec![otlp_span(trace, trace * 100 + 1)]).raw;
            bytes.extend(wal::encode(unix_now_ns(), &request).unwrap());
        }
        fs::write(wal_file(dir.path(), file), bytes).unwrap();
    }
    (dir, offsets)
}

fn wal_file(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("wal/{number:016}.wal"))
}

pub(super) fn traces(store: &Store) -> Vec<u64> {
    (1..=8).filter(|trace| !store.trace(trace_id(*trace)).unwrap().is_empty()).collect()
}

fn counted(counter: &std::sync::atomic::AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[test]
fn a_damaged_request_of_the_log_costs_no_other() {
    let (dir, offsets) = logged();
    let path = wal_file(dir.path(), 1);
    let whole = fs::read(&path).unwrap();
    // Bits of the second request of four; its length and CRC among them.
    for bit in (offsets[1] * 8..offsets[2] * 8).step_by(29) {
        let copy = copied(dir.path());
        let path = wal_file(copy.path(), 1);
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &damaged).unwrap();
        let store = store(copy.path());
        assert_eq!(traces(&store), [1, 3, 4, 5, 6, 7, 8], "bit {bit}");
        let lost = (offsets[2] - offsets[1]) as u64;
        assert_eq!(counted(&store.counters().wal_damaged_bytes), lost, "bit {bit}");
        drop(store);
        // All is sealed and the log removed, but not the copy.
        assert_eq!(
            names(&copy.path().join("wal")),
            BTreeSet::from(["0000000000000001.wal.damaged".to_owned()])
        );
        assert_eq!(fs::read(path.with_extension("wal.damaged")).unwrap(), damaged, "bit {bit}");
        let store = self::store(copy.path());
        assert_eq!(traces(&store), [1, 3, 4, 5, 6, 7, 8], "bit {bit}");
        assert_eq!(counted(&store.counters().wal_damaged_bytes), 0, "bit {bit}");
    }
}

#[test]
fn only_the_newest_file_of_the_log_may_be_torn() {
    let (dir, offsets) = logged();
    for (number, lost) in [(1, 4), (2, 8)] {
        let copy = copied(dir.path());
        let path = wal_file(copy.path(), number);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        let store = store(copy.path());
        assert_eq!(traces(&store), (1..=8).filter(|trace| *trace != lost).collect::<Vec<_>>());
        let is_damage = number == 1;
        assert_eq!(path.with_extension("wal.damaged").exists(), is_damage);
        let expected = if is_damage { (whole.len() - 3 - offsets[3]) as u64 } else { 0 };
        assert_eq!(counted(&store.counters().wal_damaged_bytes), expected);
    }
}

#[test]
fn damage_in_the_newest_file_is_no_torn_tail_where_a_whole_request_follows() {
    let (dir, offsets) = logged();
    fs::remove_file(wal_file(dir.path(), 2)).unwrap();
    let path = wal_file(dir.path(), 1);
    let mut damaged = fs::read(&path).unwrap();
    damaged[offsets[0]..offsets[2] + 20].fill(0);
    fs::write(&path, &damaged).unwrap();
    let store = store(dir.path());
    assert_eq!(traces(&store), [4]);
    assert_eq!(counted(&store.counters().wal_damaged_bytes), (offsets[3] - offsets[0]) as u64);
    assert_eq!(fs::read(path.with_extension("wal.damaged")).unwrap(), damaged);
}

#[test]
fn a_file_of_the_log_without_a_whole_request_is_kept_only_as_a_copy() {
    let (dir, offsets) = logged();
    fs::remove_file(wal_file(dir.path(), 2)).unwrap();
    let path = wal_file(dir.path(), 1);
    let mut damaged = fs::read(&path).unwrap();
    damaged.truncate(offsets[1]);
    damaged[offsets[0] + 12] ^= 1;
    fs::write(&path, &damaged).unwrap();
    for _ in 0..2 {
        let store = store(dir.path());
        assert_eq!(traces(&store), Vec::<u64>::new());
        assert_eq!(
            names(&dir.path().join("wal")),
            BTreeSet::from(["0000000000000001.wal.damaged".to_owned()])
        );
    }
    // Its number is not used again.
    store(dir.path()).append_blocking(batch("front", vec![otlp_span(1, 101)])).unwrap();
    assert_eq!(fs::read(path.with_extension("wal.damaged")).unwrap(), damaged);
}

#[test]
fn requests_of_the_log_that_nobody_understands_are_counted_and_kept() {
    let (dir, _) = logged();
    let path = wal_file(dir.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend(wal::encode(1, b"no protobuf").unwrap());
    frame::put(&mut bytes, |out| out.extend_from_slice(b"neither zstd nor a time")).unwrap();
    fs::write(&path, &bytes).unwrap();
    let store = store(dir.path());
    assert_eq!(traces(&store), (1..=8).collect::<Vec<_>>());
    assert_eq!(counted(&store.counters().wal_unreadable_requests), 2);
    assert_eq!(counted(&store.counters().wal_damaged_bytes), 0);
    assert_eq!(fs::read(path.with_extension("wal.damaged")).unwrap(), bytes);
}
