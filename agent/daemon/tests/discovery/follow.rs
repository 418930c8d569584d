//! The thread that follows processes, with the notices of a kernel that is played by the test.

use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use remora::discover::{Discovery, Notice, Processes, Purpose, Rule, Selection, Verdict};
use remora::health::Ledger;

use crate::spawn::{PATIENCE, Running, is_installed, wait_for};

struct Followed {
    processes: Processes,
    notices: Option<SyncSender<Notice>>,
    verdicts: Receiver<Verdict>,
    thread: Option<JoinHandle<()>>,
}

impl Followed {
    fn new(selection: Selection) -> Self {
        let processes = Processes::default();
        let discovery = Discovery::new(selection, processes.clone(), &Ledger::default());
        let (notices, notices_rx) = sync_channel(64);
        let (verdicts_tx, verdicts) = sync_channel(100_000);
        let thread = std::thread::spawn(move || discovery.run(notices_rx, verdicts_tx));
        Self { processes, notices: Some(notices), verdicts, thread: Some(thread) }
    }

    fn tell(&self, notice: Notice) {
        self.notices.as_ref().unwrap().send(notice).unwrap();
    }

    /// Returns the next verdict on a process.
    fn verdict(&self, tgid: u32) -> Verdict {
        loop {
            let verdict = self.verdicts.recv_timeout(PATIENCE).unwrap();
            if verdict.tgid == tgid {
                return verdict;
            }
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        drop(self.notices.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn select(rules: &[&str]) -> Selection {
    let include: Vec<Rule> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    Selection { include, ..Selection::default() }
}

fn started(tgid: u32, parent: u32, arguments: &[u8]) -> Notice {
    Notice::Started {
        tgid,
        parent,
        arguments: arguments.to_vec(),
        comm: "x".to_owned(),
        cgroup_id: 0,
        at_ns: 0,
    }
}

/// A process id that no process can have.
const GONE: u32 = 1 << 30;

#[test]
fn what_runs_already_is_judged_and_the_agent_itself_is_not_observed() {
    let sleeping = Running::start(Command::new("sleep").arg("600"));
    wait_for("sleep to run", || {
        std::fs::read_to_string(format!("/proc/{}/comm", sleeping.pid()))
            .ok()
            .filter(|comm| comm == "sleep\n")
    });
    let followed = Followed::new(Selection::default());
    let (mut mine, mut other) = (None, None);
    while mine.is_none() || other.is_none() {
        let verdict = followed.verdicts.recv_timeout(PATIENCE).unwrap();
        if verdict.tgid == std::process::id() {
            mine = Some(verdict);
        } else if verdict.tgid == sleeping.pid() {
            other = Some(verdict);
        }
    }
    assert!(!mine.unwrap().observe);
    assert!(other.unwrap().observe);
    wait_for("the scan to end", || followed.processes.is_complete().then_some(()));
    assert_eq!(followed.processes.get(sleeping.pid()).unwrap().service_name, "sleep");
}

#[test]
fn what_a_python_maps_later_is_found_when_it_is_told() {
    if !is_installed("python3", "--version") || !is_installed("cc", "--version") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("loop.c");
    fs::write(&source, "void __pyx_f_6uvloop_4loop_8UVStream__initiate_write(void) {}\n").unwrap();
    fs::create_dir(folder.path().join("uvloop")).unwrap();
    let library = folder.path().join("uvloop/loop.so");
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-o"]).args([&library, &source]);
    assert!(compile.status().unwrap().success());
    let script = "import ctypes, sys, _queue; print('up', flush=True); input(); ctypes.CDLL(sys.argv[1]); \
                  print('mapped', flush=True); input()";
    let mut running = Running::start(Command::new("python3").args(["-c", script]).arg(&library));
    assert_eq!(running.line(), "up");
    let followed = Followed::new(Selection::default());
    let told = |verdict: &Verdict, purpose| verdict.probes.iter().any(|probe| probe.purpose == purpose);
    let verdict = followed.verdict(running.pid());
    assert!(told(&verdict, Purpose::PythonQueueGot) && !told(&verdict, Purpose::UvloopWrite), "{verdict:?}");
    running.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    assert_eq!(running.line(), "mapped");
    followed.tell(Notice::Mapped { tgid: running.pid(), at_ns: 0 });
    let verdict = followed.verdict(running.pid());
    assert!(told(&verdict, Purpose::PythonQueueGot) && told(&verdict, Purpose::UvloopWrite), "{verdict:?}");
}

#[test]
fn a_process_that_is_gone_when_it_is_looked_at_is_named_by_its_notice() {
    let followed = Followed::new(Selection::default());
    followed.tell(started(GONE, std::process::id(), b"/usr/bin/curl\0-s\0http://x\0"));
    assert!(followed.verdict(GONE).observe);
    let process = followed.processes.get(GONE).unwrap();
    assert_eq!(process.service_name, "curl");
    let me = followed.processes.get(std::process::id()).unwrap();
    assert_eq!(process.cgroup, me.cgroup, "it was where its parent is");
    followed.tell(Notice::Exited { tgid: GONE });
    followed.tell(started(GONE + 1, 0, b"x\0"));
    followed.verdict(GONE + 1);
    assert!(followed.processes.get(GONE).is_some(), "its last spans are still to come");
}

#[test]
fn workers_are_what_their_parent_is_until_they_run_something_else() {
    let followed = Followed::new(select(&["cmd=*gunicorn*"]));
    let master = b"python3\0/venv/bin/gunicorn\0shop.wsgi:app\0";
    followed.tell(started(GONE, 1, master));
    assert!(followed.verdict(GONE).observe);
    followed.tell(Notice::Forked { parent: GONE, child: GONE + 1 });
    assert!(followed.verdict(GONE + 1).observe);
    let (parent, child) = (followed.processes.get(GONE).unwrap(), followed.processes.get(GONE + 1).unwrap());
    assert_eq!(child.service_name, parent.service_name);
    assert_eq!(child.instance, parent.instance);
    assert_eq!(child.parent, GONE);
    assert_eq!(
        (parent.programs, child.programs),
        (1, 0),
        "its spans wait for the program's name, if it begins one"
    );
    followed.tell(started(GONE + 1, GONE, b"/bin/ls\0"));
    assert!(!followed.verdict(GONE + 1).observe);
    let child = followed.processes.get(GONE + 1).unwrap();
    assert_eq!((child.service_name.as_str(), child.programs), ("ls", 1));
}

#[test]
fn only_what_a_process_starts_is_observed_when_so_told() {
    let followed = Followed::new(Selection { descendants_of: Some(GONE), ..Selection::default() });
    followed.tell(started(GONE, 1, b"remora\0trace\0"));
    assert!(!followed.verdict(GONE).observe);
    followed.tell(Notice::Forked { parent: GONE, child: GONE + 1 });
    assert!(!followed.verdict(GONE + 1).observe, "it is an agent until it runs something else");
    followed.tell(started(GONE + 1, GONE, b"sh\0"));
    assert!(followed.verdict(GONE + 1).observe);
    followed.tell(Notice::Forked { parent: GONE + 1, child: GONE + 2 });
    assert!(followed.verdict(GONE + 2).observe);
    // A daemon: its parent has ended, and it was adopted by the first process.
    followed.tell(Notice::Exited { tgid: GONE + 1 });
    followed.tell(started(GONE + 2, 1, b"daemon\0"));
    assert!(followed.verdict(GONE + 2).observe);
    followed.tell(started(GONE + 3, 1, b"curl\0"));
    assert!(!followed.verdict(GONE + 3).observe);
}

#[test]
fn a_port_is_noticed_when_it_is_opened() {
    if !crate::spawn::is_installed("python3", "--version") {
        return;
    }
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = format!(
        "import socket\nprint('up', flush=True)\ninput()\ns=socket.create_server(('127.0.0.1', {port}))\n\
         print('open', flush=True)\ninput()"
    );
    let mut running = Running::start(Command::new("python3").args(["-c", &script]));
    assert_eq!(running.line(), "up");
    let followed = Followed::new(select(&[&format!("port={port}")]));
    assert!(!followed.verdict(running.pid()).observe);
    std::io::Write::write_all(running.0.stdin.as_mut().unwrap(), b"go\n").unwrap();
    assert_eq!(running.line(), "open");
    let verdict = followed.verdict(running.pid());
    assert!(verdict.observe, "{}", verdict.reason);
}

#[test]
fn the_process_that_takes_the_spans_is_not_observed() {
    if !crate::spawn::is_installed("python3", "--version") {
        return;
    }
    let script = "import socket\ns=socket.create_server(('127.0.0.1', 0))\nprint(s.getsockname()[1], flush=True)\ninput()";
    let mut running = Running::start(Command::new("python3").args(["-c", script]));
    let port: u16 = running.line().parse().unwrap();
    let followed = Followed::new(Selection { receiver_port: Some(port), ..Selection::default() });
    wait_for("the verdict against it", || {
        let verdict = followed.verdict(running.pid());
        (!verdict.observe)
            .then(|| assert!(verdict.reason.contains("where spans are sent"), "{}", verdict.reason))
    });
}

#[test]
fn a_child_is_looked_at_where_its_parent_was_gone_too_soon() {
    let followed = Followed::new(Selection::default());
    wait_for("the scan to end", || followed.processes.is_complete().then_some(()));
    followed.tell(started(GONE, 1, b"daemon\0"));
    followed.verdict(GONE);
    let child = Running::start(&mut Command::new("cat"));
    followed.tell(Notice::Forked { parent: GONE, child: child.pid() });
    followed.verdict(child.pid());
    let process = followed.processes.get(child.pid()).unwrap();
    assert_eq!((process.service_name.as_str(), process.parent), ("cat", GONE));
}
