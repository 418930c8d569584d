//! Requests a second at saturation, without and with the agent, in turns, on this machine's few cores: the load, the
//! server and the agent share them. The load stands for clients elsewhere and is not traced.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, Result};
use remora_tests::remora::Agent;
use remora_tests::servers::{GoService, Nginx, Redis};
use remora_tests::sink::Sink;
use remora_tests::{locate, tools};

use remora_tests::figure;

/// The programs that make the load.
pub(crate) const LOADS: [&str; 2] = ["wrk", "redis-benchmark"];
/// Seconds of load a round.
const SECONDS: u32 = 5;

pub(crate) fn run(rounds: usize) -> Result<()> {
    let nginx = Nginx::files(&[("plain", b"Hello, world!")])?;
    compare("nginx static", &[], rounds, || wrk(&plain(nginx.address())))?;
    let redis = Redis::start()?;
    compare("Redis GET", &[], rounds, || redis_benchmark(redis.address()))?;
    let service = GoService::start(&[])?;
    compare("Go net/http", &[], rounds, || wrk(&plain(service.address())))
}

/// Measures in turns, with these flags of the agent, and beginning with either, so that a machine that grows slower favours none.
pub(crate) fn compare(
    name: &str,
    flags: &[&str],
    rounds: usize,
    measure: impl Fn() -> Result<f64>,
) -> Result<()> {
    let sink = Sink::start()?;
    let observed = || -> Result<f64> {
        let _agent = Agent::with_flags(sink.address(), &LOADS, flags)?;
        measure()
    };
    let (mut without, mut with, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        eprintln!("throughput: {name}, round {} of {rounds}", round + 1);
        let (bare, seen) = if round % 2 == 0 {
            let bare = measure()?;
            (bare, observed()?)
        } else {
            let seen = observed()?;
            (measure()?, seen)
        };
        without.push(bare);
        with.push(seen);
        lost.push(100.0 * (1.0 - seen / bare));
    }
    figure::print(format!("{name}: requests/s without agent"), "1/s", &without);
    figure::print(format!("{name}: requests/s with agent"), "1/s", &with);
    figure::print(format!("{name}: throughput lost"), "%", &lost);
    Ok(())
}

fn plain(server: SocketAddr) -> String {
    format!("http://{server}/plain")
}

/// Returns how many requests for a URL are answered in a second.
pub(crate) fn wrk(url: &str) -> Result<f64> {
    let mut command = Command::new(locate::program("wrk")?);
    command.args(["-t1", "-c32", &format!("-d{SECONDS}s"), url]);
    let printed = tools::printed(&mut command)?;
    let line = printed.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    let rate = line.with_context(|| format!("wrk printed no rate: {printed}"))?.trim().parse()?;
    anyhow::ensure!(!printed.contains("Non-2xx"), "{printed}");
    Ok(rate)
}

fn redis_benchmark(server: SocketAddr) -> Result<f64> {
    let mut command = Command::new(locate::program("redis-benchmark")?);
    let (host, port) = (server.ip().to_string(), server.port().to_string());
    command.args(["-h", &host, "-p", &port, "-t", "get", "-c", "32", "-n", "200000", "--csv"]);
    let printed = tools::printed(&mut command)?;
    let line = printed.lines().find(|line| line.starts_with("\"GET\""));
    let field =
        line.and_then(|line| line.split(',').nth(1)).with_context(|| format!("no rate: {printed}"))?;
    Ok(field.trim_matches('"').parse()?)
}
