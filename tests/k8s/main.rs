//! The agent and the bridge in a real cluster, by the manifests and the images that people use.
//!
//! `cargo xtask test k8s` builds the cluster's components and the images, and runs this.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, with the line at hand")]

mod check;
mod images;
mod node;
mod origin;
mod pods;
mod site;

use std::env;
use std::process::Command;

use remora_tests::locate;

use site::Site;

/// Set in the process that has namespaces of its own.
const INSIDE: &str = "REMORA_TEST_INSIDE";

/// Runs a test in a network and with mounts of its own: it begins again in a process that has them.
fn inside(name: &str, test: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        return test();
    }
    let mut command = Command::new(locate::program("unshare").unwrap());
    command.args(["--net", "--mount", "--propagation", "slave"]).arg(env::current_exe().unwrap());
    command.args([name, "--exact", "--include-ignored", "--nocapture"]).env(INSIDE, "1");
    let status = command.status().unwrap();
    assert!(status.success(), "{name} has failed, see above");
}

#[test]
#[ignore = "needs root, and `cargo xtask test k8s`, which builds Kubernetes and the images"]
fn a_shop_in_a_cluster_is_traced() {
    inside("a_shop_in_a_cluster_is_traced", || {
        let site = Site::start().unwrap();
        origin::check_trace(&site).unwrap();
        origin::check_map(&site).unwrap();
        origin::check_pods_that_come_and_go(&site).unwrap();
        origin::check_pods_that_want_to_be_left_alone(&site).unwrap();
        check::check_in_pods(&site).unwrap();
    });
}
