//! nginx under load, which writes a context into each connection to the server behind it.

use std::process::Command;
use std::time::Duration;

use remora_tests::cgroup::Cgroup;
use remora_tests::recorder::Recorder;
use remora_tests::remora::Remora;
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::{locate, net, tools};

use crate::requests::{contexts, without_context};
use crate::trial::host_writes;

#[test]
#[ignore = "needs root"]
fn a_proxy_under_load_loses_nothing() {
    if !host_writes() {
        return;
    }
    let (cgroup, recorder) = (Cgroup::new().unwrap(), Recorder::start().unwrap());
    let scratch = Scratch::new("proxy").unwrap();
    let address = net::free_address().unwrap();
    let configuration = format!(
        "daemon off; master_process off; pid {folder}/pid; error_log stderr;\n\
         events {{ worker_connections 512; }}\n\
         http {{ access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;\n\
         fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;\n\
         server {{ listen {address}; location / {{ proxy_pass http://{recorder}; proxy_http_version 1.1;\n\
         proxy_set_header Connection close; }} }} }}\n",
        folder = scratch.path().display(),
        recorder = recorder.address(),
    );
    std::fs::write(scratch.path().join("nginx.conf"), configuration).unwrap();
    let mut command = cgroup.command(&locate::program("nginx").unwrap());
    command.arg("-c").arg(scratch.path().join("nginx.conf")).arg("-p").arg(scratch.path());
    let _nginx = Running::start("nginx", &scratch, &mut command).unwrap();
    net::wait_listening(address, Duration::from_secs(10)).unwrap();
    let mut remora = Remora::with_flags(&["--propagate-in", cgroup.path().to_str().unwrap()]).unwrap();
    let url = format!("http://{address}/items");
    for _ in 0..5 {
        assert_eq!(tools::curl(&[&url]).unwrap(), "ok");
        std::thread::sleep(Duration::from_millis(100));
    }
    let before = recorder.received().len();
    let mut wrk = Command::new(locate::program("wrk").unwrap());
    let told = tools::printed(wrk.args(["-t1", "-c8", "-d2s", &url])).unwrap();
    println!("{told}");
    assert!(!told.contains("Non-2xx") && !told.contains("Socket errors"), "{told}");
    let received = recorder.received().split_off(before);
    let mut written = 0;
    for connection in received.iter().filter(|connection| !connection.is_empty()) {
        let (rest, context) = without_context(connection);
        written += usize::from(context.is_some());
        assert_eq!(contexts(&rest), 0);
        assert!(
            rest.starts_with(b"GET /items HTTP/1.1\r\n") && rest.ends_with(b"\r\n\r\n"),
            "{}",
            String::from_utf8_lossy(&rest)
        );
    }
    println!("{written} of {} connections carried a context", received.len());
    // One of 32 is left alone.
    assert!(written * 10 > received.len() * 9, "{written} of {}", received.len());
    println!(
        "{}",
        remora
            .metrics()
            .unwrap()
            .lines()
            .filter(|line| line.contains("contexts"))
            .collect::<Vec<_>>()
            .join("\n")
    );
    remora.finish().unwrap();
}
