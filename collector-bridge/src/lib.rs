//! The aggregator: OTLP in, traces kept and assembled, questions answered.
//!
//! A span's way: OTLP → [`receive`] → [`model::Span`] → [`store`] → [`assemble`] → [`model::Trace`] →
//! [`analyze`] → [`query`] → [`api`].
#![forbid(unsafe_code)]

pub mod analyze;
pub mod api;
pub mod assemble;
pub mod config;
pub mod health;
pub mod infer;
pub mod join;
pub mod model;
pub mod pipeline;
pub mod query;
pub mod receive;
pub mod store;
