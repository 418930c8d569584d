//! Commands that move messages: which of their arguments are messages, and what a reply to them holds.
//!
//! Lists, sorted sets, streams and channels are queues by the commands that are used on them; a script may be anything,
//! so that any long enough text in its arguments and replies may be a message. Commands that store and load values move
//! none.

use super::bullmq;
use super::request::Words;
use super::{MAX_BULK_BYTES, Watch};
use crate::mix::mix;
use crate::protocol::message_key::{Keys, MessageKey};
use crate::protocol::text::Lower;
use crate::protocol::{Source, WireContext, celery, context, text};

/// Names the keys' origin, so that no other system makes the same.
const SYSTEM: &str = "redis";
/// Longest name of a queue that is told.
const MAX_QUEUE_BYTES: usize = 128;

/// What a command does with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Its arguments from this one on are messages.
    Push(usize),
    /// `PUBLISH channel message`.
    Publish,
    /// `XADD key … id field value …`: the reply says where the message stands.
    Append,
    /// The reply is a message, or a list of them; `is_keyed` says that the queue's name comes first.
    Pop { queues: Queues, is_keyed: bool },
    /// The reply has entries of streams; `is_named` says that each stream is named in it.
    Read { queues: Queues, is_named: bool },
    /// A script: arguments and reply may be messages.
    Script,
    /// A script of BullMQ, whose jobs have numbers.
    Jobs(bullmq::Script),
}

/// Where the queues' names stand among the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queues {
    /// The first argument.
    First,
    /// All but the last argument, which is a timeout.
    ButLast,
    /// As many as the argument at this place says, behind it.
    Counted(usize),
    /// The first half of what follows `STREAMS`.
    Streams,
}

/// Returns what a command does with messages; none where it moves none.
pub(super) fn usage(words: &Words<'_>) -> Option<Use> {
    let name = Lower::of(words.kept.first()?);
    let pop = |queues, is_keyed| Some(Use::Pop { queues, is_keyed });
    match name.as_slice() {
        b"lpush" | b"rpush" | b"lpushx" | b"rpushx" => Some(Use::Push(2)),
        b"zadd" => Some(Use::Push(3)),
        b"publish" | b"spublish" => Some(Use::Publish),
        b"xadd" => Some(Use::Append),
        b"lpop" | b"rpop" | b"lmove" | b"blmove" | b"rpoplpush" | b"brpoplpush" | b"zpopmin" | b"zpopmax" => {
            pop(Queues::First, false)
        }
        b"blpop" | b"brpop" | b"bzpopmin" | b"bzpopmax" => pop(Queues::ButLast, true),
        b"lmpop" | b"zmpop" => pop(Queues::Counted(1), true),
        b"blmpop" | b"bzmpop" => pop(Queues::Counted(2), true),
        b"xread" | b"xreadgroup" => Some(Use::Read { queues: Queues::Streams, is_named: true }),
        b"xclaim" | b"xautoclaim" => Some(Use::Read { queues: Queues::First, is_named: false }),
        b"eval" | b"evalsha" | b"fcall" => Some(bullmq::script(words).map_or(Use::Script, Use::Jobs)),
        _ => None,
    }
}

/// Returns whether the beginning of a long argument is wanted, which follows these words.
pub(super) fn is_message(words: &Words<'_>, index: usize) -> bool {
    match usage(words) {
        Some(Use::Push(first)) => index >= first,
        Some(Use::Publish) => index == 2,
        Some(Use::Script) => first_argument(words).is_some_and(|first| index >= first),
        _ => false,
    }
}

/// Returns the messages that a command hands over.
pub(super) fn sent(words: &Words<'_>, usage: Option<Use>) -> Keys {
    let mut keys = Keys::default();
    let first = match usage {
        Some(Use::Push(first)) => first,
        Some(Use::Script) => first_argument(words).unwrap_or(usize::MAX),
        Some(Use::Publish) => {
            if let (Some(channel), Some((length, message))) = (words.kept.get(1), words.argument(2)) {
                keys.add(published(channel, length, message));
            }
            return keys;
        }
        _ => return keys,
    };
    for index in first..words.kept.len() + 1 {
        let Some((length, content)) = words.argument(index) else { continue };
        if let Some(key) = MessageKey::of_content(SYSTEM, length, content) {
            keys.add(key);
        }
    }
    keys
}

/// Returns the queues that a command asks for messages, in whatever order; none where it asks for none.
pub(super) fn source(words: &Words<'_>, usage: Option<Use>) -> Option<Source> {
    let queues = match usage? {
        Use::Pop { queues, .. } | Use::Read { queues, .. } => queues,
        Use::Jobs(bullmq::Script::Take) => {
            let queue = bullmq::queue(words)?;
            let name = only(&[bullmq::name(queue)]);
            return Some(Source { hash: hash(queue), name, may_wait: false });
        }
        _ => return None,
    };
    let names = queue_names(words, queues);
    let hash = names.iter().map(|name| hash(name)).fold(0, |all, one| all ^ one);
    let name = only(names);
    let lower = Lower::of(words.kept.first()?);
    let command = lower.as_slice();
    let has_block = || words.kept.iter().any(|word| word.eq_ignore_ascii_case(b"block"));
    Some(Source {
        hash,
        name,
        may_wait: command.starts_with(b"b") || (command.starts_with(b"xread") && has_block()),
    })
}

fn hash(name: &[u8]) -> u64 {
    name.iter().fold(1, |hash, &byte| mix(hash ^ u64::from(byte)))
}

/// Returns the name of the only queue there is.
fn only(names: &[&[u8]]) -> Option<String> {
    match names {
        [name] => told(name),
        _ => None,
    }
}

/// Returns the name of a queue; none where it is too long to be one.
pub(super) fn told(queue: &[u8]) -> Option<String> {
    (queue.len() <= MAX_QUEUE_BYTES).then(|| name(queue))
}

/// Returns the queue that a command puts messages into, takes them from or settles them in; none where it is not known
/// to be one, or where there are several.
pub(super) fn destination(words: &Words<'_>, usage: Option<Use>) -> Option<String> {
    let names = match usage {
        Some(Use::Pop { queues, .. } | Use::Read { queues, .. }) => queue_names(words, queues),
        Some(Use::Publish | Use::Append) => queue_names(words, Queues::First),
        // A list or a sorted set may be something else, and a script anything.
        Some(Use::Push(_) | Use::Script | Use::Jobs(_)) => return None,
        None if is_settling(words) => queue_names(words, Queues::First),
        None => return None,
    };
    only(names)
}

/// Returns whether a command publishes what is repeated all the time, and means nothing.
pub(super) fn is_routine(words: &Words<'_>) -> bool {
    matches!(usage(words), Some(Use::Publish))
        && words.kept.get(1).is_some_and(|channel| celery::is_heartbeat_channel(channel))
}

fn is_settling(words: &Words<'_>) -> bool {
    let name = words.kept.first();
    name.is_some_and(|name| {
        [&b"xack"[..], b"xackdel"].iter().any(|settles| name.eq_ignore_ascii_case(settles))
    })
}

/// Returns the group of consumers for which a command reads or settles messages.
pub(super) fn consumer_group(words: &Words<'_>) -> Option<String> {
    let command = Lower::of(words.kept.first()?);
    let group = match command.as_slice() {
        b"xack" | b"xackdel" | b"xclaim" | b"xautoclaim" => words.kept.get(2),
        b"xreadgroup" if words.kept.get(1)?.eq_ignore_ascii_case(b"group") => words.kept.get(2),
        _ => None,
    };
    group.filter(|group| group.len() <= MAX_QUEUE_BYTES).map(|group| name(group))
}

/// Returns the trace contexts in the messages that a command hands over, each once.
pub(super) fn carried(words: &Words<'_>, usage: Option<Use>) -> Vec<WireContext> {
    let mut contexts: Vec<WireContext> = Vec::new();
    let mut carry = |context: Option<WireContext>| {
        if let Some(context) = context.filter(|context| !contexts.contains(context)) {
            contexts.push(context);
        }
    };
    let first = match usage {
        Some(Use::Push(first)) => first,
        Some(Use::Publish) => 2,
        Some(Use::Script) => first_argument(words).unwrap_or(usize::MAX),
        Some(Use::Append) => {
            let parent = words.kept.iter().position(|word| *word == b"traceparent");
            let parent = parent.and_then(|at| words.kept.get(at + 1));
            carry(parent.and_then(|parent| context::of_w3c(&[parent], &[])));
            return contexts;
        }
        _ => return contexts,
    };
    for index in first..words.kept.len() + 1 {
        carry(words.argument(index).and_then(|(_, content)| context::of_text(content)));
    }
    contexts
}

fn queue_names<'w, 'a>(words: &'w Words<'a>, queues: Queues) -> &'w [&'a [u8]] {
    let kept = words.kept.as_slice();
    let range = match queues {
        Queues::First => 1..2,
        Queues::ButLast => 1..usize::try_from(words.arguments).unwrap_or(usize::MAX).min(kept.len()),
        Queues::Counted(at) => {
            let count = kept.get(at).and_then(|count| text::decimal(count));
            let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
            at + 1..(at + 1).saturating_add(count).min(kept.len())
        }
        Queues::Streams => {
            let keyword = kept.iter().position(|word| word.eq_ignore_ascii_case(b"streams"));
            let first = keyword.map_or(kept.len(), |at| at + 1);
            first..first + kept.len().saturating_sub(first).div_ceil(2)
        }
    };
    kept.get(range).unwrap_or_default()
}

/// Returns the place of a script's first argument, after its keys.
pub(super) fn first_argument(words: &Words<'_>) -> Option<usize> {
    let keys = text::decimal(words.kept.get(2)?)?;
    usize::try_from(keys).ok()?.checked_add(3)
}

/// Returns what is to be looked for in the reply of a command.
pub(super) fn watch(words: &Words<'_>) -> Watch {
    let first_key = || words.kept.get(1).copied().map_or(0, stream);
    match usage(words) {
        Some(Use::Pop { is_keyed, .. }) => Watch::Elements { is_keyed },
        Some(Use::Read { is_named: true, .. }) => Watch::Entries { stream: 0, depth: 0 },
        Some(Use::Read { is_named: false, .. }) => {
            // `XAUTOCLAIM` says first where to go on.
            let is_auto = words.kept.first().is_some_and(|name| name.eq_ignore_ascii_case(b"xautoclaim"));
            Watch::Entries { stream: first_key(), depth: if is_auto { 3 } else { 2 } }
        }
        Some(Use::Append) => Watch::Position { stream: first_key() },
        Some(Use::Script) => Watch::Texts,
        Some(Use::Jobs(script)) => {
            let queue = bullmq::queue(words).map_or(0, stream);
            match script {
                bullmq::Script::Add { .. } => Watch::Added { queue, depth: 0 },
                bullmq::Script::Take => Watch::Taken { queue },
            }
        }
        Some(Use::Push(_) | Use::Publish) | None => Watch::Nothing,
    }
}

/// Returns the key of a message that stands alone for itself, where it can be told from others.
pub(super) fn content(length: u64, beginning: &[u8]) -> Option<MessageKey> {
    MessageKey::of_content(SYSTEM, length.min(MAX_BULK_BYTES), beginning)
}

/// Returns the channel as the source of what it brings.
pub(super) fn channel(channel: &[u8]) -> Source {
    Source { hash: hash(channel), name: told(channel), may_wait: false }
}

/// Returns the name of a queue as it is told.
pub(super) fn name(name: &[u8]) -> String {
    text::lossy(name, MAX_QUEUE_BYTES)
}

/// Returns the key of an entry of a stream, which is exact.
pub(super) fn entry(stream: u64, id: &[u8]) -> MessageKey {
    MessageKey::of_place(SYSTEM, &[&stream.to_be_bytes(), id])
}

/// Returns the key of a job of a queue, which is exact: other servers have other jobs of the same number, made at other
/// times.
pub(super) fn job(queue: u64, id: &[u8], made_at_ms: u64) -> MessageKey {
    MessageKey::of_place(SYSTEM, &[b"job", &queue.to_be_bytes(), id, &made_at_ms.to_be_bytes()])
}

/// Returns when the job was made that a command adds, in milliseconds; none where it adds none.
pub(super) fn job_made_at_ms(words: &Words<'_>) -> Option<u64> {
    match usage(words)? {
        Use::Jobs(bullmq::Script::Add { made_at_ms }) => Some(made_at_ms),
        _ => None,
    }
}

/// Returns what stands for the name of a stream, or of a queue of jobs.
pub(super) fn stream(name: &[u8]) -> u64 {
    name.iter().fold(2, |hash, &byte| mix(hash ^ u64::from(byte)))
}

/// Returns the key of a message on a channel.
pub(super) fn published(channel: &[u8], length: u64, beginning: &[u8]) -> MessageKey {
    let beginning = beginning.get(..crate::protocol::message_key::KEYED_BYTES).unwrap_or(beginning);
    MessageKey::of_broadcast(SYSTEM, &[channel, &length.to_be_bytes(), beginning])
}

/// Returns whether a text has the form of an entry's id: `1700000000000-0`.
pub(super) fn is_entry_id(text: &[u8]) -> bool {
    let mut parts = text.split(|&byte| byte == b'-');
    let is_number = |part: Option<&[u8]>| {
        part.is_some_and(|part| (1..=20).contains(&part.len()) && part.iter().all(u8::is_ascii_digit))
    };
    is_number(parts.next()) && is_number(parts.next()) && parts.next().is_none()
}
