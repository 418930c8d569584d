//! One run of a virtual machine.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::folder;
use super::kernel::Kernel;
use crate::workspace;

/// What the guest says when its command has ended.
const STATUS: &str = "remora-vm-status: ";
/// No run takes longer.
const PATIENCE: &str = "2400";

/// Runs a shell command in the guest, showing what it prints; returns its exit status.
pub(super) fn run(kernel: &Kernel, command: &str) -> Result<i32> {
    let order = folder().join("order");
    fs::create_dir_all(&order)?;
    let root = workspace::root().display();
    fs::write(
        order.join("order.sh"),
        format!("export HOME=/root PATH={} REMORA_IN_VM=1\ncd {root}\n{command}\n", path()),
    )?;
    let log_path = folder().join(format!("{}.log", kernel.release));
    let mut log = File::create(&log_path).with_context(|| format!("create {}", log_path.display()))?;
    let mut machine = machine(kernel, &order.display().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start qemu-system-x86_64")?;
    let mut status = None;
    for line in BufReader::new(machine.stdout.take().context("no output")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).trim_end_matches('\r').to_owned();
        writeln!(log, "{line}")?;
        match line.split_once(STATUS) {
            Some((_, number)) => status = number.trim().parse().ok(),
            None => println!("{line}"),
        }
    }
    machine.wait()?;
    status.with_context(|| format!("the guest said nothing of its command: see {}", log_path.display()))
}

fn path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("{own}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
}

fn machine(kernel: &Kernel, order: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args([PATIENCE, "qemu-system-x86_64", "-machine", "q35"]);
    command.args(["-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max", "-smp", "2", "-m", "4096"]);
    command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&kernel.first_files);
    command.args([
        "-append",
        "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable no_timer_check",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-serial",
        "stdio",
        "-no-reboot",
        "-net",
        "none",
    ]);
    for (id, path, tag) in [("r", "/", "hostroot"), ("o", order, "order")] {
        command.arg("-fsdev");
        command.arg(format!("local,id={id},path={path},security_model=none,readonly=on,multidevs=remap"));
        command.arg("-device").arg(format!("virtio-9p-pci,fsdev={id},mount_tag={tag}"));
    }
    command
}
