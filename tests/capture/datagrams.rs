//! Datagrams: those of a port of DNS, one record each, and no others.

use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::process;
use std::time::Duration;

use remora::capture::Observation;
use remora_engine::event::{Closed, Data, Direction, Endpoint, Event, EventKind, Opened, Role};
use remora_tests::observer::Observer;
use remora_tests::wait;

/// Collects this process's events until `is_enough`.
fn collect(observer: &mut Observer, is_enough: impl Fn(&[Event]) -> bool) -> Vec<Event> {
    let mut events = Vec::new();
    wait::until("the expected events", Duration::from_secs(10), || {
        for observation in observer.drain() {
            if let Observation::Socket { event, tgid } = observation {
                assert_eq!(tgid, process::id(), "no other process is observed");
                events.push(event);
            }
        }
        Ok(is_enough(&events).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}; events so far: {events:#?}"));
    events
}

fn opened(events: &[Event]) -> Vec<&Opened> {
    fn of(event: &Event) -> Option<&Opened> {
        if let EventKind::Opened(opened) = &event.kind { Some(opened) } else { None }
    }
    events.iter().filter_map(of).collect()
}

fn data(events: &[Event], direction: Direction) -> Vec<&Data> {
    fn of(event: &Event) -> Option<&Data> {
        if let EventKind::Data(data) = &event.kind { Some(data) } else { None }
    }
    events.iter().filter_map(of).filter(|data| data.direction == direction).collect()
}

/// Returns a server at a port of a loopback address where nobody else has one, and its client.
fn pair(server: &str) -> (UdpSocket, UdpSocket) {
    let server = UdpSocket::bind(server).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(server.local_addr().unwrap()).unwrap();
    (client, server)
}

#[test]
#[ignore = "needs root"]
fn both_ends_of_datagrams_are_seen_one_by_one() {
    let mut observer = Observer::of_this_process().unwrap();
    let (client, server) = pair("127.83.11.53:53");
    let mut buffer = [0; 100];
    for text in ["first", "second one"] {
        client.send(text.as_bytes()).unwrap();
        let (length, from) = server.recv_from(&mut buffer).unwrap();
        server.send_to(&buffer[..length], from).unwrap();
        assert_eq!(client.recv(&mut buffer).unwrap(), length);
    }
    let events = collect(&mut observer, |events| {
        data(events, Direction::Egress).len() == 4 && data(events, Direction::Ingress).len() == 4
    });
    let opened = opened(&events);
    let connected = opened.iter().find(|opened| opened.role == Role::Connected).unwrap();
    let accepted = opened.iter().find(|opened| opened.role == Role::Accepted).unwrap();
    assert!(opened.len() == 2 && connected.is_datagram && accepted.is_datagram);
    let address = Endpoint::Ip(server.local_addr().unwrap());
    assert_eq!((&connected.peer, &accepted.local), (&address, &address));
    for direction in [Direction::Egress, Direction::Ingress] {
        let data = data(&events, direction);
        let mut texts: Vec<_> = data.iter().map(|data| (data.position, &data.bytes[..])).collect();
        texts.sort_unstable();
        let [first, second] = [&b"\0\x05first"[..], b"\0\x0asecond one"];
        assert_eq!(texts, [(0, first), (0, first), (7, second), (7, second)], "{direction:?}");
        assert!(data.iter().all(|data| data.length as usize == data.bytes.len() && !data.is_absolute));
    }
}

#[test]
#[ignore = "needs root"]
fn several_datagrams_of_one_call_stay_apart() {
    let mut observer = Observer::of_this_process().unwrap();
    let (client, server) = pair("127.83.11.54:53");
    // As glibc asks for both kinds of addresses.
    let mut texts = [*b"A   ", *b"AAAA"];
    let mut vectors =
        texts.each_mut().map(|text| libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: 4 });
    let mut messages = [0, 1].map(|at| {
        // SAFETY: zeros are a message without a name, a vector or control bytes.
        let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
        message.msg_hdr.msg_iov = &raw mut vectors[at];
        message.msg_hdr.msg_iovlen = 1;
        message
    });
    // SAFETY: two messages, each with one vector of four bytes, all of which live until the call returns.
    let sent = unsafe { libc::sendmmsg(client.as_raw_fd(), messages.as_mut_ptr(), 2, 0) };
    assert_eq!(sent, 2);
    for _ in 0..2 {
        assert_eq!(server.recv(&mut [0; 100]).unwrap(), 4);
    }
    let events = collect(&mut observer, |events| {
        data(events, Direction::Egress).len() == 2 && data(events, Direction::Ingress).len() == 2
    });
    for direction in [Direction::Egress, Direction::Ingress] {
        let texts: Vec<_> = data(&events, direction).iter().map(|data| &data.bytes[..]).collect();
        assert_eq!(texts, [b"\0\x04A   ", b"\0\x04AAAA"], "{direction:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn long_datagrams_are_counted_and_empty_ones_end_nothing() {
    let mut observer = Observer::of_this_process().unwrap();
    let (client, server) = pair("127.83.11.55:53");
    let mut buffer = vec![0; 70_000];
    for length in [60_000, 0, 3] {
        client.send(&buffer[..length]).unwrap();
        assert_eq!(server.recv(&mut buffer).unwrap(), length);
    }
    let events = collect(&mut observer, |events| data(events, Direction::Ingress).len() == 2);
    assert!(events.iter().all(|event| !matches!(event.kind, EventKind::Eof(_))), "{events:?}");
    for direction in [Direction::Egress, Direction::Ingress] {
        let data = data(&events, direction);
        let lengths: Vec<_> = data.iter().map(|data| (data.length, data.bytes.len())).collect();
        assert_eq!(lengths, [(60_002, 2), (5, 5)], "{direction:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn datagrams_of_other_ports_are_not_told_and_ends_are() {
    let mut observer = Observer::of_this_process().unwrap();
    let (client, server) = pair("127.83.11.56:5399");
    client.send(b"nothing of interest").unwrap();
    server.recv(&mut [0; 100]).unwrap();
    let (client, _server) = pair("127.83.11.56:53");
    client.send(b"of interest").unwrap();
    drop(client);
    let is_end = |event: &Event| matches!(event.kind, EventKind::Closed(Closed { received: None, .. }));
    let events = collect(&mut observer, |events| events.iter().any(is_end));
    assert_eq!(opened(&events).len(), 1, "{events:?}");
    assert_eq!(data(&events, Direction::Egress).len(), 1, "{events:?}");
}
