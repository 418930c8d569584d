//! Discovery against processes that really run.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod follow;
mod go;
mod runtimes;
mod spawn;
