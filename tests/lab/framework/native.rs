//! Rust, Ruby and shell scripts.

use super::Framework;

pub(super) const ALL: &[Framework] = &[];
