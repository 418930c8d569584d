//! What a user sees while everything runs.

use std::time::{Duration, Instant};

use remora_tests::remora::Remora;
use remora_tests::servers::{Gunicorn, Workers};
use remora_tests::{tools, wait};

/// The design's budget for a trace to be in search.
const VISIBLE_WITHIN: Duration = Duration::from_secs(5);

#[test]
#[ignore = "needs root"]
fn a_request_is_visible_seconds_after_it_ended() {
    let shop = Gunicorn::start(Workers::Sync(1), &[]).unwrap();
    let remora = Remora::start().unwrap();
    tools::curl(&[&format!("http://{}/users/4711", shop.address())]).unwrap();
    let ended = Instant::now();
    let spans = wait::until("both spans are visible", VISIBLE_WITHIN, || {
        let spans = remora.bridge().spans_of_server(shop.address())?;
        Ok((spans.len() == 2).then_some(spans))
    })
    .unwrap();
    eprintln!("visible {:?} after the response", ended.elapsed());
    assert!(spans.iter().any(|span| span.kind == "server" && span.name == "GET /users/{id}"), "{spans:#?}");
}

#[test]
#[ignore = "needs root"]
fn the_agent_and_the_bridge_do_not_trace_themselves() {
    let mut remora = Remora::start().unwrap();
    let bridge = remora.bridge().address();
    // The API is asked, by this very process, again and again; the agent sends its own spans meanwhile.
    let shop = Gunicorn::start(Workers::Sync(1), &[]).unwrap();
    tools::curl(&[&format!("http://{}/users/4711", shop.address())]).unwrap();
    wait::until("the request is visible", VISIBLE_WITHIN, || {
        Ok((!remora.bridge().spans_of_server(shop.address())?.is_empty()).then_some(()))
    })
    .unwrap();
    let spans = remora.finish().unwrap().spans_of_server(bridge).unwrap();
    let own: Vec<_> = spans.iter().filter(|span| span.service.starts_with("remora")).collect();
    assert!(own.is_empty(), "{own:#?}");
}
