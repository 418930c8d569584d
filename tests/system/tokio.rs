//! Tokio: tasks that move between threads, make others, and have others send for them.

use std::collections::{BTreeMap, HashMap};

use remora_tests::remora::Remora;
use remora_tests::servers::TokioService;
use remora_tests::span::Span;
use remora_tests::tools;

/// Requests of each way, at once.
const REQUESTS: usize = 24;

/// How many calls were found below the request with their own number, below another, and below none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    right: usize,
    wrong: usize,
    missing: usize,
}

/// Sends requests of these ways, and returns what became of the calls of each.
fn send(front: &TokioService, leaf: &TokioService, ways: &[&str]) -> BTreeMap<String, Found> {
    let mut remora = Remora::start().unwrap();
    let mut number = 0;
    for way in ways {
        let urls: Vec<_> = (0..REQUESTS)
            .map(|_| {
                number += 1;
                format!("http://{}/{way}/{}", front.address(), 100_000 + number)
            })
            .collect();
        let mut arguments = vec!["--parallel", "--parallel-immediate", "--parallel-max", "24"];
        arguments.extend(urls.iter().map(String::as_str));
        tools::curl(&arguments).unwrap();
    }
    let spans = remora.finish().unwrap().spans_of_server(leaf.address()).unwrap();
    judge(&spans, leaf)
}

fn judge(spans: &[Span], leaf: &TokioService) -> BTreeMap<String, Found> {
    let requests: HashMap<_, _> = spans
        .iter()
        .filter(|span| span.kind == "server")
        .filter_map(|span| Some((span.span_id.as_str(), span.text("url.path")?)))
        .collect();
    let ways: HashMap<_, _> =
        requests.values().filter_map(|path| split(path)).map(|(way, number)| (number, way)).collect();
    let mut found = BTreeMap::new();
    let prefix = format!("http://{}/leaf/", leaf.address());
    for call in spans.iter().filter(|span| span.kind == "client") {
        let Some(number) = call.text("url.full").and_then(|url| url.strip_prefix(&prefix)) else { continue };
        if number == "0" {
            continue;
        }
        let parent = call.parent_id.as_deref().and_then(|id| requests.get(id)).and_then(|path| split(path));
        // Without a parent, its request is in another trace, which the search did not find.
        let way = ways.get(number).copied().unwrap_or("unknown");
        let found: &mut Found = found.entry(way.to_owned()).or_default();
        match parent {
            Some((_, of)) if of == number => found.right += 1,
            Some(_) => found.wrong += 1,
            None => found.missing += 1,
        }
    }
    found
}

/// Returns way and number of a request to the front.
fn split(path: &str) -> Option<(&str, &str)> {
    path.trim_start_matches('/').split_once('/').filter(|(way, _)| *way != "leaf")
}

fn check_runtime(kind: &str) {
    let leaf = TokioService::start(&[]).unwrap();
    let front = TokioService::start(&[&leaf.address().to_string(), kind]).unwrap();
    let ways = ["own", "join", "sleep", "spawn", "nested", "locked", "blocking", "queue"];
    let found = send(&front, &leaf, &ways);
    for way in ways {
        let calls = if matches!(way, "join" | "locked") { 2 * REQUESTS } else { REQUESTS };
        let expected = Found { right: calls, ..Found::default() };
        assert_eq!(found.get(way), Some(&expected), "{way}: {found:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn calls_of_tasks_that_move_between_threads_are_below_their_requests() {
    check_runtime("multi_thread");
}

#[test]
#[ignore = "needs root"]
fn calls_of_tasks_on_one_thread_are_below_their_requests() {
    check_runtime("current_thread");
}

#[test]
#[ignore = "needs root"]
fn a_stripped_program_has_no_wrong_parents() {
    let leaf = TokioService::start(&[]).unwrap();
    let front = TokioService::start_stripped(&[&leaf.address().to_string()]).unwrap();
    let found = send(&front, &leaf, &["own", "spawn", "queue"]);
    assert_eq!(found.values().map(|found| found.wrong).sum::<usize>(), 0, "{found:?}");
    assert!(!found.is_empty(), "no call was told: neither side was observed in time");
}
