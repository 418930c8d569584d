//! Services with OpenTelemetry's SDK for Python beside services without, both sending to the bridge.

use std::time::Duration;

use anyhow::{Result, ensure};
use expect_test::{Expect, expect};
use remora_tests::bridge::Bridge;
use remora_tests::load::{self, Request};
use remora_tests::remora::Remora;
use remora_tests::servers::{Hop, Redis};
use remora_tests::span::{Names, Span};
use remora_tests::wait;
use serde_json::Value;

use crate::shape;

const REQUESTS: usize = 48;
const AT_ONCE: usize = 8;

/// How long SDK, agent and bridge may take until a trace is whole.
const WHOLE_WITHIN: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs root"]
fn an_sdk_upstream_and_none_downstream_tell_one_trace() {
    check(
        &["sdk-shop", "plain-stock"],
        &expect![[r#"
            client `GET` of test, unset
              server `GET /hop/<number>` of sdk-shop, unset
                client `GET` of sdk-shop, unset
                  server `GET /hop/{id}` of plain-stock, unset
                    client `GET` of plain-stock, unset
                      server `GET` of redis-server, unset
                client `GET` of sdk-shop, unset
                  server `GET` of redis-server, unset
        "#]],
    );
}

#[test]
#[ignore = "needs root"]
fn an_sdk_downstream_and_none_upstream_tell_one_trace() {
    check(
        &["plain-shop", "sdk-stock"],
        &expect![[r#"
            client `GET` of test, unset
              server `GET /hop/{id}` of plain-shop, unset
                client `GET` of plain-shop, unset
                  server `GET /hop/<number>` of sdk-stock, unset
                    client `GET` of sdk-stock, unset
                      server `GET` of redis-server, unset
                client `GET` of plain-shop, unset
                  server `GET` of redis-server, unset
        "#]],
    );
}

#[test]
#[ignore = "needs root"]
fn a_chain_of_services_with_and_without_an_sdk_tells_one_trace() {
    check(
        &["plain-shop", "sdk-orders", "plain-prices", "sdk-stock"],
        &expect![[r#"
            client `GET` of test, unset
              server `GET /hop/{id}` of plain-shop, unset
                client `GET` of plain-shop, unset
                  server `GET /hop/<number>` of sdk-orders, unset
                    client `GET` of sdk-orders, unset
                      server `GET /hop/{id}` of plain-prices, unset
                        client `GET` of plain-prices, unset
                          server `GET /hop/<number>` of sdk-stock, unset
                            client `GET` of sdk-stock, unset
                              server `GET` of redis-server, unset
                        client `GET` of plain-prices, unset
                          server `GET` of redis-server, unset
                    client `GET` of sdk-orders, unset
                      server `GET` of redis-server, unset
                client `GET` of plain-shop, unset
                  server `GET` of redis-server, unset
        "#]],
    );
}

/// Asks the first of these services, each of which asks the next one and Redis, many times and several at once. Each
/// request is one trace with each span once.
fn check(services: &[&str], expected: &Expect) {
    let redis = Redis::start().unwrap();
    let mut remora = Remora::start().unwrap();
    let mut chain: Vec<Hop> = Vec::new();
    for name in services.iter().rev() {
        let next = chain.last().map(Hop::address);
        let hop = if name.starts_with("sdk") {
            Hop::with_sdk(name, next, &redis.url(), remora.otlp_http())
        } else {
            Hop::plain(name, next, &redis.url())
        };
        chain.push(hop.unwrap());
    }
    let path = |number: usize| format!("/hop/{number:04}");
    let requests: Vec<_> = (0..REQUESTS)
        .map(|number| Request {
            path: path(number),
            headers: Vec::new(),
            expected: format!("hop {number:04}"),
        })
        .collect();
    load::run(chain.last().unwrap().address(), &requests, AT_ONCE).unwrap();
    let bridge = remora.finish().unwrap();
    let sdks = services.iter().filter(|name| name.starts_with("sdk")).count();
    let mut shapes: Vec<String> = (0..REQUESTS)
        .map(|number| {
            wait::until("a whole trace", WHOLE_WITHIN, || whole(bridge, &path(number), sdks).map(Some))
                .unwrap()
        })
        .collect();
    shapes.dedup();
    expected.assert_eq(&shapes.join("\n---\n"));
}

/// Returns the outline of the only trace with this path, once all SDKs have told of it.
fn whole(bridge: &Bridge, path: &str, sdks: usize) -> Result<String> {
    let mut spans = bridge.spans_with("url.path", &Value::from(path))?;
    spans
        .iter_mut()
        .filter(|span| span.service.starts_with("system"))
        .for_each(|span| span.service = "test".into());
    // The first command of a connection is not of interest here.
    spans.retain(|span| !is_of_redis(span) || span.name == "GET");
    let outline = shape(&spans, &Names::default());
    let by_sdk = |span: &&Span| span.resource["telemetry.sdk.name"] == "opentelemetry";
    let roots = spans.iter().filter(|span| span.parent_id.is_none()).count();
    let told = spans.iter().filter(by_sdk).filter(|span| span.kind == "server").count();
    ensure!(roots == 1 && told == sdks, "{roots} roots, {told} of {sdks} SDKs:\n{outline}");
    for span in spans.iter() {
        let speaks_for_itself = matches!(span.kind.as_str(), "server" | "client");
        let is_of_sdk = span.service.starts_with("sdk");
        ensure!(
            !speaks_for_itself || by_sdk(&span) == is_of_sdk,
            "{}: told by another\n{outline}",
            span.name
        );
        let asked = ["url.path", "url.full", "http.target", "http.url"].iter().find_map(|key| span.text(key));
        ensure!(
            asked.is_none_or(|asked| asked.ends_with(path)),
            "{asked:?} in the trace of {path}:\n{outline}"
        );
    }
    Ok(outline)
}

fn is_of_redis(span: &Span) -> bool {
    ["db.system.name", "db.system"].iter().any(|key| span.text(key) == Some("redis"))
}
