//! `remora`: traces this host from the kernel.

use std::process::ExitCode;

use clap::Parser as _;
use remora::causes::with_causes;
use remora::commands;
use remora::config::CommandLine;

fn main() -> ExitCode {
    match commands::execute(CommandLine::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("remora: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}
