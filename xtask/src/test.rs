//! `test`: everything that is missing, then all tests.

pub(crate) mod environment;

use std::env;
use std::thread;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::build::{self, Build};
use crate::image::{self, Image};
use crate::run::host;
use crate::shell::{self, step};
use crate::{vm, workspace};

/// `REMORA_BIN` names a folder with a `remora` and a `remora-bridge` to test instead of those of this checkout.
#[derive(Args)]
pub(crate) struct Test {
    /// Only these suites [default: all but k8s]
    #[arg(value_enum)]
    suites: Vec<Suite>,
    /// Names of tests, and flags of the test runner
    #[arg(last = true, value_name = "FILTER")]
    filter: Vec<String>,
}

/// The other kernel on which the agent is tried where no suite is named: many hosts have it, and its verifier gives up early.
const USUAL_KERNEL: &str = "6.1";

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// Tests beside the code, of all crates
    Unit,
    /// The BPF programs in this host's kernel
    Kernel,
    /// From system calls to events, by the agent's own capture
    Capture,
    /// Agent and bridge against real servers and programs
    System,
    /// Contexts written into requests, by real programs
    Propagation,
    /// The bridge's API over HTTP
    Api,
    /// What a cluster says, from a real API server
    Kubernetes,
    /// The manifests for Kubernetes
    Manifests,
    /// Agent and bridge in a real cluster of one node, by manifests and images
    K8s,
    /// The agent on other kernels, in virtual machines: on all of them where the suite is named, else on one
    Kernels,
    /// Borders and house rules
    Tidy,
}

impl Suite {
    /// The name of the test target in `tests/`.
    fn target(self) -> Option<&'static str> {
        match self {
            Suite::Kernel => Some("kernel"),
            Suite::Capture => Some("capture"),
            Suite::System => Some("system"),
            Suite::Propagation => Some("propagation"),
            Suite::Api => Some("api"),
            Suite::Manifests => Some("manifests"),
            Suite::Unit | Suite::Kubernetes | Suite::K8s | Suite::Kernels | Suite::Tidy => None,
        }
    }
}

pub(crate) fn run(test: &Test) -> Result<()> {
    // It builds static images and all of Kubernetes: for who works on that.
    let usual = Suite::value_variants().iter().copied().filter(|suite| *suite != Suite::K8s);
    let suites = if test.suites.is_empty() { usual.collect() } else { test.suites.clone() };
    let targets: Vec<_> = suites.iter().filter_map(|suite| suite.target()).collect();
    let mut failed = Vec::new();
    let mut note = |what: &'static str, result: Result<()>| {
        if let Err(error) = result {
            eprintln!("{error:#}");
            failed.push(what);
        }
    };
    let has = |suite| suites.contains(&suite);
    if targets.is_empty() && !has(Suite::Kernels) {
        build::embedded()?;
    } else {
        environment::install()?;
        if env::var_os("REMORA_BIN").is_some() {
            build::embedded()?;
        } else {
            build::run(&Build { bpf_only: false })?;
        }
    }
    if has(Suite::Unit) {
        note("unit", unit(&test.filter));
    } else if has(Suite::Tidy) {
        note("tidy", tidy(&test.filter));
    }
    if !targets.is_empty() {
        note("suites in tests/", against_the_host(&targets, &test.filter));
    }
    if has(Suite::Kernels) {
        thread::scope(|scope| {
            // An emulated machine takes minutes and leaves half of this one: Kubernetes is built meanwhile. What goes wrong
            // shows when its suite asks for it.
            if has(Suite::Kubernetes) {
                scope.spawn(environment::kubernetes::install);
            }
            note("kernels", vm::agent(test.suites.is_empty().then_some(USUAL_KERNEL)));
        });
    }
    if has(Suite::Kubernetes) {
        note("kubernetes", kubernetes(&test.filter));
    }
    if has(Suite::K8s) {
        note("k8s", cluster(&test.filter));
    }
    if !failed.is_empty() {
        bail!("tests failed: {}", failed.join(", "));
    }
    Ok(())
}

/// The tests beside the code; xtask's own include `tidy`.
fn unit(filter: &[String]) -> Result<()> {
    let mut command = shell::cargo("test");
    command.args([
        "--workspace",
        "--exclude",
        "remora-programs",
        "--exclude",
        "remora-tests",
        "--no-fail-fast",
    ]);
    run_tests("run the tests beside the code", &mut command, filter)?;
    // The suites' own parts need no servers and no root.
    let mut command = shell::cargo("test");
    command.args(["--package", "remora-tests", "--lib", "--bin", "lab", "--no-fail-fast"]);
    run_tests("run the tests of the suites' parts", &mut command, filter)
}

/// The agent's tables against a control plane without nodes.
fn kubernetes(filter: &[String]) -> Result<()> {
    environment::kubernetes::install()?;
    let mut command = shell::cargo("test");
    command.args(["--package", "remora", "--test", "kubernetes"]);
    let mut filter = filter.to_owned();
    filter.extend(["--include-ignored".to_owned(), "--nocapture".to_owned()]);
    run_tests("follow a real API server", &mut command, &filter)
}

/// Agent and bridge as people run them in clusters.
fn cluster(filter: &[String]) -> Result<()> {
    environment::kubernetes::install_node()?;
    image::run(&Image::for_this_host())?;
    let mut command = shell::cargo("test");
    command.args(["--package", "remora-tests", "--test", "k8s"]);
    let mut filter = filter.to_owned();
    filter.extend(["--include-ignored".to_owned(), "--nocapture".to_owned()]);
    run_tests("trace a shop in a cluster", &mut command, &filter)
}

fn tidy(filter: &[String]) -> Result<()> {
    let filter = if filter.is_empty() { vec!["tidy::".to_owned()] } else { filter.to_owned() };
    run_tests("check borders and house rules", shell::cargo("test").args(["--package", "xtask"]), &filter)
}

/// The suites in `tests/`. Those that need root are marked as ignored, so that plain `cargo test` counts them.
fn against_the_host(targets: &[&str], filter: &[String]) -> Result<()> {
    let mut command = shell::cargo("test");
    command.args(["--package", "remora-tests", "--no-fail-fast"]);
    for target in targets {
        command.args(["--test", target]);
    }
    let mut filter = filter.to_owned();
    if host::is_root() {
        host::mount_missing()?;
        filter.push("--include-ignored".to_owned());
    } else {
        step("not root: the tests that load BPF programs are counted as ignored");
    }
    if let Some(missing) = environment::java::missing() {
        filter.extend(["--skip".to_owned(), missing]);
    }
    // Several tests count what the whole host does.
    filter.push("--test-threads=1".to_owned());
    run_tests("run the suites against this host", &mut command, &filter)
}

fn run_tests(what: &str, command: &mut std::process::Command, filter: &[String]) -> Result<()> {
    command.arg("--target-dir").arg(workspace::target());
    if env::var_os("RUST_BACKTRACE").is_none() {
        command.env("RUST_BACKTRACE", "1");
    }
    shell::run(what, "the failing tests are named above", command.arg("--").args(filter))
}
