//! Prepared statements that connections have in common: what a name stands for on a connection whose `Parse` was not
//! seen.
//!
//! Most drivers number their statements, each connection for itself, and agree on a number only by chance. So a name
//! says something of other connections only if it has no number in it, or is made of what it stands for:
//!
//! - a name with a long hexadecimal number (pgx) is a hash of the statement: one connection is enough;
//! - a name without a digit is the program's own: it counts once two connections have given it the same statement.
//!
//! A name that ever stood for two statements of one server says nothing any more.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use crate::event::Endpoint;
use crate::protocol::Learned;
use crate::protocol::sql::Statement;

/// Most names of all servers that are remembered. More are not learned: a name that was forgotten could no longer be
/// seen to stand for two statements.
const MAX_NAMES: usize = 4096;
/// Longest name that is remembered (the server cuts names to 63 bytes).
const MAX_NAME_BYTES: usize = 64;
/// Shortest hexadecimal number that is taken for a hash.
const MIN_HASH_DIGITS: usize = 32;
/// Shortest name without a digit that a program gives.
const MIN_GIVEN_BYTES: usize = 3;

/// What all connections have shown.
#[derive(Debug, Default)]
pub(in crate::protocol) struct Statements {
    names: HashMap<(u64, Vec<u8>), Shown>,
    connections: u64,
}

#[derive(Debug)]
enum Shown {
    /// This statement, by the connection with this number first.
    One {
        statement: Arc<Statement>,
        by: u64,
        is_agreed: bool,
    },
    Several,
}

impl Statements {
    fn note(&mut self, key: (u64, Vec<u8>), statement: &Arc<Statement>, by: u64) {
        let is_full = self.names.len() >= MAX_NAMES;
        match self.names.entry(key) {
            Entry::Vacant(_) if is_full => {}
            Entry::Vacant(entry) => {
                let statement = Arc::clone(statement);
                entry.insert(Shown::One { statement, by, is_agreed: false });
            }
            Entry::Occupied(mut entry) => match entry.get_mut() {
                Shown::One { statement: known, by: first, is_agreed } if is_same(known, statement) => {
                    *is_agreed |= *first != by;
                }
                shown => *shown = Shown::Several,
            },
        }
    }

    fn find(&self, key: &(u64, Vec<u8>)) -> Option<Arc<Statement>> {
        match self.names.get(key)? {
            Shown::One { statement, is_agreed, .. } if *is_agreed || is_hash(&key.1) => {
                Some(Arc::clone(statement))
            }
            Shown::One { .. } | Shown::Several => None,
        }
    }
}

/// What a connection shows others, and learns from them.
#[derive(Debug)]
pub(super) struct Shared {
    learned: Learned,
    /// Hash of the server's end; none where it is not known.
    server: Option<u64>,
    number: u64,
}

impl Shared {
    pub(super) fn new(learned: &Learned, server: Option<&Endpoint>) -> Self {
        let mut known = learned.lock();
        known.postgresql_statements.connections += 1;
        let number = known.postgresql_statements.connections;
        drop(known);
        let server = server.map(|server| foldhash::quality::FixedState::default().hash_one(server));
        Self { learned: learned.clone(), server, number }
    }

    /// Shows others what `name` stands for.
    pub(super) fn note(&self, name: &[u8], statement: &Arc<Statement>) {
        if let Some(key) = self.key(name) {
            self.learned.lock().postgresql_statements.note(key, statement, self.number);
        }
    }

    /// Returns what `name` stands for on other connections to the server, where it must be the same on this one.
    pub(super) fn find(&self, name: &[u8]) -> Option<Arc<Statement>> {
        let key = self.key(name)?;
        self.learned.lock().postgresql_statements.find(&key)
    }

    fn key(&self, name: &[u8]) -> Option<(u64, Vec<u8>)> {
        let is_telling = is_hash(name) || is_given(name);
        self.server
            .filter(|_| is_telling && name.len() <= MAX_NAME_BYTES)
            .map(|server| (server, name.to_vec()))
    }
}

/// The contexts in comments differ from call to call.
fn is_same(one: &Statement, other: &Statement) -> bool {
    one.text == other.text && one.summary == other.summary
}

fn is_hash(name: &[u8]) -> bool {
    name.split(|byte| !byte.is_ascii_hexdigit()).any(|digits| {
        digits.len() >= MIN_HASH_DIGITS
            && digits.iter().any(u8::is_ascii_digit)
            && digits.iter().any(u8::is_ascii_alphabetic)
    })
}

fn is_given(name: &[u8]) -> bool {
    name.len() >= MIN_GIVEN_BYTES && !name.iter().any(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &[u8] = b"stmtcache_d41d8cd98f00b204e9800998ecf8427e00112233aabbccdd";

    fn statement(text: &str) -> Arc<Statement> {
        Arc::new(Statement { text: text.to_owned(), ..Statement::default() })
    }

    fn server(name: &str) -> Endpoint {
        Endpoint::Unix(name.to_owned())
    }

    #[test]
    fn a_hash_is_believed_at_once_and_a_given_name_by_two() {
        let learned = Learned::default();
        let [one, two, old] = [(); 3].map(|()| Shared::new(&learned, Some(&server("a"))));
        one.note(HASH, &statement("SELECT ?"));
        one.note(b"by-id", &statement("SELECT b"));
        one.note(b"by-id", &statement("SELECT b"));
        assert!(old.find(HASH).is_some() && old.find(b"by-id").is_none());
        two.note(b"by-id", &statement("SELECT b"));
        assert_eq!(old.find(b"by-id").map(|found| found.text.clone()), Some("SELECT b".to_owned()));
        assert!(Shared::new(&learned, Some(&server("b"))).find(b"by-id").is_none());
        assert!(Shared::new(&learned, None).find(b"by-id").is_none());
    }

    #[test]
    fn names_that_are_counted_say_nothing() {
        let learned = Learned::default();
        let [one, two] = [(); 2].map(|()| Shared::new(&learned, Some(&server("a"))));
        for name in [&b"S_1"[..], b"_pg3_0", b"__asyncpg_stmt_1__", b"sqlx_s_1", b"a1", b"", b"ab"] {
            one.note(name, &statement("SELECT a"));
            two.note(name, &statement("SELECT a"));
            assert!(two.find(name).is_none(), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn a_name_of_two_statements_says_nothing_any_more() {
        let learned = Learned::default();
        let [one, two, three] = [(); 3].map(|()| Shared::new(&learned, Some(&server("a"))));
        for (shared, text) in
            [(&one, "SELECT a"), (&two, "SELECT a"), (&three, "SELECT b"), (&one, "SELECT a")]
        {
            shared.note(b"by-id", &statement(text));
        }
        assert!(three.find(b"by-id").is_none());
    }

    #[test]
    fn no_more_names_are_learned_than_can_be_kept() {
        let learned = Learned::default();
        let one = Shared::new(&learned, Some(&server("a")));
        for number in 0..=MAX_NAMES {
            one.note(format!("{number:032x}a").as_bytes(), &statement("SELECT a"));
        }
        assert_eq!(learned.lock().postgresql_statements.names.len(), MAX_NAMES);
    }
}
