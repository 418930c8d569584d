//! Commands that the server has not answered yet.

use std::collections::VecDeque;
use std::sync::Arc;

use super::command::Form;
use super::request::Identity;
use crate::held::Held;
use crate::protocol::sql::Statement;
use crate::semconv::Text;

/// Most commands of one connection that wait for their answers.
const MAX_PENDING: usize = 4096;

/// What becomes of the connection if the command succeeds.
#[derive(Debug, Default)]
pub(super) enum Effect {
    #[default]
    Nothing,
    /// The statement has a number.
    Prepare(Arc<Statement>),
    /// It works on another database.
    Database(Text),
    /// It is another user's.
    User(Identity),
    /// Prepared statements are forgotten.
    Reset,
}

/// A command.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) form: Form,
    pub(super) effect: Effect,
    /// Number of its last packet.
    pub(super) sequence: u8,
    /// Its exchange was told.
    pub(super) is_reported: bool,
}

/// Commands in their order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    commands: VecDeque<Pending>,
}

impl Queue {
    /// Adds a command; an error says that there are too many.
    pub(super) fn push(&mut self, command: Pending) -> Result<(), &'static str> {
        if self.commands.len() >= MAX_PENDING {
            return Err("too many outstanding commands");
        }
        self.commands.push_back(command);
        Ok(())
    }

    pub(super) fn front(&self) -> Option<&Pending> {
        self.commands.front()
    }

    pub(super) fn newest(&mut self) -> Option<&mut Pending> {
        self.commands.back_mut()
    }

    pub(super) fn pop(&mut self) -> Option<Pending> {
        self.commands.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.commands.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.commands.clear();
    }
}

impl Held for Queue {
    fn held_bytes(&self) -> usize {
        self.commands.held_bytes()
    }
}

impl Held for Pending {
    fn held_bytes(&self) -> usize {
        match &self.effect {
            Effect::Nothing | Effect::Reset => 0,
            Effect::Prepare(statement) => statement.held_bytes(),
            Effect::Database(name) => name.held_bytes(),
            Effect::User(identity) => identity.held_bytes(),
        }
    }
}
