//! curl → nginx → Flask → (Redis, PostgreSQL, Go service → PostgreSQL), 32 at a time, a number of its own in each.
//!
//! Every trace must have the same outline once its number is taken out: a span that lost its way would either be
//! missing, or show another request's number, or stand elsewhere.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use expect_test::{Expect, expect};
use remora_tests::remora::Remora;
use remora_tests::servers::{GoService, Gunicorn, Nginx, Postgres, Redis, Workers};
use remora_tests::span::{Names, Show, Span, check_times, outline};
use remora_tests::tools;

const CONCURRENCY: u32 = 32;
const REQUESTS: u32 = 320;
/// The first number; the tables have rows from here on. Six digits everywhere, so that sizes are equal.
const FIRST: u32 = 100_000;

struct Chain {
    nginx: Nginx,
    flask: Gunicorn,
    items: GoService,
    postgres: Postgres,
    redis: Redis,
}

impl Chain {
    fn start(workers: Workers) -> Result<Self> {
        let postgres = Postgres::start()?;
        let redis = Redis::start()?;
        // One round trip for each query, instead of a statement cache that sometimes prepares.
        let database = format!("{}&default_query_exec_mode=exec&pool_max_conns=16", postgres.url());
        let items = GoService::start(&["-database".to_owned(), database])?;
        let neighbours = [
            ("DATABASE_URL", postgres.url()),
            ("REDIS_URL", redis.url()),
            ("ITEMS_URL", items.url()),
            ("OTEL_SERVICE_NAME", "shop".to_owned()),
        ];
        let flask = Gunicorn::start(workers, &neighbours)?;
        let nginx = Nginx::proxy(flask.address())?;
        for number in FIRST..FIRST + REQUESTS {
            tools::redis_cli(
                redis.address(),
                &["SET", &format!("order:{number}"), &format!("cached {number}")],
            )?;
        }
        Ok(Self { nginx, flask, items, postgres, redis })
    }

    fn names(&self) -> Names {
        Names::of(&[
            ("NGINX", self.nginx.address()),
            ("FLASK", self.flask.address()),
            ("ITEMS", self.items.address()),
            ("POSTGRES", self.postgres.address()),
            ("REDIS", self.redis.address()),
        ])
    }
}

fn trace_id(number: u32) -> String {
    format!("c0ffee{number:026x}")
}

/// One request by curl, whose answer must be about its number alone.
fn order(chain: &Chain, number: u32) -> Result<()> {
    let url = format!("http://{}/orders/{number}?test={number}", chain.nginx.address());
    let traceparent = format!("traceparent: 00-{}-00000000{number:08x}-01", trace_id(number));
    let id = format!("X-Test-Id: {number}");
    let answer = tools::curl(&["--header", &traceparent, "--header", &id, &url])?;
    for part in ["cached ", "note ", "item "] {
        ensure!(answer.contains(&format!("{part}{number}")), "`{part}{number}` is missing: {answer}");
    }
    Ok(())
}

fn orders(chain: &Chain, count: u32) -> Result<()> {
    let next = AtomicU32::new(0);
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(());
            }
            order(chain, FIRST + index).with_context(|| format!("order {}", FIRST + index))?;
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..CONCURRENCY).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker panicked"))
    })
}

/// The first request of each thread opens the thread's connection to Redis, which redis-py does by commands; and
/// pgx tests a connection that was idle by an empty statement.
fn without_handshakes(spans: &[Span]) -> Vec<Span> {
    let is_handshake = |span: &Span| {
        let is_ping =
            span.text("db.system.name") == Some("postgresql") && span.text("db.query.summary").is_none();
        is_ping || span.name == "HELLO" || span.name.starts_with("CLIENT ")
    };
    spans.iter().filter(|span| !is_handshake(span)).cloned().collect()
}

/// Returns a trace's outline with its number taken out of it.
fn anonymous(spans: &[Span], names: &Names, number: u32) -> String {
    let keys = " ?".repeat(number as usize % 7 + 1);
    let names = names
        .clone()
        .and(number.to_string(), "NUMBER")
        .and(format!("MGET{keys}"), "MGET (its number of keys)");
    // Not `db.namespace`: connections that are older than the agent have told it before.
    const SHOWN: [&str; 7] = [
        "db.query.summary",
        "db.query.text",
        "db.system.name",
        "http.response.status_code",
        "http.route",
        "url.path",
        "url.full",
    ];
    check_times(spans).unwrap();
    outline(&without_handshakes(spans), &names, Show::Only(&SHOWN))
}

fn check(workers: Workers, expected: &Expect) {
    let chain = Chain::start(workers).unwrap();
    let mut remora = Remora::start().unwrap();
    orders(&chain, REQUESTS).unwrap();
    let bridge = remora.finish().unwrap();
    let names = chain.names();
    let mut outlines: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for number in FIRST..FIRST + REQUESTS {
        let spans = bridge.trace(&trace_id(number)).unwrap();
        outlines.entry(anonymous(&spans, &names, number)).or_default().push(number);
    }
    // The most frequent one is compared in full; the others are counted and shown.
    let usual =
        outlines.iter().max_by_key(|(_, numbers)| numbers.len()).map(|(outline, _)| outline.clone()).unwrap();
    expected.assert_eq(&usual);
    outlines.remove(&usual);
    let count: usize = outlines.values().map(Vec::len).sum();
    let shown: String =
        outlines.iter().map(|(outline, numbers)| difference(&usual, outline, numbers)).collect();
    assert!(count == 0, "{count} of {REQUESTS} traces differ:\n{shown}");
}

/// Returns the lines that only one of two outlines has.
fn difference(usual: &str, other: &str, numbers: &[u32]) -> String {
    let only = |lines: &str, in_no: &str, sign: char| -> String {
        let is_in = |line: &&str| in_no.lines().any(|other| other == *line);
        lines.lines().filter(|line| !is_in(line)).map(|line| format!("  {sign}{line}\n")).collect()
    };
    let first = numbers.first().copied().unwrap_or_default();
    format!("{} like {first}:\n{}{}", numbers.len(), only(usual, other, '-'), only(other, usual, '+'))
}

#[test]
#[ignore = "needs root"]
fn every_trace_has_its_own_spans_with_threads() {
    check(
        Workers::Threads(CONCURRENCY),
        &expect![[r#"
            client `GET` of curl, unset (parent elsewhere)
                http.response.status_code = 200
                url.full = http://NGINX/orders/NUMBER?test=NUMBER
              server `GET /orders/{id}` of nginx, unset
                  http.response.status_code = 200
                  http.route = /orders/{id}
                  url.path = /orders/NUMBER
                client `GET` of nginx, unset
                    http.response.status_code = 200
                    url.full = http://upstream:FLASK.port/orders/NUMBER?test=NUMBER
                  server `GET /orders/{id}` of shop, unset
                      http.response.status_code = 200
                      http.route = /orders/{id}
                      url.path = /orders/NUMBER
                    client `MGET` of shop, unset
                        db.query.text = MGET (its number of keys)
                        db.system.name = redis
                      server `MGET` of redis-server, unset
                          db.query.text = MGET (its number of keys)
                          db.system.name = redis
                    client `SELECT orders` of shop, unset
                        db.query.summary = SELECT orders
                        db.query.text = SELECT note AS id_NUMBER FROM orders WHERE id = $1
                        db.system.name = postgresql
                      server `SELECT orders` of postgres, unset
                          db.query.summary = SELECT orders
                          db.query.text = SELECT note AS id_NUMBER FROM orders WHERE id = $1
                          db.system.name = postgresql
                    client `GET` of shop, unset
                        http.response.status_code = 200
                        url.full = http://ITEMS/items/NUMBER
                      server `GET /items/{id}` of items, unset
                          http.response.status_code = 200
                          http.route = /items/{id}
                          url.path = /items/NUMBER
                        client `SELECT items` of items, unset
                            db.query.summary = SELECT items
                            db.query.text = SELECT name AS id_NUMBER FROM items WHERE id = $1
                            db.system.name = postgresql
                          server `SELECT items` of postgres, unset
                              db.query.summary = SELECT items
                              db.query.text = SELECT name AS id_NUMBER FROM items WHERE id = $1
                              db.system.name = postgresql
        "#]],
    );
}

#[test]
#[ignore = "needs root"]
fn every_trace_has_its_own_spans_with_processes() {
    check(
        Workers::Sync(4),
        &expect![[r#"
            client `GET` of curl, unset (parent elsewhere)
                http.response.status_code = 200
                url.full = http://NGINX/orders/NUMBER?test=NUMBER
              server `GET /orders/{id}` of nginx, unset
                  http.response.status_code = 200
                  http.route = /orders/{id}
                  url.path = /orders/NUMBER
                client `GET` of nginx, unset
                    http.response.status_code = 200
                    url.full = http://upstream:FLASK.port/orders/NUMBER?test=NUMBER
                  server `GET /orders/{id}` of shop, unset
                      http.response.status_code = 200
                      http.route = /orders/{id}
                      url.path = /orders/NUMBER
                    client `MGET` of shop, unset
                        db.query.text = MGET (its number of keys)
                        db.system.name = redis
                      server `MGET` of redis-server, unset
                          db.query.text = MGET (its number of keys)
                          db.system.name = redis
                    client `SELECT orders` of shop, unset
                        db.query.summary = SELECT orders
                        db.query.text = SELECT note AS id_NUMBER FROM orders WHERE id = $1
                        db.system.name = postgresql
                      server `SELECT orders` of postgres, unset
                          db.query.summary = SELECT orders
                          db.query.text = SELECT note AS id_NUMBER FROM orders WHERE id = $1
                          db.system.name = postgresql
                    client `GET` of shop, unset
                        http.response.status_code = 200
                        url.full = http://ITEMS/items/NUMBER
                      server `GET /items/{id}` of items, unset
                          http.response.status_code = 200
                          http.route = /items/{id}
                          url.path = /items/NUMBER
                        client `SELECT items` of items, unset
                            db.query.summary = SELECT items
                            db.query.text = SELECT name AS id_NUMBER FROM items WHERE id = $1
                            db.system.name = postgresql
                          server `SELECT items` of postgres, unset
                              db.query.summary = SELECT items
                              db.query.text = SELECT name AS id_NUMBER FROM items WHERE id = $1
                              db.system.name = postgresql
        "#]],
    );
}
