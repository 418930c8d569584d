//! Prepared statements and portals by their names (section "Extended Query").

use std::sync::Arc;

use crate::held::Held;
use crate::protocol::aged::Aged;
use crate::protocol::sql::Statement;

/// Most names of each kind that are remembered; the oldest is forgotten first. Drivers' own caches hold fewer.
const MAX_NAMES: usize = 1024;
/// Longest name that is remembered (the server cuts names to 63 bytes).
const MAX_NAME_BYTES: usize = 256;

/// What names stand for.
#[derive(Debug)]
pub(super) struct Names {
    /// What the empty name stands for, which is given again and again.
    unnamed: Option<Arc<Statement>>,
    named: Aged<Vec<u8>, Arc<Statement>>,
}

impl Default for Names {
    fn default() -> Self {
        Self { unnamed: None, named: Aged::new(MAX_NAMES) }
    }
}

impl Names {
    /// Remembers what `name` stands for.
    pub(super) fn insert(&mut self, name: &[u8], statement: Arc<Statement>) {
        if name.is_empty() {
            self.unnamed = Some(statement);
        } else if name.len() <= MAX_NAME_BYTES {
            self.named.insert(name.to_vec(), statement);
        }
    }

    /// Returns what `name` stands for; none where it was given before we came.
    pub(super) fn find(&self, name: &[u8]) -> Option<Arc<Statement>> {
        let statement = if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) };
        statement.cloned()
    }

    /// Forgets `name`.
    pub(super) fn remove(&mut self, name: &[u8]) {
        if name.is_empty() {
            self.unnamed = None;
        } else {
            self.named.remove(name);
        }
    }
}

impl Held for Names {
    fn held_bytes(&self) -> usize {
        self.unnamed.held_bytes() + self.named.held_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_name_is_forgotten() {
        let mut names = Names::default();
        for number in 0..=MAX_NAMES {
            names.insert(number.to_string().as_bytes(), Arc::default());
        }
        assert!(names.find(b"0").is_none() && names.find(b"1").is_some());
        names.remove(b"1");
        names.insert(b"x", Arc::default());
        assert!(names.find(b"1").is_none() && names.find(b"2").is_some() && names.find(b"x").is_some());
    }
}
