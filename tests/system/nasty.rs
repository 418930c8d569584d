//! Sockets that are used in unusual ways, and an agent that comes and goes under load: programs must not notice, and no
//! response may be told as another request's. `docs/nasty-cases.md` lists the other cases.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use remora_tests::load::{self, Request};
use remora_tests::remora::Remora;
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::servers::{Gunicorn, Workers};
use remora_tests::span::Span;
use remora_tests::{locate, net, tools, wait};
use rustix::process::Signal;

/// Rounds of each way of using sockets.
const ROUNDS: usize = 60;

/// A way of using sockets, and which sides must be seen in full.
struct Way {
    name: &'static str,
    seen: &'static [&'static str],
}

const BOTH: &[&str] = &["client", "server"];
const WAYS: [Way; 8] = [
    Way { name: "plain", seen: BOTH },
    Way { name: "sendfile", seen: BOTH },
    Way { name: "sendmmsg", seen: BOTH },
    Way { name: "edge", seen: BOTH },
    Way { name: "fastopen", seen: BOTH },
    Way { name: "zerocopy", seen: BOTH },
    // What the server sends and reads is not captured; the client's side is an ordinary one.
    Way { name: "io_uring", seen: &["client"] },
    // Not followed: programs hold another socket than those that carry the bytes.
    Way { name: "mptcp", seen: &[] },
];

fn build() -> Result<PathBuf> {
    let program = locate::testenv().join("bin/unusual");
    std::fs::create_dir_all(locate::testenv().join("bin"))?;
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-o"]).arg(&program).arg(locate::apps().join("c/unusual.c"));
    tools::printed(&mut cc).context("compile unusual.c")?;
    Ok(program)
}

/// The program compares all bytes itself.
fn play(program: &PathBuf, server: SocketAddr, way: &str) -> Result<()> {
    let mut command = Command::new(program);
    command.args([server.port().to_string(), ROUNDS.to_string(), way.to_owned()]);
    tools::printed(&mut command).map(drop)
}

/// Returns the path that a span of either side names.
fn path(span: &Span) -> &str {
    let url = span.text("url.path").or_else(|| span.text("url.full")).unwrap_or_default();
    match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => url,
    }
}

/// Returns the spans by path and side. No exchange may be told twice, and none below another's.
fn check_pairs(spans: &[Span]) -> BTreeMap<(&str, &str), &Span> {
    let mut by_side = BTreeMap::new();
    for span in spans {
        let before = by_side.insert((path(span), span.kind.as_str()), span);
        assert!(before.is_none(), "{} {} is told twice", span.kind, path(span));
    }
    for ((path, kind), span) in &by_side {
        let parent = spans.iter().find(|other| Some(&other.span_id) == span.parent_id.as_ref());
        match *kind {
            "client" => assert_eq!(span.parent_id, None, "{path}: nobody asked for it"),
            _ => {
                assert!(parent.is_none_or(|parent| self::path(parent) == *path), "{path} is below {parent:?}")
            }
        }
    }
    by_side
}

#[test]
#[ignore = "needs root"]
fn unusual_uses_of_sockets_stay_exact_and_are_never_mispaired() {
    let program = build().unwrap();
    let servers: Vec<(&Way, SocketAddr)> =
        WAYS.iter().map(|way| (way, net::free_address().unwrap())).collect();
    for (way, server) in &servers {
        play(&program, *server, way.name).unwrap_or_else(|error| panic!("without the agent: {error:#}"));
    }
    let mut remora = Remora::start().unwrap();
    for (way, server) in &servers {
        play(&program, *server, way.name).unwrap_or_else(|error| panic!("with the agent: {error:#}"));
    }
    let bridge = remora.finish().unwrap();
    for (way, server) in &servers {
        let spans = bridge.spans_of_server(*server).unwrap();
        let by_side = check_pairs(&spans);
        for ((path, kind), span) in &by_side {
            let round: i64 = path.rsplit('/').next().and_then(|round| round.parse().ok()).expect("a number");
            let status = span.number("http.response.status_code");
            assert!(status.is_none_or(|status| status == 200 + round % 4), "{kind} {path}: {status:?}");
        }
        let seen = |kind: &str| by_side.keys().filter(|(_, side)| *side == kind).count();
        println!("{}: {} client's sides, {} server's sides", way.name, seen("client"), seen("server"));
        for kind in way.seen {
            assert_eq!(seen(kind), ROUNDS, "{}: {kind} spans", way.name);
        }
    }
}

/// Starts Python's own server within as many nested namespaces of process ids.
fn nested(depth: usize, scratch: &Scratch) -> Result<(Running, SocketAddr)> {
    let address = net::free_address()?;
    let mut command = Command::new("unshare");
    for level in 0..depth {
        if level > 0 {
            command.arg("unshare");
        }
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
    }
    command.args(["python3", "-m", "http.server", "--bind", "127.0.0.1", &address.port().to_string()]);
    command.current_dir(scratch.path());
    // unshare takes no other signal while its child lives.
    let running = Running::start(&format!("server-{depth}"), scratch, &mut command)?;
    let mut running = running.stopping_by(Signal::KILL);
    running.wait_ready(PATIENCE, || Ok(TcpStream::connect(address).is_ok()))?;
    Ok((running, address))
}

#[test]
#[ignore = "needs root"]
fn one_image_in_nested_pid_namespaces_is_told_apart_by_process() {
    let scratch = Scratch::new("nested").unwrap();
    let servers: Vec<_> = (1..=3).map(|depth| nested(depth, &scratch).unwrap()).collect();
    let mut remora = Remora::start().unwrap();
    for (_, server) in &servers {
        tools::curl(&["--output", "/dev/null", &format!("http://{server}/")]).unwrap();
    }
    let bridge = remora.finish().unwrap();
    let mut processes = BTreeSet::new();
    for (_, server) in &servers {
        let spans = bridge.spans_of_server(*server).unwrap();
        let by_side = check_pairs(&spans);
        assert_eq!(by_side.len(), 2, "{spans:#?}");
        let span = by_side[&("/", "server")];
        assert_eq!(span.parent_id.as_ref(), Some(&by_side[&("/", "client")].span_id));
        // Inside each namespace the process has number 1.
        processes.insert(span.resource["process.pid"].to_string());
    }
    assert_eq!(processes.len(), servers.len(), "{processes:?}");
}

/// Connections that the load keeps.
const CONNECTIONS: u64 = 4;
/// Requests that must pass while an agent is there.
const REQUESTS: u64 = 100;
/// Pause between two requests of a connection: all that passes is looked at in the end.
const PACE: Duration = Duration::from_millis(10);
/// How long they may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again, each time for another path; an answer to another request is an error.
fn ask(server: SocketAddr, connection: u64, is_over: &AtomicBool, answered: &AtomicU64) -> Result<()> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    for at in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let number = at * CONNECTIONS + connection;
        let expected = number.to_string();
        load::exchange(
            &mut stream,
            server,
            &Request { path: format!("/users/{number}"), headers: Vec::new(), expected },
        )?;
        answered.fetch_add(1, Ordering::Relaxed);
        thread::sleep(PACE);
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn agent_restart_under_load_twice() {
    let shop = Gunicorn::start(Workers::Threads(4), &[]).unwrap();
    let (is_over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let pass = || {
        let before = answered.load(Ordering::Relaxed);
        wait::until("requests pass", PATIENCE, || {
            Ok((answered.load(Ordering::Relaxed) >= before + REQUESTS).then_some(()))
        })
    };
    let told = thread::scope(|scope| {
        let ask = |connection| {
            let (is_over, answered, server) = (&is_over, &answered, shop.address());
            scope.spawn(move || ask(server, connection, is_over, answered))
        };
        let asking: Vec<_> = (0..CONNECTIONS).map(ask).collect();
        let told: Result<Vec<Vec<Span>>> = (0..3)
            .map(|_| {
                pass()?;
                let mut remora = Remora::start()?;
                pass()?;
                remora.finish()?.spans_of_server(shop.address())
            })
            .collect();
        is_over.store(true, Ordering::Relaxed);
        for connection in asking {
            connection.join().expect("the load panicked").expect("every request was answered");
        }
        told
    });
    for (restarts, spans) in told.unwrap().iter().enumerate() {
        let by_side = check_pairs(spans);
        let servers = by_side.iter().filter(|((_, kind), _)| *kind == "server");
        let below = servers.clone().filter(|(_, span)| span.parent_id.is_some()).count();
        println!(
            "after {restarts} restarts: {} server's sides, {below} below their clients",
            servers.clone().count()
        );
        for ((path, _), span) in servers {
            assert_eq!(span.number("http.response.status_code").unwrap_or(200), 200, "{path}");
        }
        // Connections that are older than the agent are met between two requests, or within one that is not told.
        assert!(below as u64 >= REQUESTS / 2, "{below} of at least {REQUESTS}");
    }
}
