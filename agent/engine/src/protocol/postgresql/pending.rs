//! The steps that the client asked for and the server has not taken yet.

use std::collections::VecDeque;

use crate::held::Held;

/// Most steps of one connection that wait for the server.
const MAX_STEPS: usize = 1 << 16;

/// What the server will answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Query,
    Function,
    Parse,
    Bind,
    Describe,
    Execute,
    Close,
    Sync,
    /// A batch that executes once and ends with its `Sync`, of which not all was seen.
    Unseen,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) kind: Kind,
    /// An exchange ends with it.
    pub(super) is_last: bool,
    /// The exchange has no name of its own.
    pub(super) is_unnamed: bool,
}

/// Steps in their order.
#[derive(Debug, Default)]
pub(super) struct Pending {
    steps: VecDeque<Step>,
}

impl Pending {
    /// Adds a step; an error says that there are too many.
    pub(super) fn push(&mut self, kind: Kind, is_unnamed: bool) -> Result<(), &'static str> {
        if self.steps.len() >= MAX_STEPS {
            return Err("too many outstanding messages");
        }
        let is_last = matches!(kind, Kind::Query | Kind::Function | Kind::Execute | Kind::Unseen);
        self.steps.push_back(Step { kind, is_last, is_unnamed });
        Ok(())
    }

    /// Says that an exchange ends with the newest step; returns whether there is one.
    pub(super) fn end_exchange(&mut self) -> bool {
        let newest = self.steps.back_mut().filter(|step| step.kind != Kind::Sync && !step.is_last);
        newest.map(|step| step.is_last = true).is_some()
    }

    pub(super) fn front(&self) -> Option<Kind> {
        self.steps.front().map(|step| step.kind)
    }

    pub(super) fn pop(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    pub(super) fn clear(&mut self) {
        self.steps.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Returns whether the server will be ready only once more, after all steps, and tells at most one exchange until
    /// then. `has_answered` says that it has told one already.
    pub(super) fn is_single(&self, has_answered: bool) -> bool {
        let is_end = |step: &&Step| matches!(step.kind, Kind::Query | Kind::Function | Kind::Sync);
        let exchanges = self.steps.iter().filter(|step| step.is_last).count() + usize::from(has_answered);
        let ends = self.steps.iter().filter(is_end).count();
        exchanges <= 1 && ends == 1 && self.steps.back().as_ref().is_some_and(is_end)
    }

    /// Returns whether an exchange or a batch ends with one of the steps.
    pub(super) fn has_end(&self) -> bool {
        self.steps.iter().any(|step| step.is_last || step.kind == Kind::Sync)
    }

    /// Returns the step with which the first exchange ends.
    pub(super) fn last_of_exchange(&self) -> Option<Step> {
        self.steps.iter().copied().find(|step| step.is_last)
    }

    /// Takes away the steps of the first exchange before the next `Sync`; returns whether there was one.
    pub(super) fn abort_exchange(&mut self) -> bool {
        while self.front().is_some_and(|kind| kind != Kind::Sync) {
            if self.pop().is_some_and(|step| step.is_last) {
                return true;
            }
        }
        false
    }

    /// Returns whether an exchange ends before the next `Sync`.
    pub(super) fn has_exchange(&self) -> bool {
        self.steps.iter().take_while(|step| step.kind != Kind::Sync).any(|step| step.is_last)
    }

    /// Takes away the `Sync` behind the first step; returns whether there was one.
    pub(super) fn remove_early_sync(&mut self) -> bool {
        let is_early = self.steps.get(1).is_some_and(|step| step.kind == Kind::Sync);
        if is_early {
            self.steps.remove(1);
        }
        is_early
    }
}

impl Held for Pending {
    fn held_bytes(&self) -> usize {
        self.steps.held_bytes()
    }
}

impl Held for Step {
    fn held_bytes(&self) -> usize {
        0
    }
}
