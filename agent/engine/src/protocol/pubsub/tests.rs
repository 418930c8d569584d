//! Calls whose messages are made by hand: what no client sends, and what bytes are missing.

use super::*;
use crate::protocol::rpc::Body;
use crate::protocol::{Ending, MAX_KEYS, MessageKind, ParserSettings, Side};
use crate::semconv::Value;

const TOPIC: &[u8] = b"projects/shop/topics/orders";
const SUBSCRIPTION: &[u8] = b"projects/shop/subscriptions/packing";
const PARENT: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OTHER_PARENT: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4737-00f067aa0ba902b7-01";

/// Writes a field with bytes, of fewer than 128 or of up to 16,383.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut text = vec![number << 3 | 2];
    match u8::try_from(bytes.len()) {
        Ok(length @ 0..128) => text.push(length),
        _ => text.extend([(bytes.len() & 0x7f) as u8 | 0x80, (bytes.len() >> 7) as u8]),
    }
    text.extend(bytes);
    text
}

fn attribute(key: &[u8], value: &[u8]) -> Vec<u8> {
    field(2, &[field(1, key), field(2, value)].concat())
}

fn received(id: &[u8]) -> Vec<u8> {
    field(1, &[field(1, b"ack"), field(2, &[field(1, b"data"), field(3, id)].concat())].concat())
}

fn call(method: &str) -> Box<dyn Call> {
    let settings = ParserSettings::default();
    PubSub.call(method.as_bytes(), Around { settings: &settings, server: None }).unwrap()
}

fn whole(bytes: &[u8]) -> Body<'_> {
    Body { bytes, is_whole: true }
}

fn ended(mut call: Box<dyn Call>) -> Ending {
    let mut ending = Ending { outcome: Some(crate::protocol::Outcome::default()), ..Ending::default() };
    call.end(&mut ending);
    ending
}

fn attribute_of(ending: &Ending, key: &semconv::Key) -> Option<Value> {
    ending.attributes.iter().find(|(found, _)| found == key).map(|(_, value)| value.clone())
}

#[test]
fn other_methods_are_calls_like_any_other() {
    let settings = ParserSettings::default();
    let around = Around { settings: &settings, server: None };
    for method in
        ["google.pubsub.v1.Publisher/CreateTopic", "shop.Publisher/Publish", "Publisher/Publish", ""]
    {
        assert!(PubSub.call(method.as_bytes(), around).is_none(), "{method}");
    }
}

#[test]
fn the_clients_own_context_goes_before_another() {
    let mut publish = call("google.pubsub.v1.Publisher/Publish");
    let message =
        [attribute(b"traceparent", OTHER_PARENT), attribute(b"googclient_traceparent", PARENT)].concat();
    publish.read(Side::Client, whole(&[field(1, TOPIC), field(2, &message)].concat()));
    let carried = ended(publish).carried;
    assert_eq!(carried.len(), 1);
    assert_eq!(carried[0].trace_id[15], 0x36);
}

#[test]
fn of_many_messages_some_are_told_from_each_other() {
    let mut publish = call("google.pubsub.v1.Publisher/Publish");
    publish.read(Side::Client, whole(&field(1, TOPIC)));
    let ids: Vec<u8> = (0..200).flat_map(|id| field(1, format!("m{id}").as_bytes())).collect();
    publish.read(Side::Server, whole(&ids));
    let ending = ended(publish);
    assert_eq!((ending.sent.as_slice().len(), ending.sent.left_out()), (MAX_KEYS, 200 - MAX_KEYS as u32));
}

#[test]
fn a_long_request_is_counted_by_its_answer() {
    let request = [field(1, TOPIC), field(2, &field(1, b"one")), field(2, &field(1, b"two"))].concat();
    for cut in field(1, TOPIC).len()..request.len() {
        let mut publish = call("google.pubsub.v1.Publisher/Publish");
        publish.read(Side::Client, Body { bytes: &request[..cut], is_whole: false });
        publish.read(Side::Server, whole(&[field(1, b"m1"), field(1, b"m2")].concat()));
        let ending = ended(publish);
        assert_eq!(ending.name.as_ref().unwrap().verb, "send orders");
        assert_eq!(
            attribute_of(&ending, &semconv::MESSAGING_BATCH_MESSAGE_COUNT),
            Some(Value::Int(2)),
            "cut at {cut}"
        );
    }
}

#[test]
fn messages_of_an_unknown_project_have_no_keys() {
    let mut pull = call("google.pubsub.v1.Subscriber/Pull");
    pull.read(Side::Server, whole(&received(b"m1")));
    let received = ended(pull).received.unwrap();
    assert_eq!((received.keys.as_slice().len(), received.keys.left_out()), (0, 1));
}

#[test]
fn a_pull_without_messages_is_idle_only_if_all_was_seen() {
    for (body, expected) in [
        (Some(whole(b"")), true),
        (Some(Body { bytes: b"", is_whole: false }), false),
        (Some(whole(&received(b"m1"))), false),
        (None, false),
    ] {
        let mut pull = call("google.pubsub.v1.Subscriber/Pull");
        pull.read(Side::Client, whole(&field(1, SUBSCRIPTION)));
        if let Some(body) = body {
            pull.read(Side::Server, body);
        }
        assert_eq!(ended(pull).is_idle, expected, "{body:?}");
    }
}

#[test]
fn only_the_first_request_of_a_stream_names_its_subscription() {
    let mut stream = call("google.pubsub.v1.Subscriber/StreamingPull");
    stream.read(Side::Client, whole(&field(1, SUBSCRIPTION)));
    stream.read(Side::Client, whole(&field(2, b"ack")));
    assert_eq!(stream.read(Side::Server, whole(b"")), None, "a sign of life");
    let brought = stream.read(Side::Server, whole(&[received(b"m1"), received(b"m2")].concat()));
    let Some(MessageKind::Delivered(delivery)) = brought else { panic!("{brought:?}") };
    assert_eq!(delivery.name.as_deref(), Some("receive packing"));
    assert_eq!(delivery.received.keys.as_slice().len(), 2);
    assert!(delivery.received.may_be_early);
}

#[test]
fn what_is_given_back_at_once_is_a_nack() {
    for (deadline, expected) in
        [(&[3 << 3, 0][..], "nack packing"), (&[], "nack packing"), (&[3 << 3, 10], "modack packing")]
    {
        let mut settle = call("google.pubsub.v1.Subscriber/ModifyAckDeadline");
        let request = [&field(1, SUBSCRIPTION), deadline, &field(4, b"ack")].concat();
        settle.read(Side::Client, whole(&request));
        assert_eq!(ended(settle).name.unwrap().verb, expected);
    }
}

#[test]
fn no_bytes_are_too_strange() {
    let message = [attribute(b"traceparent", PARENT), field(1, b"data"), field(5, b"key")].concat();
    let request = [field(1, TOPIC), field(2, &message), field(1, SUBSCRIPTION), received(b"m1")].concat();
    for method in
        ["Publisher/Publish", "Subscriber/Pull", "Subscriber/StreamingPull", "Subscriber/Acknowledge"]
    {
        for at in 0..request.len() {
            for byte in [0, 0x0b, 0x7f, 0xff] {
                let mut strange = request.clone();
                strange[at] = byte;
                let mut call = call(&format!("google.pubsub.v1.{method}"));
                for side in [Side::Client, Side::Server, Side::Server] {
                    call.read(side, whole(&strange));
                    call.read(side, Body { bytes: &strange[..at], is_whole: false });
                }
                ended(call);
            }
        }
    }
}
