//! Files of TLS libraries that come late, are replaced or deleted, are shared by many processes, or are only there in a
//! namespace: who uses them is seen within a second, and probes are gone when nobody does.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
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
use remora_tests::{figure, locate, process, tools, wait};
use rustix::process::Signal;

const WITHIN: Duration = Duration::from_secs(60);
/// Programs of which the time is taken.
const ROUNDS: usize = 3;
/// How long it may take until requests are seen, in milliseconds.
const SEEN_AFTER: u64 = 1000;
/// The programs that ask, and their servers.
const ASKING: [&str; 2] = ["cmd=*secure since*", "cmd=*tls/late.py*"];
/// Programs that live for a moment, one after the other.
const IN_A_ROW: usize = 20;
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

    /// All requests that are told at one end.
    fn spans(&self, bridge: &Bridge, kind: &str) -> Result<Vec<Span>> {
        let spans = bridge.spans_of_server(self.server.address())?;
        Ok(spans.into_iter().filter(|span| span.kind == kind).collect())
    }

    /// Their milliseconds.
    fn told(&self, bridge: &Bridge, kind: &str) -> Result<BTreeSet<u64>> {
        Ok(self.spans(bridge, kind)?.iter().filter_map(milliseconds).collect())
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

/// Copies a program to where no other test starts it.
fn own_copy(program: &Path, scratch: &Scratch) -> PathBuf {
    let place = scratch.path().join(program.file_name().unwrap());
    fs::copy(program, &place).unwrap();
    place
}

/// The rule that selects all programs of a folder.
fn all_in(scratch: &Scratch) -> String {
    format!("exe={}/*", scratch.path().display())
}

/// Returns a value of the agent's own metrics.
fn metric(remora: &Remora, name: &str) -> Result<f64> {
    let metrics = remora.metrics()?;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.with_context(|| format!("no {name}"))?.parse().context("no number")
}

/// Starts programs, each with a copy of its own, and prints and checks after how many milliseconds its functions are probed
/// and the first request is seen.
fn check_delay(since: &str, start: impl Fn(&Path, &Certificates, &Copy) -> Asking) {
    let certificates = Certificates::make().unwrap();
    let program = secure::build().unwrap();
    // What else begins on this host may keep the agent busy.
    let flags = ASKING.map(|rule| ["--select", rule]);
    let mut remora = Remora::with_flags(flags.as_flattened()).unwrap();
    let (mut all, mut probed) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let copy = Copy::make().unwrap();
        let mut asking = start(&program, &certificates, &copy);
        asking.wait_told(remora.bridge(), 2 * SEEN_AFTER);
        probed.push(metric(&remora, "remora_agent_probe_delay_last_seconds").unwrap() * 1e3);
        asking.running.stop().unwrap();
        all.push(asking);
    }
    let bridge = remora.finish().unwrap();
    let first = |asking: &Asking| *asking.told(bridge, "client").unwrap().first().unwrap() as f64;
    let delays: Vec<f64> = all.iter().map(first).collect();
    figure::print(format!("from {since} to probes"), "ms", &probed);
    figure::print(format!("from {since} to the first request that is seen"), "ms", &delays);
    for asking in &all {
        let [asked, served] = ["client", "server"].map(|kind| asking.told(bridge, kind).unwrap());
        // The last one may have been cut short.
        let last = *asked.last().unwrap();
        let missing: Vec<_> = served.range(SEEN_AFTER..last).filter(|one| !asked.contains(one)).collect();
        assert!(missing.is_empty(), "{missing:?} of {}", served.len());
    }
    let is_soon = |delay: &f64| *delay > 0.0 && *delay < SEEN_AFTER as f64;
    assert!(probed.iter().chain(&delays).all(is_soon), "{probed:?} {delays:?}");
}

#[test]
#[ignore = "needs root"]
fn a_program_is_seen_soon_after_it_begins() {
    check_delay("exec", |program, certificates, copy| {
        Asking::start(program, certificates, |port, _| client(program, copy, port))
    });
}

#[test]
#[ignore = "needs root"]
fn a_library_that_is_loaded_late_is_seen_soon_after() {
    check_delay("dlopen", |program, certificates, copy| {
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
fn programs_of_a_moment_are_seen_while_somebody_has_their_library_probed() {
    let certificates = Certificates::make().unwrap();
    let program = secure::build().unwrap();
    let copy = Copy::make().unwrap();
    let server = Server::start(&program, "moment", &certificates).unwrap();
    let curl = locate::program("curl").unwrap();
    // Nothing else uses the copy.
    let mut remora = Remora::start().unwrap();
    let asking = Asking::start(&program, &certificates, |port, _| client(&program, &copy, port));
    asking.wait_told(remora.bridge(), 1);
    let started = Instant::now();
    for number in 0..IN_A_ROW {
        let mut curl = Command::new(&curl);
        copy.lend(&mut curl);
        curl.args(["--silent", "--show-error", "--http1.1", "--cacert"]).arg(certificates.authority());
        let url = format!("https://localhost:{}/moment/{number}", server.address().port());
        tools::printed(curl.arg(url)).unwrap();
    }
    let each_ms = started.elapsed().as_secs_f64() * 1e3 / IN_A_ROW as f64;
    figure::print("life of a program of a moment", "ms", &[each_ms]);
    let spans = remora.finish().unwrap().spans_of_server(server.address()).unwrap();
    let paths: BTreeSet<_> = spans
        .iter()
        .filter(|span| span.kind == "client" && span.service == "curl")
        .filter_map(|span| span.text("url.full")?.rsplit_once('/')?.1.parse::<usize>().ok())
        .collect();
    assert_eq!(paths, (0..IN_A_ROW).collect(), "{}", remora.agent_log());
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
        command.arg(
            "mount -t tmpfs tmpfs \"$1\" && cp \"$1\"/../lib* \"$1\" && LD_LIBRARY_PATH=$1 exec \"$2\" since \"$3\"",
        );
        command.arg("sh").arg(&private).arg(&program).arg(port.to_string());
        command
    });
    asking.wait_told(remora.bridge(), SEEN_AFTER);
    assert_eq!(fs::read_dir(&private).unwrap().count(), 0, "nobody else sees the files");
    let span = asking.spans(remora.bridge(), "client").unwrap().pop().unwrap();
    assert_eq!(span.service, "secure");
    let of_resource = |key: &str| span.resource.get(key).and_then(serde_json::Value::as_u64);
    // The shell becomes the program: it is the only child of `unshare`, and the first in its namespace.
    let child = process::only_child(asking.running.id()).unwrap();
    assert_eq!(
        (of_resource("process.pid"), of_resource("process.vpid")),
        (Some(child.into()), Some(1)),
        "{span:?}"
    );
}

#[test]
#[ignore = "needs root"]
fn probes_are_gone_with_the_last_who_used_a_library() {
    let copy = Copy::make().unwrap();
    let scratch = Scratch::new("gone").unwrap();
    let program = own_copy(&secure::build().unwrap(), &scratch);
    let mut remora = Remora::with_flags(&["--select", &all_in(&scratch)]).unwrap();
    let links = || process::descriptors(remora.agent_id(), "bpf_link").unwrap();
    let wait = |what: &str, is_it: &dyn Fn(usize, f64) -> bool| {
        wait::until(what, WITHIN, || {
            // Not while they are being attached: the metric waits for that.
            let probes = metric(&remora, "remora_agent_probes")?;
            let links = links();
            let is_stable = metric(&remora, "remora_agent_probes")? == probes;
            Ok((is_stable && is_it(links, probes)).then_some((links, probes)))
        })
        .unwrap()
    };
    let before = wait("nothing is probed", &|_, probes| probes == 0.0);
    let start = |name: &str| {
        let mut waiting = Command::new(&program);
        copy.lend(&mut waiting);
        Running::start(name, &scratch, waiting.arg("wait")).unwrap()
    };
    let (mut first, mut second) = (start("first"), start("second"));
    let with_both = wait("its library is probed", &|links, probes| probes > 0.0 && links > before.0);
    first.stop().unwrap();
    assert_eq!((links(), metric(&remora, "remora_agent_probes").unwrap()), with_both);
    second.stop().unwrap();
    let ended = Instant::now();
    wait("its library is not probed", &|links, probes| (links, probes) == before);
    figure::print(
        "from the end of the last user to the end of probes",
        "ms",
        &[ended.elapsed().as_secs_f64() * 1e3],
    );
    remora.finish().unwrap();
}

#[test]
#[ignore = "needs root"]
fn files_of_many_processes_are_searched_once() {
    let (copy, nobody) = (Copy::make().unwrap(), Scratch::new("nobody").unwrap());
    let scratch = Scratch::new("many").unwrap();
    let program = own_copy(&secure::build().unwrap(), &scratch);
    let processes: Vec<_> = (0..PROCESSES)
        .map(|number| {
            let mut command = Command::new(&program);
            copy.lend(&mut command);
            Running::start(&format!("waiting{number}"), &scratch, command.arg("wait")).unwrap()
        })
        .collect();
    let files = processes.iter().map(|one| {
        wait::until("all have mapped their library", WITHIN, || {
            let files = executed(one.id())?;
            Ok(files.iter().any(|file| file.contains("libcrypto")).then_some(files))
        })
        .unwrap()
    });
    let files: BTreeSet<String> = files.flatten().collect();
    let began = Instant::now();
    let without = Remora::with_flags(&["--select", &all_in(&nobody)]).unwrap();
    let without_ms = began.elapsed().as_secs_f64() * 1e3;
    let without_s = process::cpu_seconds(without.agent_id()).unwrap();
    drop(without);
    let began = Instant::now();
    let remora = Remora::with_flags(&["--select", &all_in(&scratch)]).unwrap();
    let searched = wait::until("they are probed", WITHIN, || {
        let value = |name| metric(&remora, name);
        let (probes, searched) = (value("remora_agent_probes")?, value("remora_agent_files_searched_total")?);
        Ok((probes > 0.0 && searched >= files.len() as f64).then_some(searched))
    })
    .unwrap();
    figure::print("from start to probes, with 1000 processes", "ms", &[began.elapsed().as_secs_f64() * 1e3]);
    figure::print("from start to ready, with none of them selected", "ms", &[without_ms]);
    let cpu_s = process::cpu_seconds(remora.agent_id()).unwrap() - without_s;
    figure::print("a process's share of that", "CPU ms", &[cpu_s * 1e3 / PROCESSES as f64]);
    assert_eq!(searched, files.len() as f64, "{files:?}");
}

/// Returns the files that a process may execute.
fn executed(process: u32) -> Result<BTreeSet<String>> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
    let is_executed = |line: &&str| line.split_whitespace().nth(1).is_some_and(|rights| rights.contains('x'));
    let file =
        |line: &str| line.split_whitespace().nth(5).filter(|file| file.starts_with('/')).map(str::to_owned);
    Ok(maps.lines().filter(is_executed).filter_map(file).collect())
}
