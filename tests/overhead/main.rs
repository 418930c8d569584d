//! Measures what observing costs. `cargo xtask bench` runs it and prints its figures beside the budgets.
//!
//! Figures go to standard output, one JSON object a line; what is being done goes to standard error.
#![deny(unsafe_code)]

mod agent;
mod bpf;
mod paced;
mod throughput;
mod tls;

use anyhow::{Context as _, Result, bail};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let bench = arguments.next().context("which bench? bpf, throughput, tls or agent")?;
    let rounds = arguments.next().map_or(Ok(5), |rounds| rounds.parse()).context("the number of rounds")?;
    match bench.as_str() {
        "bpf" => bpf::run(rounds),
        "throughput" => throughput::run(rounds),
        "tls" => tls::run(rounds),
        "agent" => agent::run(rounds),
        other => bail!("no bench `{other}`: bpf, throughput, tls or agent"),
    }
}
