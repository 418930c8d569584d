//! Remora and a shop in the cluster.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use remora_tests::bridge::Bridge;
use remora_tests::scratch::Scratch;
use remora_tests::span::Span;
use remora_tests::{locate, tools};
use serde_json::{Value, json};

use crate::images;
use crate::node::{self, Node};

const TOKEN: &str = "a-token-of-the-test";
/// The shop's services, each asking the next.
pub(crate) const SERVICES: [&str; 3] = ["gateway", "orders", "stock"];
const PATH: &str = "/relay/7";
/// How long a rollout may take on a busy machine.
const ROLLOUT: &str = "--timeout=180s";
/// How long spans may take to the bridge.
pub(crate) const WITHIN: Duration = Duration::from_secs(60);

pub(crate) struct Site {
    pub(crate) node: Node,
    pub(crate) bridge: Bridge,
    gateway: SocketAddr,
}

impl Site {
    /// Starts the cluster, and applies what README.md says, and the shop.
    pub(crate) fn start() -> Result<Self> {
        node::ensure_alone()?;
        let archives = Scratch::new("images")?;
        let mut all = images::of_services(&archives)?;
        all.extend(images_of_remora()?);
        let node = Node::start(&all)?;
        apply_remora(&node)?;
        node.kubectl(&["apply", "--filename", &objects("shop.yaml")])?;
        rolled_out(&node).with_context(|| describe(&node, "shop"))?;
        let bridge = Bridge::at(service(&node, "remora", "remora-bridge")?).with_token(TOKEN);
        let gateway = service(&node, "shop", "gateway")?;
        Ok(Self { node, bridge, gateway })
    }

    /// Asks for something that all three services have a part in.
    pub(crate) fn ask(&self) -> Result<()> {
        let answer = tools::curl(&["--fail", &format!("http://{}{PATH}", self.gateway)])?;
        ensure!(answer.trim() == "seven", "the shop answers {answer}");
        Ok(())
    }

    /// Returns the traces of such requests that the bridge has, of those that began since.
    pub(crate) fn traces(&self, since: SystemTime) -> Result<Vec<Vec<Span>>> {
        let asked = json!({ "attributes": [{ "key": "url.path", "op": "=", "value": PATH }] });
        let since_ns = since.duration_since(UNIX_EPOCH)?.as_nanos();
        let mut found = self.bridge.search(asked)?;
        let began_ns = |trace: &Value| trace["start_time_unix_nano"].as_str()?.parse::<u128>().ok();
        found.retain(|trace| began_ns(trace).is_some_and(|began_ns| began_ns >= since_ns));
        found.iter().map(|trace| self.bridge.trace(trace["trace_id"].as_str().unwrap_or_default())).collect()
    }

    /// Waits until all deployments of the shop are as they should be.
    pub(crate) fn wait_rolled_out(&self) -> Result<()> {
        rolled_out(&self.node)
    }
}

/// Whether a trace has both sides of all requests between the services, and what the first was asked.
pub(crate) fn is_whole(spans: &[Span]) -> bool {
    is_whole_until(spans, SERVICES.len())
}

/// Whether it has that of the first services, and nothing of the others.
pub(crate) fn is_whole_until(spans: &[Span], count: usize) -> bool {
    let sides: BTreeSet<_> = spans.iter().map(|span| (&*span.service, &*span.kind)).collect();
    SERVICES.iter().enumerate().all(|(place, service)| {
        let (serves, asks) = (sides.contains(&(service, "server")), sides.contains(&(service, "client")));
        let (is_seen, has_next) = (place < count, place + 1 < SERVICES.len());
        serves == is_seen && asks == (is_seen && has_next)
    })
}

fn rolled_out(node: &Node) -> Result<()> {
    for service in SERVICES {
        node.kubectl(&["-n", "shop", "rollout", "status", ROLLOUT, &format!("deployment/{service}")])?;
    }
    Ok(())
}

fn images_of_remora() -> Result<[PathBuf; 2]> {
    let folder =
        std::env::var_os("REMORA_IMAGES").map_or_else(|| locate::root().join("target/images"), PathBuf::from);
    let images = ["remora.tar", "remora-bridge.tar"].map(|name| folder.join(name));
    for image in &images {
        ensure!(image.is_file(), "{} is not there: `cargo xtask test k8s` makes it", image.display());
    }
    Ok(images)
}

/// Applies the manifests, having asked the API server first whether it would take them.
fn apply_remora(node: &Node) -> Result<()> {
    node.kubectl(&["create", "namespace", "remora"])?;
    let token = format!("--from-literal=token={TOKEN}");
    node.kubectl(&["-n", "remora", "create", "secret", "generic", "remora-token", &token])?;
    for overlay in ["single-node", "production", "otlp", "privileged"] {
        let folder = locate::root().join("k8s-manifests/overlays").join(overlay);
        let folder = folder.to_str().context("a path that is not UTF-8")?;
        node.kubectl(&["apply", "--dry-run=server", "--kustomize", folder])
            .with_context(|| overlay.to_owned())?;
    }
    apply(node, &volume(node)?)?;
    node.kubectl(&["apply", "--kustomize", &objects("")])?;
    for workload in ["statefulset/remora-bridge", "daemonset/remora-agent"] {
        let status = node.kubectl(&["-n", "remora", "rollout", "status", ROLLOUT, workload]);
        status.with_context(|| describe(node, "remora"))?;
    }
    Ok(())
}

pub(crate) fn apply(node: &Node, object: &Value) -> Result<()> {
    let scratch = Scratch::new("object")?;
    let file = scratch.write("object.json", object.to_string())?;
    node.kubectl(&["apply", "--filename", file.to_str().context("a path that is not UTF-8")?]).map(drop)
}

/// The volume that the bridge claims; clusters of people have somebody who makes such.
fn volume(node: &Node) -> Result<Value> {
    Ok(json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "volume" },
        "spec": {
            "capacity": { "storage": "5Gi" }, "accessModes": ["ReadWriteOnce"],
            "local": { "path": node.volume("volume")? },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{
                "matchExpressions": [{ "key": "kubernetes.io/os", "operator": "In", "values": ["linux"] }],
            }]}},
        },
    }))
}

/// Returns what there is to be said of the pods that do not run.
fn describe(node: &Node, namespace: &str) -> String {
    let logs = "logs --tail=30 --prefix --ignore-errors --selector";
    let by = if namespace == "shop" { "app" } else { "app.kubernetes.io/part-of" };
    let asked = ["describe pods".to_owned(), "get events".to_owned(), format!("{logs} {by}")];
    let answers = asked.iter().map(|words| {
        let words: Vec<_> = ["-n", namespace].into_iter().chain(words.split(' ')).collect();
        node.kubectl(&words).unwrap_or_else(|error| format!("{error:#}"))
    });
    answers.collect::<Vec<_>>().join("\n")
}

fn objects(name: &str) -> String {
    locate::root().join("tests/k8s/objects").join(name).display().to_string()
}

/// Returns the address of a service's first port.
fn service(node: &Node, namespace: &str, name: &str) -> Result<SocketAddr> {
    let path = "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}";
    let printed = node.kubectl(&["-n", namespace, "get", "service", name, "--output", path])?;
    printed.parse().with_context(|| format!("address of {name}: {printed}"))
}
