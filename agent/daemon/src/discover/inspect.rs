//! From `/proc` and notices to [`Process`]es. A process may be gone at any point: what is missing stays unknown.

use std::path::{Path, PathBuf};

use super::container::{Groups, Membership};
use super::environment::{Environment, MAX_ENVIRONMENT_BYTES};
use super::go::GoPrograms;
use super::process::{Instance, Process, Runtime};
use super::root::{Root, read_proc};
use super::service::{self, Program, family, is_part};
use super::tokio::TokioPrograms;

/// Longest command line that is kept, in bytes.
const MAX_COMMAND_LINE_BYTES: u64 = 16 << 10;
/// How often a process may be a part of one that is a part itself (a fork server, and what that serves).
const MAX_PARTS: usize = 3;
/// Largest `/proc/PID/cgroup` that is read, in bytes.
const MAX_CGROUP_BYTES: u64 = 64 << 10;

/// What a notice says of a process that began a program; used for what `/proc` no longer says.
#[derive(Clone, Debug, Default)]
pub(super) struct Hint {
    pub parent: u32,
    pub arguments: Vec<u8>,
    pub comm: String,
    pub cgroup_id: u64,
}

/// Looks at processes.
#[derive(Debug)]
pub(super) struct Inspector {
    go: GoPrograms,
    tokio: TokioPrograms,
    groups: Groups,
}

impl Inspector {
    /// Returns an inspector for this host.
    pub(super) fn new() -> Self {
        Self { go: GoPrograms::default(), tokio: TokioPrograms::default(), groups: Groups::of_host() }
    }

    /// Returns what `/proc` says of a process; none if it is gone or a kernel thread.
    pub(super) fn inspect(&mut self, tgid: u32) -> Option<Process> {
        let stat = stat(tgid)?;
        let arguments = read_proc(&format!("/proc/{tgid}/cmdline"), MAX_COMMAND_LINE_BYTES)?;
        let executable = executable(tgid);
        if arguments.is_empty() && executable.is_none() {
            return None;
        }
        let arguments = words(&arguments);
        let environ = read_proc(&format!("/proc/{tgid}/environ"), MAX_ENVIRONMENT_BYTES).unwrap_or_default();
        let membership = self.membership(tgid).unwrap_or_default();
        let found = Found {
            parent: u32::try_from(stat.ppid).unwrap_or_default(),
            comm: stat.comm,
            asked_for: asked_for(&arguments, stat.ppid),
            arguments,
            environment: Environment::parse(&environ),
            directory: std::fs::read_link(format!("/proc/{tgid}/cwd")).ok(),
            root: Root::of(tgid),
            runtime: self.runtime(tgid, executable.as_deref()),
            executable,
            membership,
            started_at_ticks: Some(stat.starttime),
        };
        let namespace_pid = namespace_pid(tgid);
        Some(Process { namespace_pid, ..found.into_process(tgid) })
    }

    /// Returns a process that `/proc` no longer knows, from what the notice and its parent say.
    ///
    /// A program inherits the environment and the control group of its parent, unless something changed them.
    pub(super) fn infer(&self, tgid: u32, hint: &Hint, parent: Option<&Process>) -> Process {
        let of_parent = parent.map(|parent| Membership {
            cgroup: parent.cgroup.clone(),
            container_id: parent.container_id.clone(),
            pod_uid: parent.pod_uid.clone(),
        });
        let membership = self.groups.get(hint.cgroup_id).cloned().or(of_parent).unwrap_or_default();
        let found = Found {
            parent: hint.parent,
            comm: hint.comm.clone(),
            arguments: words(&hint.arguments),
            environment: parent.map(|parent| parent.environment.clone()).unwrap_or_default(),
            membership,
            ..Found::default()
        };
        let process = found.into_process(tgid);
        match parent.filter(|_| is_part(&process.arguments)) {
            Some(parent) => Process {
                service_name: parent.service_name.clone(),
                service_name_source: parent.service_name_source,
                ..process
            },
            None => process,
        }
    }

    /// Returns a process that runs on with its parent's program: it is the same service.
    pub(super) fn fork(parent: &Process, child: u32) -> Process {
        Process {
            tgid: child,
            parent: parent.tgid,
            started_at_ticks: None,
            namespace_pid: None,
            programs: 0,
            ..parent.clone()
        }
    }

    fn membership(&mut self, tgid: u32) -> Option<Membership> {
        let bytes = read_proc(&format!("/proc/{tgid}/cgroup"), MAX_CGROUP_BYTES)?;
        let text = String::from_utf8_lossy(&bytes);
        let membership = Membership::parse(&text);
        self.groups.learn(&text, &membership);
        Some(membership)
    }

    fn runtime(&mut self, tgid: u32, executable: Option<&Path>) -> Runtime {
        let Some(name) = executable.and_then(Path::file_name) else {
            return Runtime::Unknown;
        };
        match family(&name.to_string_lossy()) {
            "node" | "nodejs" => Runtime::Node,
            "python" | "pypy" => Runtime::Python { contexts: None },
            "java" => Runtime::Java,
            "ruby" => Runtime::Ruby,
            "nginx" | "openresty" => Runtime::Nginx,
            "haproxy" | "envoy" | "linkerd2-proxy" => Runtime::Proxy,
            _ => self.go.look_at(tgid).map(Runtime::from).unwrap_or_else(|| self.native(tgid)),
        }
    }

    fn native(&mut self, tgid: u32) -> Runtime {
        self.tokio
            .look_at(tgid)
            .map_or(Runtime::Native, |program| Runtime::Tokio { offsets: program.offsets })
    }
}

#[derive(Debug, Default)]
struct Found {
    parent: u32,
    comm: String,
    arguments: Vec<String>,
    /// Those of the process whose part it is.
    asked_for: Option<Vec<String>>,
    environment: Environment,
    directory: Option<PathBuf>,
    root: Option<Root>,
    runtime: Runtime,
    executable: Option<PathBuf>,
    membership: Membership,
    started_at_ticks: Option<u64>,
}

impl Found {
    fn into_process(self, tgid: u32) -> Process {
        let (service_name, service_name_source) = service::name(Program {
            executable: self.executable.as_deref(),
            arguments: self.asked_for.as_ref().unwrap_or(&self.arguments),
            comm: &self.comm,
            environment: &self.environment,
            directory: self.directory.as_deref(),
            root: self.root.as_ref(),
        });
        Process {
            tgid,
            parent: self.parent,
            comm: self.comm,
            executable: self.executable,
            arguments: self.arguments,
            service_name,
            service_name_source,
            environment: self.environment,
            container_id: self.membership.container_id,
            pod_uid: self.membership.pod_uid,
            cgroup: self.membership.cgroup,
            runtime: self.runtime,
            namespace_pid: None,
            started_at_ticks: self.started_at_ticks,
            instance: Instance { tgid, started_at_ticks: self.started_at_ticks.unwrap_or_default() },
            programs: 0,
        }
    }
}

/// Returns what the process was asked for whose part one with these arguments is, where it is a part of another.
fn asked_for(arguments: &[String], parent: i32) -> Option<Vec<String>> {
    let (mut maker, mut parent) = (None, parent);
    for _ in 0..MAX_PARTS {
        if !is_part(maker.as_deref().unwrap_or(arguments)) {
            break;
        }
        let stat = stat(u32::try_from(parent).ok()?)?;
        maker = Some(words(&read_proc(&format!("/proc/{parent}/cmdline"), MAX_COMMAND_LINE_BYTES)?));
        parent = stat.ppid;
    }
    maker
}

/// Returns the start of a process in clock ticks since boot; none if there is no such process.
pub(super) fn started_at_ticks(tgid: u32) -> Option<u64> {
    stat(tgid).map(|stat| stat.starttime)
}

fn stat(tgid: u32) -> Option<procfs::process::Stat> {
    let process = procfs::process::Process::new(i32::try_from(tgid).ok()?);
    process.and_then(|process| process.stat()).ok()
}

/// Returns the process's id in its own namespace, where it has one (the last field of `NSpid`).
pub(super) fn namespace_pid(tgid: u32) -> Option<u32> {
    let bytes = read_proc(&format!("/proc/{tgid}/status"), 16 << 10)?;
    let text = String::from_utf8_lossy(&bytes);
    let ids = text.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    let innermost = ids.split_whitespace().skip(1).last()?;
    innermost.parse().ok()
}

fn executable(tgid: u32) -> Option<PathBuf> {
    let link = std::fs::read_link(format!("/proc/{tgid}/exe")).ok()?;
    let text = link.to_string_lossy();
    Some(text.strip_suffix(" (deleted)").map_or_else(|| link.clone(), PathBuf::from))
}

fn words(command_line: &[u8]) -> Vec<String> {
    let text = command_line.strip_suffix(&[0]).unwrap_or(command_line);
    if text.is_empty() {
        return Vec::new();
    }
    text.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::NameSource;

    #[test]
    fn this_process_is_found() {
        let process = Inspector::new().inspect(std::process::id()).unwrap();
        assert_eq!(process.executable, std::env::current_exe().ok());
        assert_eq!(process.runtime, Runtime::Native);
        assert_eq!(process.parent, std::os::unix::process::parent_id());
        assert!(process.started_at_ticks.is_some());
        assert_eq!(process.arguments, std::env::args().collect::<Vec<_>>());
    }

    #[test]
    fn a_kernel_thread_is_no_process() {
        let kthreadd = std::fs::read_to_string("/proc/2/comm").unwrap_or_default();
        if kthreadd.trim() == "kthreadd" {
            assert_eq!(Inspector::new().inspect(2), None);
        }
    }

    #[test]
    fn a_process_that_is_gone_takes_what_its_parent_had() {
        let environment = Environment::parse(b"OTEL_RESOURCE_ATTRIBUTES=service.namespace=shop");
        let parent = Process {
            tgid: 5,
            container_id: Some("c".to_owned()),
            cgroup: Some("/g".to_owned()),
            environment: environment.clone(),
            ..Process::default()
        };
        let hint = Hint {
            parent: 5,
            arguments: b"/usr/bin/curl\0-s\0".to_vec(),
            comm: "curl".to_owned(),
            cgroup_id: 0,
        };
        let process = Inspector::new().infer(u32::MAX, &hint, Some(&parent));
        assert_eq!(process.service_name, "curl");
        assert_eq!(process.arguments, ["/usr/bin/curl", "-s"]);
        assert_eq!((process.container_id, process.cgroup), (parent.container_id, parent.cgroup));
        assert_eq!(process.environment, environment);
    }

    #[test]
    fn with_neither_proc_nor_arguments_the_thread_name_is_left() {
        let hint = Hint { comm: "kworker".to_owned(), ..Hint::default() };
        let process = Inspector::new().infer(u32::MAX, &hint, None);
        assert_eq!(
            (process.service_name.as_str(), process.service_name_source),
            ("kworker", NameSource::Comm)
        );
    }
}
