//! More records than the ring can hold: what is not seen is counted as lost, and nothing else is.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use remora::capture::Observation;
use remora_engine::event::{Data, Direction, EventKind};
use remora_tests::observer::Observer;

const MESSAGES: u64 = 300_000;
const MESSAGE: [u8; 64] = [7; 64];

#[test]
#[ignore = "needs root"]
fn sent_is_seen_and_lost() {
    let mut observer = Observer::of_this_process().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nodelay(true).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    // Both ends are announced before the flood, which is then made of data alone.
    client.write_all(&MESSAGE).unwrap();
    server.read_exact(&mut MESSAGE.clone()).unwrap();
    let first = data(observer.drain());
    assert_eq!(first.len(), 2, "{first:?}");

    let lost_before = observer.ring_full();
    let forks_before = forks();
    let reader = thread::spawn(move || {
        let (mut reads, mut bytes) = (0_u64, 0_u64);
        let mut buffer = [0; 4096];
        while bytes < MESSAGES * MESSAGE.len() as u64 {
            bytes += server.read(&mut buffer).unwrap() as u64;
            reads += 1;
        }
        (server, reads)
    });
    for _ in 0..MESSAGES {
        // One call each: the socket blocks, and a message this small is never split.
        assert_eq!(client.write(&MESSAGE).unwrap(), MESSAGE.len());
    }
    let (mut server, reads) = reader.join().unwrap();
    let lost = observer.ring_full() - lost_before;
    let seen = data(observer.drain());
    // A last message, for which there is room, tells how far the positions have come.
    client.write_all(&MESSAGE).unwrap();
    server.read_exact(&mut MESSAGE.clone()).unwrap();
    let last = data(observer.drain());

    assert!(lost > 0, "the flood was meant to fill the ring");
    let told = seen.len() as u64 + lost;
    let sent = MESSAGES + reads;
    // Processes that came and went meanwhile have records too, whose loss is counted alike: at most fork, exec, exit.
    let others = 3 * (forks() - forks_before);
    assert!(
        (sent..=sent + others).contains(&told),
        "{sent} calls, {told} seen or lost, {others} of other processes"
    );

    for direction in [Direction::Egress, Direction::Ingress] {
        let of = |data: &[Data]| -> Vec<Data> {
            data.iter().filter(|data| data.direction == direction).cloned().collect()
        };
        let (first, seen, last) = (of(&first), of(&seen), of(&last));
        let (start, end) = (first[0].position.wrapping_add(first[0].length), last[0].position);
        let moved = u64::from(end.wrapping_sub(start));
        assert_eq!(moved, MESSAGES * MESSAGE.len() as u64, "{direction:?}: positions count every byte");
        let mut next = start;
        for data in &seen {
            let gap = data.position.wrapping_sub(next);
            assert!(u64::from(gap) < moved, "{direction:?}: positions never go back");
            next = data.position.wrapping_add(data.length);
        }
    }
}

fn data(observations: Vec<Observation>) -> Vec<Data> {
    let of = |observation| match observation {
        // Other programs of this host speak too.
        Observation::Socket { event, tgid } if tgid == std::process::id() => match event.kind {
            EventKind::Data(data) => Some(data),
            _ => None,
        },
        _ => None,
    };
    observations.into_iter().filter_map(of).collect()
}

/// Returns how many processes and threads were ever made on this host.
fn forks() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let line = stat.lines().find_map(|line| line.strip_prefix("processes ")).unwrap();
    line.trim().parse().unwrap()
}
