//! Node without a part inside: requests that wait for one answer together.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use remora_tests::load::{self, Request};
use remora_tests::remora::Remora;
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::span::Span;
use remora_tests::{locate, net, tools};

const WITHIN: Duration = Duration::from_secs(60);
const REQUESTS: u32 = 200;

#[test]
#[ignore = "needs root"]
fn calls_behind_a_shared_answer_are_below_their_own_request_or_none() {
    let address = net::free_address().unwrap();
    let scratch = Scratch::new("shared").unwrap();
    let mut command = Command::new(locate::program("node").unwrap());
    command.arg(locate::apps().join("node/shared.js")).arg(address.port().to_string());
    let mut service = Running::start("shared", &scratch, &mut command).unwrap();
    let url = format!("http://{address}/healthz");
    service.wait_ready(WITHIN, || Ok(tools::curl(&[&url]).is_ok())).unwrap();

    let mut remora = Remora::start().unwrap();
    for (first, in_flight) in [(1000, 16), (2000, 4), (3000, 1)] {
        let request = |id: u32| Request {
            path: format!("/shared/{id}"),
            headers: Vec::new(),
            expected: id.to_string(),
        };
        let requests: Vec<_> = (first..first + REQUESTS).map(request).collect();
        load::run(address, &requests, in_flight).unwrap();
    }
    let spans = remora.finish().unwrap().spans_of_server(address).unwrap();
    let number = |span: &Span, key: &str| span.text(key)?.rsplit_once('/')?.1.parse::<u32>().ok();
    let servers: HashMap<_, _> = spans
        .iter()
        .filter(|span| span.kind == "server" && span.name.contains("shared"))
        .filter_map(|span| Some((span.span_id.clone(), number(span, "url.path")?)))
        .collect();
    let calls: Vec<_> = spans
        .iter()
        .filter(|span| {
            span.kind == "client" && span.text("url.full").is_some_and(|url| url.contains("/leaf/"))
        })
        .filter_map(|span| Some((number(span, "url.full").filter(|id| *id > 0)?, span.parent_id.as_ref())))
        .collect();
    assert_eq!(calls.len(), 3 * REQUESTS as usize);
    let of = |parent: Option<&String>| parent.map(|parent| servers.get(parent).copied());
    let wrong: Vec<_> =
        calls.iter().filter(|(id, parent)| of(*parent).is_some_and(|found| found != Some(*id))).collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:?}", wrong.len(), calls.len());
    let alone = calls.iter().filter(|(id, _)| *id >= 3000);
    let missing = alone.filter(|(_, parent)| parent.is_none()).count();
    assert_eq!(missing, 0, "of requests that are alone each call is known");
}
