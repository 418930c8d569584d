//! Pages neither skip nor repeat a trace, whatever arrives between them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::bridge::Bridge;
use crate::otlp::{MS, START_NS, START_S, TestSpan, span};
use crate::search::numbers;

/// Walks through all pages and returns the traces in their order; `between` is called after each page.
fn walk(bridge: &Bridge, mut body: Value, mut between: impl FnMut()) -> Vec<u64> {
    let mut all = Vec::new();
    loop {
        let page = bridge.search(&body);
        all.extend(numbers(&page));
        between();
        match page["next_cursor"].as_str() {
            Some(cursor) => body["cursor"] = json!(cursor),
            None => return all,
        }
    }
}

fn at_ms(trace: u64, ms: u64) -> TestSpan {
    span("a", u128::from(trace), 1, "x").at(ms * MS, MS)
}

fn many(count: u64) -> Vec<TestSpan> {
    (1..=count).map(|trace| at_ms(trace, trace)).collect()
}

fn question(limit: usize) -> Value {
    json!({ "from": START_S, "until": START_S + 3600, "limit": limit })
}

#[test]
fn pages_of_any_size_give_the_same_traces() {
    let bridge = Bridge::with(&many(450));
    let expected: Vec<u64> = (1..=450).rev().collect();
    for limit in [7, 128, 449, 450, 1000] {
        assert_eq!(walk(&bridge, question(limit), || ()), expected, "{limit}");
    }
    let mut by_spans = question(50);
    by_spans["operation"] = json!("x");
    bridge.store.seal().unwrap();
    assert_eq!(walk(&bridge, by_spans, || ()), expected);
}

#[test]
fn the_last_page_has_no_cursor() {
    let bridge = Bridge::with(&many(20));
    assert_eq!(bridge.search(&question(20))["next_cursor"], Value::Null);
    assert!(bridge.search(&question(19))["next_cursor"].is_string());
}

#[test]
fn a_rare_match_is_found_behind_many_traces() {
    let mut spans = many(1_000);
    spans.push(span("b", 5_000, 1, "rare").at(0, MS));
    let bridge = Bridge::with(&spans);
    let mut body = question(1);
    body["operation"] = json!("rare");
    assert_eq!(walk(&bridge, body, || ()), [5_000]);
}

#[test]
fn new_traces_do_not_disturb_a_walk() {
    let bridge = Bridge::with(&many(60));
    let mut next = 1_000;
    let walked = walk(&bridge, question(7), || {
        next += 1;
        bridge.ingest(&[at_ms(next, next)]);
        if next % 3 == 0 {
            bridge.store.seal().unwrap();
        }
    });
    assert_eq!(walked, (1..=60).rev().collect::<Vec<_>>());
}

#[test]
fn a_trace_does_not_come_again_when_its_beginning_arrives_late() {
    let bridge = Bridge::start();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let recent = |trace: u64, id: u64, ms_ago: u64| {
        let mut one = span("a", u128::from(trace), id, "x");
        (one.span.start_time_unix_nano, one.span.end_time_unix_nano) =
            (now - ms_ago * MS, now - ms_ago * MS + MS);
        one
    };
    let spans: Vec<TestSpan> = (1..=10).map(|trace| recent(trace, 1, 10_000 - trace)).collect();
    bridge.ingest(&spans);
    let mut is_first = true;
    let walked = walk(&bridge, json!({ "limit": 3, "since": "5m" }), || {
        if is_first {
            bridge.ingest(&[recent(9, 2, 20_000), recent(2, 2, 30_000)]);
        }
        is_first = false;
    });
    assert_eq!(walked, [10, 9, 8, 7, 6, 5, 4, 3, 1, 2]);
}

#[test]
fn relative_ranges_stand_still_during_a_walk() {
    let bridge = Bridge::with(&many(5));
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let since = format!("{}s", now_s - START_S + 5);
    let first = bridge.search(&json!({ "since": since, "limit": 2 }));
    let second = bridge.search(&json!({ "since": since, "limit": 2, "cursor": first["next_cursor"] }));
    assert_eq!(first["range"], second["range"]);
}

#[test]
fn a_walk_sees_all_that_was_there_while_senders_are_busy() {
    const BEFORE: u64 = 1_000;
    const DURING: u64 = 300;
    let bridge = Bridge::with(&many(BEFORE));
    let is_done = AtomicBool::new(false);
    let sent = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for sender in 0..2_u64 {
            let (bridge, is_done, sent) = (&bridge, &is_done, &sent);
            scope.spawn(move || {
                let mut number = 0;
                while number < DURING && !is_done.load(Ordering::Relaxed) {
                    number += 1;
                    // New traces before, among and behind the ones that are walked through.
                    let trace = 100_000 * (sender + 1) + number;
                    bridge.ingest(&[at_ms(trace, (number * 37) % (2 * BEFORE))]);
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while sent.load(Ordering::Relaxed) < 20 {
            std::thread::yield_now();
        }
        let walked = walk(&bridge, question(50), || ());
        is_done.store(true, Ordering::Relaxed);
        let old: Vec<u64> = walked.iter().copied().filter(|trace| *trace <= BEFORE).collect();
        assert_eq!(old, (1..=BEFORE).rev().collect::<Vec<_>>());
        let mut distinct = walked.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), walked.len(), "a trace came twice");
    });
    let after = walk(&bridge, question(1_000), || ());
    assert_eq!(after.len() as u64, BEFORE + sent.load(Ordering::Relaxed));
    let starts: Vec<u64> = bridge.search(&question(1_000))["traces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|trace| trace["start_time_unix_nano"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(starts.is_sorted_by(|a, b| a >= b) && starts.iter().all(|start| *start >= START_NS));
}
