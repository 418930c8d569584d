//! The JVM: a library is loaded through HotSpot's own way in for tools, and taken out of work by the same way.
//!
//! Classes are changed back when it leaves. What stays are the library's code, which the JVM never unloads, and two
//! classes that nothing calls.

mod answer;
mod error;
mod listener;
mod part;
mod suitable;

use std::time::{Duration, Instant};

pub(super) use error::Error;

use super::platform::Mechanism;
use super::refusal::Refusal;
use super::target::Target;
use listener::Listener;
use suitable::Process;

/// How long a JVM may take to let the part in: it stops all threads to change classes.
const ATTACH_WITHIN: Duration = Duration::from_secs(15);

/// Puts parts into JVMs.
#[derive(Debug)]
pub(super) struct Jvm {
    /// Whether the part tells what the JVM's own TLS encrypts.
    pub(super) tells_jsse: bool,
}

impl Mechanism for Jvm {
    fn attach(&mut self, target: &Target) -> Result<(), Refusal> {
        let process = Process::examine(target)?;
        let options = if self.tells_jsse { part::ON_WITH_TLS } else { part::ON };
        load(target, &process, options, Instant::now() + ATTACH_WITHIN)
    }

    fn detach(&mut self, target: &Target, until: Instant) -> Result<(), Refusal> {
        let process = Process::examine(target)?;
        load(target, &process, part::OFF, until)
    }
}

/// Has the JVM load the part, or find that it is loaded.
fn load(target: &Target, process: &Process, options: &str, until: Instant) -> Result<(), Refusal> {
    let listener = Listener::wake(target, process, until)?;
    let file = part::File::place(process)?;
    let answer = listener.command(&["load", file.path(), "true", options], until)?;
    if !answer::read(&answer)?.tells_jsse {
        tracing::warn!(
            pid = target.tgid,
            "requests inside TLS are missing: the JVM's JSSE is not one that is known"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// Hands work over in all ways that the JDK has, and prints a line after each round.
    const PROGRAM: &str = r#"
import java.util.concurrent.*;

public class Program {
    public static void main(String[] arguments) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(2);
        ScheduledExecutorService later = Executors.newScheduledThreadPool(1);
        for (long round = 0;; round++) {
            CompletableFuture<Integer> one = CompletableFuture.supplyAsync(() -> 1);
            CompletableFuture<Integer> two = CompletableFuture.supplyAsync(() -> 2, pool);
            int sum = one.thenCombine(two, Integer::sum).thenApplyAsync(x -> x + 1, pool).get();
            sum += pool.submit(() -> 5).get() + later.schedule(() -> 7, 1, TimeUnit.MILLISECONDS).get();
            sum += CompletableFuture.supplyAsync(() -> { throw new IllegalStateException(); })
                    .handle((value, error) -> error == null ? 0 : 11).get();
            System.out.println(sum + " " + round);
        }
    }
}
"#;

    struct Java {
        child: Child,
        lines: std::sync::mpsc::Receiver<String>,
    }

    impl Java {
        /// Starts the program, with what is printed to both its streams.
        fn start(folder: &std::path::Path, options: &[&str]) -> Self {
            let source = folder.join("Program.java");
            std::fs::write(&source, PROGRAM).unwrap();
            let mut command = Command::new("java");
            command.args(["-Xverify:all", "-Xmx64m"]).args(options).arg(source);
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            let out = BufReader::new(child.stdout.take().unwrap());
            let (tx, lines) = std::sync::mpsc::channel();
            std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tx.send(line)));
            let java = Self { child, lines };
            java.wait_for_rounds();
            java
        }

        /// Waits until the program has gone on for some rounds, and has computed the same in all.
        fn wait_for_rounds(&self) {
            while self.lines.try_recv().is_ok() {}
            for _ in 0..20 {
                let line = self.lines.recv_timeout(Duration::from_secs(60)).unwrap();
                assert!(line.starts_with("27 "), "it printed {line:?}");
            }
        }

        fn target(&self) -> Target {
            Target::open(self.child.id()).unwrap()
        }
    }

    impl Drop for Java {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    fn left_behind(tgid: u32) -> bool {
        let names = [format!("/tmp/.remora-jvm-{tgid}.so"), format!("/tmp/.attach_pid{tgid}")];
        names.iter().any(|name| std::path::Path::new(name).exists())
    }

    #[test]
    fn a_jvm_goes_on_with_the_part_without_it_and_with_it_again() {
        let folder = tempfile::tempdir().unwrap();
        let java = Java::start(folder.path(), &[]);
        let target = java.target();
        let mapped = || std::fs::read_to_string(format!("/proc/{}/maps", target.tgid)).unwrap();
        for _ in 0..2 {
            Jvm { tells_jsse: true }.attach(&target).unwrap();
            assert!(mapped().contains(".remora-jvm-"));
            assert!(!left_behind(target.tgid));
            java.wait_for_rounds();
            Jvm { tells_jsse: true }.detach(&target, Instant::now() + ATTACH_WITHIN).unwrap();
            assert!(!left_behind(target.tgid));
            java.wait_for_rounds();
        }
    }

    #[test]
    fn a_jvm_that_forbids_tools_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let java = Java::start(folder.path(), &["-XX:+DisableAttachMechanism"]);
        let refused = Jvm { tells_jsse: true }.attach(&java.target()).unwrap_err();
        assert_eq!(refused.label(), "forbidden");
        java.wait_for_rounds();
    }
}
