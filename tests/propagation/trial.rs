//! The trial on loopback, by which a host finds out whether anybody would notice.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use remora_tests::remora::binary;
use remora_tests::tools;

/// Returns whether this kernel lets headers be written without anybody noticing: of those that are tried, all but the
/// oldest, which does not tell a program that its memory is free again (`MSG_ZEROCOPY`).
fn is_expected_to_write() -> bool {
    !std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().starts_with("5.10.")
}

/// Returns whether contexts are written on this host; the trial must say so wherever it is expected.
pub(crate) fn host_writes() -> bool {
    static HOST: OnceLock<bool> = OnceLock::new();
    *HOST.get_or_init(|| {
        let told = tools::printed(Command::new(binary("remora").unwrap()).arg("try-sockets")).unwrap();
        println!("{told}");
        assert_eq!(told.starts_with("harmless: "), is_expected_to_write(), "{told}");
        is_expected_to_write()
    })
}

#[test]
#[ignore = "needs root"]
fn check_says_what_is_written_and_why_not() {
    let printed = Command::new(binary("remora").unwrap()).args(["check", "--json"]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let check = |name: &str, state: &str, found: &str| {
        let finding = findings.iter().find(|finding| finding["name"] == name).unwrap();
        assert_eq!(finding["state"], state, "{finding:#}");
        assert!(finding["found"].as_str().unwrap().starts_with(found), "{finding:#}");
    };
    if is_expected_to_write() {
        check("writing headers", "ok", "harmless: ");
    } else {
        let found = "off, since programs would notice: a request with MSG_ZEROCOPY: expected ";
        check("writing headers", "limited", found);
    }
    // Every kernel that is tried has what options need.
    check("writing TCP options", "ok", "harmless: ");
}

#[test]
#[ignore = "needs root"]
fn headers_and_options_get_along() {
    let mut command = Command::new(binary("remora").unwrap());
    let told = tools::printed(command.args(["try-sockets", "--what", "auto"])).unwrap();
    println!("{told}");
    assert_eq!(told.starts_with("harmless: "), is_expected_to_write(), "{told}");
    let has_both = told.contains(" headers (") && told.contains(" TCP options written");
    assert!(!is_expected_to_write() || has_both, "{told}");
    assert!(!told.contains("(0 of HTTP/2)"), "{told}");
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
    // As a trial leaves it whose process was killed: no process has such a number.
    let killed = Path::new(&root).join("remora-trial-4194305");
    std::fs::create_dir(killed).unwrap();
    tools::printed(Command::new(binary("remora").unwrap()).arg("try-sockets")).unwrap();
    let left: Vec<_> = std::fs::read_dir(root)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("remora-trial"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
