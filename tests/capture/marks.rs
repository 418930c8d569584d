//! Units of work: what a process tells of its own threads by a signal that is none.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process;
use std::thread;

use remora::capture::Observation;
use remora_abi::{MARK_GIVE, MARK_LEAVE, MARK_TAKE};
use remora_engine::event::EventKind;
use remora_tests::observer::Observer;

fn mark(token: i32, mark: u64) {
    let mark = i32::try_from(mark).unwrap();
    // SAFETY: the signal's number is invalid, so that nothing is sent, whatever the first argument says.
    let answer = unsafe { libc::kill(token, mark) };
    assert_eq!(answer, -1, "the kernel does nothing");
}

/// Writes and reads once under whatever the running thread executes.
fn exchange() {
    let (mut one, mut other) = UnixStream::pair().unwrap();
    one.write_all(b"hello").unwrap();
    let mut read = [0; 5];
    other.read_exact(&mut read).unwrap();
}

#[test]
#[ignore = "needs root"]
fn threads_take_and_give_units_of_work() {
    let mut observer = Observer::of_this_process_with_tokens().unwrap();
    let own = i32::try_from(process::id()).unwrap();
    thread::spawn(move || {
        exchange();
        // The process with this number exists, and is left alone.
        mark(own, MARK_TAKE);
        exchange();
        mark(77, MARK_GIVE);
        mark(1, MARK_LEAVE);
        exchange();
        mark(0x7fff_ffff, MARK_TAKE);
        exchange();
    })
    .join()
    .unwrap();
    let observations = observer.drain();
    let writes = observations.iter().filter_map(|observation| match observation {
        Observation::Socket { event, .. } => match &event.kind {
            EventKind::Data(data) => Some(data.executor.token),
            _ => None,
        },
        _ => None,
    });
    let own = Some(u64::from(process::id()));
    let last = Some(0x7fff_ffff);
    assert_eq!(writes.collect::<Vec<_>>(), [None, None, own, own, None, None, last, last]);
    let gifts = observations.iter().filter_map(|observation| match observation {
        Observation::Gift { giver, token, .. } => Some((giver.token, *token)),
        _ => None,
    });
    assert_eq!(gifts.collect::<Vec<_>>(), [(own, 77)]);
}

#[test]
#[ignore = "needs root"]
fn marks_of_other_processes_are_not_believed() {
    let mut observer = Observer::of_this_process().unwrap();
    mark(5, MARK_TAKE);
    mark(6, MARK_GIVE);
    exchange();
    for observation in observer.drain() {
        match observation {
            Observation::Gift { .. } => panic!("a gift of a process without tokens"),
            Observation::Socket { event, .. } => {
                if let EventKind::Data(data) = event.kind {
                    assert_eq!(data.executor.token, None);
                }
            }
            _ => {}
        }
    }
}
