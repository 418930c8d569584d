//! What a container's surroundings must be, and what a pod's manifest must say.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::Finding;
use crate::causes::with_causes;
use crate::kubernetes::{self, Access};

/// The number of the first namespace of process ids (`PROC_PID_INIT_INO`), in every kernel.
const HOST_PIDS: u64 = 0xefff_fffc;

pub(super) fn findings() -> Vec<Finding> {
    let namespace = fs::metadata("/proc/self/ns/pid").map(|metadata| metadata.ino()).ok();
    let is_pod = kubernetes::is_inside_cluster();
    let mut findings = vec![process_ids(namespace, is_pod)];
    if is_pod {
        findings.push(node(std::env::var("NODE_NAME").ok()));
        findings.push(account());
    }
    findings
}

fn process_ids(namespace: Option<u64>, is_pod: bool) -> Finding {
    let meaning =
        "the kernel tells processes by the host's ids; in another namespace nobody can be told apart by them";
    match namespace {
        Some(HOST_PIDS) => Finding::ok("process ids", "the host's", meaning),
        None => Finding::limited("process ids", "/proc/self/ns/pid cannot be read", meaning, "mount /proc"),
        Some(_) if is_pod => {
            Finding::missing("process ids", "the pod's own", meaning, "hostPID: true in the pod's spec")
        }
        Some(_) => Finding::missing(
            "process ids",
            "a container's own",
            meaning,
            "run it on the host, or in a container with the host's process ids (--pid=host)",
        ),
    }
}

fn node(name: Option<String>) -> Finding {
    let meaning =
        "the pods of this node are asked for by its name; without it no process is known to be a pod's";
    match name {
        Some(name) if !name.is_empty() => Finding::ok("NODE_NAME", name, meaning),
        _ => Finding::limited(
            "NODE_NAME",
            "not set",
            meaning,
            "env NODE_NAME of the container, valueFrom.fieldRef.fieldPath: spec.nodeName",
        ),
    }
}

fn account() -> Finding {
    let meaning = "the API server says which pod, owner and service a process is of";
    if !kubernetes::has_service_account() {
        let remedy = "serviceAccountName, and automountServiceAccountToken: true, in the pod's spec";
        return Finding::limited("API server", "no service account", meaning, remedy);
    }
    match kubernetes::denied() {
        Ok(denied) if denied.is_empty() => {
            Finding::ok("API server", "answers all that is asked for", meaning)
        }
        Ok(denied) => Finding::limited(
            "API server",
            format!("refuses to {}", listed(&denied)),
            meaning,
            "a ClusterRoleBinding of the pod's service account to a ClusterRole that allows it",
        ),
        Err(error) => Finding::limited(
            "API server",
            with_causes(&error),
            meaning,
            "let the pod reach the API server, see NetworkPolicy and serviceAccountName",
        ),
    }
}

fn listed(denied: &[Access]) -> String {
    let one = |access: &Access| {
        let dot = if access.group.is_empty() { "" } else { "." };
        format!("{} {}{dot}{}", access.verb, access.resource, access.group)
    };
    denied.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::State;

    #[test]
    fn only_the_hosts_process_ids_will_do() {
        assert_eq!(process_ids(Some(HOST_PIDS), true).state, State::Ok);
        let finding = process_ids(Some(4_026_532_001), true);
        assert_eq!((finding.state, &*finding.remedy), (State::Missing, "hostPID: true in the pod's spec"));
        assert!(process_ids(Some(1), false).remedy.contains("--pid=host"));
    }

    #[test]
    fn what_is_refused_is_named_as_roles_name_it() {
        let access = |verb, group, resource| Access { verb, group, resource };
        let denied = [access("list", "", "pods"), access("watch", "batch", "jobs")];
        assert_eq!(listed(&denied), "list pods, watch jobs.batch");
    }

    #[test]
    fn a_name_that_is_empty_is_none() {
        assert_eq!(node(Some(String::new())).state, State::Limited);
        assert_eq!(node(Some("n1".to_owned())).state, State::Ok);
    }
}
