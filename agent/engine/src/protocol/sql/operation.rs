//! The words that begin statements (PostgreSQL documentation, "SQL Commands"; MySQL reference manual, "SQL Statements").

use crate::protocol::text::Upper;

/// How the words after an operation are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `SELECT`, `INSERT`, …: targets stand after key words.
    Query,
    /// `WITH`: names and queries in parentheses, then a query. No operation of its own.
    With,
    /// `EXPLAIN`: another statement follows.
    Prefix,
    /// `CREATE`, `ALTER`, `DROP`: the kind of object and its name.
    Definition,
    /// One name, or several with commas between.
    Names,
    /// `COPY`: a name or a query in parentheses.
    Copy,
    /// `CALL`: the name of a procedure.
    Call,
    /// `START TRANSACTION`: the second word belongs to the operation.
    TwoWords,
    /// `DECLARE`, `PREPARE`: a statement follows after this word.
    After(&'static str),
    /// Nothing more is told.
    Alone,
}

/// Returns how a statement that begins with `word` is read; none where no statement does.
pub(super) fn shape(word: &[u8]) -> Option<Shape> {
    let word = Upper::of(word);
    Some(match word.as_slice() {
        b"SELECT" | b"INSERT" | b"REPLACE" | b"UPDATE" | b"DELETE" | b"MERGE" | b"VALUES" | b"LOAD" => {
            Shape::Query
        }
        b"WITH" => Shape::With,
        b"EXPLAIN" | b"DESCRIBE" | b"DESC" => Shape::Prefix,
        b"CREATE" | b"ALTER" | b"DROP" => Shape::Definition,
        b"TABLE" | b"TRUNCATE" | b"LOCK" | b"VACUUM" | b"ANALYZE" | b"REINDEX" | b"CLUSTER" | b"REFRESH"
        | b"OPTIMIZE" | b"REPAIR" | b"CHECK" | b"RENAME" | b"USE" => Shape::Names,
        b"COPY" => Shape::Copy,
        b"CALL" => Shape::Call,
        b"START" => Shape::TwoWords,
        b"DECLARE" => Shape::After("FOR"),
        b"PREPARE" => Shape::After("AS"),
        b"ABORT" | b"BEGIN" | b"CHECKPOINT" | b"CLOSE" | b"COMMENT" | b"COMMIT" | b"DEALLOCATE"
        | b"DISCARD" | b"DO" | b"END" | b"EXECUTE" | b"FETCH" | b"FLUSH" | b"GRANT" | b"HANDLER"
        | b"IMPORT" | b"KILL" | b"LISTEN" | b"MOVE" | b"NOTIFY" | b"REASSIGN" | b"RELEASE" | b"RESET"
        | b"REVOKE" | b"ROLLBACK" | b"SAVEPOINT" | b"SECURITY" | b"SET" | b"SHOW" | b"UNLISTEN"
        | b"UNLOCK" | b"XA" => Shape::Alone,
        _ => return None,
    })
}

/// Returns whether an object of this kind (`FOREIGN` stands before `TABLE`) is a collection.
pub(super) fn has_rows(word: &[u8]) -> bool {
    [&b"TABLE"[..], b"VIEW", b"FOREIGN"].iter().any(|kind| word.eq_ignore_ascii_case(kind))
}

/// Returns whether `word` stands between an operation and its target, and tells nothing.
pub(super) fn is_noise(word: &[u8]) -> bool {
    matches!(
        Upper::of(word).as_slice(),
        b"ANALYZE"
            | b"CONCURRENTLY"
            | b"EXISTS"
            | b"FREEZE"
            | b"FULL"
            | b"GLOBAL"
            | b"IF"
            | b"LATERAL"
            | b"LOCAL"
            | b"NOT"
            | b"ON"
            | b"ONLY"
            | b"OR"
            | b"RECURSIVE"
            | b"REPLACE"
            | b"TABLE"
            | b"TABLES"
            | b"TEMP"
            | b"TEMPORARY"
            | b"UNIQUE"
            | b"UNLOGGED"
            | b"VERBOSE"
    )
}

/// Returns whether `word` stands between MySQL's `INSERT`, `REPLACE`, `UPDATE` or `DELETE` and the table.
pub(super) fn is_modifier(word: &[u8]) -> bool {
    const MODIFIERS: &[&str] = &["DELAYED", "HIGH_PRIORITY", "IGNORE", "LOW_PRIORITY", "QUICK"];
    MODIFIERS.iter().any(|modifier| word.eq_ignore_ascii_case(modifier.as_bytes()))
}

/// Returns whether `word` begins options that MySQL allows between `CREATE` and the kind of an object.
pub(super) fn begins_options(word: &[u8]) -> bool {
    [&b"ALGORITHM"[..], b"DEFINER", b"SQL", b"AGGREGATE"]
        .iter()
        .any(|option| word.eq_ignore_ascii_case(option))
}

/// Returns whether `word` is a kind of object that may have such options.
pub(super) fn is_kind_with_options(word: &[u8]) -> bool {
    [&b"EVENT"[..], b"FUNCTION", b"PROCEDURE", b"TRIGGER", b"VIEW"]
        .iter()
        .any(|kind| word.eq_ignore_ascii_case(kind))
}

/// Returns whether `word`, in upper case, ends the list of tables after `FROM`.
pub(super) fn ends_tables(word: &[u8]) -> bool {
    matches!(
        word,
        b"EXCEPT"
            | b"FETCH"
            | b"FOR"
            | b"GROUP"
            | b"HAVING"
            | b"INTERSECT"
            | b"LIMIT"
            | b"OFFSET"
            | b"ORDER"
            | b"RETURNING"
            | b"SET"
            | b"UNION"
            | b"VALUES"
            | b"WHEN"
            | b"WHERE"
            | b"WINDOW"
    )
}

/// Returns whether `FROM` inside the parentheses after `word`, in upper case, is part of a function's own syntax.
pub(super) fn has_from_of_its_own(word: &[u8]) -> bool {
    matches!(word, b"EXTRACT" | b"OVERLAY" | b"POSITION" | b"SUBSTRING" | b"TRIM")
}
