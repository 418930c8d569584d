//! Names of topics and subscriptions.

use super::Operation;
use crate::protocol::{Name, set, text, words};
use crate::semconv::{self, Attributes};

/// Longest part of a name that is kept: Google allows 255 bytes.
const MAX_PART_BYTES: usize = 255;
/// What stands between the words of a name, by custom.
const SEPARATORS: [char; 3] = ['-', '.', '_'];

/// A topic (`projects/P/topics/T`) or a subscription (`projects/P/subscriptions/S`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) project: String,
    name: String,
    is_subscription: bool,
}

impl Resource {
    /// Returns what a path names; none where it is no path of these.
    pub(super) fn of(path: &[u8]) -> Option<Self> {
        let mut parts = path.split(|&byte| byte == b'/');
        if parts.next()? != b"projects" {
            return None;
        }
        let project = parts.next()?;
        let is_subscription = match parts.next()? {
            b"topics" => false,
            b"subscriptions" => true,
            _ => return None,
        };
        let name = parts.next().filter(|name| !name.is_empty())?;
        let text = |part| text::lossy(part, MAX_PART_BYTES);
        parts.next().is_none().then(|| Self { project: text(project), name: text(name), is_subscription })
    }

    /// Returns the name of a span.
    pub(super) fn name(&self, operation: Operation) -> Name {
        let template = words::template(&self.name, &SEPARATORS);
        Name { verb: format!("{} {template}", operation.name).into(), path: None }
    }

    /// Adds what names it.
    pub(super) fn describe(&self, attributes: &mut Attributes) {
        let template = words::template(&self.name, &SEPARATORS);
        set(attributes, semconv::REMORA_GCP_PROJECT_ID, self.project.clone());
        set(attributes, semconv::MESSAGING_DESTINATION_NAME, self.name.clone());
        if template != self.name {
            set(attributes, semconv::MESSAGING_DESTINATION_TEMPLATE, template.into_owned());
        }
        if self.is_subscription {
            set(attributes, semconv::MESSAGING_DESTINATION_SUBSCRIPTION_NAME, self.name.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_topics_and_subscriptions() {
        let topic = Resource::of(b"projects/shop/topics/orders").unwrap();
        assert_eq!((topic.project.as_str(), topic.name.as_str()), ("shop", "orders"));
        assert!(!topic.is_subscription);
        assert!(Resource::of(b"projects/shop/subscriptions/packing").unwrap().is_subscription);
        for path in
            [&b""[..], b"orders", b"projects/shop", b"projects/shop/topics/", b"projects/shop/snapshots/a"]
        {
            assert_eq!(Resource::of(path), None);
        }
    }

    #[test]
    fn names_are_of_low_cardinality() {
        let name = |path: &[u8]| Resource::of(path).unwrap().name(Operation::SEND).verb;
        assert_eq!(name(b"projects/p/topics/orders-eu"), "send orders-eu");
        assert_eq!(name(b"projects/p/topics/reply-700123"), "send reply-*");
    }
}
