//! BPF time of one socket operation, as the kernel counts it (`kernel.bpf_stats_enabled`).

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result};
use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};
use remora_abi::MARK_TAKE;
use remora_tests::observer::Observer;

use remora_tests::figure;

/// Operations a round: reads and writes alike.
const OPERATIONS: u64 = 200_000;
const MESSAGE: [u8; 256] = [7; 256];

/// Run time and number of runs of each program.
pub(crate) type Runs = BTreeMap<String, (u64, u64)>;

pub(crate) fn run(rounds: usize) -> Result<()> {
    let _counting =
        enable_stats(Stats::RunTime).context("let the kernel count the programs' time (needs root)")?;
    let (mut selected, mut unselected, mut other) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        eprintln!("bpf: round {} of {rounds}", round + 1);
        selected.push(measure(Observer::of_this_process()?, exchange)?);
        unselected.push(measure(Observer::of_other_processes()?, exchange)?);
        other.push(measure(Observer::of_this_process()?, no_socket)?);
    }
    figure::print("socket operation of a selected process, 256 B copied", "ns", &selected);
    figure::print("socket operation of an unselected process", "ns", &unselected);
    figure::print("system call on no socket, selected process", "ns", &other);
    marks(rounds)?;
    probes(rounds)
}

/// What a process pays for telling that a thread begins a unit of work.
fn marks(rounds: usize) -> Result<()> {
    let (mut bare, mut seen) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        bare.push(nanoseconds_a_call(mark));
        let _observer = Observer::of_this_process_with_tokens()?;
        seen.push(nanoseconds_a_call(mark));
    }
    figure::print("a mark of a process (take), without agent", "ns", &bare);
    figure::print("a mark of a process (take), with agent", "ns", &seen);
    Ok(())
}

/// What a program pays for a probe at one of its functions: the kernel's breakpoint, and the least of programs.
fn probes(rounds: usize) -> Result<()> {
    let mut added = Vec::new();
    for _ in 0..rounds {
        let mut observer = Observer::of_this_process()?;
        let bare = nanoseconds_a_call(probed);
        observer.probe("node_turn", probed as *const () as usize)?;
        added.push(nanoseconds_a_call(probed) - bare);
    }
    figure::print("a probe at a function", "ns", &added);
    Ok(())
}

fn nanoseconds_a_call(call: fn()) -> f64 {
    let begin_ns = thread_time_ns();
    for _ in 0..OPERATIONS {
        call();
    }
    (thread_time_ns() - begin_ns) / OPERATIONS as f64
}

/// Returns the running thread's own time: other work of the machine does not count.
fn thread_time_ns() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

#[expect(unsafe_code, reason = "no library sends signals that do not exist")]
fn mark() {
    // SAFETY: the signal's number is invalid, so that nothing is sent.
    unsafe { libc::kill(1, MARK_TAKE as i32) };
}

/// A function like those that are probed: it has work to do, and is called.
#[inline(never)]
fn probed() {
    std::hint::black_box(OPERATIONS);
}

/// Returns the BPF time of one operation: one run of the program at its entry and one at its exit.
fn measure(mut observer: Observer, work: fn()) -> Result<f64> {
    let before = runs();
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            work();
            is_done.store(true, Ordering::Release);
        });
        // As the agent does: the ring never fills.
        while !is_done.load(Ordering::Acquire) {
            observer.drain();
            thread::sleep(std::time::Duration::from_millis(1));
        }
    });
    let after = runs();
    anyhow::ensure!(
        observer.ring_full() == 0,
        "the ring was full: records were not written, and cost nothing"
    );
    ["sys_enter", "sys_exit"].iter().map(|name| nanoseconds_each(&before, &after, name)).sum()
}

fn nanoseconds_each(before: &Runs, after: &Runs, name: &str) -> Result<f64> {
    let (time, count) = after.get(name).with_context(|| format!("{name} is not loaded"))?;
    let (time_before, count_before) = before.get(name).copied().unwrap_or_default();
    let count = count - count_before;
    anyhow::ensure!(count >= OPERATIONS, "{name} ran {count} times in {OPERATIONS} operations");
    Ok((time - time_before) as f64 / count as f64)
}

/// Another agent on this host would be counted too: its programs have the same names.
pub(crate) fn runs() -> Runs {
    let mut runs = Runs::new();
    for program in loaded_programs().filter_map(Result::ok) {
        let (time, count) = runs.entry(String::from_utf8_lossy(program.name()).into_owned()).or_default();
        *time += u64::try_from(program.run_time().as_nanos()).unwrap_or(u64::MAX);
        *count += program.run_count();
    }
    runs
}

/// Writes and reads messages over a connection within this process.
fn exchange() {
    let work = || -> std::io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        let (mut server, _) = listener.accept()?;
        let mut buffer = MESSAGE;
        for _ in 0..OPERATIONS / 2 {
            client.write_all(&MESSAGE)?;
            server.read_exact(&mut buffer)?;
        }
        Ok(())
    };
    if let Err(error) = work() {
        eprintln!("bpf: {error}");
    }
}

/// Calls what has nothing to do with sockets.
fn no_socket() {
    for _ in 0..OPERATIONS {
        std::hint::black_box(rustix::process::getppid());
    }
}
