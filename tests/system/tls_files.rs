//! TLS libraries that come late, are replaced or deleted, or are only there in a namespace: who uses them is seen within a
//! second.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use remora_tests::bridge::Bridge;
use remora_tests::certificates::Certificates;
use remora_tests::remora::Remora;
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::secure::{self, Copy, Server};
use remora_tests::span::Span;
use remora_tests::{figure, locate, wait};
use rustix::process::Signal;

const WITHIN: Duration = Duration::from_secs(60);
/// Programs of which the time is taken.
const ROUNDS: usize = 5;
/// How long it may take until requests are seen, in milliseconds.
const SEEN_AFTER: u64 = 1000;
/// Processes that are there when the agent starts.
const PROCESSES: usize = 1000;

/// A program that asks a server of its own for `/since/M`, M being the milliseconds since something.
struct Asking {
    server: Server,
    running: Running,
    scratch: Scratch,
}

impl Asking {
    /// `command` is given the server's port.
    fn start(
        program: &Path,
        certificates: &Certificates,
        command: impl FnOnce(u16, &Scratch) -> Command,
    ) -> Self {
        let server = Server::start(program, "since", certificates).unwrap();
        let scratch = Scratch::new("asking").unwrap();
        let mut command = command(server.address().port(), &scratch);
        let running = Running::start("asking", &scratch, &mut command).unwrap().stopping_by(Signal::KILL);
        Self { server, running, scratch }
    }

    /// The milliseconds of all requests that are told at one end.
    fn told(&self, bridge: &Bridge, kind: &str) -> Result<BTreeSet<u64>> {
        let spans = bridge.spans_of_server(self.server.address())?;
        let of_kind = spans.iter().filter(|span| span.kind == kind);
        Ok(of_kind.filter_map(milliseconds).collect())
    }

    /// Waits until a request is told that was made when this many milliseconds had passed.
    fn wait_told(&self, bridge: &Bridge, passed: u64) {
        let is_told = || Ok(self.told(bridge, "client")?.last().filter(|last| **last >= passed).copied());
        let waited = wait::until("a later request is told", WITHIN, is_told);
        waited.with_context(|| self.running.printed()).unwrap();
    }

    fn last(&self, bridge: &Bridge) -> u64 {
        self.told(bridge, "client").unwrap().last().copied().unwrap_or_default()
    }
}

fn milliseconds(span: &Span) -> Option<u64> {
    let url = span.text("url.path").or_else(|| span.text("url.full"))?;
    url.rsplit_once("/since/")?.1.parse().ok()
}

/// A client on a copy of OpenSSL.
fn client(program: &Path, copy: &Copy, port: u16) -> Command {
    let mut command = Command::new(program);
    copy.lend(&mut command);
    command.args(["since", &port.to_string()]);
    command
}

/// Starts programs, each with a copy of its own, and prints and checks after how many milliseconds the first request is seen.
fn check_delay(name: &str, start: impl Fn(&Path, &Certificates, &Copy) -> Asking) {
    let certificates = Certificates::make().unwrap();
    let program = secure::build().unwrap();
    let mut remora = Remora::start().unwrap();
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        let copy = Copy::make().unwrap();
        let mut asking = start(&program, &certificates, &copy);
        asking.wait_told(remora.bridge(), 2 * SEEN_AFTER);
        asking.running.stop().unwrap();
        all.push(asking);
    }
    let bridge = remora.finish().unwrap();
    let mut delays = Vec::new();
    for asking in &all {
        let [asked, served] = ["client", "server"].map(|kind| asking.told(bridge, kind).unwrap());
        let first = *asked.first().unwrap();
        assert!(first < SEEN_AFTER, "{first} ms");
        // The last one may have been cut short.
        let last = *asked.last().unwrap();
        let missing: Vec<_> = served.range(SEEN_AFTER..last).filter(|one| !asked.contains(one)).collect();
        assert!(missing.is_empty(), "{missing:?} of {}", served.len());
        delays.push(first as f64);
    }
    figure::print(name, "ms", &delays);
}

#[test]
#[ignore = "needs root"]
fn a_program_is_seen_soon_after_it_begins() {
    check_delay("from exec to the first request that is seen", |program, certificates, copy| {
        Asking::start(program, certificates, |port, _| client(program, copy, port))
    });
}

#[test]
#[ignore = "needs root"]
fn a_library_that_is_loaded_late_is_seen_soon_after() {
    check_delay("from dlopen to the first request that is seen", |program, certificates, copy| {
        let asking = Asking::start(program, certificates, |port, scratch| {
            let mut python = Command::new(locate::program("python3").unwrap());
            copy.lend(&mut python);
            python.arg(locate::apps().join("tls/late.py")).arg(port.to_string());
            python.arg(scratch.path().join("begin"));
            python
        });
        fs::write(asking.scratch.path().join("begin"), "").unwrap();
        asking
    });
}

#[test]
#[ignore = "needs root"]
fn libraries_that_are_replaced_and_deleted_are_seen() {
    let certificates = Certificates::make().unwrap();
    let program = secure::build().unwrap();
    let copy = Copy::make().unwrap();
    let start = || Asking::start(&program, &certificates, |port, _| client(&program, &copy, port));
    let mut remora = Remora::start().unwrap();
    let first = start();
    first.wait_told(remora.bridge(), 1);
    copy.renew().unwrap();
    let second = start();
    second.wait_told(remora.bridge(), 1);
    copy.delete().unwrap();
    for asking in [&first, &second] {
        asking.wait_told(remora.bridge(), asking.last(remora.bridge()) + SEEN_AFTER);
    }
    remora.finish().unwrap();
    drop(remora);
    // One that comes when the files are gone.
    let remora = Remora::start().unwrap();
    [&first, &second].iter().for_each(|asking| asking.wait_told(remora.bridge(), 1));
}

#[test]
#[ignore = "needs root"]
fn libraries_of_a_namespace_are_seen() {
    let certificates = Certificates::make().unwrap();
    let program = secure::build().unwrap();
    let copy = Copy::make().unwrap();
    let private = copy.folder().join("private");
    fs::create_dir(&private).unwrap();
    let remora = Remora::start().unwrap();
    let asking = Asking::start(&program, &certificates, |port, _| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
        command.arg("mount -t tmpfs tmpfs \"$1\" && cp \"$1\"/../lib* \"$1\" && LD_LIBRARY_PATH=$1 exec \"$2\" since \"$3\"");
        command.arg("sh").arg(&private).arg(&program).arg(port.to_string());
        command
    });
    asking.wait_told(remora.bridge(), SEEN_AFTER);
    assert_eq!(fs::read_dir(&private).unwrap().count(), 0, "nobody else sees the files");
}

#[test]
#[ignore = "needs root"]
fn files_of_many_processes_are_searched_once() {
    let program = secure::build().unwrap();
    let copy = Copy::make().unwrap();
    let scratch = Scratch::new("many").unwrap();
    let processes: Vec<_> = (0..PROCESSES)
        .map(|number| {
            let mut command = Command::new(&program);
            copy.lend(&mut command);
            Running::start(&format!("waiting{number}"), &scratch, command.arg("wait")).unwrap()
        })
        .collect();
    let last = processes.last().unwrap().id();
    let files = wait::until("the last one has mapped its library", WITHIN, || {
        let files = executed(last)?;
        Ok(files.iter().any(|file| file.contains("libcrypto")).then_some(files))
    })
    .unwrap();
    let selection = format!("exe={}", program.display());
    let started = Instant::now();
    let remora = Remora::with_flags(&["--select", &selection]).unwrap();
    let searched = wait::until("they are probed", WITHIN, || {
        let metrics = remora.metrics()?;
        let value = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse::<usize>().ok()).with_context(|| format!("no {name}"))
        };
        let (probes, searched) =
            (value("remora_agent_probes ")?, value("remora_agent_files_searched_total ")?);
        Ok((probes > 0 && searched >= files.len()).then_some(searched))
    })
    .unwrap();
    figure::print(
        "from start to probes, with 1000 processes",
        "ms",
        &[started.elapsed().as_secs_f64() * 1e3],
    );
    assert_eq!(searched, files.len(), "{files:?}");
}

/// Returns the files that a process may execute.
fn executed(process: u32) -> Result<BTreeSet<String>> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
    let is_executed = |line: &&str| line.split_whitespace().nth(1).is_some_and(|rights| rights.contains('x'));
    let file =
        |line: &str| line.split_whitespace().nth(5).filter(|file| file.starts_with('/')).map(str::to_owned);
    Ok(maps.lines().filter(is_executed).filter_map(file).collect())
}
