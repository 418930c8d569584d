//! For whom a thread works: what the kernel's side was told, and what to return to.

use crate::threads::FromNoughts;

/// Units within units that are returned from. Beyond it the thread works for nobody when it comes back.
const MAX_DEPTH: usize = 32;
/// Nobody.
const NOBODY: i32 = 0;

/// What the programs in the kernel are told: by system calls that do nothing.
pub(crate) trait Kernel {
    /// The thread works for a unit, or for nobody.
    fn take(&self, unit: Option<i32>);
    /// A unit works for whom the thread works for.
    fn give(&self, unit: i32);
}

/// A thread of the operating system.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Thread {
    /// Which attachment it belongs to; 0 where it was never told anything.
    attachment: u32,
    unit: i32,
    /// A virtual thread runs on it: that is its unit until it is unmounted.
    is_mounted: bool,
    /// It has run a virtual thread, and will run nothing else.
    is_carrier: bool,
    /// How often virtual threads came and went.
    switches: u32,
    depth: usize,
    before: [i32; MAX_DEPTH],
}

impl Thread {
    /// Begins anew where the thread has not been seen since the part was attached.
    pub(crate) fn join(&mut self, attachment: u32, kernel: &impl Kernel) {
        if self.attachment == attachment {
            return;
        }
        *self = Self { attachment, ..Self::default() };
        kernel.take(None);
    }

    /// Returns the unit that it works for.
    pub(crate) fn unit(&self) -> Option<i32> {
        (self.unit != NOBODY).then_some(self.unit)
    }

    /// Returns a number that is another one once another virtual thread runs on it.
    pub(crate) fn switches(&self) -> u32 {
        self.switches
    }

    fn set(&mut self, unit: i32, kernel: &impl Kernel) {
        if self.unit != unit {
            self.unit = unit;
            kernel.take(self.unit());
        }
    }

    pub(crate) fn give(&self, unit: i32, kernel: &impl Kernel) {
        kernel.give(unit);
    }

    pub(crate) fn pass(&self, unit: i32, kernel: &impl Kernel) {
        if self.unit != NOBODY {
            kernel.give(unit);
        }
    }

    pub(crate) fn enter(&mut self, unit: i32, kernel: &impl Kernel) {
        if self.is_carrier {
            return;
        }
        if let Some(before) = self.before.get_mut(self.depth) {
            *before = self.unit;
        }
        self.depth = self.depth.saturating_add(1);
        self.set(unit, kernel);
    }

    pub(crate) fn leave(&mut self, kernel: &impl Kernel) {
        if self.is_carrier {
            return;
        }
        // The part may have been attached within the method.
        let Some(depth) = self.depth.checked_sub(1) else { return };
        self.depth = depth;
        let before = self.before.get(depth).copied().unwrap_or(NOBODY);
        self.set(before, kernel);
    }

    pub(crate) fn take(&mut self, unit: i32, kernel: &impl Kernel) {
        if !self.is_carrier {
            self.set(unit, kernel);
        }
    }

    pub(crate) fn drop(&mut self, kernel: &impl Kernel) {
        self.take(NOBODY, kernel);
    }

    pub(crate) fn mount(&mut self, unit: i32, kernel: &impl Kernel) {
        self.is_carrier = true;
        self.is_mounted = true;
        self.switches = self.switches.wrapping_add(1);
        self.set(unit, kernel);
    }

    pub(crate) fn unmount(&mut self, kernel: &impl Kernel) {
        if self.is_mounted {
            self.is_mounted = false;
            self.set(NOBODY, kernel);
        }
    }
}

// SAFETY: all fields are numbers and flags.
unsafe impl FromNoughts for Thread {}

impl Default for Thread {
    fn default() -> Self {
        Self {
            attachment: 0,
            unit: NOBODY,
            is_mounted: false,
            is_carrier: false,
            switches: 0,
            depth: 0,
            before: [NOBODY; MAX_DEPTH],
        }
    }
}
