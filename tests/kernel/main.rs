//! The BPF programs in this host's kernel: that they load, attach and fire, lose nothing silently and change nothing.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, with the line at hand")]

mod exact;
mod flood;
mod programs;
