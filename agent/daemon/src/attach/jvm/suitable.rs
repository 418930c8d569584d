//! Whether a process is certainly a JVM that lets tools in, and how it is seen from inside its namespaces.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, open};

use super::error::Error;
use crate::attach::target::Target;

/// Bytes of a file of `/proc` that are looked at.
const LIMIT: u64 = 4 << 20;
/// `SIGQUIT`, as a bit of `SigCgt`.
const SIGQUIT: u64 = 1 << 2;

/// A JVM that lets tools in.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) tgid: u32,
    /// Its number in its own namespace.
    pub(super) own_pid: u32,
    /// Its effective user and group, as the agent sees them.
    pub(super) user: u32,
    pub(super) group: u32,
    /// Its root folder.
    pub(super) root: OwnedFd,
}

impl Process {
    /// Returns what has to be known of a process, if it is a JVM that lets tools in.
    pub(super) fn examine(target: &Target) -> Result<Self, Error> {
        let tgid = target.tgid;
        if !is_hotspot(&read(tgid, "maps")?) {
            return Err(Error::NotHotSpot);
        }
        for file in ["cmdline", "environ"] {
            if let Some(option) = forbidding(&read(tgid, file)?) {
                return Err(Error::Forbidden(option.to_owned()));
            }
        }
        let status = read(tgid, "status")?;
        let signals = field(&status, "SigCgt").and_then(|mask| u64::from_str_radix(mask, 16).ok());
        if signals.is_none_or(|signals| signals & SIGQUIT == 0) {
            return Err(Error::NoHandler);
        }
        let effective = |name| field(&status, name)?.split_whitespace().nth(1)?.parse().ok();
        let own_pid = field(&status, "NSpid").and_then(|pids| pids.split_whitespace().last()?.parse().ok());
        let (Some(user), Some(group), Some(own_pid)) = (effective("Uid"), effective("Gid"), own_pid) else {
            return Err(unreadable("status", std::io::ErrorKind::InvalidData.into()));
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open(format!("/proc/{tgid}/root"), flags, Mode::empty());
        let root = root.map_err(|error| unreadable("root", error.into()))?;
        Ok(Self { tgid, own_pid, user, group, root })
    }
}

fn read(tgid: u32, file: &'static str) -> Result<String, Error> {
    use std::io::Read as _;
    let opened = std::fs::File::open(format!("/proc/{tgid}/{file}"));
    let mut bytes = Vec::new();
    let read = opened.and_then(|opened| opened.take(LIMIT).read_to_end(&mut bytes));
    read.map_err(|error| unreadable(file, error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unreadable(file: &'static str, source: std::io::Error) -> Error {
    Error::Unreadable { file, source }
}

/// Returns whether the library of HotSpot is mapped. OpenJ9 has one of the same name, which loads another.
fn is_hotspot(maps: &str) -> bool {
    let is_mapped = |name: &str| maps.lines().any(|line| line.ends_with(name));
    is_mapped("/libjvm.so") && !maps.contains("/libj9vm")
}

/// Returns an option that keeps tools out, or one that may bring in others from a file. Of two that contradict each
/// other the last would hold, but that is not worth a guess.
fn forbidding(words: &str) -> Option<&str> {
    const FORBIDDING: [&str; 2] = ["-XX:+DisableAttachMechanism", "-XX:-EnableDynamicAgentLoading"];
    const HIDING: [&str; 3] = ["-XX:Flags=", "-XX:VMOptionsFile=", "-XX:+ReadVMOptionsFile"];
    words
        .split(|c: char| c == '\0' || c.is_whitespace())
        // The first option of a variable follows its name.
        .flat_map(|word| std::iter::once(word).chain(word.split_once('=').map(|(_, first)| first)))
        .find(|word| FORBIDDING.contains(word) || HIDING.iter().any(|prefix| word.starts_with(prefix)))
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_keep_tools_out_are_found() {
        assert_eq!(forbidding("java\0-Xmx1g\0-jar\0a.jar\0"), None);
        let forbidden = "java\0-XX:+DisableAttachMechanism\0Main\0";
        assert_eq!(forbidding(forbidden), Some("-XX:+DisableAttachMechanism"));
        let environment = "A=b\0JAVA_TOOL_OPTIONS=-XX:-EnableDynamicAgentLoading -Xmx1g\0";
        assert_eq!(forbidding(environment), Some("-XX:-EnableDynamicAgentLoading"));
        let later = "JDK_JAVA_OPTIONS=-Xmx1g -XX:+DisableAttachMechanism\0";
        assert_eq!(forbidding(later), Some("-XX:+DisableAttachMechanism"));
        assert_eq!(forbidding("java\0-XX:Flags=/etc/flags\0Main"), Some("-XX:Flags=/etc/flags"));
    }

    #[test]
    fn only_hotspot_is_let_in() {
        assert!(is_hotspot(
            "7f-80 r-xp 0 08:01 5   /usr/lib/jvm/lib/server/libjvm.so\n7f-80 rw-p 0 00:00 0\n"
        ));
        assert!(!is_hotspot("7f-80 r-xp 0 08:01 5   /usr/bin/libjvm.so.bak\n"));
        assert!(!is_hotspot("7f r-xp 0 08:01 5 /j9/libjvm.so\n7f r-xp 0 08:01 6 /j9/libj9vm29.so\n"));
    }

    #[test]
    fn this_process_is_no_jvm() {
        let target = Target::open(std::process::id()).unwrap();
        assert!(matches!(Process::examine(&target), Err(Error::NotHotSpot)));
    }
}
