//! Prepared statements that connections have in common: what a name stands for on a connection whose `Parse` was not
//! seen.
//!
//! Most drivers number their statements, each connection for itself, and agree on a number only by chance. So a name
//! says something of other connections only if it has no number in it, or is made of what it stands for:
//!
//! - a name with a long hexadecimal number (pgx) is a hash of the statement: one connection is enough;
//! - a name without a digit is the program's own: it counts once two connections have given it the same statement, and
//!   only on a server of which one database and one user are known. Another program's names mean something else, and the
//!   database of a connection that is older than the agent is not known.
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
/// Most servers of which it is remembered who uses them. Of more, names that programs give say nothing.
const MAX_SERVERS: usize = 1024;
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
    /// Who speaks with which database, by server; none where there are several.
    identities: HashMap<u64, Option<u64>>,
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
    /// Notes that a database of a server is used by somebody.
    fn identify(&mut self, server: u64, identity: u64) {
        let is_full = self.identities.len() >= MAX_SERVERS;
        match self.identities.entry(server) {
            Entry::Vacant(_) if is_full => {}
            Entry::Vacant(entry) => drop(entry.insert(Some(identity))),
            Entry::Occupied(mut entry) => {
                let only = entry.get_mut();
                *only = only.filter(|&known| known == identity);
            }
        }
    }

    /// Returns whether all that is known of a server is of one database and user, and so is a connection, as far as that
    /// is known.
    fn is_alone(&self, server: u64, identity: Option<u64>) -> bool {
        let only = self.identities.get(&server).copied().flatten();
        only.is_some_and(|only| identity.is_none_or(|identity| identity == only))
    }

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

    fn find(&self, key: &(u64, Vec<u8>), identity: Option<u64>) -> Option<Arc<Statement>> {
        match self.names.get(key)? {
            Shown::One { statement, is_agreed, .. }
                if is_hash(&key.1) || *is_agreed && self.is_alone(key.0, identity) =>
            {
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
    /// Hash of the database and the user; none where the connection's beginning was not seen.
    identity: Option<u64>,
    number: u64,
}

impl Shared {
    pub(super) fn new(learned: &Learned, server: Option<&Endpoint>) -> Self {
        let mut known = learned.lock();
        known.postgresql_statements.connections += 1;
        let number = known.postgresql_statements.connections;
        drop(known);
        Self { learned: learned.clone(), server: server.map(hash), identity: None, number }
    }

    /// Returns what all connections have shown.
    pub(super) fn learned(&self) -> &Learned {
        &self.learned
    }

    /// Notes who speaks with which database, which says what names of programs mean.
    pub(super) fn identify(&mut self, database: &str, user: &str) {
        let Some(server) = self.server else { return };
        let identity = hash(&(database, user));
        self.identity = Some(identity);
        self.learned.lock().postgresql_statements.identify(server, identity);
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
        self.learned.lock().postgresql_statements.find(&key, self.identity)
    }

    fn key(&self, name: &[u8]) -> Option<(u64, Vec<u8>)> {
        let is_telling = is_hash(name) || is_given(name);
        self.server
            .filter(|_| is_telling && name.len() <= MAX_NAME_BYTES)
            .map(|server| (server, name.to_vec()))
    }
}

fn hash(value: &impl std::hash::Hash) -> u64 {
    foldhash::quality::FixedState::default().hash_one(value)
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
        Arc::new(Statement { text: text.to_owned().into(), ..Statement::default() })
    }

    fn server(name: &str) -> Endpoint {
        Endpoint::Unix(name.to_owned())
    }

    #[test]
    fn a_hash_is_believed_at_once_and_a_given_name_by_two() {
        let learned = Learned::default();
        let [mut one, two, old] = [(); 3].map(|()| Shared::new(&learned, Some(&server("a"))));
        one.identify("shop", "app");
        one.note(HASH, &statement("SELECT ?"));
        one.note(b"by-id", &statement("SELECT b"));
        one.note(b"by-id", &statement("SELECT b"));
        assert!(old.find(HASH).is_some() && old.find(b"by-id").is_none());
        two.note(b"by-id", &statement("SELECT b"));
        assert_eq!(old.find(b"by-id").map(|found| found.text.clone()), Some("SELECT b".into()));
        assert!(Shared::new(&learned, Some(&server("b"))).find(b"by-id").is_none());
        assert!(Shared::new(&learned, None).find(b"by-id").is_none());
    }

    #[test]
    fn given_names_say_nothing_where_databases_or_users_are_several_or_unknown() {
        let learned = Learned::default();
        let [mut one, mut two, old] = [(); 3].map(|()| Shared::new(&learned, Some(&server("a"))));
        for shared in [&one, &two] {
            shared.note(b"by-id", &statement("SELECT a"));
            shared.note(HASH, &statement("SELECT ?"));
        }
        assert!(old.find(b"by-id").is_none(), "nobody knows of which database");
        one.identify("shop", "app");
        assert!(old.find(b"by-id").is_some());
        two.identify("shop", "reports");
        assert!(old.find(b"by-id").is_none() && one.find(b"by-id").is_none());
        assert!(old.find(HASH).is_some(), "a hash says the same everywhere");
        let mut elsewhere = Shared::new(&learned, Some(&server("b")));
        elsewhere.identify("shop", "app");
        assert!(elsewhere.find(b"by-id").is_none());
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
