//! Threads that wait for events, as their present system calls show: what they began before the agent came, no hook tells.

use super::root::read_proc;

/// Threads of one process that are looked at.
const MAX_THREADS: usize = 4096;
/// `epoll_wait`, `epoll_pwait`, `epoll_pwait2` and `io_uring_enter` of x86-64.
const WAITS: [&str; 4] = ["232", "281", "441", "426"];

/// Returns the threads of a process that wait for events now.
pub(super) fn threads(tgid: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{tgid}/task")) else { return Vec::new() };
    let threads =
        entries.take(MAX_THREADS).filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    threads.filter(|tid| is_waiting(tgid, *tid)).collect()
}

fn is_waiting(tgid: u32, tid: u32) -> bool {
    let text = read_proc(&format!("/proc/{tgid}/task/{tid}/syscall"), 256).unwrap_or_default();
    let number = text.split(|&byte| byte == b' ').next().unwrap_or_default();
    WAITS.iter().any(|wait| wait.as_bytes() == number)
}

#[cfg(test)]
mod tests {
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
        while !threads(std::process::id()).contains(&tid) {
            assert!(Instant::now() < deadline, "thread {tid} is not seen to wait");
            thread::yield_now();
        }
        let own = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
        assert!(!threads(std::process::id()).contains(&own));
        drop(writer);
        waiting.join().unwrap();
    }
}
