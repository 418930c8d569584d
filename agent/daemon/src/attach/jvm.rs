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
pub(super) struct Jvm;

impl Mechanism for Jvm {
    fn attach(&mut self, target: &Target) -> Result<(), Refusal> {
        let process = Process::examine(target)?;
        load(target, &process, part::ON, Instant::now() + ATTACH_WITHIN)
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
    answer::read(&answer).map_err(Refusal::from)
}
