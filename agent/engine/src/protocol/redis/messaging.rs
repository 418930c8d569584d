//! What is told of channels and streams in the words of the conventions for messaging.
//!
//! These are made for messages. Lists and sorted sets may hold anything, so that their commands are told as a
//! database's only.

use super::request::Words;
use crate::protocol::text::Lower;
use crate::protocol::{Category, Name, set, words};
use crate::semconv::{self, Attributes, Text};

/// `messaging.system`: the conventions know no value for Redis, and allow others.
const SYSTEM: &str = "redis";
/// What parts of a channel's or stream's name stand between.
const SEPARATORS: &[char] = &[':', '.', '/'];
/// What is done with a message that a channel brings.
const PROCESS: &str = "process";

/// An operation on a channel or a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    /// `messaging.operation.name`.
    name: &'static str,
    /// `messaging.operation.type`.
    kind: &'static str,
}

impl Operation {
    /// Returns what a command does with a channel or a stream; none where it does nothing with its messages.
    pub(super) fn of(words: &Words<'_>) -> Option<Self> {
        let (name, kind) = match Lower::of(words.kept.first()?).as_slice() {
            b"publish" | b"spublish" => ("publish", "send"),
            b"xadd" => ("send", "send"),
            b"xread" | b"xreadgroup" => ("receive", "receive"),
            b"xclaim" | b"xautoclaim" => ("claim", "receive"),
            b"xack" | b"xackdel" => ("ack", "settle"),
            _ => return None,
        };
        Some(Self { name, kind })
    }

    /// Returns the category of its span.
    pub(super) fn category(self) -> Category {
        if self.kind == "send" { Category::Send } else { Category::Receive }
    }

    /// Returns the name of its span, given the one queue that it is about.
    pub(super) fn span_name(self, destination: Option<&str>) -> Name {
        let verb =
            destination.map_or(Text::Static(self.name), |destination| named(self.name, destination).into());
        Name { verb, path: None }
    }

    /// Adds what is told of it. What it is about is told of lists as well.
    pub(super) fn describe(self, destination: Option<&str>, attributes: &mut Attributes) {
        set(attributes, semconv::MESSAGING_SYSTEM, SYSTEM);
        set(attributes, semconv::MESSAGING_OPERATION_NAME, self.name);
        set(attributes, semconv::MESSAGING_OPERATION_TYPE, self.kind);
        if let Some(destination) = destination {
            add_template(attributes, destination);
        }
    }
}

/// Returns the name of the span of a message that a channel has brought.
pub(super) fn processed(channel: &str) -> String {
    named(PROCESS, channel)
}

/// Adds what channels and streams of a kind have in common in their names, where it is not all.
pub(super) fn add_template(attributes: &mut Attributes, destination: &str) {
    let template = words::template(destination, SEPARATORS);
    if template != destination {
        set(attributes, semconv::MESSAGING_DESTINATION_TEMPLATE, template.into_owned());
    }
}

fn named(operation: &str, destination: &str) -> String {
    [operation, " ", &words::template(destination, SEPARATORS)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::redis::queues;

    fn words<'a>(command: &[&'a str]) -> Words<'a> {
        let kept: Vec<_> = command.iter().map(|word| word.as_bytes()).collect();
        let arguments = kept.len() as u64 - 1;
        Words { kept, arguments, beyond: None }
    }

    #[test]
    fn commands_on_channels_and_streams_are_operations() {
        for (command, expected) in [
            (&["PUBLISH", "news", "x"][..], Some(("publish news", "send"))),
            (&["spublish", "user:700123:inbox", "x"], Some(("publish user:*:inbox", "send"))),
            (&["XADD", "orders", "*", "a", "b"], Some(("send orders", "send"))),
            (&["XREAD", "STREAMS", "orders", "0"], Some(("receive orders", "receive"))),
            (&["XREAD", "STREAMS", "orders", "bills", "0", "0"], Some(("receive", "receive"))),
            (&["XAUTOCLAIM", "orders", "g", "c", "0", "0"], Some(("claim orders", "receive"))),
            (&["XACK", "orders", "g", "1-0"], Some(("ack orders", "settle"))),
            (&["XLEN", "orders"], None),
            (&["LPUSH", "orders", "x"], None),
            (&["SUBSCRIBE", "news"], None),
        ] {
            let words = words(command);
            let found = Operation::of(&words);
            let queue = queues::destination(&words, queues::usage(&words));
            let found = found.map(|operation| (operation.span_name(queue.as_deref()).verb, operation.kind));
            assert_eq!(found, expected.map(|(name, kind)| (name.into(), kind)), "{command:?}");
        }
    }
}
