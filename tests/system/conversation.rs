//! What is told of whole conversations: those of the recordings, by clients that other tests do not have.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Command;

use expect_test::{Expect, expect};
use remora_tests::remora::Remora;
use remora_tests::servers::{Flavour, Mysql, Nats, Rabbitmq, Redis};
use remora_tests::span::{Span, check_times};
use remora_tests::{clients, tools};

/// Fails unless what a client says to a server is told as expected.
fn check(server: SocketAddr, mut client: Command, arguments: &[&str], expected: &Expect) {
    let mut remora = Remora::start().unwrap();
    tools::printed(client.arg(server.port().to_string()).args(arguments)).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(server).unwrap();
    check_times(&spans).unwrap();
    expected.assert_eq(&told(&spans));
}

/// Returns how many of each span there are on the client's side: its kind, its name, what went wrong, and to what it is
/// linked. The server must have told the same of each exchange, and nothing else.
fn told(spans: &[Span]) -> String {
    let of_server = |span: &&Span| span.kind == "server";
    let is_caller = |span: &&Span| span.kind == "client" || span.kind == "producer";
    for caller in spans.iter().filter(is_caller) {
        let below = |span: &&Span| span.parent_id.as_ref() == Some(&caller.span_id);
        let below: Vec<_> = spans.iter().filter(of_server).filter(below).collect();
        let [server] = &below[..] else { panic!("one server's side of {caller:#?}: {below:#?}") };
        assert_eq!((&server.name, &server.trace_id), (&caller.name, &caller.trace_id));
    }
    assert_eq!(spans.iter().filter(of_server).count(), spans.iter().filter(is_caller).count());
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for span in spans.iter().filter(|span| span.kind != "server") {
        *counts.entry(line(span, spans)).or_default() += 1;
    }
    let mut text = String::new();
    for (line, count) in counts {
        writeln!(text, "{count} x {line}").unwrap();
    }
    text
}

fn line(span: &Span, spans: &[Span]) -> String {
    let mut line = format!("{} `{}`", span.kind, span.name);
    if let Some(error) = span.text("error.type") {
        write!(line, " failed with {error}").unwrap();
    }
    for link in &span.links {
        let sender = spans.iter().find(|span| span.span_id == *link);
        write!(line, " after `{}`", sender.map_or("another's", |span| &span.name)).unwrap();
    }
    line
}

#[test]
#[ignore = "needs root"]
fn amqplib_and_rabbitmq() {
    let rabbitmq = Rabbitmq::start().unwrap();
    check(
        rabbitmq.address(),
        clients::recorded_node("amqp.js").unwrap(),
        &[],
        &expect![[r#"
        1 x client `basic.cancel`
        1 x client `basic.consume two`
        1 x client `basic.consume`
        2 x client `channel.open`
        1 x client `confirm.select`
        1 x client `connection.close`
        1 x client `connection.open`
        1 x client `exchange.declare events`
        1 x client `queue.bind`
        2 x client `queue.declare one`
        2 x client `queue.declare two`
        1 x client `queue.declare`
        1 x client `queue.delete one`
        1 x consumer `process events` after `another's` after `send events`
        1 x consumer `process events` after `send events`
        3 x consumer `process two` after `send two`
        2 x producer `send events`
        3 x producer `send two`
    "#]],
    );
}

#[test]
#[ignore = "needs root"]
fn amqp091_go_and_rabbitmq() {
    let rabbitmq = Rabbitmq::start().unwrap();
    check(
        rabbitmq.address(),
        clients::recorded_go("amqp").unwrap(),
        &[],
        &expect![[r#"
        1 x client `basic.consume parcels`
        1 x client `basic.qos`
        2 x client `channel.open`
        1 x client `confirm.select`
        1 x client `connection.close`
        1 x client `connection.open`
        1 x client `exchange.declare amq.topic`
        1 x client `queue.declare missing` failed with not-found
        1 x client `queue.declare parcels`
        2 x consumer `process parcels` after `another's` after `send parcels`
        1 x consumer `process parcels` failed with basic.nack after `another's` after `send parcels`
        3 x producer `send parcels`
    "#]],
    );
}

#[test]
#[ignore = "needs root"]
fn nats_js_and_nats() {
    let nats = Nats::start().unwrap();
    check(
        nats.address(),
        clients::recorded_node("nats.js").unwrap(),
        &[],
        &expect![[r#"
        1 x client `$JS.API.CONSUMER.CREATE JOBS`
        1 x client `$JS.API.CONSUMER.INFO JOBS`
        1 x client `$JS.API.INFO`
        1 x client `$JS.API.STREAM.CREATE JOBS`
        1 x client `$JS.API.STREAM.DELETE JOBS`
        3 x client `receive JOBS`
        3 x consumer `process jobs.mail.*` after `send jobs.mail.*`
        1 x consumer `process upper` after `another's` after `send upper`
        1 x consumer `process upper` after `send upper`
        3 x producer `send jobs.mail.*`
        2 x producer `send upper`
    "#]],
    );
}

#[test]
#[ignore = "needs root"]
fn nats_go_and_nats() {
    let nats = Nats::start().unwrap();
    check(
        nats.address(),
        clients::recorded_go("nats").unwrap(),
        &[],
        &expect![[r#"
        1 x client `$JS.API.CONSUMER.CREATE PARCELS`
        1 x client `$JS.API.STREAM.CREATE PARCELS`
        1 x client `$JS.API.STREAM.DELETE PARCELS`
        1 x client `receive PARCELS`
        1 x client `receive PARCELS` after `send parcels`
        1 x consumer `process echo` after `another's` after `send echo`
        1 x consumer `process parcels` after `send parcels`
        1 x producer `send echo`
        1 x producer `send nobody` failed with 503
        2 x producer `send parcels`
    "#]],
    );
}

#[test]
#[ignore = "needs root"]
fn mysql2_and_mysql() {
    let mysql = Mysql::start(Flavour::Mysql).unwrap();
    check(
        mysql.address(),
        clients::recorded_node("mysql.js").unwrap(),
        &["golden"],
        &expect![[r#"
        1 x client `BATCH`
        1 x client `CHANGE_USER`
        1 x client `CREATE TABLE nodes`
        1 x client `DROP TABLE nodes`
        3 x client `INSERT nodes`
        1 x client `INSERT nodes` failed with 1062
        1 x client `LOAD nodes`
        1 x client `PING`
        2 x client `PREPARE INSERT nodes`
        1 x client `PREPARE SELECT nodes`
        1 x client `PREPARE SELECT nodes` failed with 1054
        1 x client `SELECT missing` failed with 1146
        3 x client `SELECT nodes`
        1 x client `SELECT user`
        3 x client `SELECT`
    "#]],
    );
}

#[test]
#[ignore = "needs root"]
fn go_sql_driver_and_mariadb() {
    let mysql = Mysql::start(Flavour::Mariadb).unwrap();
    let options = ["golden", "compress=true&interpolateParams=true"];
    check(
        mysql.address(),
        clients::recorded_go("mysql").unwrap(),
        &options,
        &expect![[r#"
        1 x client `BATCH`
        1 x client `CREATE TABLE gophers`
        1 x client `DELETE gophers`
        1 x client `DROP TABLE gophers`
        4 x client `INSERT gophers`
        1 x client `INSERT gophers` failed with 1062
        1 x client `PING`
        1 x client `PREPARE INSERT gophers`
        1 x client `ROLLBACK`
        1 x client `SELECT gophers`
        1 x client `SELECT missing` failed with 1146
        1 x client `START TRANSACTION`
    "#]],
    );
}

#[test]
#[ignore = "needs root"]
fn redis_py_and_channels() {
    let redis = Redis::start().unwrap();
    let client = clients::recorded_python("redis_pubsub.py").unwrap();
    check(
        redis.address(),
        client,
        &["3"],
        &expect![[r#"
        2 x client `CLIENT MAINT_NOTIFICATIONS` failed with ERR
        4 x client `CLIENT SETINFO` failed with ERR
        2 x client `HELLO`
        1 x client `PING`
        1 x client `PSUBSCRIBE`
        1 x client `PUNSUBSCRIBE`
        1 x client `SUBSCRIBE`
        1 x client `UNSUBSCRIBE`
        1 x consumer `process n*` after `publish news`
        1 x consumer `process news` after `publish news`
        1 x producer `publish news`
    "#]],
    );
}

#[test]
#[ignore = "needs root"]
fn redis_py_and_streams() {
    let redis = Redis::start().unwrap();
    let client = clients::recorded_python("redis_streams.py").unwrap();
    check(
        redis.address(),
        client,
        &["2"],
        &expect![[r#"
        1 x client `BRPOP` after `another's` after `LPUSH`
        4 x client `CLIENT SETINFO` failed with ERR
        1 x client `CLIENT TRACKING`
        1 x client `DEL`
        1 x client `DISCARD`
        2 x client `EXEC`
        3 x client `GET`
        1 x client `LPUSH` after `another's`
        3 x client `MULTI`
        1 x client `RESET`
        3 x client `SET`
        1 x client `WAIT`
        2 x client `WATCH`
        1 x client `XGROUP CREATE`
        1 x client `ack events`
        1 x client `claim events`
        1 x client `receive events`
        1 x client `receive events` after `another's` after `send events` after `send events`
        1 x client `receive` after `another's` after `send events` after `send events` after `send audit`
        1 x consumer `process events` after `another's` after `send events` after `send events`
        1 x consumer `process letters` after `another's` after `LPUSH`
        2 x producer `send audit`
        2 x producer `send events`
        1 x producer `send events` after `another's`
    "#]],
    );
}
