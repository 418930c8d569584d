//! Requests inside TLS, by the ways in which programs come by it.

use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use expect_test::expect;
use remora_tests::certificates::Certificates;
use remora_tests::remora::Remora;
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::servers::{Postgres, Redis, TlsService, TlsStack as Stack};
use remora_tests::span::{Names, Show, Span, outline};
use remora_tests::{locate, tools, wait};

/// How long it may take until a large executable is searched, on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

/// What is inside is told as in clear text, and how it was encrypted besides.
fn shown(spans: &[Span], names: &Names) -> String {
    let keys = [
        "db.query.text",
        "http.response.status_code",
        "remora.parent.evidence",
        "tls.client.server_name",
        "tls.protocol.version",
    ];
    outline(spans, names, Show::Only(&keys))
}

#[test]
#[ignore = "needs root"]
fn gnutls() {
    let certificates = Certificates::make().unwrap();
    let service = TlsService::start(Stack::Nginx, &certificates).unwrap();
    let mut remora = Remora::start().unwrap();
    let mut wget = Command::new(locate::program("wget").unwrap());
    wget.args(["--quiet", "--output-document=-", "--ca-certificate"]).arg(certificates.authority());
    tools::printed(wget.arg(format!("{}/users/4711", service.url()))).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(service.address()).unwrap();
    expect![[r#"
        client `GET` of wget, unset
            http.response.status_code = 200
            tls.client.server_name = localhost
            tls.protocol.version = 1.2
          server `GET /users/{id}` of nginx, unset
              http.response.status_code = 200
              remora.parent.evidence = position
              tls.client.server_name = localhost
              tls.protocol.version = 1.2
    "#]]
    .assert_eq(&shown(&spans, &Names::of(&[("NGINX", service.address())])));
}

#[test]
#[ignore = "needs root"]
fn postgresql() {
    let certificates = Certificates::make().unwrap();
    let mut postgres = Postgres::start().unwrap();
    postgres.encrypt(&certificates).unwrap();
    let mut remora = Remora::start().unwrap();
    Postgres::ask_encrypted(postgres.address(), "SELECT note FROM orders WHERE id = 100001").unwrap();
    let spans = remora.finish().unwrap().spans_of_server(postgres.address()).unwrap();
    expect![[r#"
        client `SELECT orders` of psql, unset
            db.query.text = SELECT note FROM orders WHERE id = ?
            tls.protocol.version = 1.3
          server `SELECT orders` of postgres, unset
              db.query.text = SELECT note FROM orders WHERE id = ?
              remora.parent.evidence = position
              tls.protocol.version = 1.3
    "#]]
    .assert_eq(&shown(&spans, &Names::of(&[("POSTGRES", postgres.address())])));
}

#[test]
#[ignore = "needs root"]
fn redis() {
    let certificates = Certificates::make().unwrap();
    let redis = Redis::start_encrypted(&certificates).unwrap();
    let mut remora = Remora::start().unwrap();
    Redis::ask_encrypted(redis.address(), &certificates, &["SET", "cart:4711", "secret"]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(redis.address()).unwrap();
    expect![[r#"
        client `SET` of redis-cli, unset
            db.query.text = SET ? ?
            tls.protocol.version = 1.3
          server `SET` of redis-server, unset
              db.query.text = SET ? ?
              remora.parent.evidence = position
              tls.protocol.version = 1.3
    "#]]
    .assert_eq(&shown(&spans, &Names::of(&[("REDIS", redis.address())])));
}

/// What is to be left alone stays unread.
#[test]
#[ignore = "needs root"]
fn not_at_all() {
    let certificates = Certificates::make().unwrap();
    let service = TlsService::start(Stack::Nginx, &certificates).unwrap();
    let redis = Redis::start().unwrap();
    let mut remora = Remora::with_flags(&["--tls", "off"]).unwrap();
    let authority = certificates.authority().display().to_string();
    tools::curl(&["--cacert", &authority, &format!("{}/users/4711", service.url())]).unwrap();
    tools::redis_cli(redis.address(), &["GET", "cart:4711"]).unwrap();
    let bridge = remora.finish().unwrap();
    let spans = bridge.spans_of_server(service.address()).unwrap();
    assert!(spans.is_empty(), "{spans:?}");
    let in_clear = bridge.spans_of_server(redis.address()).unwrap();
    assert_eq!(in_clear.len(), 2, "what is not encrypted is seen: {in_clear:?}");
}

/// Breakpoints at places of the program that was there before would break what is there now.
#[test]
#[ignore = "needs root"]
fn a_file_that_is_written_to_has_no_probes() {
    /// A Go program with TLS and gRPC has some twenty, of which the others on this host change few meanwhile.
    const MANY: f64 = 10.0;
    let scratch = Scratch::new("program").unwrap();
    let program = scratch.path().join("items");
    std::fs::copy(locate::testenv().join("bin/items"), &program).unwrap();
    let remora = Remora::start().unwrap();
    let probes = || {
        let metrics = remora.metrics()?;
        let line = metrics.lines().find_map(|line| line.strip_prefix("remora_agent_probes "));
        line.and_then(|count| count.trim().parse::<f64>().ok()).context("no remora_agent_probes")
    };
    let before = wait::until("the host's libraries are probed", WITHIN, || {
        let (first, second) = (probes()?, probes()?);
        Ok((first > 0.0 && first == second).then_some(second))
    })
    .unwrap();
    let mut running = Running::start("items", &scratch, &mut Command::new(&program)).unwrap();
    let probed = wait::until("the program is probed", WITHIN, || {
        let now = probes()?;
        Ok((now >= before + MANY).then_some(now))
    })
    .unwrap();
    running.stop().unwrap();
    let other = std::fs::read(locate::program("curl").unwrap()).unwrap();
    std::fs::write(&program, other).unwrap();
    wait::until("its probes are gone", WITHIN, || Ok((probes()? <= probed - MANY).then_some(()))).unwrap();
    tools::printed(Command::new(&program).arg("--version")).unwrap();
}
