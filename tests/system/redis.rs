//! redis-cli and Redis.

use std::process::Command;

use expect_test::expect;
use remora_tests::remora::Remora;
use remora_tests::servers::Redis;
use remora_tests::span::{Names, Show, outline};
use remora_tests::{locate, tools};

use crate::whole;

#[test]
#[ignore = "needs root"]
fn one_command() {
    let redis = Redis::start().unwrap();
    let mut remora = Remora::start().unwrap();
    tools::redis_cli(redis.address(), &["SET", "greeting", "a secret"]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(redis.address()).unwrap();
    expect![[r#"
        client `SET` of redis-cli, unset
            db.namespace = 0
            db.operation.name = SET
            db.query.text = SET ? ?
            db.system.name = redis
            network.peer.address = 127.0.0.1
            network.peer.port = REDIS.port
            server.address = 127.0.0.1
            server.port = REDIS.port
          server `SET` of redis-server, unset
              client.address = 127.0.0.1
              client.port = *
              db.namespace = 0
              db.operation.name = SET
              db.query.text = SET ? ?
              db.system.name = redis
              network.peer.address = 127.0.0.1
              network.peer.port = *
              remora.parent.evidence = position
              server.address = 127.0.0.1
              server.port = REDIS.port
    "#]]
    .assert_eq(&whole(&spans, &Names::of(&[("REDIS", redis.address())])));
}

#[test]
#[ignore = "needs root"]
fn commands_of_all_kinds() {
    let redis = Redis::start().unwrap();
    let mut remora = Remora::start().unwrap();
    for command in [
        &["SET", "greeting", "hello"][..],
        &["GET", "greeting"],
        &["LPUSH", "greeting", "x"],
        &["MGET", "greeting", "other"],
        &["EVAL", "return redis.call('GET', KEYS[1])", "1", "greeting"],
        &["HGET", "too-few"],
    ] {
        tools::redis_cli(redis.address(), command).unwrap();
    }
    let spans = remora.finish().unwrap().spans_of_server(redis.address()).unwrap();
    let spans: Vec<_> = spans.into_iter().filter(|span| span.kind == "client").collect();
    let shown = ["db.operation.name", "db.query.text", "db.response.status_code", "error.type"];
    expect![[r#"
        client `SET` of redis-cli, unset
            db.operation.name = SET
            db.query.text = SET ? ?
        client `GET` of redis-cli, unset
            db.operation.name = GET
            db.query.text = GET ?
        client `LPUSH` of redis-cli, error
            db.operation.name = LPUSH
            db.query.text = LPUSH ? ?
            db.response.status_code = WRONGTYPE
            error.type = WRONGTYPE
        client `MGET` of redis-cli, unset
            db.operation.name = MGET
            db.query.text = MGET ? ?
        client `EVAL` of redis-cli, unset
            db.operation.name = EVAL
            db.query.text = EVAL ? ? ?
        client `HGET` of redis-cli, error
            db.operation.name = HGET
            db.query.text = HGET ?
            db.response.status_code = ERR
            error.type = ERR
    "#]]
    .assert_eq(&outline(&spans, &Names::default(), Show::Only(&shown)));
}

#[test]
#[ignore = "needs root"]
fn one_command_over_a_unix_socket() {
    let redis = Redis::start().unwrap();
    let socket = redis.socket();
    let mut remora = Remora::start().unwrap();
    let mut cli = Command::new(locate::program("redis-cli").unwrap());
    tools::printed(cli.arg("-s").arg(&socket).args(["INCR", "counter"])).unwrap();
    let socket = socket.to_str().unwrap();
    let spans = remora.finish().unwrap().spans_with("server.address", &socket.into()).unwrap();
    expect![[r#"
        client `INCR` of redis-cli, unset
            db.namespace = 0
            db.operation.name = INCR
            db.query.text = INCR ?
            db.system.name = redis
            network.peer.address = SOCKET
            network.transport = unix
            server.address = SOCKET
          server `INCR` of redis-server, unset
              db.namespace = 0
              db.operation.name = INCR
              db.query.text = INCR ?
              db.system.name = redis
              network.transport = unix
              remora.parent.evidence = position
              server.address = SOCKET
    "#]]
    .assert_eq(&whole(&spans, &Names::default().and(socket, "SOCKET")));
}
