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
    expect![[""]].assert_eq(&whole(&spans, &Names::of(&[("REDIS", redis.address())])));
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
        &["NOSUCH", "command"],
    ] {
        tools::redis_cli(redis.address(), command).unwrap();
    }
    let spans = remora.finish().unwrap().spans_of_server(redis.address()).unwrap();
    let spans: Vec<_> = spans.into_iter().filter(|span| span.kind == "client").collect();
    let shown = ["db.operation.name", "db.query.text", "db.response.status_code", "error.type"];
    expect![[""]].assert_eq(&outline(&spans, &Names::default(), Show::Only(&shown)));
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
    expect![[""]].assert_eq(&whole(&spans, &Names::default().and(socket, "SOCKET")));
}
