//! etcd, CoreDNS and all of Kubernetes as one program, and what a node runs besides.

use std::path::Path;

use anyhow::Result;

use super::{go, go_program, is_installed, manifests, once, packages, read, testenv};
use crate::shell;
use crate::workspace;

/// What components report as their version; without it they take themselves for unreleased.
const VERSION: &str = "v1.36.3";

/// What a node runs that no Go module brings, and what the pods of the test are made from, with the Debian packages.
const NODE: [(&str, &str); 7] = [
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("nginx", "nginx-light"),
    ("python3", "python3"),
    ("openssl", "openssl"),
];
/// Pods' networks, which are in no `PATH`.
const NETWORK: (&str, &str) = ("/usr/lib/cni/bridge", "containernetworking-plugins");

/// Installs what a cluster of one node needs.
pub(crate) fn install_node() -> Result<()> {
    let missing = NODE.iter().filter(|(program, _)| !is_installed(program)).map(|&(_, package)| package);
    let network = (!Path::new(NETWORK.0).exists()).then_some(NETWORK.1);
    packages(&missing.chain(network).collect::<Vec<_>>())?;
    manifests::install()?;
    let items = testenv().join("bin/items");
    go(&workspace::root().join("tests/apps/go"), &["-o".as_ref(), items.as_ref()])?;
    install()
}

/// Builds it, which takes minutes, unless it was built before.
pub(crate) fn install() -> Result<()> {
    let app = workspace::root().join("tests/apps/kubernetes");
    let folder = testenv().join("kubernetes");
    let wanted = read(&app.join("main.go"))? + &read(&app.join("go.mod"))? + VERSION;
    once(&folder, &wanted, || {
        std::fs::create_dir_all(&folder)?;
        let version = ["k8s.io/component-base", "k8s.io/client-go/pkg"];
        let version = version.map(|package| format!("-X {package}/version.gitVersion={VERSION}"));
        let mut build = shell::program(go_program()?);
        // Nobody debugs it, and what a debugger needs takes long.
        build.current_dir(&app).env("CGO_ENABLED", "0").args([
            "build",
            "-trimpath",
            "-gcflags=all=-dwarf=false",
        ]);
        build.arg(format!("-ldflags=-s -w {}", version.join(" "))).arg("-o").arg(folder.join("kubernetes"));
        shell::run("build etcd and Kubernetes", "it needs access to a Go module proxy", build.arg("."))
    })
}
