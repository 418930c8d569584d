//! Datagrams: those of a port of DNS, one record each, and no others.

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
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
    // The socket is young at the first two.
    for length in [60_000, 60_000, 0, 60_000, 3] {
        client.send(&buffer[..length]).unwrap();
        assert_eq!(server.recv(&mut buffer).unwrap(), length);
    }
    let events = collect(&mut observer, |events| data(events, Direction::Ingress).len() == 4);
    assert!(events.iter().all(|event| !matches!(event.kind, EventKind::Eof(_))), "{events:?}");
    for direction in [Direction::Egress, Direction::Ingress] {
        let data = data(&events, direction);
        let lengths: Vec<_> = data.iter().map(|data| (data.length, data.bytes.len())).collect();
        let young = (60_002, 60_002);
        assert_eq!(lengths, [young, young, (60_002, 2), (5, 5)], "{direction:?}");
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

/// Returns the other ends of what was moved in this direction, with the first byte of each.
fn peers(events: &[Event], direction: Direction) -> Vec<(u8, Option<SocketAddr>)> {
    data(events, direction).iter().map(|data| (data.bytes[2], data.peer)).collect()
}

#[test]
#[ignore = "needs root"]
fn sockets_without_a_peer_tell_that_of_each_datagram() {
    for (server, client) in [("127.83.11.57:53", "127.0.0.1:0"), ("[::1]:53", "[::1]:0")] {
        let mut observer = Observer::of_this_process().unwrap();
        let [server, client] = [server, client].map(|address| UdpSocket::bind(address).unwrap());
        let [at_server, at_client] = [&server, &client].map(|socket| socket.local_addr().unwrap());
        let mut buffer = [0; 100];
        client.send_to(b"question", at_server).unwrap();
        let (_, from) = server.recv_from(&mut buffer).unwrap();
        server.send_to(b"answer", from).unwrap();
        client.recv_from(&mut buffer).unwrap();
        client.send_to(b"Question", at_server).unwrap();
        // Who does not ask for the other end is not told it.
        server.recv(&mut buffer).unwrap();
        let events = collect(&mut observer, |events| data(events, Direction::Ingress).len() == 3);
        let (to_server, to_client) = (Some(at_server), Some(at_client));
        let sent = [(b'q', to_server), (b'a', to_client), (b'Q', to_server)];
        assert_eq!(peers(&events, Direction::Egress), sent);
        assert_eq!(peers(&events, Direction::Ingress), [(b'q', to_client), (b'a', to_server), (b'Q', None)]);
        let opened = opened(&events);
        let roles: Vec<_> = opened.iter().map(|opened| (&opened.local, opened.role)).collect();
        let [client, server] = [at_client, at_server].map(Endpoint::Ip);
        assert_eq!(roles, [(&client, Role::Connected), (&server, Role::Accepted)]);
    }
}

/// Calls `call` with messages of one byte each, every one with room for an address.
fn with_messages<const N: usize>(
    mut texts: [u8; N],
    to: Option<SocketAddrV4>,
    call: impl FnOnce(&mut [libc::mmsghdr; N]) -> i64,
) -> i64 {
    // SAFETY: zeros are an address of no family.
    let mut names: [libc::sockaddr_in; N] = unsafe { std::mem::zeroed() };
    if let Some(to) = to {
        for name in &mut names {
            name.sin_family = libc::AF_INET as u16;
            name.sin_port = to.port().to_be();
            name.sin_addr.s_addr = u32::from_ne_bytes(to.ip().octets());
        }
    }
    let mut vectors =
        texts.each_mut().map(|text| libc::iovec { iov_base: std::ptr::from_mut(text).cast(), iov_len: 1 });
    let mut messages = std::array::from_fn(|at| {
        // SAFETY: zeros are a message without a name, a vector or control bytes.
        let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
        message.msg_hdr.msg_name = (&raw mut names[at]).cast();
        message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
        message.msg_hdr.msg_iov = &raw mut vectors[at];
        message.msg_hdr.msg_iovlen = 1;
        message
    });
    call(&mut messages)
}

#[test]
#[ignore = "needs root"]
fn calls_with_messages_tell_the_other_end_of_each() {
    let mut observer = Observer::of_this_process().unwrap();
    let server = UdpSocket::bind("127.83.11.58:53").unwrap();
    let clients = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    let SocketAddr::V4(to) = server.local_addr().unwrap() else { panic!("of IPv4") };
    let [one, other] = clients.each_ref().map(|client| (client.as_raw_fd(), client.local_addr().unwrap()));
    let fd = server.as_raw_fd();
    let sent = with_messages(*b"1", Some(to), |messages| {
        // SAFETY: the message lives until the call returns, with all that it points to.
        unsafe { libc::sendmsg(one.0, &messages[0].msg_hdr, 0) as i64 }
    });
    let sent_more = with_messages(*b"23", Some(to), |messages| {
        // SAFETY: as above, of two messages.
        unsafe { libc::sendmmsg(other.0, messages.as_mut_ptr(), 2, 0).into() }
    });
    let received = with_messages([0], None, |messages| {
        // SAFETY: as above, of one.
        unsafe { libc::recvmsg(fd, &raw mut messages[0].msg_hdr, 0) as i64 }
    });
    let received_more = with_messages([0; 2], None, |messages| {
        // SAFETY: as above, of two.
        unsafe { libc::recvmmsg(fd, messages.as_mut_ptr(), 2, 0, std::ptr::null_mut()).into() }
    });
    assert_eq!((sent, sent_more, received, received_more), (1, 2, 1, 2));
    let events = collect(&mut observer, |events| data(events, Direction::Ingress).len() == 3);
    let to = Some(SocketAddr::V4(to));
    assert_eq!(peers(&events, Direction::Egress), [(b'1', to), (b'2', to), (b'3', to)]);
    let from = [(b'1', Some(one.1)), (b'2', Some(other.1)), (b'3', Some(other.1))];
    assert_eq!(peers(&events, Direction::Ingress), from);
}
