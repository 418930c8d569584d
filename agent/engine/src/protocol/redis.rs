//! Redis: RESP2 and RESP3 (redis.io, "Redis serialization protocol specification"), and inline commands.
//!
//! Replies come in the order of commands, except what the server pushes and what the client asked not to be told. A
//! command is read as far as its name and a few arguments; the rest of commands and replies is walked over by its
//! structure, large strings without being seen.

mod bullmq;
mod command;
mod detect;
mod known;
mod messaging;
mod parser;
mod queues;
mod reply;
mod request;
mod sightings;
mod subscriptions;

use super::{Conversation, Detection, Parser, Protocol};

/// Redis.
#[derive(Debug)]
pub struct Redis;

impl Protocol for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn detect(&self, bytes: &[u8]) -> Detection {
        detect::detect(bytes)
    }

    /// Elements of a reply say their lengths one by one, so that all of them must be seen.
    fn capture_bytes(&self) -> u32 {
        16 << 10
    }

    fn detect_exchange(&self, asked: &[u8], answered: &[u8]) -> bool {
        detect::detect_exchange(asked, answered)
    }

    fn parser(&self, conversation: &Conversation<'_>) -> Box<dyn Parser> {
        let Conversation { settings, is_start, .. } = conversation;
        Box::new(parser::RedisParser::new(settings, *is_start))
    }
}

/// Longest line with a type and a length or number: a sign, 19 digits and what surrounds them.
const MAX_LENGTH_LINE_BYTES: usize = 32;
/// Longest string (`proto-max-bulk-len` is 512 MiB unless changed).
const MAX_BULK_BYTES: u64 = 1 << 32;

/// What is looked for in a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Watch {
    /// Nothing.
    #[default]
    Nothing,
    /// Messages, all of them; `is_keyed` says that the queue's name comes first.
    Elements { is_keyed: bool },
    /// Entries of a stream, whose ids stand within as many aggregates; where it is 0, the text before them names it.
    Entries { stream: u64, depth: usize },
    /// Where an entry was appended to a stream.
    Position { stream: u64 },
    /// Texts that may be messages.
    Texts,
    /// A message on a channel.
    Push,
    /// The id of a job that was added to a queue, within as many aggregates.
    Added { queue: u64, depth: usize },
    /// A job of a queue, and its id behind it.
    Taken { queue: u64 },
}

impl Watch {
    /// Returns what is to be looked for where the reply is an element of another.
    fn within(self) -> Self {
        match self {
            Watch::Entries { stream, depth } if stream != 0 => Watch::Entries { stream, depth: depth + 1 },
            Watch::Added { queue, depth } => Watch::Added { queue, depth: depth + 1 },
            Watch::Taken { .. } => Watch::Nothing,
            other => other,
        }
    }

    /// Returns whether it takes any string for what it looks for, so that nothing else may be among them.
    fn is_unchecked(self) -> bool {
        matches!(self, Watch::Added { .. })
    }
}

/// What a line with a type and a length says.
enum LengthLine {
    /// The length, or none for `?`; and the bytes of the line.
    Is(Option<i64>, usize),
    /// The line has not ended.
    Unfinished,
    /// It is no such line.
    Wrong,
}

/// Reads the line at the beginning of `bytes`: any type byte, a number or `?`, CR and LF.
fn length_line(bytes: &[u8]) -> LengthLine {
    let shown = bytes.get(..MAX_LENGTH_LINE_BYTES).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', shown) else {
        let is_plausible = shown.iter().skip(1).all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'?' | b'\r'));
        return if is_plausible && shown.len() < MAX_LENGTH_LINE_BYTES {
            LengthLine::Unfinished
        } else {
            LengthLine::Wrong
        };
    };
    let number = shown.get(1..end).and_then(|line| line.strip_suffix(b"\r"));
    match number {
        Some(b"?") => LengthLine::Is(None, end + 1),
        Some(b"-1") => LengthLine::Is(Some(-1), end + 1),
        Some(digits) => match super::text::decimal(digits).and_then(|number| i64::try_from(number).ok()) {
            Some(number) => LengthLine::Is(Some(number), end + 1),
            None => LengthLine::Wrong,
        },
        None => LengthLine::Wrong,
    }
}
