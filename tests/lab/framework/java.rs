//! Java.

use super::Framework;

pub(super) const ALL: &[Framework] = &[];
