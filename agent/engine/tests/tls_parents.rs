//! Whose calls inside TLS are, where others than those who asked for them write and read.

#[path = "support/tls.rs"]
mod tls;

use remora_engine::protocol::Side;
use remora_engine::semconv::Value;
use remora_engine::span::{Span, SpanKind};
use tls::{Losses, Manner, World};

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn request(number: u64) -> Vec<u8> {
    format!("GET /call{number} HTTP/1.1\r\nHost: b\r\n\r\n").into_bytes()
}

/// Returns which call of the client has which request as parent, by their numbers.
fn parents(world: World) -> Vec<(String, Option<String>)> {
    let [spans, _] = world.finish();
    let number = |span: &Span, key: &str| {
        let found = span.attributes.iter().find(|(found, _)| *found == key);
        let Some((_, Value::Text(text))) = found else { panic!("{span:?} has no {key}") };
        text[text.rfind('/').unwrap_or(0)..].to_string()
    };
    let requests: Vec<_> = spans
        .iter()
        .filter(|span| span.kind == SpanKind::Server)
        .map(|span| (span.span_id, number(span, "url.path")))
        .collect();
    let request_of = |call: &Span| {
        let parent = call.parent?.span_id;
        requests.iter().find(|(id, _)| *id == parent).map(|(_, path)| path.clone())
    };
    let calls = spans.iter().filter(|span| span.kind == SpanKind::Client);
    calls.map(|call| (number(call, "url.full"), request_of(call))).collect()
}

#[test]
fn what_is_claimed_of_a_connection_counts_for_its_plaintext() {
    for (seed, manner) in (1..).zip([Manner::Memory, Manner::OneWay]) {
        let mut world = World::new(seed, [manner, Manner::Nested], Losses::default());
        [5, 6].into_iter().for_each(|unit| world.ask(Side::Client, unit));
        // Nothing has said yet that this will be TLS.
        world.claim(Side::Client, None);
        world.shake_hands();
        for unit in [Some(6), None, Some(5)] {
            world.claim(Side::Client, unit);
            world.say(Side::Client, &request(unit.unwrap_or(0)));
            world.say(Side::Server, RESPONSE);
        }
        [5, 6].into_iter().for_each(|unit| world.answer(Side::Client, unit));
        let call =
            |number, unit: Option<u64>| (format!("/call{number}"), unit.map(|unit| format!("/unit{unit}")));
        assert_eq!(parents(world), [call(6, Some(6)), call(0, None), call(5, Some(5))], "{manner:?}");
    }
}

#[test]
fn answers_in_several_records_are_for_whom_their_reader_wakes() {
    const CARRIER: u64 = 20;
    let mut world = World::of_tasks(1, [Manner::OneWay, Manner::Nested]);
    [11, 12, 13].into_iter().for_each(|task| world.ask(Side::Client, task));
    world.take(Side::Client, Some(CARRIER));
    world.shake_hands();
    let requests = [11, 12, 13].map(request);
    world.say_all(Side::Client, &requests.each_ref().map(Vec::as_slice));
    world.say_all(Side::Server, &[RESPONSE; 3]);
    [11, 12, 13].into_iter().for_each(|task| world.wake(Side::Client, task));
    [11, 12, 13].into_iter().for_each(|task| world.answer(Side::Client, task));
    let expected = [11, 12, 13].map(|task| (format!("/call{task}"), Some(format!("/unit{task}"))));
    assert_eq!(parents(world), expected);
}
