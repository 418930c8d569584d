//! `remora`: traces this host from the kernel.

use std::process::ExitCode;

use clap::Parser as _;
use remora::causes::with_causes;
use remora::commands;
use remora::config::CommandLine;

/// Spans are made of many small texts, on one thread, and freed on another: what the C library's allocator is slowest at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match commands::execute(CommandLine::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("remora: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}
