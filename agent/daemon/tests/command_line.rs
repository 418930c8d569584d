//! The program as its users meet it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::{Command, Output, Stdio};

fn remora(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_remora"));
    for name in ["RUST_LOG", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Tracing needs privileges, which `remora check` knows best.
fn can_trace() -> bool {
    let can = remora(&["check"]).status.success();
    if !can {
        eprintln!("skipped: remora cannot trace here, see remora check");
    }
    can
}

#[test]
fn help_teaches_by_example() {
    for command in ["run", "trace", "watch", "explain"] {
        let output = remora(&[command, "--help"]);
        assert!(output.status.success());
        let text = stdout(&output);
        assert!(text.contains("Examples:") || text.contains("KEY=PATTERN"), "{command}: {text}");
    }
    assert!(stdout(&remora(&["--help"])).contains("remora trace -- curl"));
}

#[test]
fn mistakes_are_named_before_anything_starts() {
    let table: &[(&[&str], i32, &str)] = &[
        (&["run", "--select", "nginx"], 1, "remora: selection rule \"nginx\" has no '='"),
        (
            &["run", "--otlp", "localhost:4317"],
            1,
            "remora: OTLP endpoint \"localhost:4317\" must begin with http://",
        ),
        (&["run", "--config", "/nowhere.toml"], 1, "remora: read the configuration /nowhere.toml: "),
        (&["run", "--log", "a=b=c"], 1, "remora: log filter \"a=b=c\""),
        (&["run", "--metrics-listen", "0.0.0.0:1"], 1, "remora: metrics on 0.0.0.0:1: "),
        (
            &["run", "--spool-size", "big"],
            2,
            "error: invalid value 'big' for '--spool-size <SIZE>': \"big\" is no size",
        ),
        (&["explain", "4294967295"], 1, "remora: process 4294967295: there is no such process"),
        (&["trace"], 2, "error: the following required arguments were not provided"),
        (&["fly"], 2, "error: unrecognized subcommand 'fly'"),
    ];
    for (arguments, code, message) in table {
        let output = remora(arguments);
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).starts_with(message), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn check_reports_in_json_what_its_exit_code_says() {
    let output = remora(&["check", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["can_run"].as_bool(), Some(output.status.success()));
    assert!(report["findings"].as_array().unwrap().len() > 10);
}

#[test]
fn explain_tells_who_a_process_is() {
    let pid = std::process::id().to_string();
    let output = remora(&["explain", &pid, "--exclude", &format!("pid={pid}"), "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["is_observed"], false);
    assert_eq!(report["reason"], format!("the rule --exclude pid={pid} matches"));
    assert!(report["service_name"].as_str().unwrap().starts_with("command_line"));
}

#[test]
fn explain_says_that_no_agent_answers_and_goes_on() {
    let pid = std::process::id().to_string();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = remora(&["explain", &pid, "--agent", &free]);
    let text = stdout(&output);
    assert!(
        output.status.success() && text.contains(&format!("not asked at {free}: none answers")),
        "{text}"
    );
    assert!(text.contains("+ requests in clear text"), "{text}");
    assert!(!stdout(&remora(&["explain", &pid, "--agent", "off"])).contains("  agent  "));
    let output = remora(&["explain", &pid, "--agent", "here"]);
    assert!(stderr(&output).starts_with("remora: agent: \"here\" is not an address"), "{}", stderr(&output));
}

#[test]
fn trace_hands_the_exit_code_and_the_output_through() {
    if !can_trace() {
        return;
    }
    let output = remora(&["trace", "--", "sh", "-c", "echo out; exit 7"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(7), "out\n"), "{}", stderr(&output));
    let output = remora(&["trace", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(output.status.code(), Some(137));
    let output = remora(&["trace", "--", "/nowhere/program"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("remora: run /nowhere/program: "), "{}", stderr(&output));
}

#[test]
fn trace_prints_both_sides_of_a_request_as_a_tree() {
    if !can_trace() {
        return;
    }
    let script = "import http.server as h, threading as t, urllib.request as u\n\
                  s = h.HTTPServer(('127.0.0.1', 0), h.SimpleHTTPRequestHandler)\n\
                  t.Thread(target=s.serve_forever, daemon=True).start()\n\
                  u.urlopen('http://127.0.0.1:%d/' % s.server_port).read()\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("round.py");
    std::fs::write(&path, script).unwrap();
    let output = remora(&["trace", "--", "python3", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stderr(&output);
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("round ")).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with("round -> GET ") && lines[0].ends_with("  200"), "{text}");
    assert!(lines[1].starts_with("└─ round <- GET ") && lines[1].ends_with("  200"), "{text}");
}
