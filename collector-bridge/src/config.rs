//! Configuration: what a user writes ([`File`], [`Flags`]) → what the bridge runs with ([`Settings`]).
//!
//! Precedence: flag, environment, file, default.

mod file;
mod flags;
mod settings;

pub use file::File;
pub use flags::{Command, Flags, LogFormat, Serve};
pub use settings::{ConfigError, Settings};
