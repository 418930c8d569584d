//! `remora trace -- CMD`, as a user gives it.

use std::process::Command;

use remora_tests::certificates::Certificates;
use remora_tests::remora::binary;
use remora_tests::servers::{TlsService, TlsStack as Stack};

/// How often each command is traced: what comes too late now and then is not there.
const ROUNDS: usize = 3;

/// Returns what is printed of a command's requests.
fn traced(command: &[&str]) -> String {
    let output =
        Command::new(binary("remora").unwrap()).args(["trace", "--"]).args(command).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {}: {printed}", output.status);
    printed
}

/// Programs that ask once and end are gone before anyone could look at what they have mapped.
#[test]
#[ignore = "needs root"]
fn the_only_request_of_a_command_is_seen_inside_tls() {
    let certificates = Certificates::make().unwrap();
    let service = TlsService::start(Stack::Nginx, &certificates).unwrap();
    let url = format!("{}/users/4711", service.url());
    let shell = format!("curl -sk {url} -o /dev/null; true");
    let python = format!(
        "import ssl, urllib.request as r; r.urlopen('{url}', context=ssl._create_unverified_context()).read()"
    );
    let commands: [&[&str]; 4] = [
        &["curl", "-sk", "-o", "/dev/null", &url],
        &["wget", "-q", "--no-check-certificate", "-O", "/dev/null", &url],
        &["sh", "-c", &shell],
        &["python3", "-c", &python],
    ];
    for command in commands {
        for _ in 0..ROUNDS {
            let printed = traced(command);
            assert!(printed.contains(&format!("-> GET {url}  ")) && printed.contains("  200"), "{printed}");
        }
    }
}
