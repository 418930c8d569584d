//! What a command means for what follows, and what is recorded of it.

use super::messaging::Operation;
use super::request::Words;
use super::{known, queues};
use crate::protocol::marks::{Marks, Search};
use crate::protocol::text::Lower;
use crate::protocol::{Category, Name, Request, set, text};
use crate::semconv::{self, Attributes};

/// Most arguments that `db.query.text` shows one by one.
const MAX_SHOWN_ARGUMENTS: u64 = 16;
/// Longest argument that is shown where arguments are shown, in bytes.
const MAX_ARGUMENT_BYTES: usize = 64;

/// Attributes for which there is room from the start.
const TYPICAL_ATTRIBUTES: usize = 5;

/// What is recorded of commands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// Arguments are replaced by `?`.
    pub(super) redact: bool,
    /// Key of the hashes of ids.
    pub(super) mark_key: Option<u64>,
}

/// What a command means for what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// One reply, and nothing else.
    Plain,
    /// `SELECT`: another database; none where the argument is no number.
    Select(Option<u64>),
    /// `MULTI`: commands are queued from here on.
    Multi,
    /// `EXEC`: the queued ones are executed.
    Exec,
    /// `DISCARD`: they are not.
    Discard,
    /// `RESET`: the connection is as new.
    Reset,
    /// `SUBSCRIBE`, `PSUBSCRIBE`, `SSUBSCRIBE`: one confirmation for each channel.
    Subscribe { kind: Channels, count: u64 },
    /// The opposite; without channels, one confirmation for each there is.
    Unsubscribe { kind: Channels, count: u64 },
    /// `CLIENT REPLY ON`.
    ReplyOn,
    /// `CLIENT REPLY OFF`.
    ReplyOff,
    /// `CLIENT REPLY SKIP`.
    ReplySkip,
    /// `MONITOR`: after the reply the server tells what others do.
    Monitor,
    /// `SYNC`, `PSYNC`: the connection carries replication.
    Replicate,
}

/// Kinds of subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channels {
    /// By name.
    Named,
    /// By pattern.
    Patterns,
    /// By name, in a shard.
    Sharded,
}

/// Returns what a command means for what follows.
pub(super) fn meaning(words: &Words<'_>) -> Meaning {
    let mut lower = words.kept.iter().map(|word| Lower::of(word));
    let name = lower.next().unwrap_or(Lower::of(b""));
    let count = words.arguments;
    match name.as_slice() {
        b"select" => Meaning::Select(words.kept.get(1).and_then(|index| text::decimal(index))),
        b"multi" => Meaning::Multi,
        b"exec" => Meaning::Exec,
        b"discard" => Meaning::Discard,
        b"reset" => Meaning::Reset,
        b"subscribe" => Meaning::Subscribe { kind: Channels::Named, count },
        b"psubscribe" => Meaning::Subscribe { kind: Channels::Patterns, count },
        b"ssubscribe" => Meaning::Subscribe { kind: Channels::Sharded, count },
        b"unsubscribe" => Meaning::Unsubscribe { kind: Channels::Named, count },
        b"punsubscribe" => Meaning::Unsubscribe { kind: Channels::Patterns, count },
        b"sunsubscribe" => Meaning::Unsubscribe { kind: Channels::Sharded, count },
        b"monitor" => Meaning::Monitor,
        b"sync" | b"psync" => Meaning::Replicate,
        b"client" if lower.next().is_some_and(|word| word.as_slice() == b"reply") => {
            match lower.next().unwrap_or(Lower::of(b"")).as_slice() {
                b"on" => Meaning::ReplyOn,
                b"off" => Meaning::ReplyOff,
                b"skip" => Meaning::ReplySkip,
                _ => Meaning::Plain,
            }
        }
        _ => Meaning::Plain,
    }
}

/// Returns what is recorded of a command. `batch` is the number of commands that it executes.
pub(super) fn request(
    words: &Words<'_>,
    options: Options,
    database: Option<u64>,
    batch: Option<i64>,
) -> Request {
    let name = name(words);
    let (operation, usage) = (Operation::of(words), queues::usage(words));
    let queue = queues::destination(words, usage);
    let span_name = operation.map(|operation| operation.span_name(queue.as_deref()));
    let mut attributes = Attributes::with_capacity(TYPICAL_ATTRIBUTES);
    set(&mut attributes, semconv::DB_SYSTEM_NAME, "redis");
    set(&mut attributes, semconv::DB_OPERATION_NAME, name.clone());
    if let Some(database) = database {
        set(&mut attributes, semconv::DB_NAMESPACE, database.to_string());
    }
    if let Some(batch) = batch.filter(|&batch| batch != 1) {
        set(&mut attributes, semconv::DB_OPERATION_BATCH_SIZE, batch);
    }
    if let Some(procedure) = procedure(words) {
        set(&mut attributes, semconv::DB_STORED_PROCEDURE_NAME, procedure);
    }
    set(&mut attributes, semconv::DB_QUERY_TEXT, query_text(&name, words, options.redact));
    if let Some(queue) = queue.clone() {
        set(&mut attributes, semconv::MESSAGING_DESTINATION_NAME, queue);
    }
    if let Some(group) = queues::consumer_group(words) {
        set(&mut attributes, semconv::MESSAGING_CONSUMER_GROUP_NAME, group);
    }
    if let Some(operation) = operation {
        operation.describe(queue.as_deref(), &mut attributes);
    }
    Request {
        name: span_name.unwrap_or(Name { verb: name.into(), path: None }),
        attributes,
        marks: marks(words, options.mark_key),
        category: operation.map_or(Category::Database, Operation::category),
        sent: queues::sent(words, usage),
        // Who hands a message over may not be who made it: what it carries is no parent.
        carried: queues::carried(words, usage),
        source: queues::source(words, usage),
        is_routine: queues::is_routine(words),
        ..Request::default()
    }
}

/// Returns what a command's keys and values are about; nothing of passwords.
fn marks(words: &Words<'_>, key: Option<u64>) -> Marks {
    let mut search = Search::new(key);
    let (first, arguments) =
        words.kept.split_first().map_or((&[][..], &[][..]), |(first, rest)| (*first, rest));
    if !known::is_secret(first) {
        arguments.iter().for_each(|argument| search.text(argument));
    }
    if words.arguments > arguments.len() as u64 {
        search.skip();
    }
    search.finish()
}

/// Returns the command's name as it was sent, with its second word where it has one.
fn name(words: &Words<'_>) -> String {
    let first = words.kept.first().copied().unwrap_or_default();
    if !known::is_name(first) {
        return "_OTHER".to_owned();
    }
    let first_text = text::lossy(first, first.len());
    match second_word(words) {
        Some(second) => format!("{first_text} {}", text::lossy(second, second.len())),
        None => first_text,
    }
}

fn second_word<'a>(words: &Words<'a>) -> Option<&'a [u8]> {
    let first = words.kept.first().copied()?;
    words.kept.get(1).copied().filter(|second| known::is_container(first) && known::is_name(second))
}

/// Returns the digest of a script or the name of a function.
fn procedure(words: &Words<'_>) -> Option<String> {
    let first = Lower::of(words.kept.first()?);
    let is_called = matches!(first.as_slice(), b"evalsha" | b"evalsha_ro" | b"fcall" | b"fcall_ro");
    words.kept.get(1).filter(|_| is_called).map(|name| text::lossy(name, MAX_ARGUMENT_BYTES))
}

fn query_text(name: &str, words: &Words<'_>, redact: bool) -> String {
    let first = words.kept.first().copied().unwrap_or_default();
    let named = if second_word(words).is_some() { 2 } else { 1 };
    let arguments = (words.arguments + 1).saturating_sub(named);
    let is_shown = !redact && !known::is_secret(first);
    let mut text = String::with_capacity(name.len() + 2 * words.kept.len());
    text.push_str(name);
    for at in 0..arguments.min(MAX_SHOWN_ARGUMENTS) {
        let argument = usize::try_from(at + named).ok().and_then(|at| words.kept.get(at));
        text.push(' ');
        match argument {
            Some(argument) if is_shown => text.push_str(&text::lossy(argument, MAX_ARGUMENT_BYTES)),
            _ => text.push('?'),
        }
    }
    if arguments > MAX_SHOWN_ARGUMENTS {
        text.push_str(&format!(" ... ({arguments} arguments)"));
    }
    text
}
