//! The TCP option between two hosts: what it joins, how often it is sent, and what it does on a way that swallows it.

use std::time::Duration;

use remora_tests::remora::Remora;
use remora_tests::span::Span;
use remora_tests::wait;

use crate::site::{ENCRYPTED, REWRITTEN, SWALLOWED, Site};

const CONNECTIONS: u32 = 40;
/// Requests on each connection.
const REQUESTS: u32 = 3;
/// How long the agents may take to publish what they count.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections with bytes that make many segments, and how many bytes that are.
const UPLOADS: u32 = 3;
const UPLOAD_BYTES: usize = 400_000;

fn ask_all(site: &mut Site, first: u32) {
    for connection in 0..CONNECTIONS {
        site.ask(REWRITTEN, first + connection * REQUESTS, REQUESTS, 0);
    }
}

fn number(span: &Span) -> Option<u32> {
    let query = span.text("url.query").or_else(|| span.text("url.full"))?;
    query.rsplit_once("n=")?.1.parse().ok()
}

/// Returns how many requests have both sides, and how many of them are joined; none may be joined to another.
fn joined(spans: &[Span]) -> (u32, u32) {
    let (mut all, mut joined) = (0, 0);
    for served in spans.iter().filter(|span| span.kind == "server") {
        let Some(wanted) = number(served) else { continue };
        let is_call = |span: &&Span| span.kind == "client" && number(span) == Some(wanted);
        let Some(call) = spans.iter().find(is_call) else { continue };
        all += 1;
        if let Some(parent) = &served.parent_id {
            assert_eq!((parent, &served.trace_id), (&call.span_id, &call.trace_id), "{served:?}");
            joined += 1;
        }
    }
    (all, joined)
}

/// Returns what both agents count of options, once they have counted some.
fn told(remora: &Remora) -> String {
    wait::until("both agents count options", PATIENCE, || {
        let all = [vec![remora.metrics()?], remora.other_metrics()?].concat().concat();
        let options: Vec<_> =
            all.lines().filter(|line| line.contains("\"option") && !line.ends_with(" 0")).collect();
        let has = |what| options.iter().any(|line| line.contains(&format!("\"{what}\"")));
        Ok((has("option") && has("option_read")).then(|| options.join("\n")))
    })
    .unwrap()
}

#[test]
#[ignore = "needs root"]
fn requests_behind_a_firewall_that_rewrites_positions_are_joined_by_the_option() {
    let mut site = Site::start();
    let mut remora = site.agents("off");
    ask_all(&mut site, 0);
    let spans = remora.finish().unwrap().spans_with("server.port", &REWRITTEN.into()).unwrap();
    assert_eq!(joined(&spans), (CONNECTIONS * REQUESTS, 0), "positions must be rewritten here");
    drop(remora);
    assert_eq!(site.counted("options"), 0);

    let mut remora = site.agents("tcp");
    ask_all(&mut site, 1000);
    for port in [REWRITTEN, ENCRYPTED] {
        for upload in 0..UPLOADS {
            site.ask(port, 5000 + upload, 1, UPLOAD_BYTES);
        }
    }
    let told = told(&remora);
    let spans = remora.finish().unwrap().spans_with("server.port", &REWRITTEN.into()).unwrap();
    let (all, joined) = joined(&spans);
    let options = site.counted("options");
    println!("{joined} of {all} requests joined by {options} segments with an option\n{told}");
    assert_eq!(all, CONNECTIONS * REQUESTS + UPLOADS);
    // One of 32 connections is left alone.
    assert!(joined * 5 >= all * 4, "{joined} of {all}");
    // One segment of each connection, never one that opens it, none longer than the way allows.
    assert!(
        (u64::from(CONNECTIONS) / 2..=u64::from(CONNECTIONS + 2 * UPLOADS)).contains(&options),
        "{options}"
    );
    assert_eq!((site.counted("openings"), site.counted("oversized")), (0, 0));
}

#[test]
#[ignore = "needs root"]
fn a_way_that_swallows_options_delays_two_connections() {
    /// The kernel sends again after 200 ms at the earliest.
    const DELAY: Duration = Duration::from_millis(190);
    let mut site = Site::start();
    let mut remora = site.agents("tcp");
    let times: Vec<_> = (0..30).map(|number| site.ask(SWALLOWED, number, 1, 0)).collect();
    let delayed = times.iter().filter(|time| **time >= DELAY).count();
    let options = site.counted("options");
    println!("{delayed} connections were delayed, {options} options were swallowed: {times:?}");
    assert_eq!(options, 2);
    assert!(delayed >= 2);
    remora.finish().unwrap();
}
