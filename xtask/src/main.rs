//! The project's own commands, one file each. `cargo xtask help` lists them.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod fuzz;
mod image;
mod lab;
mod lint;
mod record;
mod run;
mod shell;
mod test;
mod tidy;
mod toolchain;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Remora's own commands", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install the parts of the toolchain that are missing, into the checkout's target/ only
    Toolchain,
    /// Build the BPF object, the agent and the bridge
    Build(build::Build),
    /// Measure, and print each figure beside its budget
    Bench(bench::Bench),
    /// Feed arbitrary bytes to the parsers and the engine, for a while each
    Fuzz(fuzz::Fuzz),
    /// Build container images of the two programs, from static binaries, without a container engine
    Image(image::Image),
    /// Measure how often the agent's parents are right, with real frameworks under load
    Lab(lab::Lab),
    /// Check formatting, clippy and documentation, with warnings denied
    Lint,
    /// Record sessions of real clients and servers as goldens
    Record(record::Record),
    /// Trace this host: everything that is missing, then build and start bridge and agent
    Run(run::Run),
    /// Install what the tests need and run them all
    Test(test::Test),
    /// Try on other kernels, in virtual machines, whether contexts may be written there
    Vm(vm::Vm),
    /// Check the borders between the rooms and the house rules
    Tidy,
}

fn main() -> ExitCode {
    match dispatch(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\x1b[1;31merror\x1b[0m: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Toolchain => toolchain::install().map(drop),
        Command::Build(build) => build::run(&build).map(drop),
        Command::Bench(bench) => bench::run(&bench),
        Command::Fuzz(fuzz) => fuzz::run(&fuzz),
        Command::Image(image) => image::run(&image),
        Command::Lab(lab) => lab::run(&lab),
        Command::Lint => lint::run(),
        Command::Record(record) => record::run(&record),
        Command::Run(run) => run::run(&run),
        Command::Test(test) => test::run(&test),
        Command::Vm(vm) => vm::run(&vm),
        Command::Tidy => tidy::run(),
    }
}
