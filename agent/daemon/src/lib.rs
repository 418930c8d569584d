//! The agent: watches the sockets of this host from the kernel and exports the requests in them as OTLP spans.
//!
//! `capture` → engine → [`enrich`] → [`export`]; [`discover`] says which processes are observed and who they are;
//! [`attach`] puts parts into processes where somebody asked for it; [`health`] counts what is lost on the way. Rooms do not call each other: the pipeline does.
#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod attach;
pub mod capture;
pub mod causes;
pub mod commands;
pub mod config;
pub mod discover;
pub mod enrich;
pub mod export;
pub mod health;
pub mod kubernetes;
pub mod stop;

mod percent;
pub mod pipeline;
pub mod propagate;
