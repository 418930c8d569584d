//! What a command asks for, and what is recorded of it.

use super::bson::{Element, Elements, kind};
use super::sections::Sections;
use super::shape::Shape;
use crate::protocol::{Category, Name, Request, WireContext, context, set, text};
use crate::semconv::{self, Attributes, Text};

/// Longest name of a command, and of a collection or database.
const MAX_COMMAND_BYTES: usize = 64;
const MAX_NAMESPACE_BYTES: usize = 255;

/// Those that most programs send.
const USUAL: [&str; 6] = ["find", "insert", "update", "delete", "aggregate", "getMore"];
/// Commands by which a driver looks after its connections: each new one, and each server every ten seconds. They are no
/// spans.
const OF_CONNECTIONS: [&str; 2] = ["hello", "ismaster"];
/// Commands of which nothing is shown: what follows are secrets, or may be.
const SECRET: [&str; 10] = [
    "authenticate",
    "copydb",
    "copydbgetnonce",
    "copydbsaslstart",
    "createUser",
    "getnonce",
    "logout",
    "saslContinue",
    "saslStart",
    "updateUser",
];

/// What is recorded of commands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// Values are replaced by `?`.
    pub(super) redact: bool,
    /// Longest text.
    pub(super) max_bytes: usize,
    /// Key of the hashes of ids.
    pub(super) mark_key: Option<u64>,
}

/// What a command asks for.
#[derive(Debug)]
pub(super) struct Command {
    /// What is told of it; nothing where it only looks after the connection.
    pub(super) request: Option<Box<Request>>,
    /// Its name tells that documents which follow it are counted.
    pub(super) is_batch: bool,
    /// Where the fields of the body begin that are not there.
    pub(super) cut_at: Option<usize>,
}

/// Returns what a message asks for; none where it has no command.
pub(super) fn of_sections(sections: &Sections<'_>, options: Options) -> Option<Command> {
    let body = sections.body?;
    read(body.bytes, None, sections, options)
}

/// Returns what a query of before `OP_MSG` asks for. `target` is the database and the collection, with a point between
/// them; the collection `$cmd` is none, and stands for a command.
pub(super) fn of_query(target: &[u8], body: &[u8], options: Options) -> Option<Command> {
    let point = memchr::memchr(b'.', target)?;
    let (database, collection) = (target.get(..point)?, target.get(point + 1..)?);
    if collection == b"$cmd" {
        // The command may be wrapped, to stand beside a read preference.
        let wrapped = Elements::of(body)?.next().filter(|first| first.name == b"$query");
        let body = wrapped.map_or(body, |wrapped| wrapped.value);
        return read(body, Some(database), &Sections::default(), options);
    }
    let mut facts = Facts { collection: Some(collection), database: Some(database), ..Facts::default() };
    let mut shape = Shape::new(options.redact, options.max_bytes, options.mark_key);
    shape.begin("find", Some(collection), None);
    let mut elements = Elements::of(body)?;
    elements.by_ref().for_each(|element| facts.take("find", &element, &mut shape));
    Some(facts.finish("find", shape, None))
}

fn read(body: &[u8], database: Option<&[u8]>, sections: &Sections<'_>, options: Options) -> Option<Command> {
    let mut elements = Elements::of(body)?;
    let first = elements.next()?;
    let name = name(first.name);
    if lists_in_any_case(&OF_CONNECTIONS, name) {
        return Some(Command { request: None, is_batch: false, cut_at: None });
    }
    let is_secret = SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret));
    let mut shape = Shape::new(options.redact, options.max_bytes, options.mark_key.filter(|_| !is_secret));
    let mut facts = Facts { database, is_secret, ..Facts::default() };
    facts.collection = collection(name, &first);
    let value = if is_secret { None } else { Some(&first) };
    shape.begin(name, facts.collection, value);
    elements.by_ref().for_each(|element| facts.take(name, &element, &mut shape));
    facts.cut_at = elements.unread();
    for (identifier, documents) in sections.sequences.iter().filter(|_| !is_secret) {
        if is_data(name, identifier) {
            shape.data(identifier);
        } else {
            shape.documents(identifier, documents.bytes);
        }
        if facts.batch.is_none() && !documents.is_cut() {
            facts.batch = count(documents.bytes);
        }
    }
    let is_partial = sections.sequences.iter().any(|(_, documents)| documents.is_cut());
    Some(facts.finish(name, shape, Some(is_partial)))
}

/// What the fields of a command say.
#[derive(Debug, Default)]
struct Facts<'a> {
    collection: Option<&'a [u8]>,
    database: Option<&'a [u8]>,
    batch: Option<u64>,
    context: Option<WireContext>,
    cut_at: Option<usize>,
    is_secret: bool,
}

impl<'a> Facts<'a> {
    fn take(&mut self, command: &str, element: &Element<'a>, shape: &mut Shape) {
        match element.name {
            b"$db" => self.database = element.text(),
            b"comment" => self.context = commented(element),
            b"collection" if command.eq_ignore_ascii_case("getMore") => {
                self.collection = element.text();
                return shape.collection(element.name, element.text().unwrap_or_default());
            }
            _ => {}
        }
        if self.is_secret {
            return;
        }
        if is_batch(command) && matches!(element.name, b"documents" | b"updates" | b"deletes") {
            self.batch = element.elements().filter(|_| !element.is_cut()).map(|items| items.count() as u64);
        }
        if is_data(command, element.name) {
            shape.data(element.name);
        } else {
            shape.field(element);
        }
    }

    fn finish(self, command: &str, shape: Shape, is_partial: Option<bool>) -> Command {
        let collection = self.collection.map(|name| text::lossy(name, MAX_NAMESPACE_BYTES));
        let database = self.database.map(|name| text::lossy(name, MAX_NAMESPACE_BYTES));
        let summary = match collection.as_ref().or(database.as_ref()) {
            Some(target) => [command, " ", target].concat(),
            None => command.to_owned(),
        };
        let mut attributes = Attributes::with_capacity(8);
        set(&mut attributes, semconv::DB_SYSTEM_NAME, "mongodb");
        set(&mut attributes, semconv::DB_OPERATION_NAME, operation(command));
        if let Some(collection) = collection {
            set(&mut attributes, semconv::DB_COLLECTION_NAME, collection);
        }
        if let Some(database) = database {
            set(&mut attributes, semconv::DB_NAMESPACE, database);
        }
        if let Some(batch) = self.batch.filter(|&batch| batch > 1).and_then(|batch| i64::try_from(batch).ok())
        {
            set(&mut attributes, semconv::DB_OPERATION_BATCH_SIZE, batch);
        }
        let is_partial = is_partial.unwrap_or(false) || self.cut_at.is_some();
        let (text, marks) = shape.finish(is_partial);
        set(&mut attributes, semconv::DB_QUERY_SUMMARY, summary.clone());
        set(&mut attributes, semconv::DB_QUERY_TEXT, text);
        let request = Request {
            name: Name { verb: summary.into(), path: None },
            attributes,
            context: self.context,
            marks,
            category: Category::Database,
            ..Request::default()
        };
        Command { request: Some(Box::new(request)), is_batch: is_batch(command), cut_at: self.cut_at }
    }
}

/// Returns the database that the last fields of a command name.
pub(super) fn database(elements: Elements<'_>) -> Option<String> {
    let mut elements = elements.filter(|element| element.name == b"$db");
    elements.next().and_then(|element| element.text()).map(|name| text::lossy(name, MAX_NAMESPACE_BYTES))
}

/// Returns the name of a command as it may be told.
fn name(name: &[u8]) -> &str {
    let is_name = (1..=MAX_COMMAND_BYTES).contains(&name.len())
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    str::from_utf8(name).ok().filter(|_| is_name).unwrap_or("_OTHER")
}

/// Returns the name of a command as text, which is known beforehand for most.
fn operation(command: &str) -> Text {
    let usual = USUAL.into_iter().find(|usual| *usual == command);
    usual.map_or_else(|| command.to_owned().into(), Text::Static)
}

/// Returns whether the name of a command is followed by a collection's.
fn is_of_collection(command: &str) -> bool {
    matches!(
        command,
        "aggregate"
            | "analyze"
            | "collMod"
            | "collStats"
            | "collstats"
            | "compact"
            | "convertToCapped"
            | "count"
            | "create"
            | "createIndexes"
            | "createSearchIndexes"
            | "delete"
            | "distinct"
            | "drop"
            | "dropIndexes"
            | "find"
            | "findAndModify"
            | "findandmodify"
            | "insert"
            | "killCursors"
            | "listIndexes"
            | "listSearchIndexes"
            | "mapReduce"
            | "mapreduce"
            | "planCacheClear"
            | "planCacheListFilters"
            | "reIndex"
            | "update"
            | "updateSearchIndex"
            | "dropSearchIndex"
            | "validate"
    )
}

/// Returns the collection that the first field names, or the first field of the command that it explains.
fn collection<'a>(command: &str, first: &Element<'a>) -> Option<&'a [u8]> {
    if command == "explain" {
        let explained = first.elements()?.next()?;
        return collection(str::from_utf8(explained.name).ok()?, &explained);
    }
    first.text().filter(|_| is_of_collection(command))
}

fn is_batch(command: &str) -> bool {
    matches!(command, "insert" | "update" | "delete" | "bulkWrite")
}

/// Returns whether a field or sequence holds the program's own documents.
fn is_data(command: &str, name: &[u8]) -> bool {
    command == "insert" && name == b"documents"
}

fn lists_in_any_case(names: &[&str], name: &str) -> bool {
    names.iter().any(|listed| name.eq_ignore_ascii_case(listed))
}

/// Returns the number of whole documents; none where something else is among them.
fn count(mut documents: &[u8]) -> Option<u64> {
    let mut count = 0;
    while !documents.is_empty() {
        documents = documents.get(super::bson::document_length(documents)?..)?;
        count += 1;
    }
    Some(count)
}

/// Returns the trace context of a comment: a document with the fields of W3C Trace Context, or a text such as
/// `traceparent='00-…-01'`.
fn commented(comment: &Element<'_>) -> Option<WireContext> {
    if comment.kind == kind::DOCUMENT {
        let named = |name: &'static [u8]| {
            let mut fields = comment.elements().into_iter().flatten();
            fields.find(|field| field.name == name).and_then(|field| field.text())
        };
        let state = named(b"tracestate");
        return context::of_w3c(&[named(b"traceparent")?], state.as_slice());
    }
    context::of_text(comment.text()?)
}
