//! Statements that were read before. Programs send the same few again and again, and drivers on all their connections.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use super::{Options, Statement, read};
use crate::protocol::Learned;

/// Places for statements. Two that have the same place take turns.
const PLACES: usize = 512;
/// Longest statement that is remembered.
const MAX_BYTES: usize = 2048;

/// What is known of statements, of all connections.
#[derive(Debug, Default)]
pub(in crate::protocol) struct Statements {
    places: Vec<Place>,
}

#[derive(Clone, Debug, Default)]
struct Place {
    /// Hash of the last statement that was not the one which is remembered. Most come once, with values in them: only the
    /// second time a statement is remembered.
    passed: u64,
    known: Option<Known>,
}

#[derive(Clone, Debug)]
struct Known {
    text: Box<[u8]>,
    options: Options,
    statement: Arc<Statement>,
}

impl Known {
    fn is(&self, text: &[u8], options: Options) -> bool {
        *self.text == *text && self.options == options
    }
}

impl Statements {
    fn place(&mut self, hash: u64) -> Option<&mut Place> {
        if self.places.is_empty() {
            self.places.resize(PLACES, Place::default());
        }
        let place = usize::try_from(hash).unwrap_or_default() % PLACES;
        self.places.get_mut(place)
    }

    /// Returns what a statement says, if it is remembered, and otherwise whether it is to be.
    fn find(&mut self, hash: u64, text: &[u8], options: Options) -> Result<Arc<Statement>, bool> {
        let Some(place) = self.place(hash) else { return Err(false) };
        match &place.known {
            Some(known) if known.is(text, options) => Ok(Arc::clone(&known.statement)),
            _ => Err(std::mem::replace(&mut place.passed, hash) == hash),
        }
    }
}

/// Returns what a statement says, which is read only where it is not remembered.
pub(in crate::protocol) fn read_shared(text: &[u8], options: Options, learned: &Learned) -> Arc<Statement> {
    if text.len() > MAX_BYTES {
        return Arc::new(read(text, options).shared());
    }
    // 0 is the place that nothing has passed yet.
    let hash = foldhash::fast::FixedState::default().hash_one(text) | 1 << 63;
    let is_again = match learned.lock().sql_statements.find(hash, text, options) {
        Ok(statement) => return statement,
        Err(is_again) => is_again,
    };
    let statement = Arc::new(read(text, options).shared());
    if is_again && let Some(place) = learned.lock().sql_statements.place(hash) {
        place.known = Some(Known { text: text.into(), options, statement: Arc::clone(&statement) });
    }
    statement
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::sql::Dialect;

    const OPTIONS: Options = Options {
        dialect: Dialect::Postgresql,
        redact: true,
        max_bytes: 4096,
        backslash_escapes: false,
        mark_key: None,
    };

    #[test]
    fn what_comes_again_is_read_twice_and_no_more() {
        let learned = Learned::default();
        let read = |options| read_shared(b"SELECT a FROM b WHERE c = 1", options, &learned);
        let (first, second, third) = (read(OPTIONS), read(OPTIONS), read(OPTIONS));
        assert_eq!(first.text, "SELECT a FROM b WHERE c = ?");
        assert!(first == second && !Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &third));
        let other = read(Options { redact: false, ..OPTIONS });
        assert_eq!(other.text, "SELECT a FROM b WHERE c = 1", "another reading is not the same");
    }

    #[test]
    fn no_more_is_remembered_than_there_are_places() {
        let learned = Learned::default();
        for number in 0..PLACES * 4 {
            let text = format!("SELECT a{number} FROM b");
            (0..3).for_each(|_| {
                assert_eq!(&*read_shared(text.as_bytes(), OPTIONS, &learned).text, text);
            });
        }
        let known = learned.lock();
        assert_eq!(known.sql_statements.places.len(), PLACES);
        let remembered = known.sql_statements.places.iter().filter(|place| place.known.is_some()).count();
        assert!(remembered > PLACES / 2);
    }

    #[test]
    fn long_statements_are_not_remembered() {
        let learned = Learned::default();
        let text = [&b"SELECT "[..], &[b'a'; MAX_BYTES]].concat();
        (0..3).for_each(|_| drop(read_shared(&text, OPTIONS, &learned)));
        assert!(learned.lock().sql_statements.places.is_empty());
    }
}
