//! `cargo xtask run`, as a user gives it: on the default ports, until Ctrl-C.

use std::process::Command;
use std::time::Duration;

use remora_tests::bridge::Bridge;
use remora_tests::exclusive::Exclusive;
use remora_tests::locate;
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::servers::{Gunicorn, Workers};
use remora_tests::{tools, wait};
use rustix::process::Signal;

/// Where the bridge serves unless told otherwise.
const BRIDGE: &str = "127.0.0.1:7654";

fn start(scratch: &Scratch, flags: &[&str]) -> Running {
    let mut command = Command::new("cargo");
    command.current_dir(locate::root()).args(["xtask", "run", "--no-build"]).args(flags);
    command.arg("--data").arg(scratch.path().join("data"));
    let mut running = Running::start("xtask", scratch, &mut command).unwrap().stopping_by(Signal::INT);
    let log = scratch.path().join("xtask.log");
    let is_up = || Ok(std::fs::read_to_string(&log)?.contains("Ctrl-C stops both"));
    running.wait_ready(Duration::from_secs(120), is_up).unwrap();
    running
}

#[test]
#[ignore = "needs root"]
fn ctrl_c_stops_both_and_leaves_nothing_attached() {
    let _exclusive = Exclusive::wait();
    let scratch = Scratch::new("xtask").unwrap();
    let shop = Gunicorn::start(Workers::Sync(1), &[]).unwrap();
    let mut running = start(&scratch, &[]);
    tools::curl(&[&format!("http://{}/users/4711", shop.address())]).unwrap();
    let bridge = Bridge::at(BRIDGE.parse().unwrap());
    wait::until("the request is visible", Duration::from_secs(10), || {
        Ok((bridge.spans_of_server(shop.address())?.len() == 2).then_some(()))
    })
    .unwrap();
    let status = running.stop().unwrap();
    let printed = running.printed();
    assert!(status.success(), "{status}: {printed}");
    assert!(printed.contains("nothing stays attached"), "{printed}");
    assert!(bridge.get("/readyz").is_err(), "the bridge has ended");
}

#[test]
#[ignore = "needs root"]
fn a_run_can_end_by_itself() {
    let _exclusive = Exclusive::wait();
    let scratch = Scratch::new("xtask").unwrap();
    let mut running = start(&scratch, &["--for", "1s"]);
    let status = running.wait(Duration::from_secs(60)).unwrap();
    assert!(status.success(), "{status}: {}", running.printed());
    assert!(running.printed().contains("nothing stays attached"), "{}", running.printed());
}
