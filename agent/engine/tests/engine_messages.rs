//! Messages of queues: links from their receipt to who sent them, and the work that they ask for.

use std::net::SocketAddr;

use bytes::Bytes;
use remora_engine::event::{
    Closed, ConnectionId, Data, Direction, Endpoint, Event, EventKind, Executor, Opened, PipeRead, Role,
    Scheduling, Task,
};
use remora_engine::span::{Span, SpanKind, Status};
use remora_engine::{Engine, Settings};

const JOB: &str = "5f3a9e70-12cd-4e8b-9a61-3b1c8f0d7e21";
const OTHER_JOB: &str = "0d4b7c1e-93a5-4a0e-8f6b-2c5d1e9f8a70";
const REDIS: u16 = 6379;
const PRODUCER: u32 = 1;
const WORKER: u32 = 2;

/// A client's end of a connection to a server that is not observed.
struct Client {
    connection: ConnectionId,
    executor: Executor,
    egress: u32,
    ingress: u32,
}

struct World {
    engine: Engine,
    now_ns: u64,
    sockets: u64,
}

impl World {
    fn new(scheduling: Scheduling) -> Self {
        let mut engine = Engine::new(Settings::default());
        [PRODUCER, WORKER].into_iter().for_each(|tgid| engine.handle_process(tgid, scheduling));
        Self { engine, now_ns: 0, sockets: 0 }
    }

    fn send(&mut self, connection: ConnectionId, kind: EventKind) {
        self.now_ns += 1_000_000;
        self.engine.handle_event(Event { connection, at_ns: self.now_ns, kind });
    }

    fn connect(&mut self, tgid: u32, port: u16) -> Client {
        self.sockets += 1;
        let connection = ConnectionId { sock: self.sockets, inode: 1 };
        let executor = Executor { tgid, tid: tgid, ..Executor::default() };
        let address = |port| Endpoint::Ip(SocketAddr::from(([127, 0, 0, 1], port)));
        let opened = Opened {
            executor,
            local: address(40_000 + self.sockets as u16),
            peer: address(port),
            role: Role::Connected,
            is_datagram: false,
            peer_sock: None,
            first: None,
        };
        self.send(connection, EventKind::Opened(opened));
        let first = self.sockets as u32 * 1_000_000;
        Client { connection, executor, egress: first, ingress: first + 500_000 }
    }

    fn moved(&mut self, client: &mut Client, direction: Direction, text: &str) {
        self.moved_bytes(client, direction, text.as_bytes());
    }

    fn moved_bytes(&mut self, client: &mut Client, direction: Direction, text: &[u8]) {
        let (position, reverse_position) = match direction {
            Direction::Egress => (client.egress, client.ingress),
            Direction::Ingress => (client.ingress, client.egress),
        };
        match direction {
            Direction::Egress => client.egress += text.len() as u32,
            Direction::Ingress => client.ingress += text.len() as u32,
        }
        let data = Data {
            direction,
            position,
            reverse_position,
            is_absolute: true,
            length: text.len() as u32,
            bytes: Bytes::copy_from_slice(text),
            peer: None,
            inserted: None,
            executor: client.executor,
        };
        self.send(client.connection, EventKind::Data(data));
    }

    fn ask(&mut self, client: &mut Client, words: &[&str]) {
        self.moved(client, Direction::Egress, &array(words));
    }

    fn answer(&mut self, client: &mut Client, reply: &str) {
        self.moved(client, Direction::Ingress, reply);
    }

    fn call(&mut self, client: &mut Client, words: &[&str], reply: &str) {
        self.ask(client, words);
        self.answer(client, reply);
    }

    /// A request over HTTP.
    fn fetch(&mut self, client: &mut Client) {
        self.moved(client, Direction::Egress, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        self.moved(client, Direction::Ingress, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }

    /// Returns all spans, also of work that is not known to be over.
    fn spans(&mut self) -> Vec<Span> {
        self.engine.finish(self.now_ns);
        std::iter::from_fn(|| self.engine.poll_span()).collect()
    }

    fn counter(&self, family: &str, label: &str) -> u64 {
        let counters = self.engine.counters();
        let is_meant = |family_label: (&str, &str)| family_label == (family, label);
        counters.iter().filter(|counter| is_meant((counter.family, counter.label))).map(|c| c.value).sum()
    }
}

fn array(words: &[&str]) -> String {
    let strings: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{strings}", words.len())
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn only<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found = named(spans, name);
    assert_eq!(found.len(), 1, "{name} in {spans:?}");
    found[0]
}

fn is_linked(from: &Span, to: &Span) -> bool {
    from.links.len() == 1 && from.links[0].trace_id == to.trace_id && from.links[0].span_id == to.span_id
}

fn is_child(child: &Span, parent: &Span) -> bool {
    child.trace_id == parent.trace_id && child.parent.is_some_and(|it| it.span_id == parent.span_id)
}

/// A producer pushes, a worker's thread waits for messages, and both have other connections.
struct Scene {
    world: World,
    producer: Client,
    queue: Client,
    service: Client,
}

fn scene(scheduling: Scheduling) -> Scene {
    let mut world = World::new(scheduling);
    let producer = world.connect(PRODUCER, REDIS);
    let queue = world.connect(WORKER, REDIS);
    let service = world.connect(WORKER, 80);
    Scene { world, producer, queue, service }
}

const ASK: &[&str] = &["BRPOP", "jobs", "0"];

/// Frames of AMQP on channel 1.
mod amqp {
    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short");
        [&[kind, 0, 1][..], &length.to_be_bytes(), payload, b"\xce"].concat()
    }

    fn short_string(text: &str) -> Vec<u8> {
        [&[text.len() as u8], text.as_bytes()].concat()
    }

    /// A content that has its body for a `correlation-id` too.
    fn content(body: &str) -> Vec<u8> {
        let (size, id) = ((body.len() as u64).to_be_bytes(), short_string(body));
        [frame(2, &[&[0, 60, 0, 0][..], &size, &[4, 0], &id].concat()), frame(3, body.as_bytes())].concat()
    }

    pub(super) fn publish(queue: &str, body: &str) -> Vec<u8> {
        let method = [&[0, 60, 0, 40, 0, 0, 0][..], &short_string(queue), &[0]].concat();
        [frame(1, &method), content(body)].concat()
    }

    pub(super) fn consume(queue: &str) -> Vec<u8> {
        frame(
            1,
            &[&[0, 60, 0, 20, 0, 0][..], &short_string(queue), &short_string("tag"), &[0, 0, 0, 0, 0]]
                .concat(),
        )
    }

    pub(super) fn consume_ok() -> Vec<u8> {
        frame(1, &[&[0, 60, 0, 21][..], &short_string("tag")].concat())
    }

    pub(super) fn deliver(tag: u8, queue: &str, body: &str) -> Vec<u8> {
        let tag = [0, 0, 0, 0, 0, 0, 0, tag];
        let method =
            [&[0, 60, 0, 60][..], &short_string("tag"), &tag, &[0, 0], &short_string(queue)].concat();
        [frame(1, &method), content(body)].concat()
    }

    pub(super) fn ack(tag: u8) -> Vec<u8> {
        frame(1, &[0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, tag, 0])
    }

    pub(super) fn reject(tag: u8) -> Vec<u8> {
        frame(1, &[0, 60, 0, 90, 0, 0, 0, 0, 0, 0, 0, tag, 0])
    }
}

const RABBITMQ: u16 = 5672;

/// A producer publishes, a worker consumes, and has a connection to a service.
struct Rabbit {
    world: World,
    producer: Client,
    consumer: Client,
    service: Client,
    tag: u8,
}

impl Rabbit {
    /// Returns a worker whose threads were seen to go on with what they read, so many times.
    fn proven(scheduling: Scheduling, times: u8) -> Self {
        let mut world = World::new(scheduling);
        let (mut producer, mut consumer) =
            (world.connect(PRODUCER, RABBITMQ), world.connect(WORKER, RABBITMQ));
        for client in [&mut producer, &mut consumer] {
            world.moved_bytes(client, Direction::Egress, b"AMQP\x00\x00\x09\x01");
        }
        world.moved_bytes(&mut consumer, Direction::Egress, &amqp::consume("jobs"));
        world.moved_bytes(&mut consumer, Direction::Ingress, &amqp::consume_ok());
        let service = world.connect(WORKER, 80);
        let mut rabbit = Self { world, producer, consumer, service, tag: 0 };
        for time in 0..times {
            rabbit.read(&format!("{JOB} {time}"));
            rabbit.fetch();
            rabbit.write(&amqp::ack(rabbit.tag));
        }
        rabbit
    }

    fn send(&mut self, body: &str) {
        self.world.moved_bytes(&mut self.producer, Direction::Egress, &amqp::publish("jobs", body));
    }

    /// The worker reads a message.
    fn read(&mut self, body: &str) {
        self.tag += 1;
        let bytes = amqp::deliver(self.tag, "jobs", body);
        self.world.moved_bytes(&mut self.consumer, Direction::Ingress, &bytes);
    }

    /// The worker writes to the server.
    fn write(&mut self, bytes: &[u8]) {
        self.world.moved_bytes(&mut self.consumer, Direction::Egress, bytes);
    }

    /// The worker calls the service.
    fn fetch(&mut self) {
        self.world.fetch(&mut self.service);
    }

    /// The worker's thread waits for events.
    fn wait(&mut self) {
        self.consumer.executor.turn += 1;
        self.service.executor.turn += 1;
    }
}

#[test]
fn a_pushed_message_is_worked_on_until_it_is_acknowledged() {
    let mut rabbit = Rabbit::proven(Scheduling::Threads, 3);
    rabbit.send(JOB);
    rabbit.read(JOB);
    rabbit.fetch();
    rabbit.fetch();
    rabbit.write(&amqp::ack(4));
    let acknowledged_ns = rabbit.world.now_ns;
    rabbit.fetch();
    let spans = rabbit.world.spans();
    let (sent, works, calls) =
        (only(&spans, "send jobs"), named(&spans, "process jobs"), named(&spans, "GET"));
    assert_eq!((sent.kind, works.len(), calls.len()), (SpanKind::Producer, 4, 6));
    let work = works[3];
    assert!(is_linked(work, sent));
    assert_eq!((work.kind, work.parent, work.ended_at_ns), (SpanKind::Consumer, None, acknowledged_ns));
    assert!(is_child(calls[3], work) && is_child(calls[4], work));
    assert_eq!(calls[5].parent, None, "what follows the word on a message is for nobody known");
}

#[test]
fn threads_are_believed_to_work_on_what_they_read_once_they_were_seen_to() {
    let mut rabbit = Rabbit::proven(Scheduling::Threads, 6);
    let spans = rabbit.world.spans();
    // Nothing is known of the first message of a connection; two more are the proof.
    let parents: Vec<bool> = named(&spans, "GET").iter().map(|call| call.parent.is_some()).collect();
    assert_eq!(parents, [false, false, false, true, true, true]);
    assert_eq!(named(&spans, "process jobs").len(), 6);
}

#[test]
fn several_messages_without_a_word_have_links_and_no_calls() {
    let mut rabbit = Rabbit::proven(Scheduling::Threads, 3);
    for body in [JOB, OTHER_JOB] {
        rabbit.send(body);
        rabbit.read(body);
    }
    rabbit.fetch();
    rabbit.write(&amqp::ack(4));
    rabbit.fetch();
    rabbit.write(&amqp::ack(5));
    rabbit.read(&format!("{JOB} again"));
    rabbit.fetch();
    let spans = rabbit.world.spans();
    let (works, calls) = (named(&spans, "process jobs"), named(&spans, "GET"));
    for (work, sent) in works[3..5].iter().zip(named(&spans, "send jobs")) {
        assert!(is_linked(work, sent));
    }
    assert_eq!((calls[3].parent, calls[4].parent), (None, None), "of either");
    assert!(is_child(calls[5], works[5]), "the only one again");
}

#[test]
fn an_event_loop_that_goes_on_with_others_is_not_believed() {
    let mut rabbit = Rabbit::proven(Scheduling::Threads, 3);
    rabbit.read(JOB);
    rabbit.wait();
    rabbit.fetch();
    rabbit.write(&amqp::ack(4));
    // It read the answer to a call in a later turn: from here on, all that was proven counts for nothing.
    rabbit.read(OTHER_JOB);
    rabbit.fetch();
    let spans = rabbit.world.spans();
    assert!(named(&spans, "GET")[3..].iter().all(|call| call.parent.is_none()), "{spans:#?}");
}

#[test]
fn a_message_that_another_thread_acknowledges_may_be_anybodys() {
    let mut rabbit = Rabbit::proven(Scheduling::Threads, 3);
    rabbit.read(JOB);
    let reader = rabbit.consumer.executor;
    rabbit.consumer.executor.tid += 1;
    rabbit.write(&amqp::ack(4));
    rabbit.consumer.executor = reader;
    rabbit.read(OTHER_JOB);
    rabbit.fetch();
    assert_eq!(named(&rabbit.world.spans(), "GET")[3].parent, None);
}

#[test]
fn a_message_that_came_with_an_answer_is_put_aside() {
    let mut rabbit = Rabbit::proven(Scheduling::Threads, 3);
    rabbit.write(&amqp::consume("jobs"));
    let both = [amqp::consume_ok(), amqp::deliver(4, "jobs", JOB)].concat();
    rabbit.world.moved_bytes(&mut rabbit.consumer, Direction::Ingress, &both);
    rabbit.fetch();
    assert_eq!(named(&rabbit.world.spans(), "GET")[3].parent, None);
}

#[test]
fn a_message_that_was_read_while_another_was_acknowledged_is_put_aside() {
    let mut rabbit = Rabbit::proven(Scheduling::Threads, 3);
    rabbit.wait();
    rabbit.read(JOB);
    rabbit.fetch();
    rabbit.wait();
    rabbit.write(&amqp::ack(4));
    // In the same turn: the work on the one before may go on.
    rabbit.read(OTHER_JOB);
    rabbit.fetch();
    let spans = rabbit.world.spans();
    let calls = named(&spans, "GET");
    assert!(is_child(calls[3], named(&spans, "process jobs")[3]));
    assert_eq!(calls[4].parent, None);
}

#[test]
fn an_event_loop_of_another_kind_is_never_believed() {
    for scheduling in [Scheduling::EventLoop, Scheduling::Unproven, Scheduling::Turns] {
        let mut rabbit = Rabbit::proven(scheduling, 5);
        let spans = rabbit.world.spans();
        let works = named(&spans, "process jobs");
        assert!(named(&spans, "GET").iter().all(|call| !works.iter().any(|work| is_child(call, work))));
    }
}

#[test]
fn a_message_that_is_rejected_has_failed() {
    let mut rabbit = Rabbit::proven(Scheduling::Threads, 0);
    rabbit.read(JOB);
    rabbit.write(&amqp::reject(1));
    let spans = rabbit.world.spans();
    let work = only(&spans, "process jobs");
    assert_eq!(work.status, Status::Error(String::new()));
    assert!(work.attributes.contains(&("error.type".into(), "basic.reject".into())));
}

#[test]
fn messages_are_told_when_their_connection_ends() {
    let mut rabbit = Rabbit::proven(Scheduling::Threads, 0);
    rabbit.send(JOB);
    rabbit.read(JOB);
    let spans = rabbit.world.spans();
    assert!(is_linked(only(&spans, "process jobs"), only(&spans, "send jobs")));
}

#[test]
fn a_thread_that_waited_for_a_message_works_on_it_until_it_asks_again() {
    let Scene { mut world, mut producer, mut queue, mut service } = scene(Scheduling::Threads);
    world.ask(&mut queue, ASK);
    world.call(&mut producer, &["LPUSH", "jobs", JOB], ":1\r\n");
    world.answer(&mut queue, &array(&["jobs", JOB]));
    world.fetch(&mut service);
    world.fetch(&mut service);
    world.ask(&mut queue, ASK);
    let asked_ns = world.now_ns;
    world.fetch(&mut service);
    let spans = world.spans();
    let (sent, received, work) =
        (only(&spans, "LPUSH"), named(&spans, "BRPOP")[0], only(&spans, "process jobs"));
    assert!(is_linked(work, sent) && is_linked(received, sent));
    assert_eq!((work.kind, work.parent, work.tgid), (SpanKind::Consumer, None, WORKER));
    assert_eq!(work.ended_at_ns, asked_ns);
    let calls = named(&spans, "GET");
    assert_eq!(calls.iter().filter(|call| is_child(call, work)).count(), 2);
    assert_eq!(calls[2].parent, None, "nobody knows what it is for: {:?}", calls[2]);
    assert_eq!(world.counter("message_receipts", "linked"), 1);
}

#[test]
fn each_message_has_its_own_work() {
    let Scene { mut world, mut producer, mut queue, mut service } = scene(Scheduling::Threads);
    world.call(&mut producer, &["LPUSH", "jobs", JOB, OTHER_JOB], ":2\r\n");
    for job in [JOB, OTHER_JOB] {
        world.call(&mut queue, ASK, &array(&["jobs", job]));
        world.fetch(&mut service);
    }
    let spans = world.spans();
    let works = named(&spans, "process jobs");
    assert_eq!(works.len(), 2);
    assert_ne!(works[0].trace_id, works[1].trace_id);
    assert!(works.iter().all(|work| is_linked(work, only(&spans, "LPUSH"))));
    let calls = named(&spans, "GET");
    for (work, call) in works.iter().zip(calls) {
        assert!(is_child(call, work));
    }
}

#[test]
fn the_value_of_a_key_is_no_message() {
    let Scene { mut world, mut producer, mut queue, mut service } = scene(Scheduling::Threads);
    world.call(&mut producer, &["SET", "job", JOB], "+OK\r\n");
    world.call(&mut queue, &["GET", "job"], &format!("$36\r\n{JOB}\r\n"));
    world.call(&mut producer, &["LPUSH", "jobs", JOB], ":1\r\n");
    world.call(&mut queue, &["GET", "job"], &format!("$36\r\n{JOB}\r\n"));
    world.fetch(&mut service);
    let spans = world.spans();
    assert!(spans.iter().all(|span| span.links.is_empty() && span.parent.is_none()));
}

#[test]
fn a_thread_that_waited_for_events_meanwhile_works_on_anything() {
    let Scene { mut world, mut producer, mut queue, mut service } = scene(Scheduling::Threads);
    world.call(&mut producer, &["LPUSH", "jobs", JOB], ":1\r\n");
    world.ask(&mut queue, ASK);
    queue.executor.turn += 1;
    service.executor.turn += 1;
    world.answer(&mut queue, &array(&["jobs", JOB]));
    world.fetch(&mut service);
    let spans = world.spans();
    assert!(is_linked(only(&spans, "BRPOP"), only(&spans, "LPUSH")));
    assert_eq!(only(&spans, "GET").parent, None);
}

#[test]
fn a_message_of_another_queue_makes_it_ambiguous() {
    let Scene { mut world, mut producer, mut queue, mut service } = scene(Scheduling::Threads);
    world.call(&mut producer, &["LPUSH", "jobs", JOB], ":1\r\n");
    world.call(&mut queue, ASK, &array(&["jobs", JOB]));
    world.fetch(&mut service);
    world.call(&mut queue, &["RPOP", "parts"], &format!("$36\r\n{OTHER_JOB}\r\n"));
    world.fetch(&mut service);
    let spans = world.spans();
    let calls = named(&spans, "GET");
    assert!(is_child(calls[0], only(&spans, "process jobs")));
    assert_eq!(calls[1].parent, None, "of either");
    assert_eq!(world.counter("parent_refused", "ambiguous"), 1);
}

#[test]
fn a_queue_that_is_empty_asks_for_nothing() {
    let Scene { mut world, mut queue, mut service, .. } = scene(Scheduling::Threads);
    world.call(&mut queue, ASK, "*-1\r\n");
    world.fetch(&mut service);
    assert_eq!(only(&world.spans(), "GET").parent, None);
}

#[test]
fn a_stream_reaches_every_group() {
    let Scene { mut world, mut producer, mut queue, mut service } = scene(Scheduling::Threads);
    let mut other = world.connect(WORKER + 1, REDIS);
    world.engine.handle_process(WORKER + 1, Scheduling::Threads);
    let entries =
        "*1\r\n*2\r\n$6\r\norders\r\n*1\r\n*2\r\n$15\r\n1700000000000-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n";
    // The consumer often hears of it before the producer knows its position.
    world.ask(&mut producer, &["XADD", "orders", "*", "a", "b"]);
    world.call(
        &mut queue,
        &["XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "orders", ">"],
        entries,
    );
    world.answer(&mut producer, "$15\r\n1700000000000-0\r\n");
    world.fetch(&mut service);
    world.call(&mut other, &["XREADGROUP", "GROUP", "h", "c", "STREAMS", "orders", ">"], entries);
    let spans = world.spans();
    let (sent, received) = (only(&spans, "send orders"), named(&spans, "receive orders"));
    assert!(sent.kind == SpanKind::Producer && received.iter().all(|span| span.kind == SpanKind::Client));
    let work = only(&spans, "process orders");
    assert!(is_linked(work, sent) && is_child(only(&spans, "GET"), work));
    assert!(is_linked(received[1], sent));
}

#[test]
fn what_is_published_reaches_every_subscriber() {
    let Scene { mut world, mut producer, mut queue, .. } = scene(Scheduling::Threads);
    let mut other = world.connect(WORKER, REDIS);
    for subscriber in [&mut queue, &mut other] {
        world.call(subscriber, &["SUBSCRIBE", "news"], "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    }
    world.call(&mut producer, &["PUBLISH", "news", "hello"], ":2\r\n");
    for subscriber in [&mut queue, &mut other] {
        world.answer(subscriber, &array(&["message", "news", "hello"]));
    }
    world.answer(&mut other, &array(&["message", "news", "somebody else's"]));
    let spans = world.spans();
    let (sent, received) = (only(&spans, "publish news"), named(&spans, "process news"));
    assert_eq!((received.len(), sent.kind), (3, SpanKind::Producer));
    assert!(is_linked(received[0], sent) && is_linked(received[1], sent));
    assert!(received[2].links.is_empty());
    assert!(received.iter().all(|span| span.kind == SpanKind::Consumer && span.tgid == WORKER));
}

#[test]
fn a_script_that_brings_what_another_took_moves_messages() {
    let Scene { mut world, mut producer, mut queue, mut service } = scene(Scheduling::EventLoop);
    let add = &["EVALSHA", "aa", "1", "q:wait", JOB];
    let next = &["EVALSHA", "bb", "1", "q:wait", "token"];
    world.call(&mut producer, add, "$1\r\n1\r\n");
    world.call(&mut queue, next, &format!("*2\r\n*2\r\n$4\r\ndata\r\n$36\r\n{JOB}\r\n$1\r\n1\r\n"));
    world.fetch(&mut service);
    let spans = world.spans();
    let scripts = named(&spans, "EVALSHA");
    assert!(is_linked(scripts[1], scripts[0]));
    assert_eq!(only(&spans, "GET").parent, None, "an event loop may have others to work on");
}

/// What BullMQ packs with a job of the queue `bull:mails:` that gets a number of its own, and was made at `made_at_ms`.
fn packed(made_at_ms: u8) -> Vec<u8> {
    [&b"\x99\xabbull:mails:\xa0\xa4mail"[..], &[made_at_ms], b"\xc0\xc0\xc0\xc0\xc0"].concat()
}

/// The reply that brings a job.
fn taken(id: &str, made_at_ms: u8) -> String {
    let made_at_ms = made_at_ms.to_string();
    let fields = array(&["data", "timestamp", "timestamp", &made_at_ms, "name", "timestamp"]);
    format!("*4\r\n{fields}${}\r\n{id}\r\n:0\r\n:0\r\n", id.len())
}

const ADD: [&str; 4] = ["wait", "paused", "meta", "id"];
const TAKE: [&str; 6] = ["wait", "active", "prioritized", "events", "stalled", "limiter"];

/// A script of BullMQ, as it is called.
fn script(keys: &[&str], argument: &[u8]) -> Vec<u8> {
    let count = keys.len().to_string();
    let keys = keys.iter().map(|key| format!("bull:mails:{key}").into_bytes());
    let start = ["EVALSHA", "aa", &count].map(|word| word.as_bytes().to_vec());
    let words: Vec<_> = start.into_iter().chain(keys).chain([argument.to_vec(), b"{}".to_vec()]).collect();
    let strings =
        words.iter().map(|word| [format!("${}\r\n", word.len()).as_bytes(), word, b"\r\n"].concat());
    [format!("*{}\r\n", words.len()).into_bytes(), strings.collect::<Vec<_>>().concat()].concat()
}

#[test]
fn jobs_of_bullmq_are_known_by_their_numbers() {
    let Scene { mut world, mut producer, mut queue, mut service } = scene(Scheduling::TokenLoop);
    let add = |world: &mut World, producer: &mut Client| {
        world.moved_bytes(producer, Direction::Egress, &script(&ADD, &packed(1)));
    };
    let work = |world: &mut World, (queue, service): (&mut Client, &mut Client), token: u64, id: &str| {
        (queue.executor.token, service.executor.token) = (Some(token), Some(token));
        world.engine.handle_ask(WORKER, token, world.now_ns);
        world.moved_bytes(queue, Direction::Egress, &script(&TAKE, b"1790000000000"));
        world.answer(queue, &taken(id, 1));
        world.fetch(service);
    };
    add(&mut world, &mut producer);
    world.answer(&mut producer, "$1\r\n1\r\n");
    // The worker hears of the second one before its producer does.
    add(&mut world, &mut producer);
    work(&mut world, (&mut queue, &mut service), 70, "2");
    world.answer(&mut producer, "$1\r\n2\r\n");
    work(&mut world, (&mut queue, &mut service), 71, "1");
    work(&mut world, (&mut queue, &mut service), 72, "3");
    let spans = world.spans();
    let (works, calls) = (named(&spans, "process mails"), named(&spans, "GET"));
    let scripts: Vec<_> = named(&spans, "EVALSHA").into_iter().filter(|span| span.tgid == PRODUCER).collect();
    let [second, first, unknown] = works[..] else { panic!("{works:?}") };
    assert!(is_linked(first, scripts[0]) && is_linked(second, scripts[1]));
    assert!(unknown.links.is_empty(), "nobody was seen to add it");
    for work in works {
        assert_eq!(calls.iter().filter(|call| is_child(call, work)).count(), 1);
    }
}

/// Each server counts the jobs of its own queue.
#[test]
fn jobs_of_queues_of_one_name_on_several_servers_are_told_apart() {
    let Scene { mut world, mut producer, mut queue, .. } = scene(Scheduling::EventLoop);
    for made_at_ms in [1, 2, 3, 3] {
        world.moved_bytes(&mut producer, Direction::Egress, &script(&ADD, &packed(made_at_ms)));
        world.answer(&mut producer, "$1\r\n7\r\n");
    }
    for made_at_ms in [2, 1, 3, 4] {
        world.moved_bytes(&mut queue, Direction::Egress, &script(&TAKE, b"1790000000000"));
        world.answer(&mut queue, &taken("7", made_at_ms));
    }
    let spans = world.spans();
    let of = |tgid| named(&spans, "EVALSHA").into_iter().filter(|span| span.tgid == tgid).collect::<Vec<_>>();
    let (added, taken) = (of(PRODUCER), of(WORKER));
    assert_eq!((added.len(), taken.len()), (4, 4));
    assert!(is_linked(taken[0], added[1]) && is_linked(taken[1], added[0]));
    assert!(taken[2].links.is_empty(), "two were made at once");
    assert!(taken[3].links.is_empty(), "nobody was seen to add it");
    assert_eq!(world.counter("loss", "message_place_used_twice"), 1);
}

#[test]
fn jobs_of_bullmq_that_are_added_together_are_known_only_among_themselves() {
    let Scene { mut world, mut producer, mut queue, .. } = scene(Scheduling::EventLoop);
    let mut transaction = |ids: [&str; 2], other: Option<&str>| {
        world.call(&mut producer, &["MULTI"], "+OK\r\n");
        for made_at_ms in 1..=2 - other.map_or(0, |_| 1) {
            world.moved_bytes(&mut producer, Direction::Egress, &script(&ADD, &packed(made_at_ms)));
            world.answer(&mut producer, "+QUEUED\r\n");
        }
        if let Some(other) = other {
            world.call(&mut producer, &["GET", other], "+QUEUED\r\n");
        }
        world.call(&mut producer, &["EXEC"], &array(&ids));
    };
    transaction(["1", "2"], None);
    transaction(["3", "4"], Some("key"));
    for id in 1..=4 {
        world.moved_bytes(&mut queue, Direction::Egress, &script(&TAKE, b"1790000000000"));
        world.answer(&mut queue, &taken(&id.to_string(), id));
    }
    let spans = world.spans();
    let taken: Vec<_> = named(&spans, "EVALSHA").into_iter().filter(|span| span.tgid == WORKER).collect();
    let added = named(&spans, "EXEC");
    assert_eq!((taken.len(), added.len()), (4, 2));
    assert!(taken[..2].iter().all(|taken| is_linked(taken, added[0])));
    assert!(taken[2..].iter().all(|taken| taken.links.is_empty()));
}

#[test]
fn who_does_not_wait_for_messages_may_have_others_left() {
    let Scene { mut world, mut producer, mut queue, mut service } = scene(Scheduling::Threads);
    world.call(&mut producer, &["LPUSH", "jobs", JOB, OTHER_JOB], ":2\r\n");
    for job in [JOB, OTHER_JOB] {
        world.call(&mut queue, &["RPOP", "jobs"], &format!("$36\r\n{job}\r\n"));
    }
    world.fetch(&mut service);
    let spans = world.spans();
    assert!(named(&spans, "RPOP").iter().all(|received| is_linked(received, only(&spans, "LPUSH"))));
    assert_eq!(only(&spans, "GET").parent, None);
}

#[test]
fn tasks_that_were_started_for_a_message_work_on_it() {
    let Scene { mut world, mut producer, mut queue, mut service } = scene(Scheduling::Threads);
    const LOOP: u64 = 100;
    let of = |client: &mut Client, context| client.executor.task = Some(Task::Context(context));
    world.call(&mut producer, &["LPUSH", "jobs", JOB, OTHER_JOB], ":2\r\n");
    world.engine.handle_task(
        Executor { tgid: WORKER, tid: WORKER, ..Executor::default() },
        LOOP,
        world.now_ns,
    );
    for (task, job) in [(101, JOB), (102, OTHER_JOB)] {
        of(&mut queue, LOOP);
        world.ask(&mut queue, ASK);
        // The loop has waited, and has read the answer under some other context.
        queue.executor =
            Executor { turn: queue.executor.turn + 1, task: Some(Task::Context(1)), ..queue.executor };
        world.answer(&mut queue, &array(&["jobs", job]));
        of(&mut queue, LOOP);
        world.engine.handle_task(queue.executor, task, world.now_ns);
    }
    for task in [101, 102] {
        of(&mut service, task);
        world.fetch(&mut service);
    }
    let spans = world.spans();
    let (works, calls) = (named(&spans, "process jobs"), named(&spans, "GET"));
    assert_eq!(works.len(), 2);
    assert!(calls.iter().zip(works).all(|(call, work)| is_child(call, work)));
}

#[test]
fn a_goroutine_works_on_its_message_and_those_it_started_on_any() {
    let Scene { mut world, mut queue, mut service, .. } = scene(Scheduling::Migrating);
    let of = |client: &mut Client, id, parent| client.executor.task = Some(Task::Goroutine { id, parent });
    of(&mut queue, 10, 1);
    world.call(&mut queue, ASK, &array(&["jobs", JOB]));
    of(&mut service, 10, 1);
    world.fetch(&mut service);
    of(&mut service, 11, 10);
    world.fetch(&mut service);
    let spans = world.spans();
    let calls = named(&spans, "GET");
    assert!(is_child(calls[0], only(&spans, "process jobs")));
    assert_eq!(calls[1].parent, None);
}

#[test]
fn a_message_that_was_refused_was_not_sent() {
    let Scene { mut world, mut producer, mut queue, .. } = scene(Scheduling::Threads);
    world.call(&mut producer, &["LPUSH", "string", JOB], "-WRONGTYPE Operation\r\n");
    world.call(&mut producer, &["LPUSH", "jobs", JOB], ":1\r\n");
    world.call(&mut queue, ASK, &array(&["jobs", JOB]));
    let spans = world.spans();
    let pushes = named(&spans, "LPUSH");
    assert!(is_linked(only(&spans, "BRPOP"), pushes[1]));
}

#[test]
fn work_is_told_at_last_when_nothing_more_comes() {
    let Scene { mut world, mut queue, mut service, .. } = scene(Scheduling::Threads);
    world.call(&mut queue, ASK, &array(&["jobs", JOB]));
    world.fetch(&mut service);
    world.engine.handle_process_exit(WORKER, world.now_ns);
    let spans: Vec<_> = std::iter::from_fn(|| world.engine.poll_span()).collect();
    assert!(is_child(only(&spans, "GET"), only(&spans, "process jobs")));
    assert_eq!(world.counter("message_receipts", "unknown"), 1);
}

/// The pipe of a worker process, which its master has forked.
const PIPE: u64 = 0xffff_8881_0000_0000;
const FORKED: u32 = 3;

/// The master reads a job in a later turn than it has asked for it, as event loops do.
fn receive_by_loop(world: &mut World, queue: &mut Client, job: &str) {
    world.ask(queue, ASK);
    queue.executor.turn += 1;
    world.answer(queue, &array(&["jobs", job]));
}

/// A worker process reads from a pipe what its master has written there.
fn read_frame(world: &mut World, tgid: u32, pipe: u64, frame: &str) {
    let length = u32::try_from(frame.len()).expect("short").to_be_bytes();
    for bytes in [&length[..], frame.as_bytes()] {
        world.now_ns += 1_000_000;
        let executor = Executor { tgid, tid: tgid, ..Executor::default() };
        let (length, bytes) = (bytes.len() as u32, Bytes::copy_from_slice(bytes));
        world.engine.handle_pipe_read(&PipeRead { executor, pipe, length, bytes, at_ns: world.now_ns });
    }
}

#[test]
fn a_job_that_a_master_hands_to_a_worker_process_is_worked_on_there() {
    let Scene { mut world, mut producer, mut queue, .. } = scene(Scheduling::Threads);
    world.engine.handle_process(FORKED, Scheduling::Threads);
    world.engine.handle_worker(FORKED, WORKER);
    let mut service = world.connect(FORKED, 80);
    let message =
        |id| format!("{{\"body\": \"e30=\", \"headers\": {{\"id\": \"{id}\", \"root_id\": \"{JOB}\"}}}}");
    for job in [JOB, OTHER_JOB] {
        world.call(&mut producer, &["LPUSH", "jobs", &message(job)], ":1\r\n");
        receive_by_loop(&mut world, &mut queue, &message(job));
    }
    read_frame(&mut world, FORKED, PIPE, &format!("task {OTHER_JOB} of {JOB}"));
    world.fetch(&mut service);
    // What it reads from another pipe is of no matter.
    read_frame(&mut world, FORKED, PIPE + 1, &format!("output {JOB}"));
    world.fetch(&mut service);
    read_frame(&mut world, FORKED, PIPE, &format!("task {JOB}"));
    world.fetch(&mut service);
    read_frame(&mut world, FORKED, PIPE, "an end without any id");
    world.fetch(&mut service);
    let spans = world.spans();
    let (sent, work, calls) = (named(&spans, "LPUSH"), named(&spans, "process jobs"), named(&spans, "GET"));
    assert_eq!((sent.len(), work.len(), calls.len()), (2, 2, 4), "{spans:?}");
    assert!(work.iter().all(|work| work.kind == SpanKind::Consumer && work.tgid == FORKED));
    assert!(is_linked(work[0], sent[1]) && is_linked(work[1], sent[0]));
    assert!(is_child(calls[0], work[0]) && is_child(calls[1], work[0]) && is_child(calls[2], work[1]));
    assert_eq!(calls[3].parent, None);
}

#[test]
fn a_job_whose_receipt_was_not_seen_has_no_work() {
    let Scene { mut world, mut producer, mut queue, .. } = scene(Scheduling::Threads);
    world.engine.handle_process(FORKED, Scheduling::Threads);
    world.engine.handle_worker(FORKED, WORKER);
    let mut service = world.connect(FORKED, 80);
    let message = format!("{{\"id\": \"{JOB}\"}}");
    world.call(&mut producer, &["LPUSH", "jobs", &message], ":1\r\n");
    receive_by_loop(&mut world, &mut queue, &message);
    read_frame(&mut world, FORKED, PIPE, &format!("task {JOB}"));
    // The receipt of this one was lost.
    read_frame(&mut world, FORKED, PIPE, &format!("task {OTHER_JOB} of {JOB}"));
    world.fetch(&mut service);
    // And here some of what was read.
    receive_by_loop(&mut world, &mut queue, &message);
    read_frame(&mut world, FORKED, PIPE, &format!("task {JOB}"));
    world.engine.handle_lost_handovers();
    world.fetch(&mut service);
    // And this one is another's worker.
    const STRANGER: u32 = 4;
    world.engine.handle_worker(STRANGER, PRODUCER);
    let mut other = world.connect(STRANGER, 80);
    receive_by_loop(&mut world, &mut queue, &message);
    read_frame(&mut world, STRANGER, PIPE + 2, &format!("task {JOB}"));
    world.fetch(&mut other);
    let spans = world.spans();
    assert!(named(&spans, "GET").iter().all(|call| call.parent.is_none()), "{spans:?}");
}

#[test]
fn of_jobs_that_wait_under_one_id_no_worker_is_known_to_have_either() {
    let Scene { mut world, mut queue, .. } = scene(Scheduling::Threads);
    world.engine.handle_process(FORKED, Scheduling::Threads);
    world.engine.handle_worker(FORKED, WORKER);
    let mut service = world.connect(FORKED, 80);
    let messages = [1, 2, 3].map(|number| format!("{{\"tenant\": \"{JOB}\", \"number\": {number}}}"));
    messages.iter().for_each(|message| receive_by_loop(&mut world, &mut queue, message));
    for message in &messages {
        read_frame(&mut world, FORKED, PIPE, message);
        world.fetch(&mut service);
    }
    let spans = world.spans();
    assert!(named(&spans, "process jobs").is_empty(), "{spans:?}");
    assert!(named(&spans, "GET").iter().all(|call| call.parent.is_none()), "{spans:?}");
    assert_eq!(world.counter("message_receipts", "not_handed_on"), 3);
}

#[test]
fn a_job_that_two_masters_have_received_is_worked_on_by_the_workers_of_each() {
    const OTHER_MASTER: u32 = 4;
    const OTHER_FORKED: u32 = 5;
    let Scene { mut world, mut queue, .. } = scene(Scheduling::Threads);
    world.engine.handle_process(OTHER_MASTER, Scheduling::Threads);
    let mut other_queue = world.connect(OTHER_MASTER, REDIS);
    for (worker, master) in [(FORKED, WORKER), (OTHER_FORKED, OTHER_MASTER)] {
        world.engine.handle_process(worker, Scheduling::Threads);
        world.engine.handle_worker(worker, master);
    }
    let message = format!("{{\"id\": \"{JOB}\"}}");
    receive_by_loop(&mut world, &mut queue, &message);
    receive_by_loop(&mut world, &mut other_queue, &message);
    for worker in [FORKED, OTHER_FORKED] {
        let mut service = world.connect(worker, 80);
        read_frame(&mut world, worker, PIPE + u64::from(worker), &format!("task {JOB}"));
        world.fetch(&mut service);
    }
    let spans = world.spans();
    let (works, calls) = (named(&spans, "process jobs"), named(&spans, "GET"));
    let places: Vec<_> = works.iter().map(|work| (work.tgid, work.connection)).collect();
    assert_eq!(places, [(FORKED, queue.connection), (OTHER_FORKED, other_queue.connection)]);
    assert!(calls.iter().zip(works).all(|(call, work)| is_child(call, work)), "{spans:?}");
}

#[test]
fn what_a_worker_process_takes_from_a_queue_is_a_part_of_its_job() {
    let Scene { mut world, mut queue, .. } = scene(Scheduling::Threads);
    world.engine.handle_process(FORKED, Scheduling::Threads);
    world.engine.handle_worker(FORKED, WORKER);
    let (mut own, mut service) = (world.connect(FORKED, REDIS), world.connect(FORKED, 80));
    receive_by_loop(&mut world, &mut queue, &format!("{{\"id\": \"{JOB}\"}}"));
    read_frame(&mut world, FORKED, PIPE, &format!("task {JOB}"));
    world.call(&mut own, &["BRPOP", "parts", "0"], &array(&["parts", OTHER_JOB]));
    world.fetch(&mut service);
    world.call(&mut own, &["LPOP", "parts"], &format!("$36\r\n{OTHER_JOB}\r\n"));
    world.fetch(&mut service);
    let spans = world.spans();
    let work = only(&spans, "process jobs");
    let calls: Vec<_> =
        spans.iter().filter(|span| span.tgid == FORKED && span.span_id != work.span_id).collect();
    assert_eq!(calls.len(), 4, "{spans:?}");
    assert!(calls.iter().all(|call| is_child(call, work)), "{spans:?}");
}

#[test]
fn a_unit_that_asks_by_a_script_works_on_the_message_that_it_brings() {
    let Scene { mut world, mut producer, mut queue, mut service } = scene(Scheduling::TokenLoop);
    let message = format!("{{\"id\":\"{JOB}\"}}");
    world.call(&mut producer, &["LPUSH", "jobs", &message], ":1\r\n");
    for (token, is_asking) in [(50, true), (51, false)] {
        if is_asking {
            world.engine.handle_ask(WORKER, token, world.now_ns);
        }
        queue.executor.token = Some(token);
        service.executor.token = Some(token);
        world.call(&mut queue, &["EVALSHA", JOB, "0"], &array(&["data", &message]));
        world.fetch(&mut service);
    }
    let spans = world.spans();
    let (work, calls) = (only(&spans, "process"), named(&spans, "GET"));
    assert!(is_linked(work, only(&spans, "LPUSH")), "{spans:?}");
    assert!(is_child(calls[0], work), "{spans:?}");
    assert_eq!(calls[1].parent, None, "it has asked for nothing");
}

#[test]
fn a_pushed_job_that_a_master_hands_to_a_worker_process_is_worked_on_there() {
    let mut rabbit = Rabbit::proven(Scheduling::Threads, 0);
    let world = &mut rabbit.world;
    world.engine.handle_process(FORKED, Scheduling::Threads);
    world.engine.handle_worker(FORKED, WORKER);
    let mut service = world.connect(FORKED, 80);
    for job in [JOB, OTHER_JOB] {
        rabbit.send(job);
        rabbit.read(job);
    }
    // The master says so as soon as the worker has it.
    for (job, tag) in [(OTHER_JOB, 2), (JOB, 1)] {
        read_frame(&mut rabbit.world, FORKED, PIPE, &format!("task {job}"));
        rabbit.write(&amqp::ack(tag));
        rabbit.world.fetch(&mut service);
    }
    read_frame(&mut rabbit.world, FORKED, PIPE, "an end without any id");
    rabbit.world.fetch(&mut service);
    let spans = rabbit.world.spans();
    let (sent, work, calls) =
        (named(&spans, "send jobs"), named(&spans, "process jobs"), named(&spans, "GET"));
    assert_eq!((sent.len(), work.len(), calls.len()), (2, 2, 3), "{spans:?}");
    for (job, sent, call) in [(work[0], sent[1], calls[0]), (work[1], sent[0], calls[1])] {
        assert_eq!((job.kind, job.tgid), (SpanKind::Consumer, FORKED));
        assert!(is_linked(job, sent) && is_child(call, job), "{spans:?}");
        assert!(job.started_at_ns <= call.started_at_ns && call.ended_at_ns <= job.ended_at_ns);
    }
    assert_eq!(calls[2].parent, None);
}

#[test]
fn a_pushed_job_that_no_worker_has_got_is_told_when_it_is_settled_or_its_connection_ends() {
    let mut rabbit = Rabbit::proven(Scheduling::Threads, 0);
    rabbit.world.engine.handle_process(FORKED, Scheduling::Threads);
    rabbit.world.engine.handle_worker(FORKED, WORKER);
    let mut service = rabbit.world.connect(FORKED, 80);
    rabbit.read(JOB);
    rabbit.fetch();
    rabbit.write(&amqp::reject(1));
    rabbit.read(OTHER_JOB);
    let closed = Closed { executor: Some(rabbit.consumer.executor), ..Closed::default() };
    rabbit.world.send(rabbit.consumer.connection, EventKind::Closed(closed));
    let spans = rabbit.world.spans();
    let works = named(&spans, "process jobs");
    assert_eq!(works.iter().map(|work| work.tgid).collect::<Vec<_>>(), [WORKER, WORKER], "{spans:?}");
    assert!(works[0].attributes.contains(&("error.type".into(), "basic.reject".into())));
    assert_eq!(only(&spans, "GET").parent, None, "its master works on no job itself");
    for job in [JOB, OTHER_JOB] {
        read_frame(&mut rabbit.world, FORKED, PIPE, &format!("task {job}"));
        rabbit.world.fetch(&mut service);
    }
    assert!(rabbit.world.spans().iter().all(|call| call.parent.is_none()), "they have been told");
}
