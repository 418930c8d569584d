//! Whether `SIGUSR1` opens the inspector of a process, and does nothing else to it.

use std::fs::{self, File};

use procfs::net::TcpState;

use super::{Error, libuv, stopped};
use crate::discover::{Symbols, tcp_sockets};

/// `SIGUSR1`
const SIGNAL: u32 = 10;
/// Where the inspector listens unless an option says otherwise.
const PORT: u16 = 9229;
/// Beginnings of options that make the signal do something else, or keep the inspector closed, or show that somebody
/// debugs the program.
const OPTIONS: [&str; 5] =
    ["--inspect", "--debug", "--disable-sigusr1", "--permission", "--experimental-permission"];
/// The root of libuv's watchers of signals.
const WATCHERS: &str = "uv__signal_tree";
/// What Node itself does when the signal comes.
const HANDLER: &str = "_ZN4node9inspector12_GLOBAL__N_1L19StartIoThreadWakeupEiP9siginfo_tPv";

/// Returns why the signal must not be sent to a process, if there is a reason.
pub(super) fn check(tgid: u32, symbols: &mut Symbols) -> Result<(), Error> {
    let read = |file: &str| Ok::<_, Error>(fs::read(format!("/proc/{tgid}/{file}"))?);
    if let Some(option) = option(&read("cmdline")?, &read("environ")?) {
        return Err(Error::Option { option });
    }
    if !is_caught(&String::from_utf8_lossy(&read("status")?)) {
        return Err(Error::NotCaught);
    }
    let watchers = symbols.address(tgid, WATCHERS).ok_or(Error::NoSymbols)?;
    symbols.address(tgid, HANDLER).ok_or(Error::NoSymbols)?;
    let memory = File::open(format!("/proc/{tgid}/mem"))?;
    if libuv::watched_signals(&memory, watchers).ok_or(Error::NoSymbols)?.contains(&SIGNAL) {
        return Err(Error::Handled);
    }
    if stopped::is_stopped(tgid) {
        return Err(Error::Stopped);
    }
    let is_taken = tcp_sockets(tgid)
        .iter()
        .any(|socket| socket.state == TcpState::Listen && socket.local_address.port() == PORT);
    if is_taken { Err(Error::PortTaken { port: PORT }) } else { Ok(()) }
}

/// Returns an option that speaks against it, from the command line or from `NODE_OPTIONS`.
fn option(command_line: &[u8], environ: &[u8]) -> Option<String> {
    let arguments = command_line.split(|&byte| byte == 0);
    let variables = environ.split(|&byte| byte == 0);
    let in_environment = variables
        .filter_map(|variable| variable.strip_prefix(b"NODE_OPTIONS="))
        .flat_map(|options| options.split(u8::is_ascii_whitespace));
    let words = arguments.chain(in_environment).map(|word| String::from_utf8_lossy(word).into_owned());
    let speaks_against = |word: &String| {
        // V8 and Node take both for the same.
        let word = word.trim_matches(['"', '\'']).replace('_', "-");
        OPTIONS.iter().any(|option| word.starts_with(option))
    };
    words.into_iter().find(speaks_against)
}

/// Returns whether a handler is set for the signal (`SigCgt` of `/proc/PID/status`), and it is not blocked.
fn is_caught(status: &str) -> bool {
    let has_bit = |name: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name))?;
        let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
        Some(mask & (1 << (SIGNAL - 1)) != 0)
    };
    has_bit("SigCgt:") == Some(true) && has_bit("SigBlk:") == Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_speak_against_it() {
        let found = |command_line: &str, environ: &str| {
            option(command_line.replace(' ', "\0").as_bytes(), environ.replace('|', "\0").as_bytes())
        };
        assert_eq!(found("node app.js --port=80", "PATH=/bin|NODE_OPTIONS=--max-old-space-size=64"), None);
        assert_eq!(found("node --inspect=0 app.js", "").as_deref(), Some("--inspect=0"));
        assert_eq!(
            found("node app.js", "A=1|NODE_OPTIONS=-r x --inspect_port=1").as_deref(),
            Some("--inspect_port=1")
        );
        for option in ["--inspect-brk", "--disable-sigusr1", "--permission", "--experimental-permission"] {
            assert!(found(&format!("node {option} app.js"), "").is_some(), "{option}");
        }
    }

    #[test]
    fn only_a_caught_signal_is_sent() {
        let status =
            |caught: &str, blocked: &str| format!("Name:\tnode\nSigBlk:\t{blocked}\nSigCgt:\t{caught}\n");
        assert!(is_caught(&status("0000000100004602", "0000000000000000")));
        assert!(!is_caught(&status("0000000100004402", "0000000000000000")), "not caught");
        assert!(!is_caught(&status("0000000100004602", "0000000000000200")), "blocked");
        for nonsense in ["", "SigCgt:\tzz\n", "SigCgt:\t0000000100004602\n"] {
            assert!(!is_caught(nonsense));
        }
    }

    #[test]
    fn a_program_that_is_not_node_is_left_alone() {
        assert!(matches!(check(std::process::id(), &mut Symbols::default()), Err(Error::NotCaught)));
    }
}
