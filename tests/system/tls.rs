//! Requests inside TLS, by the ways in which programs come by it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use expect_test::expect;
use remora_tests::certificates::Certificates;
use remora_tests::remora::{Remora, binary};
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::servers::{JavaClient, Postgres, Redis, TlsService, TlsStack as Stack, rustls};
use remora_tests::span::{Names, Show, Span, outline};
use remora_tests::{locate, tools, wait};

/// Requests, how many of them are under way at once, and of how many thousand of them all must be found.
const REQUESTS: usize = 1000;
const IN_FLIGHT: usize = 32;
const PER_MILLE: usize = 999;
/// How many of a thousand must be joined where the records are those of Java's own TLS, of which a few find no place.
const JSSE_PER_MILLE: usize = 995;
/// How long it may take until a large executable is searched, on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Node,
    /// `java.net.http.HttpClient`, on `SSLEngine`.
    JavaEngine,
    /// `HttpsURLConnection`, on `SSLSocket`.
    JavaSocket,
    /// reqwest over rustls, with this version of HTTP.
    Reqwest(&'static str),
}

impl Asker {
    /// Returns how Java asks, if it does.
    fn java(self) -> Option<&'static str> {
        match self {
            Asker::JavaEngine => Some("engine"),
            Asker::JavaSocket => Some("socket"),
            Asker::Node | Asker::Reqwest(_) => None,
        }
    }

    /// Returns the command that asks for so many users, so many at once.
    fn command(self, url: &str, certificates: &Certificates, numbers: [usize; 3]) -> Command {
        let mut command = if let Asker::Reqwest(_) = self {
            let mut reqwest = Command::new(rustls().unwrap());
            reqwest.arg("ask");
            reqwest
        } else {
            let mut node = Command::new(locate::program("node").unwrap());
            node.arg(locate::apps().join("tls/load.js"));
            node
        };
        command.arg(url).arg(certificates.authority()).args(numbers.map(|number| number.to_string()));
        if let Asker::Reqwest(version) = self {
            command.arg(version);
        }
        command
    }
}

/// Asks a service for all users over TLS. All requests must be found at both ends, and each with its own caller.
fn check(stack: Stack, asker: Asker) {
    let certificates = Certificates::make().unwrap();
    let service = TlsService::start(stack, &certificates).unwrap();
    let client = asker.java().map(|way| (way, JavaClient::start(&service, &certificates).unwrap()));
    let flags: &[&str] = if stack.is_java() || client.is_some() { &["--attach", "jvm"] } else { &[] };
    let mut remora = Remora::with_flags(flags).unwrap();
    let load = |first: usize, count: usize, in_flight: usize| match &client {
        Some((way, client)) => client.load(way, first, count, in_flight).unwrap(),
        None => {
            let numbers = [first, count, in_flight];
            tools::printed(&mut asker.command(&service.url(), &certificates, numbers)).unwrap();
        }
    };
    // Where functions are has to be found once, and a JVM gets its part when it has run for a while.
    wait::until("a request is seen at both ends", WITHIN, || {
        load(0, 1, 1);
        let spans = remora.bridge().spans_of_server(service.address())?;
        let is_seen = |kind: &str| spans.iter().any(|span| span.kind == kind);
        Ok((is_seen("client") && is_seen("server")).then_some(()))
    })
    .unwrap();
    // How long the records of older connections are has to be seen twice.
    (0..3).for_each(|_| load(0, 1, 1));
    load(1, REQUESTS, IN_FLIGHT);
    let spans = remora.finish().unwrap().spans_of_server(service.address()).unwrap();
    let path = |span: &Span| {
        let url = span.text("url.path").or_else(|| span.text("url.full")).unwrap_or_default();
        url.rsplit_once("/users/").map(|(_, user)| user.to_owned())
    };
    let is_counted = |span: &&Span| path(span).is_some_and(|user| user != "0");
    let of = |kind: &str| -> Vec<&Span> {
        spans.iter().filter(|span| span.kind == kind).filter(is_counted).collect()
    };
    let (clients, servers) = (of("client"), of("server"));
    let is_whole = |span: &&&Span| {
        path(span).is_some()
            && span.text("http.request.method") == Some("GET")
            && span.number("http.response.status_code") == Some(200)
            && span.text("tls.protocol.version").is_some()
    };
    let found = |spans: &[&Span]| spans.iter().filter(is_whole).count();
    let (mut joined, mut wrong) = (0, 0);
    for server in &servers {
        let Some(parent) = &server.parent_id else { continue };
        match clients.iter().find(|client| client.span_id == *parent) {
            Some(client) if path(client) == path(server) => joined += 1,
            _ => wrong += 1,
        }
    }
    let told = (found(&clients), found(&servers), joined);
    println!(
        "{stack:?} and {asker:?}: {told:?} client spans, server spans and joined ones of {REQUESTS}, {wrong} wrong"
    );
    assert_eq!(wrong, 0, "{stack:?} and {asker:?}: servers with another's client");
    let least = REQUESTS * PER_MILLE / 1000;
    let least_joined =
        if client.is_some() || stack.is_java() { REQUESTS * JSSE_PER_MILLE / 1000 } else { least };
    assert!(
        told.0 >= least && told.1 >= least && told.2 >= least_joined,
        "{stack:?} and {asker:?}: {told:?}, for example {:#?}\n{}",
        spans.iter().filter(is_counted).find(|span| !is_whole(&span)),
        remora.agent_log()
    );
}

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

/// Nothing of what is inside reaches a log, and spans tell no more of it than of clear text.
#[test]
#[ignore = "needs root"]
fn secrets_stay_inside() {
    const SECRET: &str = "hush4711hush";
    let certificates = Certificates::make().unwrap();
    let authority = certificates.authority().display().to_string();
    let services =
        [Stack::Nginx, Stack::Rustls].map(|stack| TlsService::start(stack, &certificates).unwrap());
    let redis = Redis::start_encrypted(&certificates).unwrap();
    let mut postgres = Postgres::start().unwrap();
    postgres.encrypt(&certificates).unwrap();
    let mut remora = Remora::with_flags(&["--log", "trace"]).unwrap();
    let servers = [services[0].address(), services[1].address(), redis.address(), postgres.address()];
    wait::until("requests to all of them are told", WITHIN, || {
        for service in &services {
            let url = format!("{}/users/4711?token={SECRET}", service.url());
            let header = format!("Authorization: Bearer {SECRET}");
            tools::curl(&[
                "--cacert",
                &authority,
                "--header",
                &header,
                "--data",
                SECRET,
                "--request",
                "GET",
                &url,
            ])?;
        }
        Redis::ask_encrypted(redis.address(), &certificates, &["SET", "cart:4711", SECRET])?;
        let statement = format!("SELECT note FROM orders WHERE note = '{SECRET}'");
        Postgres::ask_encrypted(postgres.address(), &statement)?;
        for server in servers {
            if !remora.bridge().spans_of_server(server)?.iter().any(|span| span.kind == "server") {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .unwrap();
    remora.finish().unwrap();
    for server in servers {
        let spans = remora.bridge().spans_of_server(server).unwrap();
        assert!(!format!("{spans:?}").contains(SECRET), "{spans:#?}");
    }
    let log = remora.agent_log();
    assert!(log.contains("TRACE"), "it was asked to log all that it can: {log}");
    let told: Vec<_> = log.lines().filter(|line| line.contains(SECRET)).collect();
    assert!(told.is_empty(), "{told:?}");
}

/// Returns what `remora explain` says of a process.
fn explained(process: u32) -> String {
    let mut explain = Command::new(binary("remora").unwrap());
    tools::printed(explain.arg("explain").arg(process.to_string())).unwrap()
}

/// A stripped program over rustls: there are its connections, and it is said that there is no more, and why.
#[test]
#[ignore = "needs root"]
fn what_is_not_seen_is_told() {
    let certificates = Certificates::make().unwrap();
    let scratch = Scratch::new("stripped").unwrap();
    let program = scratch.path().join("hidden");
    let mut strip = Command::new(locate::program("strip").unwrap());
    tools::printed(strip.arg("-o").arg(&program).arg(rustls().unwrap())).unwrap();
    let service = TlsService::start_rust(&program, &certificates).unwrap();
    let mut remora = Remora::with_flags(&["--unknown-connections"]).unwrap();
    let mut ask = Command::new(&program);
    ask.arg("ask").arg(service.url()).arg(certificates.authority()).args(["1", "50", "1", "http2"]);
    tools::printed(&mut ask).unwrap();
    let samples = wait::until("the connections are counted", WITHIN, || {
        let metrics = remora.metrics()?;
        let of_it = |line: &&str| line.starts_with("remora_agent_tls_unseen") && line.contains("hidden");
        let samples: Vec<String> = metrics.lines().filter(of_it).map(str::to_owned).collect();
        Ok((samples.len() >= 3).then_some(samples))
    })
    .unwrap();
    let has = |start: &str, labels: &[&str]| {
        samples.iter().any(|line| line.starts_with(start) && labels.iter().all(|label| line.contains(label)))
    };
    let labels = [
        "server=\"localhost\"",
        "version=\"1.3\"",
        "protocols=\"h2,http/1.1\"",
        "reason=\"library_not_seen\"",
    ];
    assert!(has("remora_agent_tls_unseen_connections{", &labels), "{samples:#?}");
    assert!(has("remora_agent_tls_unseen_bytes{", &labels), "{samples:#?}");
    let report = explained(service.id());
    assert!(report.contains("requests inside TLS: rustls 0.23.") && report.contains("stripped"), "{report}");
    let spans = remora.finish().unwrap().spans_of_server(service.address()).unwrap();
    let client = spans.iter().find(|span| span.kind == "client").expect("a span of the connection");
    assert_eq!(
        (client.name.as_str(), client.text("tls.client.server_name")),
        ("connection", Some("localhost"))
    );
    assert!(client.number("remora.connection.bytes_sent") > Some(1000), "{client:?}");
}

/// Libraries of programs that nobody here has made.
#[test]
#[ignore = "needs root"]
fn libraries_are_named() {
    let check = |program: &Path, arguments: &[&str], expected: &[&str]| {
        let scratch = Scratch::new("explained").unwrap();
        let mut command = Command::new(program);
        let running = Running::start("explained", &scratch, command.args(arguments)).unwrap();
        wait::until(&format!("{expected:?} is told of"), WITHIN, || {
            let report = explained(running.id());
            Ok(expected.iter().all(|text| report.contains(text)).then_some(()))
        })
        .unwrap();
    };
    let grpc = locate::testenv().join("pubsub/python/bin/python");
    check(
        &grpc,
        &["-c", "import grpc, ssl, time; time.sleep(600)"],
        &["- requests inside TLS: BoringSSL (", "cygrpc", "+ requests inside TLS: OpenSSL 3"],
    );
    check(
        &locate::program("node").unwrap(),
        &["-e", "setTimeout(() => {}, 600000)"],
        &["+ requests inside TLS: OpenSSL "],
    );
    let erlang = locate::program("erl").unwrap();
    check(
        &erlang,
        &["-noshell", "-eval", "timer:sleep(600000)."],
        &["- requests inside TLS: ssl of Erlang/OTP"],
    );
}

/// Breakpoints at places of the program that was there before would break what is there now.
#[test]
#[ignore = "needs root"]
fn a_file_that_is_written_to_has_no_probes() {
    /// A Go program with TLS and gRPC has some twenty.
    const MANY: f64 = 10.0;
    let scratch = Scratch::new("program").unwrap();
    let program = scratch.path().join("items");
    std::fs::copy(locate::testenv().join("bin/items"), &program).unwrap();
    let rule = format!("exe={}", program.display());
    let remora = Remora::with_flags(&["--select", &rule]).unwrap();
    let probes = || {
        let metrics = remora.metrics()?;
        let line = metrics.lines().find_map(|line| line.strip_prefix("remora_agent_probes "));
        line.and_then(|count| count.trim().parse::<f64>().ok()).context("no remora_agent_probes")
    };
    assert_eq!(probes().unwrap(), 0.0);
    let mut running = Running::start("items", &scratch, &mut Command::new(&program)).unwrap();
    wait::until("the program is probed", WITHIN, || Ok((probes()? >= MANY).then_some(()))).unwrap();
    running.stop().unwrap();
    let other = std::fs::read(locate::program("curl").unwrap()).unwrap();
    std::fs::write(&program, other).unwrap();
    wait::until("its probes are gone", WITHIN, || Ok((probes()? == 0.0).then_some(()))).unwrap();
    tools::printed(Command::new(&program).arg("--version")).unwrap();
}

#[test]
#[ignore = "needs root"]
fn rustls_with_http_1() {
    check(Stack::Rustls, Asker::Reqwest("http1"));
}

#[test]
#[ignore = "needs root"]
fn rustls_with_http_2() {
    check(Stack::Rustls, Asker::Reqwest("http2"));
}

#[test]
#[ignore = "needs root"]
fn java_engines_serve() {
    check(Stack::JavaEngine, Asker::Node);
}

#[test]
#[ignore = "needs root"]
fn java_sockets_serve() {
    check(Stack::JavaSocket, Asker::Node);
}

#[test]
#[ignore = "needs root"]
fn java_engines_ask() {
    check(Stack::Nginx, Asker::JavaEngine);
}

#[test]
#[ignore = "needs root"]
fn java_sockets_ask() {
    check(Stack::Nginx, Asker::JavaSocket);
}

/// Programs go on when the part leaves, and without `--tls` it changes nothing of TLS.
#[test]
#[ignore = "needs root"]
fn java_without_tls() {
    let certificates = Certificates::make().unwrap();
    let service = TlsService::start(Stack::JavaEngine, &certificates).unwrap();
    let client = JavaClient::start(&service, &certificates).unwrap();
    let scratch = Scratch::new("jsse").unwrap();
    scratch.write("remora.toml", "[capture]\njsse = false\n").unwrap();
    let without = scratch.path().join("remora.toml");
    for (flags, is_seen) in
        [(["--tls", "on"], true), (["--tls", "off"], false), (["--config", without.to_str().unwrap()], false)]
    {
        let mut remora = Remora::with_flags(&[&["--attach", "jvm"], &flags[..]].concat()).unwrap();
        remora.wait_attached(&[service.id(), client.id()]).unwrap();
        let ways = ["engine", "socket"];
        ways.iter().for_each(|way| client.load(way, 1, 20, 4).unwrap());
        let spans = remora.finish().unwrap().spans_of_server(service.address()).unwrap();
        assert_eq!(spans.is_empty(), !is_seen, "{flags:?}: {spans:?}");
        ways.iter().for_each(|way| client.load(way, 1, 20, 4).unwrap());
    }
}

#[test]
#[ignore = "needs root"]
fn java_asks_java() {
    check(Stack::JavaEngine, Asker::JavaEngine);
    check(Stack::JavaEngine, Asker::JavaSocket);
}
