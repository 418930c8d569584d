//! Redis Cluster: every node that is asked is told, and where it sends its client.

use std::process::Command;

use expect_test::expect;
use remora_tests::remora::Remora;
use remora_tests::servers::RedisCluster;
use remora_tests::span::{Names, Show, Span, outline};
use remora_tests::{clients, tools};

/// What the programs do with keys; the rest is what clients do to know the cluster.
const COMMANDS: &[&str] = &["SET", "APPEND", "INCR", "ASKING", "INCRBY"];

/// Returns what is told of the commands on keys of a client that gets the port of a node.
fn told(mut client: Command) -> String {
    let cluster = RedisCluster::start().unwrap();
    let mut remora = Remora::start().unwrap();
    let nodes: Vec<_> = cluster.addresses().collect();
    tools::printed(client.arg(nodes[0].port().to_string())).unwrap();
    let bridge = remora.finish().unwrap();
    let mut spans: Vec<Span> = Vec::new();
    for node in &nodes {
        spans.extend(bridge.spans_of_server(*node).unwrap());
    }
    spans.retain(|span| COMMANDS.contains(&span.name.to_uppercase().as_str()));
    let names = Names::of(&[("FIRST", nodes[0]), ("SECOND", nodes[1]), ("THIRD", nodes[2])]);
    outline(&spans, &names, Show::Only(&["db.response.status_code", "error.type", "server.port"]))
}

#[test]
#[ignore = "needs root"]
fn redis_py_follows_a_slot() {
    expect![[r#"
        client `SET` of cluster, unset
            server.port = SECOND.port
          server `SET` of redis-server, unset
              server.port = SECOND.port
        client `SET` of cluster, unset
            server.port = THIRD.port
          server `SET` of redis-server, unset
              server.port = THIRD.port
        client `SET` of cluster, unset
            server.port = FIRST.port
          server `SET` of redis-server, unset
              server.port = FIRST.port
        client `SET` of cluster, unset
            db.response.status_code = ASK
            server.port = THIRD.port
          server `SET` of redis-server, unset
              db.response.status_code = ASK
              server.port = THIRD.port
        client `ASKING` of cluster, unset
            server.port = FIRST.port
          server `ASKING` of redis-server, unset
              server.port = FIRST.port
        client `SET` of cluster, unset
            server.port = FIRST.port
          server `SET` of redis-server, unset
              server.port = FIRST.port
        client `APPEND` of cluster, unset
            db.response.status_code = MOVED
            server.port = THIRD.port
          server `APPEND` of redis-server, unset
              db.response.status_code = MOVED
              server.port = THIRD.port
        client `APPEND` of cluster, unset
            server.port = FIRST.port
          server `APPEND` of redis-server, unset
              server.port = FIRST.port
        client `INCRBY` of cluster, unset
            server.port = SECOND.port
          server `INCRBY` of redis-server, unset
              server.port = SECOND.port
        client `INCRBY` of cluster, unset
            server.port = THIRD.port
          server `INCRBY` of redis-server, unset
              server.port = THIRD.port
        client `INCRBY` of cluster, unset
            server.port = FIRST.port
          server `INCRBY` of redis-server, unset
              server.port = FIRST.port
    "#]]
    .assert_eq(&told(clients::python("cluster.py").unwrap()));
}

#[test]
#[ignore = "needs root"]
fn ioredis_follows_a_slot() {
    expect![[r#"
        client `set` of remora-test-clients, unset
            server.port = SECOND.port
          server `set` of redis-server, unset
              server.port = SECOND.port
        client `set` of remora-test-clients, unset
            server.port = THIRD.port
          server `set` of redis-server, unset
              server.port = THIRD.port
        client `set` of remora-test-clients, unset
            server.port = FIRST.port
          server `set` of redis-server, unset
              server.port = FIRST.port
        client `set` of remora-test-clients, unset
            db.response.status_code = ASK
            server.port = THIRD.port
          server `set` of redis-server, unset
              db.response.status_code = ASK
              server.port = THIRD.port
        client `asking` of remora-test-clients, unset
            server.port = FIRST.port
          server `asking` of redis-server, unset
              server.port = FIRST.port
        client `set` of remora-test-clients, unset
            server.port = FIRST.port
          server `set` of redis-server, unset
              server.port = FIRST.port
        client `append` of remora-test-clients, unset
            db.response.status_code = MOVED
            server.port = THIRD.port
          server `append` of redis-server, unset
              db.response.status_code = MOVED
              server.port = THIRD.port
        client `append` of remora-test-clients, unset
            server.port = FIRST.port
          server `append` of redis-server, unset
              server.port = FIRST.port
    "#]]
    .assert_eq(&told(clients::node("cluster.js").unwrap()));
}
