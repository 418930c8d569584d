//! Threads that wait, as their present system calls show: what they began before the agent came, no hook tells.

use std::fs;

use super::root::read_proc;

/// Threads of one process that are looked at.
const MAX_THREADS: usize = 4096;
/// `epoll_wait`, `epoll_pwait`, `epoll_pwait2` and `io_uring_enter` of x86-64.
const WAITS: [u32; 4] = [232, 281, 441, 426];
/// `read`, `readv`, `recvfrom`, `recvmsg` and `recvmmsg` of x86-64.
const READS: [u32; 5] = [0, 19, 45, 47, 299];

/// The threads of a process that wait now.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Those that wait for events.
    pub(super) for_events: Vec<u32>,
    /// How many read from a socket: what they get is not seen, since they asked for it before.
    pub(super) reading: u64,
}

impl Waiting {
    /// Looks at a process.
    pub(super) fn of(tgid: u32) -> Self {
        let mut waiting = Self::default();
        let Ok(entries) = fs::read_dir(format!("/proc/{tgid}/task")) else { return waiting };
        for entry in entries.take(MAX_THREADS).flatten() {
            let Some(tid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            match system_call(tgid, tid) {
                Some((number, _)) if WAITS.contains(&number) => waiting.for_events.push(tid),
                Some((number, descriptor)) if READS.contains(&number) && is_socket(tgid, descriptor) => {
                    waiting.reading += 1;
                }
                _ => {}
            }
        }
        waiting
    }
}

/// Returns the number of the system call in which a thread is, and its first argument.
fn system_call(tgid: u32, tid: u32) -> Option<(u32, u64)> {
    let text = read_proc(&format!("/proc/{tgid}/task/{tid}/syscall"), 256)?;
    let mut words = std::str::from_utf8(&text).ok()?.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    let first = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    Some((number, first))
}

fn is_socket(tgid: u32, descriptor: u64) -> bool {
    let path = fs::read_link(format!("/proc/{tgid}/fd/{descriptor}"));
    path.is_ok_and(|path| path.as_os_str().as_encoded_bytes().starts_with(b"socket:"))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Command, Stdio};
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::{Duration, Instant};

    use rustix::event::epoll;

    use super::*;

    #[test]
    fn a_thread_in_epoll_wait_is_found_and_no_other() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let (tell, told) = channel();
        let waiting = thread::spawn(move || {
            let queue = epoll::create(epoll::CreateFlags::empty()).unwrap();
            epoll::add(&queue, &reader, epoll::EventData::new_u64(0), epoll::EventFlags::IN).unwrap();
            tell.send(rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()).unwrap();
            let mut events = Vec::with_capacity(1);
            epoll::wait(&queue, rustix::buffer::spare_capacity(&mut events), None).unwrap();
        });
        let tid = told.recv().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !Waiting::of(std::process::id()).for_events.contains(&tid) {
            assert!(Instant::now() < deadline, "thread {tid} is not seen to wait");
            thread::yield_now();
        }
        let own = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
        assert!(!Waiting::of(std::process::id()).for_events.contains(&own));
        drop(writer);
        waiting.join().unwrap();
    }

    #[test]
    fn a_thread_that_reads_from_a_socket_is_counted_and_one_that_reads_from_a_pipe_is_not() {
        let mut program = Command::new("python3");
        let script = "import os, socket, sys, threading; a, b = socket.socketpair(); r, w = os.pipe();
threading.Thread(target=a.recv, args=(1,), daemon=True).start()
threading.Thread(target=os.read, args=(r, 1), daemon=True).start()
print('up', flush=True); sys.stdin.read()";
        let program = program.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut program) = program else {
            eprintln!("skipped: python3 is not installed");
            return;
        };
        let mut up = [0; 3];
        program.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while Waiting::of(program.id()).reading != 1 {
            assert!(Instant::now() < deadline, "{:?}", Waiting::of(program.id()));
            thread::yield_now();
        }
        drop(program.stdin.take());
        program.wait().unwrap();
    }
}
