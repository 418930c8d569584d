//! Subjects: which are somebody's own, and what spans are called after them.

use std::borrow::Cow;
use std::hash::{BuildHasher as _, Hash};

use super::SYSTEM;
use crate::protocol::{Name, set, text, words};
use crate::semconv::{self, Attributes, Text};

/// What clients begin the subjects with on which they await answers.
const INBOX: &[u8] = b"_INBOX.";
/// Longest subject that is kept.
const MAX_SUBJECT_BYTES: usize = 256;

/// Attributes for which there is room from the start.
const TYPICAL_ATTRIBUTES: usize = 8;

/// Returns whether answers are awaited on a subject.
pub(super) fn is_inbox(subject: &[u8]) -> bool {
    subject.starts_with(INBOX)
}

/// Returns whether a subject is one of those that a subscription's means: `*` is any token, `>` all that follow.
pub(super) fn matches(pattern: &[u8], subject: &[u8]) -> bool {
    let mut tokens = tokens(subject);
    for wanted in self::tokens(pattern) {
        let token = tokens.next();
        match (wanted, token) {
            (b">", Some(_)) => return true,
            (_, None) => return false,
            (b"*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// Returns what stands between the points of a subject.
pub(super) fn tokens(subject: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(subject);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let point = memchr::memchr(b'.', text);
        rest = point.and_then(|point| text.get(point + 1..));
        point.map_or(Some(text), |point| text.get(..point))
    })
}

/// Returns a subject as text.
pub(super) fn text_of(subject: &[u8]) -> String {
    text::lossy(subject, MAX_SUBJECT_BYTES)
}

/// Returns a number that is equal for equal things.
pub(super) fn hash(thing: &(impl Hash + ?Sized)) -> u64 {
    foldhash::quality::FixedState::default().hash_one(thing)
}

/// Returns the name of a span, which is the operation and the subject without its values, and the attributes that every
/// span has.
pub(super) fn describe(operation: Text, kind: Option<&'static str>, subject: &str) -> (Name, Attributes) {
    let template = template(subject);
    let verb = match &*template {
        "" => operation.clone(),
        template => [&operation, " ", template].concat().into(),
    };
    let mut attributes = Attributes::with_capacity(TYPICAL_ATTRIBUTES);
    set(&mut attributes, semconv::MESSAGING_SYSTEM, SYSTEM);
    set(&mut attributes, semconv::MESSAGING_OPERATION_NAME, operation);
    if let Some(kind) = kind {
        set(&mut attributes, semconv::MESSAGING_OPERATION_TYPE, kind);
    }
    if !subject.is_empty() {
        set(&mut attributes, semconv::MESSAGING_DESTINATION_NAME, subject.to_owned());
        if template.is_empty() {
            set(&mut attributes, semconv::MESSAGING_DESTINATION_TEMPORARY, true);
        } else if template != subject {
            set(&mut attributes, semconv::MESSAGING_DESTINATION_TEMPLATE, template.into_owned());
        }
    }
    (Name { verb, path: None }, attributes)
}

/// Returns a subject without its values; nothing of one that is somebody's own.
fn template(subject: &str) -> Cow<'_, str> {
    if is_inbox(subject.as_bytes()) {
        return Cow::Borrowed("");
    }
    words::template(subject, &['.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_their_subjects() {
        for (pattern, subject, expected) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a", true),
            ("a.b", "a.c", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), subject.as_bytes()), expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn names_are_of_low_cardinality() {
        for (subject, expected) in [
            ("orders.created", "send orders.created"),
            ("orders.700123.created", "send orders.*.created"),
            ("_INBOX.abc.def", "send"),
            ("$KV.settings.color", "send $KV.settings.color"),
        ] {
            assert_eq!(describe("send".into(), None, subject).0.verb, expected);
        }
    }
}
