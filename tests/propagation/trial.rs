//! The trial on loopback, by which a host finds out whether anybody would notice.

use std::process::Command;

use remora_tests::remora::binary;
use remora_tests::tools;

#[test]
#[ignore = "needs root"]
fn writing_headers_is_harmless_here_and_check_says_so() {
    let printed = Command::new(binary("remora").unwrap()).args(["check", "--json"]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["name"] == "writing headers").unwrap();
    assert_eq!(finding["state"], "ok", "{finding:#}");
    assert!(finding["found"].as_str().unwrap().starts_with("harmless: "), "{finding:#}");
}

/// Why a socket leaves the socket map at once: programs notice if it stays.
#[test]
#[ignore = "needs root"]
fn sockets_that_stay_in_the_socket_map_are_noticed() {
    let mut command = Command::new(binary("remora").unwrap());
    let told = tools::printed(command.args(["try-sockets", "--lasting"])).unwrap();
    println!("{told}");
    assert!(!told.starts_with("harmless"), "{told}");
    assert!(told.contains("expected"), "a check must have failed: {told}");
}

#[test]
#[ignore = "needs root"]
fn the_trial_leaves_nothing_behind() {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let root = remora::discover::cgroup2_mount(&mounts).unwrap();
    tools::printed(Command::new(binary("remora").unwrap()).arg("try-sockets")).unwrap();
    let left: Vec<_> = std::fs::read_dir(root)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("remora-trial"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
