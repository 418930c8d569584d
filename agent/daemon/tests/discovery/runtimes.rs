//! Names and runtimes of real programs.

use std::fs;
use std::path::Path;
use std::process::Command;

use remora::discover::{NameSource, Process, Runtime, Selection, look_at};
use remora_engine::event::Scheduling;

use crate::spawn::{Running, is_installed, wait_for};

/// Returns what is known of a process once it runs the program that it was started for.
fn settled(pid: u32, is_settled: impl Fn(&Process) -> bool) -> Process {
    wait_for("the program to be known", || {
        look_at(pid, &Selection::default()).map(|(process, _)| process).filter(|process| is_settled(process))
    })
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_python_script_is_called_by_its_file() {
    if !is_installed("python3", "--version") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "billing.py", "print('up', flush=True); input()");
    let mut running = Running::start(Command::new("python3").arg("billing.py").current_dir(&folder));
    assert_eq!(running.line(), "up");
    let process = settled(running.pid(), |process| matches!(process.runtime, Runtime::Python { .. }));
    assert_eq!(
        (process.service_name.as_str(), process.service_name_source),
        ("billing", NameSource::Application)
    );
    assert_eq!(process.parent, std::process::id());
}

#[test]
fn the_environment_of_a_real_process_names_it() {
    if !is_installed("python3", "--version") {
        return;
    }
    let mut command = Command::new("python3");
    command.args(["-c", "print('up', flush=True); input()"]);
    command.env(
        "OTEL_RESOURCE_ATTRIBUTES",
        "service.name=cart,service.namespace=shop,deployment.environment.name=a%20b",
    );
    let mut running = Running::start(&mut command);
    assert_eq!(running.line(), "up");
    let process = settled(running.pid(), |process| matches!(process.runtime, Runtime::Python { .. }));
    assert_eq!(
        (process.service_name.as_str(), process.service_name_source),
        ("cart", NameSource::EnvironmentAttributes)
    );
    assert_eq!(process.environment.attribute("deployment.environment.name"), Some("a b"));
}

#[test]
fn a_node_program_is_called_by_its_package() {
    if !is_installed("node", "--version") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "package.json", r#"{"name": "@acme/cart"}"#);
    write(folder.path(), "dist/index.js", "console.log('up'); process.stdin.resume()");
    let mut running = Running::start(Command::new("node").arg("dist/index.js").current_dir(&folder));
    assert_eq!(running.line(), "up");
    let process = settled(running.pid(), |process| process.runtime == Runtime::Node);
    assert_eq!(process.service_name, "@acme/cart");
    assert_eq!(process.runtime.scheduling(), Scheduling::EventLoop);
}

#[test]
fn a_java_program_is_called_by_its_class() {
    if !is_installed("java", "-version") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = "public class Shop { public static void main(String[] a) throws Exception { System.out.println(\"up\"); System.in.read(); } }";
    write(folder.path(), "Shop.java", source);
    let mut running =
        Running::start(Command::new("java").args(["-Xshare:auto", "Shop.java"]).current_dir(&folder));
    assert_eq!(running.line(), "up");
    let process = settled(running.pid(), |process| process.runtime == Runtime::Java);
    assert_eq!(process.service_name, "Shop");
}

#[test]
fn nginx_and_its_workers_are_one_service_with_turns() {
    let program = ["/usr/sbin/nginx", "nginx"].into_iter().find(|program| is_installed(program, "-v"));
    let Some(program) = program else { return };
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let configuration = format!(
        "daemon off; pid nginx.pid; error_log stderr; worker_processes 2; events {{}} \
         http {{ access_log off; client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; uwsgi_temp_path t; \
         scgi_temp_path t; server {{ listen unix:{}; }} }}",
        socket.display()
    );
    write(folder.path(), "nginx.conf", &configuration);
    let mut command = Command::new(program);
    let running = Running::start(command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf"]));
    let workers = wait_for("the workers", || {
        let text = fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.pid())).ok()?;
        let workers: Vec<u32> = text.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        (workers.len() == 2).then_some(workers)
    });
    for pid in workers.into_iter().chain([running.pid()]) {
        let process = settled(pid, |process| process.runtime == Runtime::Nginx);
        assert_eq!(
            (process.service_name.as_str(), process.service_name_source),
            ("nginx", NameSource::Executable)
        );
        assert_eq!(process.runtime.scheduling(), Scheduling::Turns);
    }
    // Asked politely, so that the workers end with their master.
    let pid = rustix::process::Pid::from_raw(i32::try_from(running.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    wait_for("nginx to end", || (!socket.exists()).then_some(()));
}
