//! The drivers of MongoDB for Python, Node and Go, and FerretDB.

use std::process::Command;

use expect_test::expect;
use remora_tests::remora::Remora;
use remora_tests::servers::{FerretDb, RecordedServer};
use remora_tests::span::{Names, Show, Span, outline};
use remora_tests::{clients, locate, tools};

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

/// Returns the names of the client's spans of reads and writes, by a client that packs its messages so.
fn packed_by(compressor: &str, part: &str) -> String {
    let ferretdb = FerretDb::start().unwrap();
    let front = RecordedServer::mongodb_front(ferretdb.address()).unwrap();
    let mut remora = Remora::start().unwrap();
    let mut client = clients::recorded_python("mongo_py.py").unwrap();
    let port = front.address().port().to_string();
    tools::printed(client.args([&port, part, compressor])).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(front.address()).unwrap();
    told(of_client(spans), "client")
}

/// Leaves out what the front asks.
fn of_client(mut spans: Vec<Span>) -> Vec<Span> {
    spans.retain(|span| span.service != "mongo_front");
    spans
}

/// FerretDB compresses nothing: a front before it does.
#[test]
#[ignore = "needs root"]
fn compressed_commands_are_told_as_others() {
    let told = ["snappy", "zlib", "zstd"].map(|compressor| packed_by(compressor, "reads"));
    expect![[r#"
        client `drop orders_reads` of mongo_py, unset
        client `insert orders_reads` of mongo_py, unset
            db.operation.batch.size = 20
        client `insert orders_reads` of mongo_py, unset
        client `insert orders_reads` of mongo_py, error
            error.type = 11000
        client `insert orders_reads` of mongo_py, error
            db.operation.batch.size = 2
            error.type = 11000
        client `find orders_reads` of mongo_py, unset
            db.response.returned_rows = 2
        client `find orders_reads` of mongo_py, unset
            db.response.returned_rows = 4
        client `getMore orders_reads` of mongo_py, unset
            db.response.returned_rows = 4
        client `getMore orders_reads` of mongo_py, unset
            db.response.returned_rows = 4
        client `getMore orders_reads` of mongo_py, unset
            db.response.returned_rows = 4
        client `getMore orders_reads` of mongo_py, unset
            db.response.returned_rows = 4
        client `getMore orders_reads` of mongo_py, unset
            db.response.returned_rows = 1
        client `find orders_reads` of mongo_py, error (parent elsewhere)
            error.type = 14
        client `find orders_reads` of mongo_py, unset (parent elsewhere)
            db.response.returned_rows = 0
        client `drop orders_reads` of mongo_py, unset
        client `endSessions admin` of mongo_py, error
            error.type = 59
    "#]]
    .assert_eq(&told[0]);
    assert_eq!([&told[1], &told[2]], [&told[0]; 2]);
}

/// Batches that come without being asked for one by one are one exchange, with all its rows.
#[test]
#[ignore = "needs root"]
fn a_cursor_that_goes_on_by_itself() {
    let ferretdb = FerretDb::start().unwrap();
    let front = RecordedServer::mongodb_front(ferretdb.address()).unwrap();
    let mut remora = Remora::start().unwrap();
    let mut client = clients::recorded_python("mongo_exhaust.py").unwrap();
    tools::printed(client.arg(front.address().port().to_string())).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(front.address()).unwrap();
    expect![[r#"
        client `drop exhausted` of mongo_exhaust, unset
        client `insert exhausted` of mongo_exhaust, unset
            db.operation.batch.size = 25
        client `find exhausted` of mongo_exhaust, unset
            db.response.returned_rows = 4
        client `getMore exhausted` of mongo_exhaust, unset
            db.response.returned_rows = 21
        client `drop exhausted` of mongo_exhaust, unset
        client `endSessions admin` of mongo_exhaust, error
            error.type = 59
    "#]]
    .assert_eq(&told(of_client(spans), "client"));
}
