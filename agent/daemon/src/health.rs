//! What the agent says of itself: the loss ledger, its metrics, and whether it is ready.
//!
//! Every room writes into one [`Ledger`]; this room only reads it. Its one hard problem is that nobody may wait
//! for it: counters are atomics, and what other threads own comes as a snapshot, through a closure, or as the answer to
//! a [`Question`].

mod help;
mod known;
mod ledger;
mod prometheus;
mod questions;
mod readiness;
mod report;
mod server;

pub use known::{Known, Part, PartState, ProbedFile, TlsConnections};
pub use ledger::{Counter, Kind, LOSSES, Labels, Ledger, Loss, Sample};
pub use questions::{Question, Questions};
pub use readiness::Readiness;
pub use report::summary;
pub use server::{Error, Server};
