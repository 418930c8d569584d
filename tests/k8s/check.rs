//! `remora check` in pods.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use remora_tests::wait;
use serde_json::{Value, json};

use crate::node::Node;
use crate::site::{Site, apply};

const WITHIN: Duration = Duration::from_secs(120);

/// The agent's own pod has all that it needs; another one is told what its manifest lacks.
pub(crate) fn check_in_pods(site: &Site) -> Result<()> {
    let node = &site.node;
    let arguments = ["-n", "remora", "exec", "daemonset/remora-agent", "--", "remora", "check", "--json"];
    let findings = Findings(serde_json::from_str(&node.kubectl(&arguments)?)?);
    ensure!(findings.0["can_run"] == true, "{findings:?}");
    for name in ["process ids", "NODE_NAME", "API server", "CAP_BPF", "CAP_CHECKPOINT_RESTORE", "cgroup v2"] {
        ensure!(findings.of(name)?.0 == "ok", "{name} in {findings:?}");
    }
    let findings = check_in_a_bare_pod(node)?;
    ensure!(findings.0["can_run"] == false, "{findings:?}");
    let wanted = [
        ("CAP_BPF", "missing", "add BPF to securityContext.capabilities.add"),
        ("CAP_PERFMON", "missing", "add PERFMON"),
        ("CAP_SYS_PTRACE", "limited", "add SYS_PTRACE"),
        ("process ids", "missing", "hostPID: true"),
        ("NODE_NAME", "limited", "spec.nodeName"),
        ("API server", "limited", "ClusterRole"),
    ];
    for (name, state, remedy) in wanted {
        let (found, advice) = findings.of(name)?;
        ensure!(found == state && advice.contains(remedy), "{name} in {findings:?}");
    }
    Ok(())
}

/// What `remora check --json` prints.
#[derive(Debug)]
struct Findings(Value);

impl Findings {
    /// Returns state and remedy of a finding.
    fn of(&self, name: &str) -> Result<(&str, &str)> {
        let mut findings = self.0["findings"].as_array().into_iter().flatten();
        let finding = findings.find(|finding| finding["name"] == name);
        let finding = finding.with_context(|| format!("no finding {name}"))?;
        Ok((finding["state"].as_str().unwrap_or_default(), finding["remedy"].as_str().unwrap_or_default()))
    }
}

/// Runs it in a pod that is allowed nothing, with the account that every namespace has.
fn check_in_a_bare_pod(node: &Node) -> Result<Findings> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "bare", "namespace": "remora" },
        "spec": { "restartPolicy": "Never", "containers": [{
            "name": "check", "image": "localhost/remora:0.1.0", "imagePullPolicy": "Never",
            "args": ["check", "--json"], "securityContext": { "capabilities": { "drop": ["ALL"] } },
        }]},
    });
    apply(node, &pod)?;
    wait::until("the check in a bare pod has ended", WITHIN, || {
        let path = "jsonpath={.status.phase}";
        let phase = node.kubectl(&["-n", "remora", "get", "pod", "bare", "--output", path])?;
        ensure!(phase != "Succeeded", "nothing is missing in a bare pod");
        Ok((phase == "Failed").then_some(()))
    })?;
    let printed = node.kubectl(&["-n", "remora", "logs", "bare"])?;
    Ok(Findings(serde_json::from_str(&printed).with_context(|| printed)?))
}
