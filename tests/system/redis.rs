//! redis-cli and Redis.

use std::process::Command;
use std::time::Duration;

use expect_test::expect;
use remora_tests::remora::Remora;
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::servers::Redis;
use remora_tests::span::{Names, Show, outline};
use remora_tests::{locate, tools, wait};

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

/// Returns the sum of those lines of the agent's own metrics that begin with one of these names.
fn sum(metrics: &str, names: &[&str]) -> u64 {
    let values =
        names.iter().flat_map(|name| metrics.lines().filter_map(move |line| line.strip_prefix(name)));
    values.filter_map(|value| value.trim().parse::<u64>().ok()).sum()
}

#[test]
#[ignore = "needs root"]
fn each_command_of_a_pipeline_is_told_or_counted() {
    const TOLD: &str = "remora_agent_exchanges_total{protocol=\"redis\"}";
    const COUNTED: &str = "remora_agent_losses_total{stage=\"engine\",reason=\"exchange_cut_by_gap\"}";
    const RING_FULL: &str = "remora_agent_losses_total{stage=\"kernel\",reason=\"ring_full\"}";
    const TIMES: u64 = 5;
    for (count, size) in [(200, 1000), (1000, 100), (100, 10_000)] {
        let redis = Redis::start().unwrap();
        let port = redis.address().port().to_string();
        let rules = [format!("port={port}"), "cmd=*redis_pipelines*".to_owned()];
        let mut remora = Remora::with_flags(&["--select", &rules[0], "--select", &rules[1]]).unwrap();
        let scratch = Scratch::new("pipelines").unwrap();
        let mut script = Command::new(locate::messages("python").unwrap());
        script.arg(locate::apps().join("messages/redis_pipelines.py"));
        script.args([&port, &count.to_string(), &size.to_string(), &TIMES.to_string()]);
        let mut script = Running::start("pipelines", &scratch, &mut script).unwrap();
        let mut commands = 0;
        let (mut sums, mut unread) = ((0, 0), 0);
        for time in 1..=TIMES {
            tools::redis_cli(redis.address(), &["RPUSH", "go", "on"]).unwrap();
            // Of the commands that wait and write both sides are seen, of those that tell to go on the server's.
            commands = time * (2 * (count + 1) + 1);
            let all = wait::until("all commands", Duration::from_secs(30), || {
                let metrics = remora.metrics()?;
                sums = (sum(&metrics, &[TOLD]), sum(&metrics, &[COUNTED]));
                unread = sum(&metrics, &[RING_FULL]);
                Ok((sums.0 + sums.1 >= commands || unread > 0).then_some(()))
            });
            all.unwrap_or_else(|error| panic!("{error}: {sums:?} of {commands}"));
        }
        script.wait(Duration::from_secs(30)).unwrap();
        remora.finish().unwrap();
        let (told, counted) = sums;
        if unread > 0 {
            // What the kernel could not hand over is counted by it, in pieces, not in commands.
            println!("the machine is too busy: {unread} pieces found no room in the ring");
            continue;
        }
        println!("{TIMES} pipelines of {count} commands with {size} bytes: {told} told, {counted} counted");
        // The clients' libraries say what they are.
        assert!(told + counted <= commands + 60, "{told} and {counted} of {commands}");
        // The first pipeline comes with the connection, before more can be asked for; the second shows that all is well again.
        assert!(told >= (TIMES - 3) * 2 * count, "{told} and {counted} of {commands}");
    }
}
