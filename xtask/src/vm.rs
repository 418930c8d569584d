//! `vm`: the trial of the propagation suite on other kernels than this host's, each in a virtual machine.
//!
//! The machine is emulated, so that it needs no privilege and no hardware. Its root is the host's, read-only below a
//! layer in memory: whatever the host has installed runs there too.

mod guest;
mod kernel;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::run::host;
use crate::shell::{self, step};
use crate::{build, workspace};

/// Programs, and the Debian package that has each.
const PROGRAMS: [(&str, &str); 6] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("depmod", "kmod"),
    ("cpio", "cpio"),
    ("zstd", "zstd"),
    ("xz", "xz-utils"),
];
/// The kernels that are tried unless told otherwise.
const KERNELS: [&str; 3] = ["5.10", "6.1", "6.12"];

/// What a locked memory limit does is not the question here; kernels before 5.11 have one.
const LIMITS: &str = "ulimit -l unlimited;";
/// Of the system suite, clear text, plaintext inside TLS, and TLS that the kernel encrypts: to start an agent takes an
/// emulated machine most of a minute.
const SUITE_ON_OTHER_KERNELS: &str = "--include-ignored --test-threads=1 curl::one_request_over_ipv4 \
                                      tls_ways::objects_that_take_turns_in_one_thread tls_ways::the_kernel_encrypts";
/// Of the propagation suite, the trial: real programs and load take an emulated machine many times as long.
const TRIAL: &str = "--include-ignored --test-threads=1 trial::";
/// The part of it that says whether contexts can be written without harm.
const SHORT_TRIAL: &str = "--include-ignored --test-threads=1 trial::check_says";

#[derive(Args)]
pub(crate) struct Vm {
    /// Versions of Debian kernels [default: 5.10 6.1 6.12]
    kernels: Vec<String>,
    /// What to run instead of the propagation suite
    #[arg(long, value_name = "COMMAND")]
    command: Option<String>,
}

pub(crate) fn run(vm: &Vm) -> Result<()> {
    install()?;
    let command = match &vm.command {
        Some(command) => command.clone(),
        None => suite()?,
    };
    let kernels: Vec<&str> = if vm.kernels.is_empty() {
        KERNELS.to_vec()
    } else {
        vm.kernels.iter().map(String::as_str).collect()
    };
    let mut results = Vec::new();
    for version in kernels {
        let result = kernel::provide(version).and_then(|kernel| {
            step(&format!("start Linux {} in a virtual machine", kernel.release));
            let status = guest::run(&kernel, &command)?;
            Ok((kernel.release, status))
        });
        results.push((version, result));
    }
    summarise(&results)
}

fn summarise(results: &[(&str, Result<(String, i32)>)]) -> Result<()> {
    let mut failed = Vec::new();
    for (version, result) in results {
        match result {
            Ok((release, 0)) => step(&format!("Linux {release}: passed")),
            Ok((release, status)) => {
                step(&format!("Linux {release}: FAILED with status {status}"));
                failed.push(*version);
            }
            Err(error) => {
                step(&format!("Linux {version}: FAILED: {error:#}"));
                failed.push(*version);
            }
        }
    }
    if !failed.is_empty() {
        bail!(
            "not passed in a virtual machine: {}; the logs are in {}",
            failed.join(", "),
            folder().display()
        );
    }
    Ok(())
}

/// Returns the folder of kernels and logs.
fn folder() -> PathBuf {
    workspace::target().join("vm")
}

fn install() -> Result<()> {
    let missing: Vec<_> =
        PROGRAMS.iter().filter(|(program, _)| !is_installed(program)).map(|&(_, package)| package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !host::is_root() {
        bail!(
            "install what virtual machines need: sudo apt-get install --no-install-recommends {}",
            missing.join(" ")
        );
    }
    let hint = "virtual machines need a Debian or Ubuntu host, or these programs in PATH";
    let apt = || {
        let mut command = shell::program("apt-get");
        command.args(["-qq", "-o", "DPkg::Lock::Timeout=300"]).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    shell::run("update the list of packages", hint, apt().arg("update"))?;
    let what = format!("install {}", missing.join(", "));
    shell::run(&what, hint, apt().args(["install", "-y", "--no-install-recommends"]).args(missing))
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    folders.into_iter().any(|folder| folder.join(program).is_file())
}

/// Builds the agent and runs it on this kernel, or on all that are tried: whether it can work there, whether contexts can
/// be written without harm, and some of the system suite.
pub(crate) fn agent(kernel: Option<&str>) -> Result<()> {
    let trial = if kernel.is_some() { SHORT_TRIAL } else { TRIAL };
    let built = build::run(&build::Build { bpf_only: false })?;
    let tests = workspace::root().join("tests");
    let command = format!(
        "{LIMITS} '{}' check || exit 1; {} {trial} || exit 1; \
         cd '{tests}' && CARGO_MANIFEST_DIR='{tests}' REMORA_BIN='{}' {} {}",
        built.agent.display(),
        executable("propagation")?,
        built.agent.parent().unwrap_or(&built.agent).display(),
        executable("system")?,
        SUITE_ON_OTHER_KERNELS,
        tests = tests.display(),
    );
    run(&Vm { kernels: kernel.map(str::to_owned).into_iter().collect(), command: Some(command) })
}

/// Builds agent and suite; returns the command that runs the suite.
fn suite() -> Result<String> {
    build::run(&build::Build { bpf_only: false })?;
    Ok(format!("{LIMITS} {} {TRIAL}", executable("propagation")?))
}

/// Builds a suite; returns its executable.
fn executable(suite: &str) -> Result<String> {
    let mut command = shell::cargo("test");
    command.args(["--package", "remora-tests", "--test", suite, "--no-run", "--message-format=json"]);
    let printed = shell::output(command.arg("--target-dir").arg(workspace::target()))?;
    // One JSON object a line; the programs that tests start have executables too.
    let executable = printed
        .lines()
        .filter_map(|line| line.split_once("\"executable\":\"")?.1.split_once('"').map(|(path, _)| path))
        .find(|path| path.contains(&format!("/deps/{suite}-")));
    Ok(executable.with_context(|| format!("cargo named no executable for the suite {suite}"))?.to_owned())
}
