//! The drivers of MongoDB for Python, Node and Go, and FerretDB.

use std::process::Command;

use expect_test::expect;
use remora_tests::remora::Remora;
use remora_tests::servers::FerretDb;
use remora_tests::span::{Names, Show, Span, outline};
use remora_tests::{locate, tools};

use crate::whole;

/// Runs a client that gets the server's port; returns the spans of its calls.
fn spans_of(mut client: Command) -> (FerretDb, Vec<Span>) {
    let server = FerretDb::start().unwrap();
    let mut remora = Remora::start().unwrap();
    tools::printed(client.arg(server.address().port().to_string())).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(server.address()).unwrap();
    (server, spans)
}

fn python() -> Command {
    let mut command = Command::new(locate::testenv().join("mongodb/python/bin/python"));
    command.arg(locate::apps().join("mongodb/python/client.py"));
    command
}

fn node() -> Command {
    let mut command = Command::new(locate::program("node").unwrap());
    command.arg(locate::apps().join("mongodb/node/client.js"));
    command.env("NODE_PATH", locate::testenv().join("mongodb/node/node_modules"));
    command
}

/// Returns the names of the spans of a kind with what went wrong and what came back, in any order.
fn told(spans: Vec<Span>, kind: &str) -> String {
    let mut spans: Vec<Span> = spans.into_iter().filter(|span| span.kind == kind).collect();
    spans.sort_by_key(|span| (span.name.clone(), span.start_ns));
    let shown = ["db.operation.batch.size", "db.response.returned_rows", "error.type"];
    outline(&spans, &Names::default(), Show::Only(&shown))
}

#[test]
#[ignore = "needs root"]
fn one_query() {
    let (server, spans) = spans_of(python());
    let finds = spans.iter().filter(|span| span.kind == "client" && span.name == "find orders");
    let find = finds.max_by_key(|span| span.start_ns).unwrap();
    let trace: Vec<Span> = spans.iter().filter(|span| span.trace_id == find.trace_id).cloned().collect();
    expect![[r#"
        client `find orders` of client, unset
            db.collection.name = orders
            db.namespace = shop
            db.operation.name = find
            db.query.summary = find orders
            db.query.text = {"find": "orders", "filter": {"_id": "?"}, "limit": "?", "singleBatch": "?"}
            db.response.returned_rows = 1
            db.system.name = mongodb
            network.peer.address = 127.0.0.1
            network.peer.port = MONGODB.port
            server.address = 127.0.0.1
            server.port = MONGODB.port
          server `find orders` of ferretdb, unset
              client.address = 127.0.0.1
              client.port = *
              db.collection.name = orders
              db.namespace = shop
              db.operation.name = find
              db.query.summary = find orders
              db.query.text = {"find": "orders", "filter": {"_id": "?"}, "limit": "?", "singleBatch": "?"}
              db.response.returned_rows = 1
              db.system.name = mongodb
              network.peer.address = 127.0.0.1
              network.peer.port = *
              remora.parent.evidence = position
              server.address = 127.0.0.1
              server.port = MONGODB.port
    "#]]
    .assert_eq(&whole(&trace, &Names::of(&[("MONGODB", server.address())])));
}

#[test]
#[ignore = "needs root"]
fn commands_of_pymongo() {
    let (_server, spans) = spans_of(python());
    expect![[r#"
        client `insert orders` of client, unset
            db.operation.batch.size = 2
        client `find orders` of client, unset
            db.response.returned_rows = 2
        client `insert orders` of client, error
            error.type = 11000
        client `insert orders` of client, unset
        client `find orders` of client, unset
            db.response.returned_rows = 1
        client `drop orders` of client, unset
        client `endSessions admin` of client, error
            error.type = 59
    "#]]
    .assert_eq(&told(spans, "client"));
}

#[test]
#[ignore = "needs root"]
fn commands_of_the_driver_for_node() {
    let (_server, spans) = spans_of(node());
    expect![[r#"
        client `insert items` of mongodb-client, unset
        client `find items` of mongodb-client, unset
            db.response.returned_rows = 1
        client `update items` of mongodb-client, unset
        client `insert items` of mongodb-client, error
            error.type = 11000
        client `drop items` of mongodb-client, unset
        client `endSessions admin` of mongodb-client, unset
    "#]]
    .assert_eq(&told(spans, "client"));
}

#[test]
#[ignore = "needs root"]
fn commands_of_the_driver_for_go() {
    let (_server, spans) = spans_of(Command::new(locate::testenv().join("mongodb/client")));
    expect![[r#"
        client `insert books` of client, unset
        client `find books` of client, unset
            db.response.returned_rows = 1
        client `insert books` of client, error
            error.type = 11000
        client `drop books` of client, unset
        client `endSessions admin` of client, error
            error.type = 59
    "#]]
    .assert_eq(&told(spans, "client"));
}
