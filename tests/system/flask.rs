//! Flask under gunicorn, with requests, psycopg and redis-py.

use expect_test::{Expect, expect};
use remora_tests::load::{self, Request};
use remora_tests::remora::Remora;
use remora_tests::servers::{Gunicorn, Postgres, Redis, Workers};
use remora_tests::span::{Names, Show, outline};
use remora_tests::tools;

use crate::{shape, whole};

const KINDS: [Workers; 2] = [Workers::Sync(2), Workers::Threads(4)];

/// Asks one path of the shop by curl, for each kind of worker, and compares all attributes.
fn check_alone(path: &str, expected: &Expect) {
    let [first, second] = KINDS.map(|workers| {
        let shop = Gunicorn::start(workers, &[]).unwrap();
        let mut remora = Remora::start().unwrap();
        tools::curl(&[&format!("http://{}{path}", shop.address())]).unwrap();
        let spans = remora.finish().unwrap().spans_of_server(shop.address()).unwrap();
        whole(&spans, &Names::of(&[("SHOP", shop.address())]))
    });
    expected.assert_eq(&first);
    assert_eq!(second, first, "both kinds of workers look the same");
}

#[test]
#[ignore = "needs root"]
fn a_route_is_templated() {
    check_alone(
        "/users/4711?page=2",
        &expect![[r#"
        client `GET` of curl, unset
            http.request.method = GET
            http.response.body.size = 33
            http.response.status_code = 200
            network.peer.address = 127.0.0.1
            network.peer.port = SHOP.port
            network.protocol.version = 1.1
            server.address = 127.0.0.1
            server.port = SHOP.port
            url.full = http://SHOP/users/4711?page=2
            user_agent.original = curl/*
          server `GET /users/{id}` of shop, unset
              client.address = 127.0.0.1
              client.port = *
              http.request.method = GET
              http.response.body.size = 33
              http.response.status_code = 200
              http.route = /users/{id}
              network.peer.address = 127.0.0.1
              network.peer.port = *
              network.protocol.version = 1.1
              remora.parent.evidence = position
              server.address = 127.0.0.1
              server.port = SHOP.port
              url.path = /users/4711
              url.query = page=2
              url.scheme = http
              user_agent.original = curl/*
    "#]],
    );
}

#[test]
#[ignore = "needs root"]
fn an_exception_is_the_servers_error() {
    check_alone(
        "/broken",
        &expect![[r#"
        client `GET` of curl, error
            error.type = 500
            http.request.method = GET
            http.response.body.size = 265
            http.response.status_code = 500
            network.peer.address = 127.0.0.1
            network.peer.port = SHOP.port
            network.protocol.version = 1.1
            server.address = 127.0.0.1
            server.port = SHOP.port
            url.full = http://SHOP/broken
            user_agent.original = curl/*
          server `GET /broken` of shop, error
              client.address = 127.0.0.1
              client.port = *
              error.type = 500
              http.request.method = GET
              http.response.body.size = 265
              http.response.status_code = 500
              http.route = /broken
              network.peer.address = 127.0.0.1
              network.peer.port = *
              network.protocol.version = 1.1
              remora.parent.evidence = position
              server.address = 127.0.0.1
              server.port = SHOP.port
              url.path = /broken
              url.scheme = http
              user_agent.original = curl/*
    "#]],
    );
}

#[test]
#[ignore = "needs root"]
fn database_and_cache_calls_are_children() {
    let [first, second] = [Workers::Sync(1), Workers::Threads(1)].map(calls);
    expect![[r#"
        client `GET` of curl, unset
            http.response.status_code = 200
          server `GET /rows/{id}` of shop, unset
              http.response.status_code = 200
            client `SELECT orders` of shop, unset
                db.query.text = SELECT note FROM orders WHERE id = $1
              server `SELECT orders` of postgres, unset
                  db.query.text = SELECT note FROM orders WHERE id = $1
        client `GET` of curl, unset
            http.response.status_code = 200
          server `GET /cached/key` of shop, unset
              http.response.status_code = 200
            client `SET` of shop, unset
                db.query.text = SET ? ? ? ?
              server `SET` of redis-server, unset
                  db.query.text = SET ? ? ? ?
            client `GET` of shop, unset
                db.query.text = GET ?
              server `GET` of redis-server, unset
                  db.query.text = GET ?
        client `GET` of curl, error
            error.type = 500
            http.response.status_code = 500
          server `GET /bad-statement` of shop, error
              error.type = 500
              http.response.status_code = 500
            client `SELECT missing_table` of shop, error
                db.query.text = SELECT nothing FROM missing_table
                db.response.status_code = 42P01
                error.type = 42P01
              server `SELECT missing_table` of postgres, error
                  db.query.text = SELECT nothing FROM missing_table
                  db.response.status_code = 42P01
                  error.type = 42P01
    "#]]
    .assert_eq(&first);
    assert_eq!(second, first, "both kinds of workers look the same");
}

fn calls(workers: Workers) -> String {
    let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    let neighbours = [("DATABASE_URL", postgres.url()), ("REDIS_URL", redis.url())];
    let shop = Gunicorn::start(workers, &neighbours).unwrap();
    let get = |path: &str| tools::curl(&[&format!("http://{}{path}", shop.address())]).unwrap();
    // The handshakes of its connections are not of interest here.
    assert_eq!(get("/warm"), "warm");
    let mut remora = Remora::start().unwrap();
    for path in ["/rows/100001", "/cached/key", "/bad-statement"] {
        get(path);
    }
    let spans = remora.finish().unwrap().spans_of_server(shop.address()).unwrap();
    let names =
        Names::of(&[("SHOP", shop.address()), ("POSTGRES", postgres.address()), ("REDIS", redis.address())]);
    let shown = ["db.query.text", "db.response.status_code", "error.type", "http.response.status_code"];
    outline(&spans, &names, Show::Only(&shown))
}

#[test]
#[ignore = "needs root"]
fn requests_at_once_do_not_mix() {
    let missing = missing_of(Workers::Threads(16), "many", 320, 32);
    assert_eq!(missing, 0, "calls without their request");
}

#[test]
#[ignore = "needs root"]
fn the_work_of_a_thread_pool_belongs_to_who_submitted_it() {
    let missing = missing_of(Workers::Threads(16), "pooled", 320, 32);
    assert_eq!(missing, 0, "calls without their request");
}

#[test]
#[ignore = "needs root"]
fn threads_of_one_request_are_followed_once_they_were_seen_to_end_with_theirs() {
    let missing = missing_of(Workers::Threads(16), "threaded", 160, 1);
    assert!(missing < 80, "{missing} of 160 calls without their request");
}

/// Many requests are in one thread, which turns to another wherever one waits. Which of their calls are told below their
/// request depends on whether the thread had to wait for it; none may be below another's.
#[test]
#[ignore = "needs root"]
fn greenlets_are_never_taken_for_each_other() {
    for (count, at_once) in [(320, 16), (60, 1)] {
        let missing = missing_of(Workers::Greenlets(at_once), "many", count, at_once as usize);
        println!("{missing} of {count} calls without their request, {at_once} at once");
    }
}

/// Has the shop ask Redis for each number, so many at once; returns how many of the calls are in no trace of a request.
/// None may be in another's.
fn missing_of(workers: Workers, path: &str, count: u32, at_once: usize) -> usize {
    let redis = Redis::start().unwrap();
    let shop = Gunicorn::start(workers, &[("REDIS_URL", redis.url())]).unwrap();
    let mut remora = Remora::start().unwrap();
    let requests: Vec<_> = (0..count)
        .map(|number| Request {
            path: format!("/{path}/{number}"),
            headers: vec![("traceparent".to_owned(), format!("00-{:032x}-{:016x}-01", 0xabc000 + number, 1))],
            expected: format!("many {number}"),
        })
        .collect();
    load::run(shop.address(), &requests, at_once).unwrap();
    let bridge = remora.finish().unwrap();
    let mut missing = 0;
    for number in 0..count {
        let spans = bridge.trace(&format!("{:032x}", 0xabc000 + number)).unwrap();
        let own = format!("MGET{}", " ?".repeat(number as usize % 13 + 1));
        let asked: Vec<_> = spans
            .iter()
            .filter_map(|span| span.text("db.query.text"))
            .filter(|text| text.starts_with("MGET"))
            .collect();
        // Seen by the shop and by Redis.
        assert!(
            asked.is_empty() || asked == [own.as_str(); 2],
            "{number}: {}",
            shape(&spans, &Names::default())
        );
        missing += usize::from(asked.is_empty());
    }
    missing
}
