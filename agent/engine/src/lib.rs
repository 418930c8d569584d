//! From socket events to spans, without unsafe code, clock, file, socket or runtime.
//!
//! `Event` —connection→ `Chunk` —session, [`protocol`]→ `Message` —pairing→ `Exchange` —correlation→ `Span`.
//! Each room takes one owned type and makes the next; only [`Engine`] calls them, in that order.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod command;
pub mod event;
pub mod protocol;
pub mod semconv;
pub mod span;

mod connection;
mod correlation;
mod engine;
mod held;
mod mix;
mod pairing;
mod session;
mod tally;
mod tls;

pub use correlation::ContentEvidence;
pub use engine::{Counter, Engine, Settings};
pub use tls::{TlsCounts, TlsKind};
