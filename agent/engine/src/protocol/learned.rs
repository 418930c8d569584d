//! What connections have shown that others of the same kind need: names behind ids that are told once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{kafka, mysql, postgresql, sql};

/// A handle to what is known; all clones share it.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    known: Arc<Mutex<Known>>,
}

/// What is known. Each part bounds itself.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Kafka's topics by their ids.
    pub(super) kafka_topics: kafka::TopicNames,
    /// MySQL's and MariaDB's servers.
    pub(super) mysql_servers: mysql::Servers,
    /// Statements of any database.
    pub(super) sql_statements: sql::Statements,
    /// PostgreSQL's prepared statements by their names.
    pub(super) postgresql_statements: postgresql::Statements,
}

impl Learned {
    /// Returns what is known, for one look or one addition.
    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        // What a panic left behind is still a set of names.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
