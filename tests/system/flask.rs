//! Flask under gunicorn, with requests, psycopg and redis-py.

use expect_test::{Expect, expect};
use remora_tests::load::{self, Request};
use remora_tests::remora::Remora;
use remora_tests::servers::{Gunicorn, Postgres, Redis, Workers};
use remora_tests::span::{Names, Show, outline};
use remora_tests::tools;

use crate::{shape, whole};

const KINDS: [Workers; 2] = [Workers::Sync(2), Workers::Threads(4)];

/// Asks one path of the shop by curl, once for each kind of worker, and compares all attributes.
fn check_alone(path: &str, expected: &Expect) {
    for workers in KINDS {
        let shop = Gunicorn::start(workers, &[]).unwrap();
        let mut remora = Remora::start().unwrap();
        tools::curl(&[&format!("http://{}{path}", shop.address())]).unwrap();
        let spans = remora.finish().unwrap().spans_of_server(shop.address()).unwrap();
        expected.assert_eq(&whole(&spans, &Names::of(&[("SHOP", shop.address())])));
    }
}

#[test]
#[ignore = "needs root"]
fn a_route_is_templated() {
    check_alone("/users/4711?page=2", &expect![[""]]);
}

#[test]
#[ignore = "needs root"]
fn an_exception_is_the_servers_error() {
    check_alone("/broken", &expect![[""]]);
}

#[test]
#[ignore = "needs root"]
fn database_and_cache_calls_are_children() {
    for workers in KINDS {
        let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
        let neighbours = [("DATABASE_URL", postgres.url()), ("REDIS_URL", redis.url())];
        let shop = Gunicorn::start(workers, &neighbours).unwrap();
        let url = |path: &str| format!("http://{}{path}", shop.address());
        let mut remora = Remora::start().unwrap();
        // Enough that every worker has its connections, whose handshakes are not of interest here.
        for _ in 0..20 {
            tools::curl(&[&url("/warm")]).unwrap();
        }
        tools::curl(&[&url("/rows/100001")]).unwrap();
        tools::curl(&[&url("/cached/key")]).unwrap();
        tools::curl(&[&url("/bad-statement")]).unwrap();
        let spans = remora.finish().unwrap().spans_of_server(shop.address()).unwrap();
        let spans: Vec<_> = spans
            .iter()
            .filter(|span| {
                let root = spans.iter().find(|root| root.trace_id == span.trace_id && root.kind == "client");
                root.and_then(|root| root.text("url.full")).is_some_and(|url| !url.ends_with("/warm"))
            })
            .cloned()
            .collect();
        let names = Names::of(&[
            ("SHOP", shop.address()),
            ("POSTGRES", postgres.address()),
            ("REDIS", redis.address()),
        ]);
        let shown = ["db.query.text", "db.response.status_code", "error.type", "http.response.status_code"];
        expect![[""]].assert_eq(&outline(&spans, &names, Show::Only(&shown)));
    }
}

#[test]
#[ignore = "needs root"]
fn requests_at_once_do_not_mix() {
    let redis = Redis::start().unwrap();
    let shop = Gunicorn::start(Workers::Threads(16), &[("REDIS_URL", redis.url())]).unwrap();
    let mut remora = Remora::start().unwrap();
    let requests: Vec<_> = (0..320_u32)
        .map(|number| Request {
            path: format!("/cached/{number}"),
            headers: vec![("traceparent".to_owned(), format!("00-{:032x}-{:016x}-01", 0xabc000 + number, 1))],
            expected: "hello".to_owned(),
        })
        .collect();
    load::run(shop.address(), &requests, 32).unwrap();
    let bridge = remora.finish().unwrap();
    let mut wrong = Vec::new();
    for number in 0..320_u32 {
        let spans = bridge.trace(&format!("{:032x}", 0xabc000 + number)).unwrap();
        let key = format!("greeting:{number}");
        let is_own = |text: &str| text.split_whitespace().any(|word| word == key);
        let statements: Vec<_> = spans.iter().filter_map(|span| span.text("db.query.text")).collect();
        // SET and GET, seen by the shop and by Redis.
        if statements.len() != 4 || !statements.iter().all(|text| is_own(text)) {
            wrong.push(format!("{number}: {}", shape(&spans, &Names::default())));
        }
    }
    assert!(wrong.is_empty(), "{} of 320 traces are wrong, first:\n{}", wrong.len(), wrong[0]);
}
