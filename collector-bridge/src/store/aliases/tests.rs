use std::fs;

use super::*;

fn id(number: u8) -> TraceId {
    TraceId([number; 16])
}

fn join(server: u8, client: u8) -> Join {
    Join { server_trace: id(server), client_trace: id(client), begins_trace: true }
}

fn open(dir: &Path) -> Aliases {
    Aliases::open(dir, 100, 0).unwrap()
}

#[test]
fn aliases_are_known_after_a_restart_in_whatever_order_they_were_made() {
    let dir = tempfile::tempdir().unwrap();
    let aliases = open(dir.path());
    assert_eq!(aliases.join(&[join(3, 2)], 5).joined, 1);
    assert_eq!(aliases.join(&[join(2, 1), join(5, 4)], 6).joined, 2);
    for _ in 0..2 {
        let aliases = open(dir.path());
        assert_eq!(aliases.ids(id(3)), [id(1), id(2), id(3)]);
        assert_eq!((aliases.canonical(id(5)), aliases.canonical(id(6)), aliases.len()), (id(4), id(6), 3));
    }
}

#[test]
fn a_request_that_names_another_trace_is_a_conflict_and_joins_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let aliases = open(dir.path());
    let by_wire = |server, client| Join { begins_trace: false, ..join(server, client) };
    assert_eq!(aliases.join(&[by_wire(2, 1)], 5).wire_conflicts, 1);
    assert_eq!(aliases.canonical(id(2)), id(2));
    let outcome = aliases.join(&[join(2, 1), by_wire(2, 1), join(2, 7)], 5);
    assert_eq!(outcome, JoinOutcome { joined: 2, wire_conflicts: 0, refused: 1 });
}

#[test]
fn a_file_torn_at_any_byte_costs_the_last_write_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("aliases");
    let aliases = open(dir.path());
    aliases.join(&[join(2, 1)], 5);
    let before = fs::read(&path).unwrap();
    aliases.join(&[join(3, 1)], 5);
    let after = fs::read(&path).unwrap();
    for cut in before.len()..after.len() {
        fs::write(&path, &after[..cut]).unwrap();
        let aliases = open(dir.path());
        assert_eq!((aliases.canonical(id(2)), aliases.canonical(id(3))), (id(1), id(3)), "cut at {cut}");
        // What comes next is written where it can be read.
        aliases.join(&[join(4, 1)], 5);
        assert_eq!(open(dir.path()).canonical(id(4)), id(1), "cut at {cut}");
    }
}

#[test]
fn a_damaged_byte_hides_no_other_write_and_stops_no_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("aliases");
    let aliases = open(dir.path());
    aliases.join(&[join(2, 1)], 5);
    let first = fs::read(&path).unwrap().len();
    aliases.join(&[join(3, 1)], 5);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, damaged).unwrap();
        let aliases = open(dir.path());
        let known = (aliases.canonical(id(2)) == id(1), aliases.canonical(id(3)) == id(1));
        assert_eq!(known, (at >= first, at < first), "byte {at}");
    }
}

#[test]
fn what_was_not_written_is_written_as_soon_as_the_disk_allows() {
    let dir = tempfile::tempdir().unwrap();
    let aliases = open(dir.path());
    aliases.file().distrust(std::io::ErrorKind::StorageFull.into());
    assert_eq!(aliases.join(&[join(2, 1)], 5).joined, 1);
    assert_eq!(aliases.canonical(id(2)), id(1));
    assert_eq!(open(dir.path()).len(), 0);
    aliases.tidy(0);
    assert_eq!(open(dir.path()).canonical(id(2)), id(1));
}

#[test]
fn old_aliases_go_from_memory_and_from_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let aliases = open(dir.path());
    for number in 0..40_000_u64 {
        let alias = TraceId([[1; 8], number.to_be_bytes()].concat().try_into().unwrap());
        aliases.join(&[Join { server_trace: alias, client_trace: id(9), begins_trace: true }], number);
        if number % 1000 == 999 {
            aliases.tidy(number - 10);
        }
    }
    assert!(aliases.len() <= 12);
    assert!(fs::metadata(dir.path().join("aliases")).unwrap().len() < 2_000_000);
}
