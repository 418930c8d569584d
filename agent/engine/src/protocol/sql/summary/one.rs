//! The summary of one statement, made of its tokens.

use super::Several;
use crate::protocol::sql::Dialect;
use crate::protocol::sql::operation::{self, Shape};
use crate::protocol::sql::token::{Kind, Token};
use crate::protocol::text::{self, Upper};

/// Longest summary, which is cut only between words.
const MAX_SUMMARY_BYTES: usize = 255;
/// Deepest nesting of parentheses that is understood; what is deeper is not looked at.
const MAX_DEPTH: usize = 64;
/// Most names of common table expressions that are remembered.
const MAX_EXPRESSIONS: usize = 32;

/// The summary of one statement.
#[derive(Debug)]
pub(super) struct One {
    pub(super) dialect: Dialect,
    pub(super) text: String,
    pub(super) operation: Several,
    pub(super) target: Several,
    pub(super) is_call: bool,
    /// What it names holds no rows: a role, a function, an index.
    pub(super) names_other: bool,
    reader: Reader,
    pub(super) is_begun: bool,
}

/// Where in a statement we are.
#[derive(Debug, Default)]
struct Reader {
    mode: Mode,
    /// Parentheses, from the outermost on; the statement itself is not among them.
    levels: Vec<Level>,
    outermost: Level,
    /// Parentheses beyond the deepest that is understood.
    too_deep: usize,
    /// The word before, in upper case and cut; empty after anything but white space.
    last_word: Upper,
    /// The name that is being read, and whether a part of it is still to come.
    name: Vec<u8>,
    is_after_dot: bool,
    /// Names of common table expressions.
    expressions: Vec<Vec<u8>>,
    main_operation: String,
    /// Options stand between the operation and the kind of an object.
    is_in_options: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// The first word of a statement is expected.
    #[default]
    Start,
    Query,
    /// The kind of an object is expected.
    Kind,
    /// The name of an object is expected; a query may follow `AS`.
    Object,
    /// Names only.
    Names,
    /// A statement follows after this word.
    After(&'static str),
    /// One word more belongs to the operation.
    SecondWord,
    Ignore,
}

/// What one level of parentheses knows.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    /// A comma means that another table follows.
    is_in_tables: bool,
    /// A name that comes now is a target.
    is_expecting: bool,
    /// A name that comes now is that of a common table expression.
    is_naming: bool,
    is_in_with: bool,
    /// `FROM` is part of a function's syntax.
    is_function: bool,
}

impl Reader {
    fn is_outermost(&self) -> bool {
        self.levels.is_empty() && self.too_deep == 0
    }

    fn level(&mut self) -> &mut Level {
        self.levels.last_mut().unwrap_or(&mut self.outermost)
    }
}

impl One {
    /// Returns the summary of a statement that has not begun.
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            text: String::new(),
            operation: Several::None,
            target: Several::None,
            is_call: false,
            names_other: false,
            reader: Reader::default(),
            is_begun: false,
        }
    }

    /// Returns the first operation, in upper case.
    pub(super) fn main_operation(&self) -> &str {
        &self.reader.main_operation
    }

    /// Returns whether a semicolon ends the statement: not within the body of a routine, which MySQL does not quote.
    pub(super) fn ends_with_semicolon(&self) -> bool {
        const ROUTINES: &[&str] = &["EVENT", "FUNCTION", "PROCEDURE", "TRIGGER"];
        let is_routine = self.dialect == Dialect::Mysql
            && self.reader.main_operation == "CREATE"
            && matches!(&self.operation, Several::One(operation) if ROUTINES
                .iter()
                .any(|routine| operation.to_ascii_uppercase().ends_with(routine)));
        !is_routine && self.reader.is_outermost()
    }

    /// Takes the next token.
    pub(super) fn push(&mut self, token: Token<'_>) {
        self.is_begun = true;
        if self.reader.too_deep > 0 && !token.is_sign(b'(') && !token.is_sign(b')') {
            return;
        }
        match token.kind {
            Kind::Word | Kind::Quoted if self.reader.is_after_dot => self.name_part(token.text),
            Kind::Sign if token.text == b"." && !self.reader.name.is_empty() => {
                self.reader.is_after_dot = true;
            }
            Kind::Word => self.word(token.text),
            Kind::Quoted => {
                self.end_name();
                self.name(token.text);
                self.reader.last_word = Upper::NONE;
            }
            Kind::Sign => self.sign(token.text),
            _ => {
                self.end_name();
                self.reader.level().is_expecting = false;
                self.reader.last_word = Upper::NONE;
            }
        }
    }

    fn word(&mut self, word: &[u8]) {
        self.end_name();
        match self.reader.mode {
            Mode::Start => self.start(word),
            Mode::Query => self.query(word),
            Mode::Kind => self.kind(word),
            Mode::Object => self.object(word),
            Mode::Names if operation::is_noise(word) || is_kind_of_name(word) => {}
            Mode::Names => self.name(word),
            Mode::After(end) if word.eq_ignore_ascii_case(end.as_bytes()) => self.reader.mode = Mode::Start,
            Mode::SecondWord => {
                self.extend_operation(word);
                self.reader.mode = Mode::Ignore;
            }
            Mode::After(_) | Mode::Ignore => {}
        }
        self.reader.last_word = Upper::of(word);
    }

    fn start(&mut self, word: &[u8]) {
        let Some(shape) = operation::shape(word) else {
            // Options of EXPLAIN stand before the statement; anything else is no statement we know.
            if !operation::is_noise(word) {
                self.reader.mode = Mode::Ignore;
            }
            return;
        };
        if self.reader.main_operation == "EXPLAIN" && word.eq_ignore_ascii_case(b"ANALYZE") {
            return;
        }
        if shape != Shape::With {
            self.operation(word);
        }
        let level = self.reader.level();
        *level = Level { is_expecting: false, ..*level };
        self.reader.mode = match shape {
            Shape::Query => {
                // MySQL's INSERT and REPLACE may do without INTO.
                let is_mysql = self.dialect == Dialect::Mysql;
                let names_table = [(&b"UPDATE"[..], true), (b"INSERT", is_mysql), (b"REPLACE", is_mysql)];
                level.is_expecting =
                    names_table.iter().any(|&(known, does)| does && word.eq_ignore_ascii_case(known));
                Mode::Query
            }
            Shape::With => {
                (level.is_in_with, level.is_naming) = (true, true);
                Mode::Query
            }
            Shape::Prefix => Mode::Start,
            Shape::Definition => Mode::Kind,
            Shape::Names | Shape::Copy => {
                (level.is_expecting, level.is_in_tables) = (true, shape == Shape::Names);
                Mode::Names
            }
            Shape::Call => {
                level.is_expecting = true;
                self.is_call = true;
                Mode::Names
            }
            Shape::TwoWords => Mode::SecondWord,
            Shape::After(end) => Mode::After(end),
            Shape::Alone => Mode::Ignore,
        };
    }

    fn query(&mut self, word: &[u8]) {
        let (upper, last) = (Upper::of(word), self.reader.last_word);
        let upper = upper.as_slice();
        let follows = |words: &[&str]| words.iter().any(|word| word.as_bytes() == last.as_slice());
        let is_operation = match upper {
            b"SELECT" | b"MERGE" => true,
            b"INSERT" => !follows(&["THEN"]),
            b"UPDATE" => !follows(&["THEN", "FOR", "DO", "KEY", "ON"]),
            b"DELETE" => !follows(&["THEN", "ON"]),
            _ => false,
        };
        let begins_tables = match upper {
            b"FROM" => !follows(&["DISTINCT"]),
            b"USING" => {
                matches!(self.reader.main_operation.as_str(), "DELETE" | "MERGE") && !follows(&["JOIN"])
            }
            _ => false,
        };
        if is_operation {
            self.operation(word);
        }
        let level = self.reader.level();
        match upper {
            _ if is_operation => {
                *level = Level { is_expecting: upper == b"UPDATE", ..Level::default() };
            }
            b"RECURSIVE" if level.is_naming => {}
            _ if begins_tables && !level.is_function => {
                (level.is_in_tables, level.is_expecting) = (true, true);
            }
            b"JOIN" | b"STRAIGHT_JOIN" | b"INTO" => level.is_expecting = true,
            b"ONLY" | b"LATERAL" | b"TABLE" if level.is_expecting => {}
            _ if self.dialect == Dialect::Mysql && operation::is_modifier(word) && level.is_expecting => {}
            _ if operation::ends_tables(upper) => {
                (level.is_in_tables, level.is_expecting) = (false, false);
            }
            _ => self.name(word),
        }
    }

    fn kind(&mut self, word: &[u8]) {
        if word.eq_ignore_ascii_case(b"MATERIALIZED") {
            return self.extend_operation(word);
        }
        if operation::is_noise(word) && !word.eq_ignore_ascii_case(b"TABLE") {
            return;
        }
        // CREATE ALGORITHM = … DEFINER = … SQL SECURITY … VIEW
        if self.dialect == Dialect::Mysql && !operation::is_kind_with_options(word) {
            self.reader.is_in_options |= operation::begins_options(word);
            if self.reader.is_in_options {
                return;
            }
        }
        self.extend_operation(word);
        self.names_other = !operation::has_rows(word);
        self.reader.level().is_expecting = true;
        self.reader.mode = Mode::Object;
    }

    fn object(&mut self, word: &[u8]) {
        if self.reader.level().is_expecting {
            if !operation::is_noise(word) {
                self.name(word);
            }
        } else if word.eq_ignore_ascii_case(b"AS") {
            self.reader.mode = Mode::Start;
        }
    }

    fn sign(&mut self, sign: &[u8]) {
        let is_named = !self.reader.name.is_empty();
        let is_query = self.reader.mode == Mode::Query && self.reader.level().is_in_tables;
        // A function that returns rows is no collection.
        self.end(!(sign == b"(" && is_query));
        match sign {
            b"(" => self.open(is_named),
            b")" => self.close(),
            b"," => {
                let level = self.reader.level();
                level.is_expecting = level.is_in_tables;
                level.is_naming = level.is_in_with;
            }
            _ => self.reader.level().is_expecting = false,
        }
        self.reader.last_word = Upper::NONE;
    }

    fn open(&mut self, is_named: bool) {
        if self.reader.levels.len() >= MAX_DEPTH {
            self.reader.too_deep += 1;
            return;
        }
        let is_function = operation::has_from_of_its_own(self.reader.last_word.as_slice());
        // `JOIN b USING (id)` has a list of columns, `FROM (a JOIN b …)` a list of tables.
        let is_columns = self.reader.last_word.as_slice() == b"USING";
        let is_expecting = std::mem::take(&mut self.reader.level().is_expecting) && !is_columns && !is_named;
        if is_expecting && self.reader.mode == Mode::Names {
            self.reader.mode = Mode::Start; // COPY (SELECT …)
        }
        self.reader.levels.push(Level {
            is_expecting,
            is_in_tables: is_expecting,
            is_function,
            ..Level::default()
        });
    }

    fn close(&mut self) {
        if self.reader.too_deep > 0 {
            self.reader.too_deep -= 1;
        } else {
            self.reader.levels.pop();
        }
    }

    /// Takes a name where one is expected.
    fn name(&mut self, name: &[u8]) {
        let level = self.reader.level();
        if std::mem::take(&mut level.is_naming) {
            if self.reader.expressions.len() < MAX_EXPRESSIONS {
                self.reader.expressions.push(name.to_ascii_lowercase());
            }
        } else if std::mem::take(&mut level.is_expecting) {
            self.reader.name = name.to_vec();
        }
    }

    fn name_part(&mut self, part: &[u8]) {
        self.reader.name.push(b'.');
        self.reader.name.extend_from_slice(part);
        self.reader.is_after_dot = false;
        self.reader.last_word = Upper::NONE;
    }

    /// Ends the name that is being read.
    pub(super) fn end_name(&mut self) {
        self.end(true);
    }

    fn end(&mut self, is_collection: bool) {
        self.reader.is_after_dot = false;
        let name = std::mem::take(&mut self.reader.name);
        let is_expression = |known: &Vec<u8>| known.eq_ignore_ascii_case(&name);
        if name.is_empty() || self.reader.expressions.iter().any(is_expression) {
            return;
        }
        let name = text::lossy(&name, MAX_SUMMARY_BYTES);
        let name = if name.contains('`') { without_backticks(name) } else { name };
        self.add(&name);
        if is_collection {
            self.target.add(name);
        }
    }

    fn operation(&mut self, word: &[u8]) {
        let word = text::lossy(word, MAX_SUMMARY_BYTES);
        if self.reader.main_operation.is_empty() {
            self.reader.main_operation = word.to_ascii_uppercase();
        }
        self.add(&word);
        self.operation.add(word);
    }

    /// Adds a word to the operation that was found last.
    fn extend_operation(&mut self, word: &[u8]) {
        let word = text::lossy(word, MAX_SUMMARY_BYTES);
        if let Several::One(operation) = &mut self.operation {
            operation.push(' ');
            operation.push_str(&word);
        }
        self.add(&word);
    }

    fn add(&mut self, word: &str) {
        let separator = usize::from(!self.text.is_empty());
        if self.text.len() + separator + word.len() > MAX_SUMMARY_BYTES {
            return;
        }
        if separator > 0 {
            self.text.push(' ');
        }
        self.text.push_str(word);
    }
}

/// Returns a name without backticks that it does not need.
fn without_backticks(name: String) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "_$.-`".contains(character);
    if name.chars().all(is_plain) && !name.contains("``") { name.replace('`', "") } else { name }
}

/// Returns whether `word` says what kind of thing a name names (`REINDEX INDEX i`, `REFRESH MATERIALIZED VIEW v`).
fn is_kind_of_name(word: &[u8]) -> bool {
    ["INDEX", "MATERIALIZED", "VIEW", "SCHEMA", "DATABASE", "SYSTEM"]
        .iter()
        .any(|kind| word.eq_ignore_ascii_case(kind.as_bytes()))
}
