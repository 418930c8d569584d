//! One process among all that send spans: times can be compared within it, and its calls are made for its requests.

use crate::model::{AnyValue, AttributeMatch, AttributeOperator, Resource, SpanPredicate, find};

/// What tells processes apart; the agent always says the first one.
const KEYS: [&str; 4] = ["process.pid", "service.instance.id", "host.id", "host.name"];

/// A process, by what its resource says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Process {
    service: String,
    facts: Vec<(&'static str, String)>,
}

impl Process {
    /// Returns the process of a resource; none where it does not say which.
    pub(super) fn of(resource: &Resource) -> Option<Self> {
        let fact = |key| find(&resource.attributes, key).map(AnyValue::to_string);
        fact(KEYS[0])?;
        let facts = KEYS.iter().filter_map(|key| Some((*key, fact(*key)?))).collect();
        Some(Self { service: resource.service_name().to_owned(), facts })
    }

    /// Returns the condition that its spans fulfil.
    pub(super) fn predicate(&self) -> SpanPredicate {
        let condition = |(key, value): &(&'static str, String)| AttributeMatch {
            key: (*key).to_owned(),
            operator: AttributeOperator::Equal,
            value: AnyValue::String(value.clone()),
        };
        SpanPredicate {
            service: Some(self.service.clone()),
            attributes: self.facts.iter().map(condition).collect(),
            ..SpanPredicate::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KeyValue;

    fn resource(attributes: &[(&str, &str)]) -> Resource {
        let attributes = attributes.iter().map(|(key, value)| KeyValue::new(*key, *value)).collect();
        Resource { attributes, ..Resource::default() }
    }

    #[test]
    fn two_workers_of_one_instance_are_two_processes() {
        let worker = |pid| Process::of(&resource(&[("service.instance.id", "pod-1"), ("process.pid", pid)]));
        assert_ne!(worker("17"), worker("18"));
        assert_eq!(worker("17"), worker("17"));
    }

    #[test]
    fn what_does_not_say_which_process_it_is_is_none() {
        assert_eq!(Process::of(&resource(&[("service.name", "shop"), ("host.name", "one")])), None);
    }
}
