//! Prepared statements by their numbers (MySQL internals manual, "Prepared Statements").

use std::sync::Arc;

use crate::held::Held;
use crate::protocol::aged::Aged;
use crate::protocol::sql::Statement;

/// Most statements of a connection that are remembered; the oldest is forgotten first. Drivers' own caches hold fewer.
const MAX_STATEMENTS: usize = 1024;
/// Most parameters whose types are remembered; of statements with more, values are not looked at.
const MAX_PARAMETERS: u16 = 256;
/// Number that stands for the statement that was prepared last (MariaDB).
const LAST: u32 = u32::MAX;

/// A statement that the server has prepared.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) statement: Arc<Statement>,
    /// Number of its parameters; none where there are too many.
    pub(super) parameters: Option<u16>,
    /// Types of its parameters, two bytes each, as they were sent last.
    pub(super) types: Arc<[u8]>,
}

/// What numbers stand for. Each connection counts for itself.
#[derive(Debug)]
pub(super) struct Statements {
    known: Aged<u32, Prepared>,
    last: Option<Arc<Statement>>,
}

impl Default for Statements {
    fn default() -> Self {
        Self { known: Aged::new(MAX_STATEMENTS), last: None }
    }
}

impl Statements {
    /// Remembers the statement that the client asks to prepare.
    pub(super) fn ask(&mut self, statement: Arc<Statement>) {
        self.last = Some(statement);
    }

    /// Remembers what the server calls `id`.
    pub(super) fn insert(&mut self, id: u32, statement: Arc<Statement>, parameters: u16) {
        let parameters = Some(parameters).filter(|&count| count <= MAX_PARAMETERS);
        let prepared = Prepared { statement, parameters, types: Arc::default() };
        self.known.insert(id, prepared);
    }

    /// Returns what `id` stands for; none where it was given before we came.
    pub(super) fn find(&self, id: u32) -> Option<Prepared> {
        match id {
            LAST => {
                let statement = self.last.clone()?;
                Some(Prepared { statement, parameters: None, types: Arc::default() })
            }
            _ => self.known.get(&id).cloned(),
        }
    }

    /// Remembers the types of a statement's parameters.
    pub(super) fn bind(&mut self, id: u32, types: &[u8]) {
        if let Some(prepared) = self.known.get_mut(&id)
            && *prepared.types != *types
        {
            prepared.types = types.into();
        }
    }

    /// Forgets `id`.
    pub(super) fn remove(&mut self, id: u32) {
        self.known.remove(&id);
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Held for Statements {
    fn held_bytes(&self) -> usize {
        self.known.held_bytes() + self.last.held_bytes()
    }
}

impl Held for Prepared {
    fn held_bytes(&self) -> usize {
        self.statement.held_bytes() + self.types.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_statement_is_forgotten() {
        let mut statements = Statements::default();
        for id in 0..=u32::try_from(MAX_STATEMENTS).expect("small") {
            statements.insert(id, Arc::default(), 1);
        }
        assert!(statements.find(0).is_none() && statements.find(1).is_some());
        statements.remove(1);
        assert!(statements.find(1).is_none() && statements.find(2).is_some());
        statements.bind(2, &[3, 0]);
        assert_eq!(statements.find(2).map(|found| found.types.to_vec()), Some(vec![3, 0]));
    }

    #[test]
    fn the_last_statement_has_a_number_of_its_own() {
        let mut statements = Statements::default();
        assert!(statements.find(LAST).is_none());
        statements.ask(Arc::default());
        assert!(statements.find(LAST).is_some());
        statements.clear();
        assert!(statements.find(LAST).is_none());
    }
}
