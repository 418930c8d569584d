//! What it costs a server to have what it encrypts looked at: requests a second at saturation, and where the time goes. Of
//! JSSE it is the time on the processor of the thread that encrypts, by `tests/apps/tls/Cost.java`. And how long a program
//! has to wait at most while an agent puts its probes into OpenSSL and takes them away, by `tests/apps/c/pauses.c`.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::sys::{Stats, enable_stats};
use remora_tests::certificates::Certificates;
use remora_tests::figure;
use remora_tests::remora::{self, Agent};
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::servers::{self, TlsService, TlsStack};
use remora_tests::sink::Sink;
use remora_tests::{secure, wait};

use crate::bpf::{Runs, runs};
use crate::throughput::{LOADS, compare, wrk};

/// Each way to TLS, what it is called, and the programs that run where it takes plaintext.
const STACKS: [(TlsStack, &str, &str); 3] = [
    (TlsStack::Nginx, "nginx over TLS", "tls_write"),
    (TlsStack::Go, "Go net/http over TLS", "tls_go_write"),
    (TlsStack::Node, "Node over TLS", "tls_write"),
];
/// Beginnings of the names of programs that run at functions of TLS libraries.
const PROGRAMS: [&str; 2] = ["tls_", "bio_"];
/// Bytes that are encrypted and decrypted by JSSE at once.
const MESSAGE_BYTES: &str = "200";
/// Lines that the JVM's compiler is given to get used to other code, and those that count after them.
const WARMING: usize = 12;
const COUNTED: usize = 8;
const WITHIN: Duration = Duration::from_secs(180);

pub(crate) fn run(rounds: usize) -> Result<()> {
    let certificates = Certificates::make()?;
    for (stack, name, writing) in STACKS {
        let service = TlsService::start(stack, &certificates)?;
        let url = format!("{}/users/1", service.url());
        compare(name, &["--tls"], rounds, || wrk(&url))?;
        pairs(name, writing, rounds, &url)?;
    }
    java(rounds, &certificates)?;
    pauses(rounds, &certificates)
}

/// Measures the longest pause of a program that reads and writes all the time, while an agent starts and stops, and as long
/// without one, in turns.
fn pauses(rounds: usize, certificates: &Certificates) -> Result<()> {
    let (scratch, sink) = (Scratch::new("pauses")?, Sink::start()?);
    let mut command = Command::new(secure::build_pauses()?);
    let running =
        Running::start("pauses", &scratch, command.arg(certificates.key()).arg(certificates.certificate()))?;
    let _counting = enable_stats(Stats::RunTime).context("let the kernel count programs (needs root)")?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        eprintln!("tls: pauses, round {} of {rounds}", round + 1);
        let before = longest_pauses(&running)?.len();
        let agent = Agent::with_flags(sink.address(), &[], &[])?;
        wait::until("OpenSSL is probed", WITHIN, || Ok((count(&runs(), "tls_write") > 0).then_some(())))?;
        drop(agent);
        let after = longest_pauses(&running)?.len();
        let bare = wait::until("as much time has passed", WITHIN, || {
            let pauses = longest_pauses(&running)?;
            Ok((pauses.len() > after + after - before).then_some(pauses))
        })?;
        // The line that was under way belongs to neither.
        let longest = |pauses: &[f64]| pauses.iter().copied().fold(0.0, f64::max);
        with.push(longest(bare.get(before..=after).unwrap_or_default()));
        without.push(longest(bare.get(after + 1..).unwrap_or_default()));
    }
    figure::print("OpenSSL: longest pause without agent", "ms", &without);
    figure::print("OpenSSL: longest pause while an agent starts and stops", "ms", &with);
    Ok(())
}

/// Returns what the program has printed so far, in milliseconds.
fn longest_pauses(running: &Running) -> Result<Vec<f64>> {
    let printed = running.printed();
    let pause = |line: &str| line.parse::<f64>().map(|micros| micros / 1000.0);
    printed.lines().map(pause).collect::<Result<_, _>>().with_context(|| printed.clone())
}

/// Measures what a thread's `wrap` and `unwrap` cost without a part in the JVM, and with one that tells of them.
fn java(rounds: usize, certificates: &Certificates) -> Result<()> {
    let (scratch, sink) = (Scratch::new("cost")?, Sink::start()?);
    let mut command = servers::java("tls/Cost.java")?;
    command.arg(certificates.key()).arg(certificates.certificate()).arg(certificates.authority());
    command.arg(MESSAGE_BYTES);
    let engines = Running::start("cost", &scratch, &mut command)?;
    let (mut without, mut with, mut more) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        eprintln!("tls: JSSE, round {} of {rounds}", round + 1);
        let bare = median_of_next(&engines)?;
        let agent = Agent::with_flags(sink.address(), &[], &["--attach", "jvm"])?;
        remora::wait_attached(agent.metrics_address(), &[engines.id()])?;
        let seen = median_of_next(&engines)?;
        without.push(bare);
        with.push(seen);
        more.push(seen - bare);
    }
    figure::print("JSSE: wrap and unwrap without agent", "ns", &without);
    figure::print("JSSE: wrap and unwrap with the part", "ns", &with);
    figure::print("JSSE: what the part costs a wrap and unwrap", "ns", &more);
    Ok(())
}

/// Returns the median of what the program prints from now on, once it has got used to what has changed.
fn median_of_next(engines: &Running) -> Result<f64> {
    let begin = engines.printed().lines().count() + WARMING;
    let mut counted: Vec<f64> = wait::until("the engines have gone on", WITHIN, || {
        let printed = engines.printed();
        let lines: Vec<&str> = printed.lines().skip(begin).take(COUNTED).collect();
        Ok((lines.len() == COUNTED).then(|| lines.iter().filter_map(|line| line.parse().ok()).collect()))
    })?;
    counted.sort_by(f64::total_cmp);
    counted.get(counted.len() / 2).copied().context("the program printed no figures")
}

/// Counts for each write what runs at the library's functions for it and for what is read before it: a request and its
/// response are a pair.
fn pairs(name: &str, writing: &str, rounds: usize, url: &str) -> Result<()> {
    let _counting =
        enable_stats(Stats::RunTime).context("let the kernel count the programs' time (needs root)")?;
    let sink = Sink::start()?;
    let (mut times, mut probes) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let _agent = Agent::with_flags(sink.address(), &LOADS, &["--tls"])?;
        // What the agent looks at begins with the first requests.
        wrk(url)?;
        let before = sum(&runs());
        let writes_before = count(&runs(), writing);
        wrk(url)?;
        let (time, count_of_runs) = sum(&runs());
        let writes = count(&runs(), writing) - writes_before;
        anyhow::ensure!(writes > 0, "{writing} did not run");
        times.push((time - before.0) as f64 / writes as f64);
        probes.push((count_of_runs - before.1) as f64 / writes as f64);
    }
    figure::print(format!("{name}: BPF time for a read and a write"), "ns", &times);
    figure::print(format!("{name}: probes for a read and a write"), "", &probes);
    Ok(())
}

fn count(runs: &Runs, program: &str) -> u64 {
    runs.get(program).map_or(0, |(_, count)| *count)
}

fn sum(runs: &Runs) -> (u64, u64) {
    let is_of_tls = |name: &String| PROGRAMS.iter().any(|beginning| name.starts_with(beginning));
    let found = runs.iter().filter(|(name, _)| is_of_tls(name));
    found.fold((0, 0), |(time, count), (_, (more, runs))| (time + more, count + runs))
}
