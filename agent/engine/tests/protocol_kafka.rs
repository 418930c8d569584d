//! Kafka on hand-written connections.

#[path = "support/kafka.rs"]
mod kafka;
#[path = "support/replay.rs"]
mod replay;

use kafka::{Batch, FETCH, HEARTBEAT, METADATA, PRODUCE, fetch, fetched, frame, produce, produced, record};
use kafka::{request, response};
use remora_engine::protocol::kafka::Kafka;
use remora_engine::protocol::{
    Conversation, Detection, Learned, MessageKind, ParserSettings, Protocol, Request, Response, Side,
};
use replay::{Replay, attribute};

const CLIENT: Side = Side::Client;
const SERVER: Side = Side::Server;
const PARENT: (&str, &str) = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
const OTHER_PARENT: (&str, &str) = ("traceparent", "00-5bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");

type Play<'a> = &'a [(Side, Vec<u8>)];

fn replay_with(learned: &Learned, is_start: bool) -> Replay {
    let settings = ParserSettings::default();
    let conversation = Conversation { learned: learned.clone(), ..Conversation::new(&settings, is_start) };
    Replay::new(Kafka.parser(&conversation))
}

fn new_replay() -> Replay {
    replay_with(&Learned::default(), true)
}

fn feed(replay: &mut Replay, play: Play<'_>, window: usize) {
    for (side, piece) in play {
        piece.chunks(window).for_each(|part| replay.feed(*side, part));
    }
}

fn told(replay: &Replay) -> Vec<String> {
    let messages = replay.said.iter().map(|said| tell(&said.kind));
    messages.chain(replay.broken.iter().map(|reason| format!("broken: {reason}"))).collect()
}

/// `>` and the name of requests (`~` where no response comes), `<` and the better name or the error of responses (`_`
/// where nothing came of it).
fn tell(kind: &MessageKind) -> String {
    match kind {
        MessageKind::Request(request) => {
            format!("{}{}", if request.is_one_way { "~" } else { ">" }, request.name.verb)
        }
        MessageKind::RequestEnd => "end".to_owned(),
        MessageKind::Response(response) => {
            let name = response.name.as_ref().map(|name| name.verb.clone());
            let error = response.outcome.error_type.clone();
            format!(
                "<{}{}",
                if response.is_idle { "_" } else { "" },
                name.map(String::from).or(error).unwrap_or_default()
            )
        }
        MessageKind::ResponseEnd(None) => "over".to_owned(),
        other => panic!("{other:?}"),
    }
}

fn check(play: Play<'_>, expected: &[&str]) {
    for window in [1, 2, 3, 5, 16, 100_000] {
        let mut replay = new_replay();
        feed(&mut replay, play, window);
        assert_eq!(told(&replay), expected, "window {window}");
        assert_eq!(replay.unread(), [0, 0], "window {window}");
    }
}

fn requests(replay: &Replay) -> Vec<&Request> {
    let kinds = replay.said.iter().map(|said| &said.kind);
    kinds.filter_map(|kind| if let MessageKind::Request(it) = kind { Some(&**it) } else { None }).collect()
}

fn responses(replay: &Replay) -> Vec<&Response> {
    let kinds = replay.said.iter().map(|said| &said.kind);
    kinds.filter_map(|kind| if let MessageKind::Response(it) = kind { Some(&**it) } else { None }).collect()
}

fn one(value: &[u8]) -> Batch {
    Batch::new(7, &[record(value, &[])])
}

fn send(correlation: i32, batch: &Batch) -> Vec<u8> {
    request(PRODUCE, 3, correlation, false, &produce(-1, &[("orders", &[(0, batch.unwritten())])]))
}

fn written(correlation: i32, offset: i64) -> Vec<u8> {
    response(correlation, false, &produced("orders", &[(0, 0, offset)]))
}

fn heartbeat(correlation: i32) -> Vec<u8> {
    request(HEARTBEAT, 0, correlation, false, b"\0\x04shop\0\0\0\x01\0\x01m")
}

#[test]
fn several_in_flight_pair_by_their_numbers() {
    let mut replay = new_replay();
    (1..=3).for_each(|number| replay.feed(CLIENT, &heartbeat(number)));
    for (number, error) in [(2, 25i16), (1, 0), (3, 22)] {
        replay.feed(SERVER, &response(number, false, &error.to_be_bytes()));
    }
    let length = heartbeat(1).len() as u64;
    let pairs: Vec<_> = replay
        .pairs
        .iter()
        .map(|pair| (pair.request.start / length + 1, tell(&pair.response.kind)))
        .collect();
    let expected = [(2, "<UNKNOWN_MEMBER_ID"), (1, "<_"), (3, "<ILLEGAL_GENERATION")];
    assert_eq!(pairs, expected.map(|(number, text)| (number, text.to_owned())));
}

/// Some clients use one number for all requests.
#[test]
fn a_number_that_is_used_again_means_the_oldest_request() {
    let mut replay = new_replay();
    replay.feed(CLIENT, &[heartbeat(1), send(1, &one(b"a"))].concat());
    replay.feed(SERVER, &response(1, false, &25i16.to_be_bytes()));
    replay.feed(SERVER, &written(1, 3));
    assert_eq!(told(&replay), [">Heartbeat", ">send orders", "<UNKNOWN_MEMBER_ID", "<"]);
    assert_eq!(replay.pairs.len(), 2);
    assert_eq!(replay.pairs[0].request.start, 0);
}

#[test]
fn a_request_without_acknowledgments_is_answered_by_nobody() {
    let careless = produce(0, &[("orders", &[(0, one(b"a").unwritten())])]);
    check(
        &[
            (CLIENT, request(PRODUCE, 3, 1, false, &careless)),
            (CLIENT, heartbeat(2)),
            (SERVER, response(2, false, &0i16.to_be_bytes())),
        ],
        &["~send orders", ">Heartbeat", "<_"],
    );
}

/// Java and others write, and read, the length alone.
#[test]
fn a_length_that_comes_alone_is_no_request_yet() {
    let whole = send(1, &one(b"a"));
    let (length, rest) = whole.split_at(4);
    for is_start in [true, false] {
        let mut replay = replay_with(&Learned::default(), is_start);
        replay.feed(CLIENT, length);
        replay.feed(CLIENT, rest);
        let answer = written(1, 3);
        replay.feed(SERVER, &answer[..4]);
        replay.feed(SERVER, &answer[4..]);
        assert_eq!(told(&replay), [">send orders", "<"], "from the start: {is_start}");
    }
}

#[test]
fn producer_and_consumer_name_a_batch_alike() {
    let batch = Batch::new(41, &[record(b"a", &[]), record(b"b", &[])]);
    let mut replay = new_replay();
    replay.feed(CLIENT, &send(1, &batch));
    replay.feed(SERVER, &written(1, 41));
    replay.feed(CLIENT, &request(FETCH, 4, 2, false, &fetch("orders")));
    let older = one(b"older");
    let records = [older.bytes(), batch.bytes()].concat();
    replay.feed(SERVER, &response(2, false, &fetched(&[("orders", &[(0, records)])])));
    let responses = responses(&replay);
    let received = responses[1].received.as_ref().unwrap();
    assert!(received.is_certain);
    assert_eq!(received.keys.as_slice().len(), 2);
    assert_eq!(responses[0].sent.as_slice(), &received.keys.as_slice()[1..]);
    assert_eq!(attribute(&responses[0].attributes, "messaging.batch.message_count").unwrap(), "2");
    assert_eq!(attribute(&responses[1].attributes, "messaging.batch.message_count").unwrap(), "3");
    assert_eq!(attribute(&responses[1].attributes, "messaging.destination.name").unwrap(), "orders");
}

#[test]
fn another_time_another_partition_or_another_offset_is_another_batch() {
    let key = |batch: &Batch, partition: i32, offset: i64| {
        let mut replay = new_replay();
        let body = produce(-1, &[("orders", &[(partition, batch.unwritten())])]);
        replay.feed(CLIENT, &request(PRODUCE, 3, 1, false, &body));
        replay.feed(SERVER, &response(1, false, &produced("orders", &[(partition, 0, offset)])));
        responses(&replay)[0].sent.as_slice().to_vec()
    };
    let batch = one(b"a");
    let later = Batch { timestamp: batch.timestamp + 1, ..batch.clone() };
    let keys = [key(&batch, 0, 1), key(&batch, 1, 1), key(&batch, 0, 2), key(&later, 0, 1)];
    for (at, one) in keys.iter().enumerate() {
        assert_eq!(one.len(), 1);
        assert!(keys[at + 1..].iter().all(|other| other != one), "{keys:?}");
    }
}

/// Topics with ids, as the versions of Kafka 4 name them, in compact form.
mod with_ids {
    use super::*;

    const ID: [u8; 16] = [9; 16];

    fn compact(bytes: &[u8]) -> Vec<u8> {
        let mut length = bytes.len() + 1;
        let mut text = Vec::new();
        while length > 0x7f {
            text.push(length as u8 | 0x80);
            length >>= 7;
        }
        text.push(length as u8);
        [text, bytes.to_vec()].concat()
    }

    /// Metadata of version 12: one broker, and one topic with so many partitions.
    fn metadata(partitions: usize) -> Vec<u8> {
        let broker = [&[2][..], &[0, 0, 0, 1], &compact(b"127.0.0.1"), &[0; 4], &[0], &[0]].concat();
        let topic = [&[2, 0, 0][..], &compact(b"orders"), &ID, &[0]].concat();
        let nodes = [2, 0, 0, 0, 1];
        let partition = [&[0; 2 + 4 + 4 + 4][..], &nodes, &nodes, &[1], &[0]].concat();
        assert!(partitions < 127);
        let partitions = [vec![partitions as u8 + 1], partition.repeat(partitions)].concat();
        [&[0; 4][..], &broker, &compact(b"cluster"), &[0; 4], &topic, &partitions, &[0; 4], &[0], &[0]]
            .concat()
    }

    fn poll(replay: &mut Replay) {
        let head = [500i32, 1, 1 << 20].map(i32::to_be_bytes).concat();
        let body = [&head[..], &[0], &[0; 4], &[0; 4], &[1, 1, 1, 0]].concat();
        replay.feed(CLIENT, &request(FETCH, 17, 5, true, &body));
        let records = one(b"a").bytes();
        let partition = [&[0; 4 + 2 + 8 + 8 + 8][..], &[1], &[0xff; 4], &compact(&records), &[0]].concat();
        let topic = [&[2][..], &ID, &[2], &partition, &[0]].concat();
        replay.feed(SERVER, &response(5, true, &[&[0; 4 + 2 + 4][..], &topic, &[0]].concat()));
    }

    /// Also where the metadata is long: other tools look at its first 128 bytes.
    #[test]
    fn the_names_of_topics_come_from_other_connections() {
        for partitions in [1, 100] {
            let learned = Learned::default();
            let mut replay = replay_with(&learned, true);
            replay.feed(CLIENT, &request(METADATA, 12, 1, true, &[0, 1, 0, 0]));
            replay.feed(SERVER, &response(1, true, &metadata(partitions)));
            assert_eq!(told(&replay), [">Metadata", "<_"]);
            let mut replay = replay_with(&learned, true);
            poll(&mut replay);
            assert_eq!(told(&replay), [">poll", "<poll orders"]);
            assert_eq!(responses(&replay)[0].received.as_ref().unwrap().keys.as_slice().len(), 1);
        }
    }

    #[test]
    fn an_id_without_a_name_is_said_and_not_guessed() {
        let mut replay = new_replay();
        poll(&mut replay);
        let response = responses(&replay)[0];
        assert_eq!(tell(&replay.said[1].kind), "<poll");
        let id = attribute(&response.attributes, "remora.kafka.topic.id").unwrap();
        assert_eq!(id, "09090909-0909-0909-0909-090909090909");
        assert_eq!(attribute(&response.attributes, "messaging.destination.name"), None);
        let received = response.received.as_ref().unwrap();
        assert_eq!((received.keys.as_slice().len(), received.is_certain), (0, true));
    }
}

#[test]
fn a_poll_that_brings_nothing_is_idle_and_one_that_fails_is_not() {
    let poll = request(FETCH, 4, 1, false, &fetch("orders"));
    let empty = fetched(&[("orders", &[(0, Vec::new())])]);
    let mut failed = empty.clone();
    // The error code of the partition.
    let at = 4 + 4 + 2 + 6 + 4 + 4;
    failed[at + 1] = 3;
    for (body, expected) in [(empty, "<_"), (fetched(&[]), "<_"), (failed, "<UNKNOWN_TOPIC_OR_PARTITION")] {
        check(&[(CLIENT, poll.clone()), (SERVER, response(1, false, &body))], &[">poll", expected]);
    }
}

#[test]
fn a_broker_that_copies_is_no_consumer() {
    let mut body = fetch("orders");
    body[..4].copy_from_slice(&2i32.to_be_bytes());
    let copied = fetched(&[("orders", &[(0, one(b"a").bytes())])]);
    let mut replay = new_replay();
    replay.feed(CLIENT, &request(FETCH, 4, 1, false, &body));
    replay.feed(SERVER, &response(1, false, &copied));
    assert!(requests(&replay)[0].is_routine && responses(&replay)[0].is_idle);
}

#[test]
fn ends_of_transactions_are_no_messages() {
    let end = Batch { attributes: 0x30, ..one(b"\0\0\0\0\0\x01") };
    let poll = request(FETCH, 4, 1, false, &fetch("orders"));
    check(
        &[(CLIENT, poll.clone()), (SERVER, response(1, false, &fetched(&[("orders", &[(0, end.bytes())])])))],
        &[">poll", "<_"],
    );
}

#[test]
fn a_batch_that_is_cut_off_is_not_counted() {
    let whole = one(b"a").bytes();
    let half = Batch::new(8, &[record(&[b'x'; 100], &[])]).bytes();
    for cut in [1, 16, 17, 60, 61, 100] {
        let records = [&whole[..], &half[..cut]].concat();
        let mut replay = new_replay();
        replay.feed(CLIENT, &request(FETCH, 4, 1, false, &fetch("orders")));
        replay.feed(SERVER, &response(1, false, &fetched(&[("orders", &[(0, records)])])));
        let response = responses(&replay)[0];
        assert_eq!(response.received.as_ref().unwrap().keys.as_slice().len(), 1, "{cut}");
        assert_eq!(attribute(&response.attributes, "messaging.kafka.offset").unwrap(), "7", "{cut}");
    }
}

/// The message sets of before 2017 say neither how many messages they hold nor what they carry.
#[test]
fn old_message_sets_are_passed_over() {
    let message =
        [&[0; 8][..], &frame(&[&[0; 4][..], &[1, 0], &[0; 8], &[0xff; 4], &frame(b"value")].concat())];
    let set = message.concat().repeat(3);
    let mut replay = new_replay();
    let body = [&(-1i16).to_be_bytes()[..], &[0; 4], &produce(0, &[("orders", &[(0, set)])])[8..]].concat();
    replay.feed(CLIENT, &request(PRODUCE, 2, 1, false, &body));
    replay.feed(SERVER, &written(1, 3));
    replay.feed(CLIENT, &heartbeat(2));
    replay.feed(CLIENT, &request(FETCH, 4, 3, false, &fetch("orders")));
    replay.feed(SERVER, &response(3, false, &fetched(&[("orders", &[(0, message.concat())])])));
    assert_eq!(told(&replay), [">send orders", "<", ">Heartbeat", ">poll", "<poll orders"]);
    assert_eq!(attribute(&responses(&replay)[0].attributes, "messaging.batch.message_count"), None);
}

#[test]
fn the_context_of_all_messages_is_that_of_the_request_and_those_of_some_are_carried() {
    for (records, expected) in [
        (vec![record(b"a", &[PARENT])], (Some(0x4b), vec![])),
        (vec![record(b"a", &[PARENT]), record(b"b", &[PARENT])], (Some(0x4b), vec![])),
        (vec![record(b"a", &[PARENT]), record(b"b", &[])], (None, vec![0x4b])),
        (vec![record(b"a", &[PARENT]), record(b"b", &[OTHER_PARENT])], (None, vec![0x4b, 0x5b])),
        (vec![record(b"a", &[("traceparent", "broken")])], (None, vec![])),
        (
            vec![record(b"a", &[("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1")])],
            (Some(0x80), vec![]),
        ),
    ] {
        let mut replay = new_replay();
        replay.feed(CLIENT, &send(1, &Batch::new(0, &records)));
        let request = requests(&replay)[0];
        let context = request.context.as_ref().map(|context| context.trace_id[0]);
        let carried: Vec<u8> = request.carried.iter().map(|context| context.trace_id[0]).collect();
        assert_eq!((context, carried), expected, "{records:?}");
    }
}

#[test]
fn a_consumer_is_linked_by_the_contexts_that_messages_carry() {
    let batch =
        Batch::new(0, &[record(b"a", &[PARENT]), record(b"b", &[OTHER_PARENT]), record(b"c", &[PARENT])]);
    let mut replay = new_replay();
    replay.feed(CLIENT, &request(FETCH, 4, 1, false, &fetch("orders")));
    replay.feed(SERVER, &response(1, false, &fetched(&[("orders", &[(0, batch.bytes())])])));
    let contexts = &responses(&replay)[0].received.as_ref().unwrap().contexts;
    assert_eq!(contexts.iter().map(|context| context.trace_id[0]).collect::<Vec<_>>(), [0x4b, 0x5b]);
}

#[test]
fn each_partition_may_fail_alone() {
    let batch = one(b"a");
    let partitions = [(0, batch.unwritten()), (1, batch.unwritten())];
    let mut replay = new_replay();
    replay.feed(CLIENT, &request(PRODUCE, 3, 1, false, &produce(-1, &[("orders", &partitions)])));
    replay.feed(SERVER, &response(1, false, &produced("orders", &[(0, 6, -1), (1, 0, 4)])));
    let response = responses(&replay)[0];
    assert_eq!(response.outcome.error_type.as_deref(), Some("NOT_LEADER_OR_FOLLOWER"));
    assert_eq!(response.outcome.message.as_deref(), Some("1 of 2 partitions failed"));
    assert_eq!(response.sent.as_slice().len(), 1);
    assert_eq!(attribute(&requests(&replay)[0].attributes, "messaging.destination.partition.id"), None);
}

#[test]
fn a_broker_that_does_not_know_the_version_is_asked_again() {
    let ask = |version: i16, correlation| request(18, version, correlation, true, b"\x05java\x064.1.0\0");
    let refused = [&35i16.to_be_bytes()[..], &[0; 4]].concat();
    check(
        &[
            (CLIENT, ask(4, 0)),
            (SERVER, response(0, false, &refused)),
            (CLIENT, ask(3, 1)),
            // Although the version is flexible.
            (SERVER, response(1, false, &[0, 0, 1, 0, 0, 0, 0, 0])),
        ],
        &[">ApiVersions", "<_", ">ApiVersions", "<_"],
    );
}

#[test]
fn versions_of_the_future_are_told_by_their_name() {
    check(
        &[
            (CLIENT, request(PRODUCE, 15, 1, true, &[1; 40])),
            (SERVER, response(1, true, &[1; 40])),
            (CLIENT, request(FETCH, 20, 2, true, &[1; 40])),
            (SERVER, response(2, true, &[1; 40])),
        ],
        &[">send", "<", ">poll", "<"],
    );
}

#[test]
fn tokens_without_headers_are_passed_over() {
    let handshake = request(17, 0, 1, false, b"\0\x05PLAIN");
    check(
        &[
            (CLIENT, handshake),
            (SERVER, response(1, false, b"\0\0\0\0\0\x01\0\x05PLAIN")),
            (CLIENT, frame(b"\0golden\0secret!")),
            (SERVER, frame(b"welcome, golden")),
            (CLIENT, heartbeat(2)),
            (SERVER, response(2, false, &0i16.to_be_bytes())),
        ],
        &[">SaslHandshake", "<", ">Heartbeat", "<_"],
    );
}

#[test]
fn large_batches_need_not_be_seen() {
    let batch = one(&vec![b'x'; 1_000_000]);
    let whole = send(1, &batch);
    let mut replay = new_replay();
    replay.feed(CLIENT, &whole[..20_000]);
    replay.lose(CLIENT, whole.len() as u64 - 20_000);
    replay.feed(SERVER, &written(1, 7));
    replay.feed(CLIENT, &request(FETCH, 4, 2, false, &fetch("orders")));
    let records = [batch.bytes(), Batch::new(8, &[record(b"b", &[])]).bytes()].concat();
    let answer = response(2, false, &fetched(&[("orders", &[(0, records)])]));
    replay.feed(SERVER, &answer[..6_000]);
    replay.lose(SERVER, 990_000);
    replay.feed(SERVER, &answer[996_000..]);
    assert_eq!(told(&replay), [">send orders", "end", "<", ">poll", "<poll orders"]);
    let responses = responses(&replay);
    let received = responses[1].received.as_ref().unwrap();
    assert_eq!(received.keys.as_slice().len(), 2);
    assert_eq!(received.keys.as_slice()[0], responses[0].sent.as_slice()[0]);
}

/// A hole within the records of one batch costs nothing of those behind it.
#[test]
fn batches_behind_one_of_which_bytes_are_missing_are_counted() {
    for attributes in [0, 4] {
        let first = Batch { attributes, ..one(&[b'x'; 30_000]) };
        let second = Batch::new(8, &[record(b"b", &[]), record(b"c", &[])]);
        let records = [first.bytes(), second.bytes()].concat();
        let answer = response(1, false, &fetched(&[("orders", &[(0, records)])]));
        for shown in [200, 1_000, 3_000] {
            let mut replay = new_replay();
            replay.feed(CLIENT, &request(FETCH, 4, 1, false, &fetch("orders")));
            replay.feed(SERVER, &answer[..shown]);
            replay.lose(SERVER, 20_000);
            replay.feed(SERVER, &answer[20_000 + shown..]);
            assert_eq!(told(&replay), [">poll", "<poll orders"], "{shown}");
            let response = responses(&replay)[0];
            let count = attribute(&response.attributes, "messaging.batch.message_count");
            assert_eq!(count.as_deref(), Some("3"), "{shown}");
            assert_eq!(response.received.as_ref().unwrap().keys.as_slice().len(), 2, "{shown}");
        }
    }
}

/// What is shown of a request may end behind the batch of one partition of several.
#[test]
fn a_part_of_the_batches_is_not_taken_for_all() {
    let traced = |first: char| {
        let parent = format!("00-{first}{}-{}-01", "1".repeat(31), "2".repeat(16));
        Batch::new(0, &[record(b"a", &[("traceparent", &parent)])]).unwritten()
    };
    let partitions = [(0, traced('a')), (1, traced('b'))];
    let whole = request(PRODUCE, 3, 1, false, &produce(1, &[("orders", &partitions)]));
    // Before the second partition, among its fields, and in the header of its batch.
    let second = whole.len() - partitions[1].1.len();
    for shown in [second - 8, second - 2, second + 30] {
        let mut replay = new_replay();
        replay.feed(CLIENT, &whole[..shown]);
        replay.lose(CLIENT, (whole.len() - shown) as u64);
        let request = requests(&replay)[0];
        assert_eq!(request.context, None, "{shown}");
        assert_eq!(request.carried.len(), 1, "{shown}");
        assert_eq!(attribute(&request.attributes, "messaging.destination.partition.id"), None, "{shown}");
    }
}

/// What is captured of a long call are its first bytes and its last: the header of a batch may lie between.
#[test]
fn a_batch_that_begins_among_missing_bytes_costs_its_key_and_not_the_exchange() {
    let batches: Vec<u8> =
        (0..4).flat_map(|number| Batch::new(number, &[record(&[b'x'; 3000], &[])]).bytes()).collect();
    let answer = response(1, false, &fetched(&[("orders", &[(0, batches)])]));
    for shown in [4200, 3500, 1000] {
        let mut replay = new_replay();
        replay.feed(CLIENT, &request(FETCH, 4, 1, false, &fetch("orders")));
        replay.feed(SERVER, &answer[..shown]);
        replay.lose(SERVER, (answer.len() - 100 - shown) as u64);
        replay.feed(SERVER, &answer[answer.len() - 100..]);
        replay.feed(CLIENT, &heartbeat(2));
        replay.feed(SERVER, &response(2, false, &0i16.to_be_bytes()));
        assert_eq!(told(&replay), [">poll", "<poll orders", ">Heartbeat", "<_"], "{shown}");
        let response = responses(&replay)[0];
        assert_eq!(attribute(&response.attributes, "messaging.batch.message_count"), None, "{shown}");
    }
}

#[test]
fn a_loss_is_over_with_the_next_request() {
    let mut replay = new_replay();
    let lost = heartbeat(1);
    replay.feed(CLIENT, &lost[..8]);
    replay.lose(CLIENT, lost.len() as u64 - 8);
    replay.feed(SERVER, &response(1, false, &0i16.to_be_bytes()));
    for number in 2..4 {
        replay.feed(CLIENT, &heartbeat(number));
        replay.feed(SERVER, &response(number, false, &0i16.to_be_bytes()));
    }
    assert_eq!(told(&replay), [">Heartbeat", "<_", ">Heartbeat", "<_"]);
    assert_eq!(replay.pairs.len(), 2);
}

#[test]
fn what_was_asked_before_the_connection_was_met_is_not_answered() {
    let mut replay = replay_with(&Learned::default(), false);
    replay.feed(SERVER, &response(1, false, &0i16.to_be_bytes()));
    replay.feed(CLIENT, &heartbeat(3));
    replay.feed(SERVER, &response(2, false, &0i16.to_be_bytes()));
    replay.feed(SERVER, &response(3, false, &0i16.to_be_bytes()));
    assert_eq!(told(&replay), [">Heartbeat", "<_"]);
}

#[test]
fn a_response_before_its_request_waits() {
    let mut replay = new_replay();
    replay.feed(SERVER, &response(1, false, &0i16.to_be_bytes()));
    assert_eq!(told(&replay), [""; 0]);
    replay.feed(CLIENT, &heartbeat(1));
    assert_eq!(told(&replay), [">Heartbeat", "<_"]);
}

#[test]
fn hostile_lengths_end_what_they_are_in_and_no_more() {
    let counts = [u32::MAX, i32::MAX as u32, 1 << 24];
    for count in counts {
        let count = count.to_be_bytes();
        let head = &produce(-1, &[])[..8];
        let topics = [head, &count].concat();
        let partitions = [head, &1u32.to_be_bytes(), b"\0\x06orders", &count].concat();
        let records = [&partitions[..partitions.len() - 4], &1u32.to_be_bytes(), &[0; 4], &count].concat();
        let batch = {
            let mut bytes = one(b"a").unwritten();
            bytes[8..12].copy_from_slice(&count);
            produce(-1, &[("orders", &[(0, bytes)])])
        };
        let messages = {
            let mut bytes = one(b"a").unwritten();
            bytes[57..61].copy_from_slice(&count);
            produce(-1, &[("orders", &[(0, bytes)])])
        };
        for body in [topics, partitions, records, batch, messages] {
            let mut replay = new_replay();
            replay.feed(CLIENT, &request(PRODUCE, 3, 1, false, &body));
            replay.feed(CLIENT, &heartbeat(2));
            replay.feed(SERVER, &response(1, false, &[&count[..], &count].concat()));
            replay.feed(SERVER, &response(2, false, &0i16.to_be_bytes()));
            assert_eq!(told(&replay).len(), 4, "{body:?}");
            assert_eq!(told(&replay)[1..], [">Heartbeat", "<", "<_"], "{body:?}");
        }
    }
}

#[test]
fn what_is_no_frame_is_broken() {
    for bytes in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\x03", b"GET / HTTP/1.1\r\n", b"\0\0\0\x20\x7f\xff\0\0"] {
        let mut replay = new_replay();
        replay.feed(CLIENT, bytes);
        assert_eq!(replay.broken, ["not a request"], "{bytes:?}");
    }
    let mut replay = new_replay();
    replay.feed(CLIENT, &heartbeat(1));
    replay.feed(SERVER, b"\x7f\xff\xff\xff\0\0\0\x01");
    assert_eq!(replay.broken, ["not a response"]);
}

#[test]
fn too_many_requests_without_responses_are_forgotten() {
    let mut replay = new_replay();
    (0..5000).for_each(|number| replay.feed(CLIENT, &heartbeat(number)));
    replay.feed(SERVER, &response(0, false, &0i16.to_be_bytes()));
    replay.feed(SERVER, &response(4999, false, &0i16.to_be_bytes()));
    assert_eq!(replay.pairs.len(), 1);
}

#[test]
fn requests_are_recognised_and_their_likes_are_not() {
    let startup = b"\0\0\0\x4e\0\x03\0\0user\0golden\0database\0golden\0client_encoding\0UTF8\0\0";
    let settings = b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\x04\0\x10\0\0\0\x06\0\x10\x01\x40";
    for other in
        [&startup[..], settings, b"\x16\x03\x01\x02\0\x01\0", b"*1\r\n$4\r\nPING\r\n", &[0; 64], &[0xff; 64]]
    {
        assert_eq!(Kafka.detect(other), Detection::No, "{other:?}");
    }
    let answers = [written(3, 0), response(9, false, &fetched(&[("orders", &[(0, one(b"a").bytes())])]))];
    for answer in answers {
        assert_eq!(Kafka.detect(&answer), Detection::No, "{answer:?}");
    }
    for own in [heartbeat(1), send(1, &one(b"a")), request(FETCH, 4, 2, false, &fetch("orders"))] {
        assert_eq!(Kafka.detect(&own), Detection::Yes(CLIENT));
        assert_eq!(Kafka.detect(&own[..6]), Detection::Unsure);
    }
}
