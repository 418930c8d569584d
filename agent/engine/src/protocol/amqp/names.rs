//! Destinations and spans' names, by the OpenTelemetry conventions for RabbitMQ.

use std::borrow::Cow;
use std::hash::{BuildHasher as _, Hash};

use super::content::SYSTEM;
use crate::protocol::{Name, set, text, words};
use crate::semconv::{self, Attributes};

/// Longest name that AMQP allows (a short string).
const MAX_NAME_BYTES: usize = 255;
/// Destination of what is sent to the default exchange without a routing key.
const DEFAULT: &str = "amq.default";
/// Beginnings of names that the server makes up.
const GENERATED: [&str; 3] = ["amq.gen-", "amq.rabbitmq.reply-to", "amq.ctag-"];

/// Returns a name on the wire as text.
pub(super) fn text_of(bytes: &[u8]) -> String {
    text::lossy(bytes, MAX_NAME_BYTES)
}

/// Returns a number that is equal for equal things.
pub(super) fn hash(thing: &(impl Hash + ?Sized)) -> u64 {
    foldhash::quality::FixedState::default().hash_one(thing)
}

/// Returns the destination of a message: `{exchange}:{routing key}` for its producer, and `:{queue}` besides for its
/// consumer. What is empty is left out, and a queue that is called as the routing key is named once.
pub(super) fn destination(exchange: &str, routing_key: &str, queue: &str) -> String {
    let queue = if queue == routing_key { "" } else { queue };
    let parts: Vec<&str> =
        [exchange, routing_key, queue].into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { DEFAULT.to_owned() } else { parts.join(":") }
}

/// Returns the name of a span: the operation and what it is done to, unless that is somebody's own.
pub(super) fn name(operation: &str, destination: &str) -> Name {
    let shown = template(destination);
    let verb = if shown.is_empty() { operation.to_owned() } else { [operation, " ", &shown].concat() };
    Name { verb: verb.into(), path: None }
}

/// Returns a destination without the parts that are made up for one use.
fn template(destination: &str) -> Cow<'_, str> {
    if destination.split(':').any(is_generated) {
        let parts: Vec<&str> = destination.split(':').filter(|part| !is_generated(part)).collect();
        return Cow::Owned(template(&parts.join(":")).into_owned());
    }
    words::template(destination, &['.', ':'])
}

fn is_generated(name: &str) -> bool {
    GENERATED.iter().any(|beginning| name.starts_with(beginning))
}

/// Returns the attributes that every span has.
pub(super) fn attributes(
    operation: &'static str,
    kind: Option<&'static str>,
    destination: &str,
) -> Attributes {
    let mut attributes = Attributes::new();
    set(&mut attributes, semconv::MESSAGING_SYSTEM, SYSTEM);
    set(&mut attributes, semconv::MESSAGING_OPERATION_NAME, operation);
    if let Some(kind) = kind {
        set(&mut attributes, semconv::MESSAGING_OPERATION_TYPE, kind);
    }
    if destination.is_empty() {
        return attributes;
    }
    set(&mut attributes, semconv::MESSAGING_DESTINATION_NAME, destination.to_owned());
    if destination.split(':').any(is_generated) {
        set(&mut attributes, semconv::MESSAGING_DESTINATION_ANONYMOUS, true);
    }
    let template = template(destination);
    if template != destination && !template.is_empty() {
        set(&mut attributes, semconv::MESSAGING_DESTINATION_TEMPLATE, template.into_owned());
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_told_as_the_conventions_say() {
        for (exchange, key, queue, expected) in [
            ("shop", "order.paid", "", "shop:order.paid"),
            ("", "orders", "", "orders"),
            ("shop", "", "", "shop"),
            ("", "", "", "amq.default"),
            ("shop", "order.paid", "orders", "shop:order.paid:orders"),
            ("", "orders", "orders", "orders"),
            ("events", "", "audit", "events:audit"),
        ] {
            assert_eq!(destination(exchange, key, queue), expected);
        }
    }

    #[test]
    fn names_are_of_low_cardinality() {
        for (destination, expected) in [
            ("orders", "send orders"),
            ("shop:order.70000000123.paid", "send shop:order.*.paid"),
            ("amq.gen-JzTY20BRgKO-HjmUJj0wLg", "send"),
            ("events:amq.gen-JzTY20BRgKO-HjmUJj0wLg", "send events"),
            ("d0f0ab45-5b1c-4a2f-8f63-3a1e5c3b7d10", "send *"),
        ] {
            assert_eq!(name("send", destination).verb, expected);
        }
    }
}
