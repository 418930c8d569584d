//! `tests/apps/c/calls.c` sends a pattern by one family of calls and reads it by another. Both ends must be told
//! completely, in order, with the pattern in them.

use std::process::Command;

use anyhow::{Context as _, Result};
use remora_engine::event::{Data, Direction, Event, EventKind, Role};
use remora_tests::observer::{CAPTURE_BYTES, Observer};
use remora_tests::{locate, tools};

/// What the program sends, in messages.
const SIZES: [u32; 3] = [10, 5000, 100];
const TOTAL: u32 = 5110;

/// One end of the connection, as it was told.
struct End {
    role: Role,
    data: Vec<Data>,
}

fn run(family: &str, send: &str, receive: &str) -> Result<Vec<Event>> {
    let program = build()?;
    let mut observer = Observer::of_other_processes()?;
    let mut child = Command::new(program).args([family, send, receive]).spawn()?;
    let tgid = child.id();
    let status = child.wait()?;
    anyhow::ensure!(status.success(), "calls {family} {send} {receive} ended with {status}");
    observer.events_until_exit(tgid)
}

fn build() -> Result<std::path::PathBuf> {
    let program = locate::testenv().join("bin/calls");
    std::fs::create_dir_all(locate::testenv().join("bin"))?;
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-o"]).arg(&program).arg(locate::apps().join("c/calls.c"));
    tools::printed(&mut cc).context("compile calls.c")?;
    Ok(program)
}

fn ends(events: &[Event]) -> Vec<End> {
    let mut connections: Vec<_> = events.iter().map(|event| event.connection).collect();
    connections.dedup();
    connections.sort();
    connections.dedup();
    let of = |connection| {
        let mut end = End { role: Role::Unknown, data: Vec::new() };
        for event in events.iter().filter(|event| event.connection == connection) {
            match &event.kind {
                EventKind::Opened(opened) => end.role = opened.role,
                EventKind::Data(data) => end.data.push(data.clone()),
                EventKind::Claimed(_) | EventKind::Eof(_) | EventKind::Closed(_) => {}
            }
        }
        end
    };
    connections.into_iter().map(of).filter(|end| !end.data.is_empty()).collect()
}

/// Checks one end. `is_readable` says that the bytes are in the process's memory, where capture can read them.
fn check_end(end: &End, direction: Direction, is_readable: bool) {
    let mut offset = 0_u32;
    let mut captured = 0;
    let mut ends = SIZES.iter().scan(0, |end, size| {
        *end += size;
        Some((*size, *end))
    });
    let mut message = ends.next();
    let first = end.data.first().map_or(0, |data| data.position);
    for data in &end.data {
        assert_eq!(data.direction, direction);
        assert_eq!(data.position.wrapping_sub(first), offset, "no gap, no overlap, in order");
        assert!(data.bytes.len() <= data.length as usize);
        for (index, &byte) in data.bytes.iter().enumerate() {
            let at = offset as usize + index;
            assert_eq!(usize::from(byte), at % 251, "the byte at offset {at} of the stream");
        }
        offset += data.length;
        captured += u32::try_from(data.bytes.len()).unwrap();
        if let Some((size, end)) = message
            && offset >= end
        {
            // The limit is one call's, however many segments and records it has.
            let is_enough = captured >= size.min(CAPTURE_BYTES);
            assert!(is_enough || !is_readable, "{captured} of {size} bytes were captured");
            (message, captured) = (ends.next(), 0);
        }
    }
    assert_eq!(offset, TOTAL, "every byte is accounted for");
    assert_eq!(message, None, "every message is told");
}

/// Bytes at the end of a long call that are told by themselves. No call of the test is of that length.
const END_BYTES: u32 = 184;

/// Returns how much each call moved.
fn calls_of(data: &[Data]) -> Vec<u32> {
    let mut calls: Vec<u32> = Vec::new();
    for data in data {
        match calls.last_mut() {
            Some(length) if data.length == END_BYTES => *length += data.length,
            _ => calls.push(data.length),
        }
    }
    calls
}

fn check(send: &str, receive: &str) {
    let is_user_memory = |call: &str| !matches!(call, "sendfile" | "splice");
    for family in ["tcp4", "tcp6", "unix"] {
        let events = run(family, send, receive).unwrap();
        let ends = ends(&events);
        assert_eq!(ends.len(), 2, "{family}: both ends are told: {events:#?}");
        let client =
            ends.iter().find(|end| end.role == Role::Connected).expect("the end that called connect");
        let server = ends.iter().find(|end| end.role == Role::Accepted).expect("the end that called accept");
        check_end(client, Direction::Egress, is_user_memory(send));
        check_end(server, Direction::Ingress, is_user_memory(receive));
        if family != "unix" {
            // Both ends see the same number for the same byte.
            assert!(client.data[0].is_absolute);
            assert_eq!(client.data[0].position, server.data[0].position);
        }
        if send == "write" {
            assert_eq!(calls_of(&client.data), SIZES);
        }
    }
}

macro_rules! pairs {
    ($($name:ident: $send:literal, $receive:literal;)*) => {
        $(
            #[test]
            #[ignore = "needs root"]
            fn $name() {
                check($send, $receive);
            }
        )*
    };
}

pairs! {
    write_and_read: "write", "read";
    writev_and_readv: "writev", "readv";
    many_pieces: "pieces", "pieces";
    send_and_recv: "send", "recv";
    sendto_and_recvfrom: "sendto", "recvfrom";
    sendmsg_and_recvmsg: "sendmsg", "recvmsg";
    sendmmsg_and_recvmmsg: "sendmmsg", "recvmmsg";
    sendfile_and_read: "sendfile", "read";
    splice_both_ways: "splice", "splice";
    peeking_moves_nothing: "send", "peek";
}
