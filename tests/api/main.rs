//! The bridge's API over HTTP, asked about real traffic that the real agent saw.

mod answers;
mod refusals;
