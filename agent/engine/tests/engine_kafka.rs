//! Kafka through the whole engine: producers' spans, links, queue time, and what is not told.

#[path = "support/kafka.rs"]
mod kafka;

use std::net::SocketAddr;

use bytes::Bytes;
use kafka::{Batch, FETCH, HEARTBEAT, PRODUCE, fetch, fetched, produce, produced, record, request, response};
use remora_engine::event::{
    ConnectionId, Data, Direction, Endpoint, Event, EventKind, Executor, Opened, Role, Scheduling,
};
use remora_engine::semconv::Value;
use remora_engine::span::{Span, SpanKind};
use remora_engine::{Engine, Settings};

const PARENT: (&str, &str) = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
const STEP_NS: u64 = 1_000_000;

/// A client's end of a connection to a broker that is not observed.
struct Client {
    connection: ConnectionId,
    executor: Executor,
    egress: u32,
    ingress: u32,
}

struct World {
    engine: Engine,
    now_ns: u64,
}

impl World {
    fn new() -> Self {
        let mut engine = Engine::new(Settings::default());
        [1, 2].into_iter().for_each(|tgid| engine.handle_process(tgid, Scheduling::Threads));
        Self { engine, now_ns: 0 }
    }

    fn send(&mut self, connection: ConnectionId, kind: EventKind) {
        self.now_ns += STEP_NS;
        self.engine.handle_event(Event { connection, at_ns: self.now_ns, kind });
    }

    fn connect(&mut self, tgid: u32) -> Client {
        let connection = ConnectionId { sock: u64::from(tgid), inode: 1 };
        let executor = Executor { tgid, tid: tgid, ..Executor::default() };
        let address = |port| Endpoint::Ip(SocketAddr::from(([127, 0, 0, 1], port)));
        let opened = Opened {
            executor,
            local: address(40_000 + tgid as u16),
            peer: address(9092),
            role: Role::Connected,
            is_datagram: false,
            peer_sock: None,
            first: None,
        };
        self.send(connection, EventKind::Opened(opened));
        Client { connection, executor, egress: tgid * 1_000_000, ingress: tgid * 1_000_000 + 500_000 }
    }

    fn moved(&mut self, client: &mut Client, direction: Direction, bytes: Vec<u8>) {
        let (own, other) = match direction {
            Direction::Egress => (&mut client.egress, client.ingress),
            Direction::Ingress => (&mut client.ingress, client.egress),
        };
        let (position, length) = (*own, bytes.len() as u32);
        *own += length;
        let data = Data {
            direction,
            position,
            reverse_position: other,
            is_absolute: true,
            length,
            bytes: Bytes::from(bytes),
            peer: None,
            inserted: None,
            executor: client.executor,
        };
        self.send(client.connection, EventKind::Data(data));
    }

    fn call(&mut self, client: &mut Client, asked: Vec<u8>, answered: Vec<u8>) {
        self.moved(client, Direction::Egress, asked);
        self.moved(client, Direction::Ingress, answered);
    }

    fn spans(&mut self) -> Vec<Span> {
        self.engine.finish(self.now_ns);
        std::iter::from_fn(|| self.engine.poll_span()).collect()
    }

    fn untold(&self) -> u64 {
        let counters = self.engine.counters();
        counters
            .iter()
            .find(|counter| counter.family == "exchanges_untold")
            .map_or(0, |counter| counter.value)
    }
}

fn batch(records: &[Vec<u8>]) -> Batch {
    Batch::new(41, records)
}

/// Sends a batch on one connection and receives it on another.
fn deliver(batch: &Batch) -> (World, Vec<Span>) {
    let mut world = World::new();
    let (mut producer, mut consumer) = (world.connect(1), world.connect(2));
    let sent = produce(-1, &[("orders", &[(0, batch.unwritten())])]);
    let written = produced("orders", &[(0, 0, batch.base_offset)]);
    world.call(&mut producer, request(PRODUCE, 3, 1, false, &sent), response(1, false, &written));
    let empty = fetched(&[]);
    world.call(&mut consumer, request(FETCH, 4, 1, false, &fetch("orders")), response(1, false, &empty));
    let brought = fetched(&[("orders", &[(0, batch.bytes())])]);
    world.call(&mut consumer, request(FETCH, 4, 2, false, &fetch("orders")), response(2, false, &brought));
    let spans = world.spans();
    (world, spans)
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found.next().unwrap_or_else(|| panic!("no {name} in {spans:?}"));
    assert!(found.next().is_none(), "several {name}");
    span
}

#[test]
fn a_poll_is_linked_to_the_sending_of_what_it_brought_and_tells_how_long_that_took() {
    let (world, spans) = deliver(&batch(&[record(b"a", &[]), record(b"b", &[])]));
    let (sent, polled) = (named(&spans, "send orders"), named(&spans, "poll orders"));
    assert_eq!((sent.kind, polled.kind), (SpanKind::Producer, SpanKind::Client));
    let links: Vec<_> = polled.links.iter().map(|link| (link.trace_id, link.span_id)).collect();
    assert_eq!(links, [(sent.trace_id, sent.span_id)]);
    let waited = polled.attributes.iter().find(|(key, _)| *key == "remora.message.queue_time");
    assert!(matches!(waited, Some((_, Value::Double(seconds))) if *seconds > 0.0), "{polled:?}");
    assert_eq!((spans.len(), world.untold()), (2, 1), "the poll that brought nothing is not told");
}

#[test]
fn a_context_that_a_record_carries_continues_the_trace_of_who_made_it() {
    let (_, spans) = deliver(&batch(&[record(b"a", &[PARENT])]));
    let (sent, polled) = (named(&spans, "send orders"), named(&spans, "poll orders"));
    assert_eq!(sent.trace_id.0[0], 0x4b);
    assert_eq!(sent.parent.map(|parent| parent.span_id.0[1]), Some(0xf0));
    let links: Vec<_> = polled.links.iter().map(|link| link.span_id).collect();
    assert!(links.contains(&sent.span_id) && links.len() == 2, "who made it, and who sent it: {links:?}");
}

#[test]
fn heartbeats_are_told_only_where_they_fail_and_a_poll_that_ends_with_its_connection_is_not() {
    let mut world = World::new();
    let mut consumer = world.connect(1);
    let heartbeat = |number| request(HEARTBEAT, 0, number, false, b"\0\x04shop\0\0\0\x01\0\x01m");
    for (number, error) in [(1, 0i16), (2, 27), (3, 25)] {
        world.call(&mut consumer, heartbeat(number), response(number, false, &error.to_be_bytes()));
    }
    world.moved(&mut consumer, Direction::Egress, request(FETCH, 4, 4, false, &fetch("orders")));
    world.send(
        consumer.connection,
        EventKind::Closed(remora_engine::event::Closed {
            executor: Some(consumer.executor),
            received: None,
            sequence_sent: None,
            seen: 0,
        }),
    );
    let spans = world.spans();
    let failed = named(&spans, "Heartbeat");
    let error = failed.attributes.iter().find(|(key, _)| *key == "error.type");
    assert!(matches!(error, Some((_, Value::Text(error))) if error == "UNKNOWN_MEMBER_ID"));
    assert_eq!((spans.len(), world.untold()), (1, 3));
}

#[test]
fn what_was_written_although_another_partition_failed_is_linked() {
    let mut world = World::new();
    let (mut producer, mut consumer) = (world.connect(1), world.connect(2));
    let (lost, kept) = (batch(&[record(b"a", &[])]), Batch::new(7, &[record(b"b", &[])]));
    let sent = produce(-1, &[("orders", &[(0, lost.unwritten()), (1, kept.unwritten())])]);
    let written = produced("orders", &[(0, 6, -1), (1, 0, 7)]);
    world.call(&mut producer, request(PRODUCE, 3, 1, false, &sent), response(1, false, &written));
    let brought = fetched(&[("orders", &[(1, kept.bytes())])]);
    world.call(&mut consumer, request(FETCH, 4, 1, false, &fetch("orders")), response(1, false, &brought));
    let spans = world.spans();
    let (sent, polled) = (named(&spans, "send orders"), named(&spans, "poll orders"));
    assert!(
        matches!(&sent.status, remora_engine::span::Status::Error(text) if text == "1 of 2 partitions failed")
    );
    assert_eq!(polled.links.iter().map(|link| link.span_id).collect::<Vec<_>>(), [sent.span_id]);
}

/// A client that takes an answer in pieces, of which a short one may be the beginning of anything.
#[test]
fn the_rest_of_an_answer_that_was_under_way_does_not_hide_the_next_one() {
    let mut world = World::new();
    let mut consumer = world.connect(1);
    let of = |correlation: i32| {
        let batch = Batch::new(i64::from(correlation), &[record(b"an order", &[])]);
        response(correlation, false, &fetched(&[("orders", &[(0, batch.bytes())])]))
    };
    let under_way = of(1);
    world.moved(&mut consumer, Direction::Ingress, under_way[..8].to_vec());
    world.moved(&mut consumer, Direction::Ingress, under_way[8..60].to_vec());
    world.moved(&mut consumer, Direction::Ingress, vec![0; 3]);
    for correlation in 2..4 {
        let asked = request(FETCH, 4, correlation, false, &fetch("orders"));
        world.call(&mut consumer, asked, of(correlation));
    }
    let spans = world.spans();
    let polls = spans.iter().filter(|span| span.name == "poll orders").count();
    assert_eq!(polls, 2, "{spans:?}");
}
