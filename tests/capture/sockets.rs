//! The life of sockets: who opened them, older ones, those that were handed to another process.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process;
use std::time::Duration;

use remora::capture::Observation;
use remora_engine::event::{ConnectionId, Data, Direction, Endpoint, Event, EventKind, Opened, Role};
use remora_tests::observer::Observer;
use remora_tests::scratch::Scratch;
use remora_tests::wait;

fn pair(ip: IpAddr) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    (client, server)
}

fn exchange(mut client: impl std::io::Write, mut server: impl std::io::Read) {
    client.write_all(b"hello").unwrap();
    let mut buffer = [0; 5];
    server.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"hello");
}

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

fn opened(events: &[Event]) -> Vec<(ConnectionId, Opened)> {
    let of = |event: &Event| match &event.kind {
        EventKind::Opened(opened) => Some((event.connection, opened.clone())),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

fn data(events: &[Event]) -> Vec<(ConnectionId, Data)> {
    let of = |event: &Event| match &event.kind {
        EventKind::Data(data) => Some((event.connection, data.clone())),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

#[test]
#[ignore = "needs root"]
fn both_ends_of_a_tcp_connection_say_who_opened_it() {
    for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let mut observer = Observer::of_this_process().unwrap();
        let (client, server) = pair(ip);
        exchange(&client, &server);
        let events = collect(&mut observer, |events| data(events).len() == 2);
        let opened = opened(&events);
        let [(_, first), (_, second)] = &opened[..] else { panic!("two ends: {opened:?}") };
        let address = |stream: &TcpStream| Endpoint::Ip(stream.local_addr().unwrap());
        let (connected, accepted) =
            if first.role == Role::Connected { (first, second) } else { (second, first) };
        assert_eq!((connected.role, accepted.role), (Role::Connected, Role::Accepted));
        assert_eq!((&connected.local, &connected.peer), (&address(&client), &address(&server)));
        assert_eq!((&accepted.local, &accepted.peer), (&address(&server), &address(&client)));
    }
}

#[test]
#[ignore = "needs root"]
fn connections_that_are_older_than_the_agent_are_seen() {
    let (client, server) = pair(IpAddr::V4(Ipv4Addr::LOCALHOST));
    exchange(&client, &server);
    let mut observer = Observer::of_this_process().unwrap();
    exchange(&client, &server);
    let events = collect(&mut observer, |events| data(events).len() == 2);
    let data = data(&events);
    assert_eq!(data[0].1.position, data[1].1.position, "both ends name the same byte");
    assert!(data.iter().all(|(_, data)| &data.bytes[..] == b"hello"));
    let peers: Vec<_> = opened(&events).into_iter().map(|(_, opened)| opened.peer).collect();
    assert!(peers.contains(&Endpoint::Ip(client.local_addr().unwrap())), "{peers:?}");
    assert!(peers.contains(&Endpoint::Ip(server.local_addr().unwrap())), "{peers:?}");
}

#[test]
#[ignore = "needs root"]
fn the_end_of_a_stream_and_of_a_socket_are_told() {
    let mut observer = Observer::of_this_process().unwrap();
    let (client, mut server) = pair(IpAddr::V4(Ipv4Addr::LOCALHOST));
    exchange(&client, &server);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
    drop((client, server));
    let closed =
        |events: &[Event]| events.iter().filter(|event| matches!(event.kind, EventKind::Closed(_))).count();
    let events = collect(&mut observer, |events| closed(events) == 2);
    let reader = data(&events).into_iter().find(|(_, data)| data.direction == Direction::Ingress).unwrap().0;
    assert!(events.iter().any(|event| event.connection == reader && matches!(event.kind, EventKind::Eof(_))));
}

#[test]
#[ignore = "needs root"]
fn unix_sockets_carry_the_name_of_the_listening_side() {
    let scratch = Scratch::new("unix").unwrap();
    let path = scratch.path().join("socket");
    let mut observer = Observer::of_this_process().unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    let client = UnixStream::connect(&path).unwrap();
    let (server, _) = listener.accept().unwrap();
    exchange(&client, &server);
    let events = collect(&mut observer, |events| data(events).len() == 2);
    let opened = opened(&events);
    let name = Endpoint::Unix(path.to_str().unwrap().to_owned());
    let (client_id, connected) = opened.iter().find(|(_, opened)| opened.role == Role::Connected).unwrap();
    let (server_id, accepted) = opened.iter().find(|(_, opened)| opened.role == Role::Accepted).unwrap();
    assert_eq!((&connected.peer, &accepted.local), (&name, &name));
    assert_eq!(connected.peer_sock, Some(server_id.sock), "each end names the other");
    assert_eq!(accepted.peer_sock, Some(client_id.sock), "each end names the other");
}

#[test]
#[ignore = "needs root"]
fn two_descriptors_are_one_connection() {
    let mut observer = Observer::of_this_process().unwrap();
    let (client, server) = pair(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let copy = client.try_clone().unwrap();
    exchange(&client, &server);
    exchange(&copy, &server);
    let events = collect(&mut observer, |events| data(events).len() == 4);
    let sent: Vec<_> =
        data(&events).into_iter().filter(|(_, data)| data.direction == Direction::Egress).collect();
    let [(first, hello), (second, again)] = &sent[..] else { panic!("two messages: {sent:?}") };
    assert_eq!(first, second);
    assert_eq!(hello.position.wrapping_add(hello.length), again.position);
}
