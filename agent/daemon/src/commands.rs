//! One module for each command.

mod check;
mod explain;
mod log;
mod output;
mod run;
mod trace;
mod watch;

use std::process::ExitCode;

pub use check::capabilities;

use crate::config::{Command, CommandLine, Environment, File, LogSettings, Metrics, Settings};
use crate::discover::Processes;
use crate::health::{Ledger, Questions, Readiness};
use crate::pipeline;
use crate::propagate;

/// The readiness condition of the pipeline.
const CAPTURE: &str = "capture";

/// Returns what the pipeline needs to know.
fn pipeline_settings(settings: &Settings) -> pipeline::Settings {
    pipeline::Settings {
        capture_bytes: settings.capture.bytes,
        datagram_ports: settings.capture.dns_ports,
        tls: settings.capture.tls,
        engine: settings.engine.clone(),
        selection: settings.selection.clone(),
        expected: None,
        writes: pipeline::Writes::default(),
        attach: settings.attach.clone().telling_jsse(settings.capture.jsse),
    }
}

/// Returns what the pipeline shares, all new, and not ready yet.
fn shared() -> pipeline::Shared {
    let shared = pipeline::Shared {
        processes: Processes::default(),
        ledger: Ledger::default(),
        readiness: Readiness::default(),
        questions: Questions::default(),
        cluster: None,
    };
    shared.readiness.fails(CAPTURE, "the programs are being loaded");
    shared
}

/// Does what the command line says.
///
/// # Errors
/// The settings cannot be used, or the command failed.
pub fn execute(line: CommandLine) -> anyhow::Result<ExitCode> {
    let environment = Environment::of_process();
    let file = match config_file(&line.command) {
        Some(path) => File::load(path)?,
        None => File::default(),
    };
    log::start(&LogSettings::new(&line.log, &environment, &file, default_filter(&line.command))?)?;
    match line.command {
        Command::Run(arguments) => {
            let settings = Settings::for_run(&arguments, &environment, &file)?;
            run::run(&settings)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Trace(arguments) => trace::trace(Settings::for_viewing(&[], &[], &file)?, &arguments),
        Command::Watch(arguments) => {
            let settings = Settings::for_viewing(&arguments.select, &arguments.exclude, &file)?;
            watch::watch(&settings, arguments.json)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check(arguments) => check::check(arguments.json),
        Command::TrySockets(arguments) => {
            match arguments.cgroup {
                Some(cgroup) => propagate::answer(&cgroup)?,
                None if arguments.lasting => println!("{}", propagate::headers_with_lasting_membership()),
                None => println!("{}", propagate::tried(arguments.what.mechanisms())),
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Explain(arguments) => {
            let settings = Settings::for_viewing(&arguments.select, &arguments.exclude, &file)?;
            // Rules that were given are tried, whatever an agent does by its own.
            let is_trial = !arguments.select.is_empty() || !arguments.exclude.is_empty();
            let agent = Metrics::to_ask(arguments.agent.as_deref(), &file)?.filter(|_| !is_trial);
            explain::explain(arguments.pid, &settings.selection, agent.as_ref(), arguments.json)
        }
    }
}

/// What is printed beside the log decides how much of it is welcome.
fn default_filter(command: &Command) -> &'static str {
    match command {
        Command::Run(_) => "info",
        Command::Watch(_) => "error",
        Command::Trace(_) | Command::Check(_) | Command::Explain(_) | Command::TrySockets(_) => "warn",
    }
}

fn config_file(command: &Command) -> Option<&std::path::Path> {
    match command {
        Command::Run(arguments) => arguments.config.as_deref(),
        Command::Trace(arguments) => arguments.config.as_deref(),
        Command::Watch(arguments) => arguments.config.as_deref(),
        Command::Explain(arguments) => arguments.config.as_deref(),
        Command::Check(_) | Command::TrySockets(_) => None,
    }
}
