use std::fs;

use super::*;

fn batch(number: u32, bytes: usize) -> Batch {
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(bytes.max(4), 0xab);
    Batch { payload: payload.into(), spans: number }
}

fn open(folder: &Path, max_bytes: u64) -> (Spool, Counters) {
    let counters = Counters::default();
    (Spool::open(folder, max_bytes, counters.clone()).unwrap(), counters)
}

fn drain(spool: &mut Spool) -> Vec<u32> {
    std::iter::from_fn(|| {
        let batch = spool.front()?;
        assert!(spool.pop());
        Some(batch.spans)
    })
    .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    sequences(folder).unwrap().into_iter().map(|sequence| segment::path(folder, sequence)).collect()
}

#[test]
fn batches_come_back_in_order_across_segments() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(folder.path(), 4000);
    for number in 1..=9 {
        spool.append(&batch(number, 300)).unwrap();
    }
    assert!(files(folder.path()).len() > 1);
    assert_eq!(spool.spans(), 45);
    assert_eq!(spool.front(), spool.front());
    assert_eq!(drain(&mut spool), (1..=9).collect::<Vec<_>>());
    assert!(spool.is_empty());
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
    assert!(!spool.pop());
}

#[test]
fn another_process_goes_on_where_the_last_one_was() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(folder.path(), 1 << 20);
    for number in 1..=5 {
        spool.append(&batch(number, 100)).unwrap();
    }
    assert_eq!(spool.front().unwrap().spans, 1);
    spool.pop();
    assert_eq!(spool.front().unwrap().spans, 2);
    // Not popped: it was not delivered.
    drop(spool);
    let (mut spool, _) = open(folder.path(), 1 << 20);
    assert_eq!(spool.spans(), 2 + 3 + 4 + 5);
    spool.append(&batch(6, 100)).unwrap();
    assert_eq!(drain(&mut spool), [2, 3, 4, 5, 6]);
}

#[test]
fn the_oldest_go_first_when_there_is_no_room_and_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, counters) = open(folder.path(), 2000);
    for number in 1..=30 {
        spool.append(&batch(number, 200)).unwrap();
        assert!(spool.bytes() <= 2000);
    }
    let left = drain(&mut spool);
    assert_eq!(left.last(), Some(&30));
    assert!(left.is_sorted());
    let dropped: u32 = (1..=30).sum::<u32>() - left.iter().sum::<u32>();
    assert!(dropped > 0);
    assert_eq!(counters.full.get(), u64::from(dropped));
}

#[test]
fn a_batch_on_its_way_is_not_counted_as_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, counters) = open(folder.path(), 1000);
    spool.append(&batch(7, 200)).unwrap();
    assert_eq!(spool.front().unwrap().spans, 7);
    for number in 100..110 {
        spool.append(&batch(number, 200)).unwrap();
    }
    assert_eq!(spool.front().unwrap().spans, 7);
    let left: u32 = drain(&mut spool).iter().sum();
    assert_eq!(u64::from((100..110).sum::<u32>() + 7 - left), counters.full.get());
}

#[test]
fn a_torn_tail_is_counted_and_all_before_it_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(folder.path(), 1 << 20);
    for number in 1..=3 {
        spool.append(&batch(number, 100)).unwrap();
    }
    drop(spool);
    let file = files(folder.path()).remove(0);
    let whole = fs::read(&file).unwrap();
    // Every cut inside the last batch.
    let last = whole.len() - (100 + frame::HEADER_BYTES);
    for length in last + 1..whole.len() {
        fs::write(&file, &whole[..length]).unwrap();
        let (spool, counters) = open(folder.path(), 1 << 20);
        assert_eq!((spool.spans(), counters.corrupt.get()), (1 + 2, 1), "{length}");
    }
}

#[test]
fn a_flipped_bit_is_found_and_later_segments_survive() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(folder.path(), 4000);
    for number in 1..=6 {
        spool.append(&batch(number, 300)).unwrap();
    }
    drop(spool);
    let first = files(folder.path()).remove(0);
    let mut bytes = fs::read(&first).unwrap();
    bytes[frame::HEADER_BYTES + 20] ^= 1;
    fs::write(&first, bytes).unwrap();
    let (mut spool, counters) = open(folder.path(), 4000);
    assert_eq!(counters.corrupt.get(), 1);
    assert_eq!(drain(&mut spool), [4, 5, 6]);
}

#[test]
fn garbage_in_the_folder_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cursor"), "x").unwrap();
    fs::write(folder.path().join("00000000000000000003.spool"), [0xff; 50]).unwrap();
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let (mut spool, counters) = open(folder.path(), 1 << 20);
    assert_eq!((spool.front(), counters.corrupt.get()), (None, 1));
    spool.append(&batch(1, 10)).unwrap();
    assert_eq!(drain(&mut spool), [1]);
    assert!(folder.path().join("notes.txt").exists());
}

#[test]
fn one_agent_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (_spool, _) = open(folder.path(), 1 << 20);
    let error = Spool::open(folder.path(), 1 << 20, Counters::default()).unwrap_err();
    assert_eq!(error.to_string(), "another agent uses it");
}

#[test]
fn a_batch_larger_than_the_spool_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(folder.path(), 100);
    assert!(spool.append(&batch(1, 100)).is_err());
    assert!(spool.is_empty());
}
