//! What a program is called: the rules by which a process gets its service name.
//!
//! 1. `OTEL_SERVICE_NAME`
//! 2. `service.name` in `OTEL_RESOURCE_ATTRIBUTES`
//! 3. an argument that says so (`-Dotel.service.name=`, `-Dspring.application.name=`)
//! 4. by runtime, the application that is served, the module, the package or the script
//! 5. the file name of the executable
//! 6. the name of the thread
//!
//! An interpreter's own name is used only where nothing else is known.

mod java;
mod node;
mod path;
mod python;
mod script;

use std::path::Path;

pub(super) use path::family;
pub(super) use python::is_part;

use super::environment::Environment;
use super::process::NameSource;
use super::root::Root;

/// Longest name, in bytes; the rest is cut.
const MAX_NAME_BYTES: usize = 255;

/// What is known of a program when it is named.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program<'a> {
    pub executable: Option<&'a Path>,
    pub arguments: &'a [String],
    pub comm: &'a str,
    pub environment: &'a Environment,
    /// Working directory.
    pub directory: Option<&'a Path>,
    /// Where files are looked up.
    pub root: Option<&'a Root>,
}

/// Returns the name of a program, never empty, and where it is from.
pub(super) fn name(program: Program<'_>) -> (String, NameSource) {
    let (mut name, source) = find(program);
    let end = (0..=MAX_NAME_BYTES.min(name.len())).rev().find(|&end| name.is_char_boundary(end)).unwrap_or(0);
    name.truncate(end);
    name.retain(|character| !character.is_control());
    if name.is_empty() { ("unknown_service".to_owned(), NameSource::Comm) } else { (name, source) }
}

fn find(program: Program<'_>) -> (String, NameSource) {
    if let Some(name) = &program.environment.service_name {
        return (name.clone(), NameSource::EnvironmentName);
    }
    if let Some(name) = program.environment.attribute("service.name") {
        return (name.to_owned(), NameSource::EnvironmentAttributes);
    }
    let executable = executable_name(program);
    let title;
    let arguments = match path::words_of_title(program.arguments) {
        Some(words) => {
            title = words;
            &title
        }
        None => program.arguments,
    };
    if let Some(name) = by_runtime(&executable, Program { arguments, ..program }) {
        return name;
    }
    match (program.executable, executable.is_empty()) {
        (_, true) => (program.comm.to_owned(), NameSource::Comm),
        (Some(_), false) => (executable, NameSource::Executable),
        // Only the command line is left of the process: its first word is what was executed.
        (None, false) => (executable, NameSource::Executable),
    }
}

fn by_runtime(executable: &str, program: Program<'_>) -> Option<(String, NameSource)> {
    let application = |name: Option<String>| name.map(|name| (name, NameSource::Application));
    match family(executable) {
        "python" | "pypy" => application(python::name(program)),
        "gunicorn" | "uvicorn" | "celery" | "hypercorn" | "uwsgi" | "flask" | "daphne" | "granian" => {
            application(python::name(program))
        }
        "node" | "nodejs" | "bun" | "deno" => application(node::name(program)),
        "java" => java::name(program),
        "ruby" | "puma" => application(script::ruby(program)),
        "php" | "php-fpm" => application(script::php(program)),
        "dotnet" => application(script::dotnet(program)),
        "perl" | "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh" | "lua" | "Rscript" => {
            application(script::plain(program))
        }
        "beam.smp" => application(script::erlang(program)),
        _ => None,
    }
}

/// Returns the file name of what runs; for programs with many names in one file, the name it was called by.
fn executable_name(program: Program<'_>) -> String {
    let called = program.arguments.first().map(|word| path::file_name(word)).unwrap_or_default();
    let called = called.trim_start_matches('-');
    let Some(executable) = program.executable else { return called.to_owned() };
    let name = path::file_name(&executable.to_string_lossy()).to_owned();
    let is_multi_call = matches!(name.as_str(), "busybox" | "toybox" | "coreutils");
    if is_multi_call && !called.is_empty() {
        return called.to_owned();
    }
    // The kernel names a thread after the link that was executed (`redis-server` is one to `redis-check-rdb`); a
    // program that names itself seldom calls itself so in its arguments too.
    let first_word = called.split_whitespace().next().unwrap_or_default();
    let is_link = !first_word.is_empty() && cut_like_comm(first_word) == program.comm;
    if is_link { first_word.to_owned() } else { name }
}

/// Returns what fits into `task_struct::comm` (`TASK_COMM_LEN` less the terminator).
fn cut_like_comm(name: &str) -> &str {
    name.get(..15).unwrap_or(name)
}

#[cfg(test)]
mod tests;
