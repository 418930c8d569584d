//! Measures what parsers cost, on recorded sessions: `cargo xtask bench parse` runs it and prints its figures beside
//! the budgets.
//!
//! Figures go to standard output, one JSON object a line; what is being done goes to standard error. The allocator is
//! the agent's own, with counters around it.

#[path = "../../tests/support/session.rs"]
mod session;

mod allocations;
mod baseline;
mod bodies;
mod clock;
mod detection;
mod figure;
mod parser;
mod pipeline;

use remora_engine::protocol::REGISTRY;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rounds = arguments.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    let wanted: Vec<String> = arguments.collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    let sessions = session::all();
    for &protocol in REGISTRY.iter().filter(|protocol| is_wanted(protocol.name())) {
        let own = sessions.iter().filter(|session| session.protocol == protocol.name()).cloned();
        let (compressed, ordinary): (Vec<_>, Vec<_>) = own.partition(is_compressed);
        eprintln!("parse: {}", protocol.name());
        let messages = parser::run("message", protocol, &ordinary, rounds);
        if !compressed.is_empty() {
            parser::run("compressed message", protocol, &compressed, rounds);
        }
        pipeline::run(protocol, &ordinary, messages, rounds);
        bodies::run(protocol.name(), rounds);
    }
    if is_wanted("detection") {
        eprintln!("parse: detection");
        detection::run(&sessions, rounds);
    }
}

/// Returns whether messages are compressed: most of their time goes into unpacking them.
fn is_compressed(session: &session::Session) -> bool {
    ["compressed", "snappy", "zlib", "zstd"].iter().any(|way| session.name.contains(way))
}
