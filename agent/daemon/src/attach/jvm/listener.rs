//! HotSpot's way in for tools: a file and a signal ask for a Unix socket, which takes one command at a time
//! (`AttachListener` in `attachListener_posix.cpp`, from JDK 8 on).

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::process::{Gid, Signal, Uid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};

use super::error::Error;
use super::part::File;
use super::suitable::Process;
use crate::attach::refusal::Refusal;
use crate::attach::target::Target;

/// How long a JVM may take to open its socket.
const WAKE_WITHIN: Duration = Duration::from_secs(5);
/// Pause between two looks for it.
const POLL: Duration = Duration::from_millis(20);
/// Bytes of an answer that are read.
const MAX_ANSWER: u64 = 64 << 10;
/// Version of the protocol, the same since JDK 6.
const PROTOCOL: &str = "1";
/// Arguments that every command has, empty or not.
const ARGUMENTS: usize = 3;

/// A JVM's socket for tools.
#[derive(Debug)]
pub(super) struct Listener<'a> {
    process: &'a Process,
    socket: PathBuf,
}

impl<'a> Listener<'a> {
    /// Returns the socket, which the JVM is asked to open if it has not done so before.
    pub(super) fn wake(target: &Target, process: &'a Process, until: Instant) -> Result<Self, Refusal> {
        let socket = format!("/tmp/.java_pid{}", process.own_pid);
        let is_open = || {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat2(&process.root, socket.as_str(), flags, Mode::empty(), resolve).is_ok()
        };
        if !is_open() {
            let path = format!("/tmp/.attach_pid{}", process.own_pid);
            let _asks = File::write(process, path, &[], Mode::RUSR | Mode::WUSR)?;
            target.signal(Signal::QUIT)?;
            let until = until.min(Instant::now() + WAKE_WITHIN);
            while !is_open() {
                if !target.is_alive() {
                    return Err(Refusal::Gone);
                }
                if Instant::now() >= until {
                    return Err(Error::Silent.into());
                }
                std::thread::sleep(POLL);
            }
        }
        let socket = PathBuf::from(format!("/proc/{}/root{socket}", process.tgid));
        Ok(Self { process, socket })
    }

    /// Sends a command, and returns what the JVM answers.
    pub(super) fn command(&self, words: &[&str], until: Instant) -> Result<String, Error> {
        let mut stream = self.connect().map_err(Error::Socket)?;
        self.exchange(&mut stream, words, until).map_err(Error::Socket)
    }

    /// Connects as the JVM's own user: JVMs before 11, and those in user namespaces, take nobody else. The thread that
    /// changes its user ends at once.
    fn connect(&self) -> io::Result<UnixStream> {
        let Process { user, group, .. } = *self.process;
        if user == rustix::process::geteuid().as_raw() && group == rustix::process::getegid().as_raw() {
            return UnixStream::connect(&self.socket);
        }
        let connect = || -> io::Result<UnixStream> {
            set_thread_res_gid(None, Some(Gid::from_raw(group)), None)?;
            set_thread_res_uid(None, Some(Uid::from_raw(user)), None)?;
            UnixStream::connect(&self.socket)
        };
        std::thread::scope(|scope| {
            let connected = scope.spawn(connect).join();
            connected.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
        })
    }

    fn exchange(&self, stream: &mut UnixStream, words: &[&str], until: Instant) -> io::Result<String> {
        let mut command = Vec::new();
        let missing = (ARGUMENTS + 1).saturating_sub(words.len());
        for word in std::iter::once(&PROTOCOL).chain(words).chain(std::iter::repeat_n(&"", missing)) {
            command.extend_from_slice(word.as_bytes());
            command.push(0);
        }
        let left = until.saturating_duration_since(Instant::now()).max(POLL);
        stream.set_write_timeout(Some(left))?;
        stream.set_read_timeout(Some(left))?;
        stream.write_all(&command)?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}
