//! What a start does with files that are not as they were written.

use std::fs;
use std::path::PathBuf;

use super::*;

/// Returns a directory with one trace in each of `segments` segments.
fn sealed(segments: u64) -> tempfile::TempDir {
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

fn copied(from: &Path) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
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
