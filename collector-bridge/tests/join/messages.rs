//! Receipts of messages are linked to who sent them, on whatever host.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};

use crate::world::{CLIENT, CONSUMER, Sent, World, agent, sdk};

const KEY: &str = "2e25dc3f541bf56e";
const OTHER: &str = "af0068907d622a8d";

fn sent(from: Sent, keys: &[&str]) -> Sent {
    from.with_texts("remora.message.sent", keys)
}

fn received(by: Sent, keys: &[&str]) -> Sent {
    by.with_texts("remora.message.received", keys)
}

/// Returns the spans that a span is linked to, with the confidence.
fn links(world: &World, trace: u64, span: u64) -> Vec<(u64, f64)> {
    let answer = world.trace(trace);
    let hex = format!("{span:016x}");
    let spans = answer["spans"].as_array().unwrap();
    let span = spans.iter().find(|span| span["span_id"] == hex.as_str()).unwrap();
    let links = span["links"].as_array().into_iter().flatten();
    links
        .map(|link| {
            let id = u64::from_str_radix(link["span_id"].as_str().unwrap(), 16).unwrap();
            assert_eq!(link["attributes"]["remora.link.reason"], "message", "{link}");
            (id, link["attributes"]["remora.link.confidence"].as_f64().unwrap())
        })
        .collect()
}

/// Returns the seconds that a span's message was on its way.
fn queue_time(world: &World, trace: u64, span: u64) -> Option<f64> {
    let answer = world.trace(trace);
    let hex = format!("{span:016x}");
    let spans = answer["spans"].as_array().unwrap();
    let span = spans.iter().find(|span| span["span_id"] == hex.as_str()).unwrap();
    span["attributes"]["remora.message.queue_time"].as_f64()
}

#[test]
fn the_time_in_the_queue_is_told_unless_clocks_contradict() {
    let world = World::start("");
    world.send(&[
        sent(agent("shop", 1, 11, 0, CLIENT).at(1000, 1), &[KEY]),
        sent(agent("shop", 2, 21, 0, CLIENT).at(400, 1), &[OTHER]),
        received(agent("mail", 3, 31, 0, CONSUMER).at(1500, 5), &[KEY, OTHER]),
        received(agent("mail", 4, 41, 0, CONSUMER).at(300, 5), &[KEY]),
    ]);
    let waited = queue_time(&world, 3, 31).unwrap();
    assert!((waited - 1.1).abs() < 1e-6, "{waited}");
    assert_eq!(queue_time(&world, 4, 41), None);
}

#[test]
fn a_receipt_is_linked_to_who_sent_the_message() {
    let mut world = World::start("");
    world.send(&[sent(agent("shop", 1, 11, 0, CLIENT), &[KEY, OTHER])]);
    world.send(&[
        received(agent("mail", 2, 21, 0, CONSUMER).at(50, 5), &[OTHER, KEY]),
        received(agent("mail", 3, 31, 0, CONSUMER), &["0000000000000001"]),
    ]);
    assert_eq!(links(&world, 2, 21), [(11, 1.0)], "once, though two messages came");
    assert_eq!(links(&world, 3, 31), []);
    assert_eq!(world.bridge.metric("remora_bridge_message_links_total"), 1.0);
    assert_eq!(world.bridge.metric("remora_bridge_messages_unknown_total"), 1.0);
    world.kill_and_start();
    assert_eq!(links(&world, 2, 21), [(11, 1.0)], "read back");
}

#[test]
fn links_outlive_the_log() {
    let mut world = World::start("[ingest]\nseal_age = '1s'\n");
    world.send(&[
        sent(agent("shop", 1, 11, 0, CLIENT), &[KEY]),
        received(agent("mail", 2, 21, 0, CONSUMER), &[KEY]),
    ]);
    world.wait_until_sealed();
    world.kill_and_start();
    assert_eq!(links(&world, 2, 21), [(11, 1.0)]);
}

#[test]
fn of_equal_messages_the_last_before_is_meant() {
    let world = World::start("");
    world.send(&[
        sent(agent("shop", 1, 11, 0, CLIENT), &[KEY]),
        sent(agent("shop", 2, 21, 0, CLIENT).at(100, 1), &[KEY]),
        sent(agent("shop", 3, 31, 0, CLIENT).at(300, 1), &[KEY]),
        received(agent("mail", 4, 41, 0, CONSUMER).at(200, 5), &[KEY]),
    ]);
    assert_eq!(links(&world, 4, 41), [(21, 0.5)]);
}

#[test]
fn what_others_say_of_messages_is_not_believed() {
    let world = World::start("");
    world.send(&[
        sent(sdk("shop", 1, 11, 0, CLIENT), &[KEY]),
        received(agent("mail", 2, 21, 0, CONSUMER), &[KEY, "nonsense", ""]),
    ]);
    assert_eq!(links(&world, 2, 21), []);
}

impl Sent {
    fn with_texts(mut self, key: &str, texts: &[&str]) -> Self {
        let value = |value| Some(AnyValue { value: Some(value) });
        let values = texts.iter().map(|text| AnyValue { value: Some(Any::StringValue((*text).to_owned())) });
        let array = Any::ArrayValue(ArrayValue { values: values.collect() });
        let attribute = KeyValue { key: key.to_owned(), value: value(array), ..KeyValue::default() };
        self.span.attributes.push(attribute);
        self
    }
}
