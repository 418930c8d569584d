//! etcd and kube-apiserver as one program.

use anyhow::Result;

use super::{go_program, once, read, testenv};
use crate::shell;
use crate::workspace;

/// What components report as their version; without it they take themselves for unreleased.
const VERSION: &str = "v1.36.3";

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
        shell::run("build etcd and kube-apiserver", "it needs access to a Go module proxy", build.arg("."))
    })
}
