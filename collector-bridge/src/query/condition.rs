//! Conditions on attributes.

use std::cmp::Ordering;

use crate::model::{AnyValue, AttributeMatch, AttributeOperator, Span, find};

/// A condition on one attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeCondition {
    /// Name of the attribute.
    pub key: String,
    /// Where it is looked for.
    pub scope: Scope,
    /// What must hold.
    pub comparison: Comparison,
}

/// Where an attribute is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scope {
    /// On the span; on its resource where the span has none.
    #[default]
    Any,
    /// On the span.
    Span,
    /// On the resource.
    Resource,
}

/// What must hold of an attribute. Numbers, truths and their plain texts are the same (`200` and `"200"`); of an array,
/// one item must fulfil it. Order is for numbers and for texts that are numbers; nothing else is less or greater.
#[derive(Clone, Debug, PartialEq)]
pub enum Comparison {
    /// It is there.
    Exists,
    /// It has this value.
    Equal(AnyValue),
    /// It is missing or has another value.
    NotEqual(AnyValue),
    /// It is a number below.
    Less(f64),
    /// It is a number not above.
    LessOrEqual(f64),
    /// It is a number above.
    Greater(f64),
    /// It is a number not below.
    GreaterOrEqual(f64),
}

impl AttributeCondition {
    /// Returns whether the span fulfils it.
    #[must_use]
    pub fn matches(&self, span: &Span) -> bool {
        let on_span = || find(&span.attributes, &self.key);
        let on_resource = || find(&span.resource.attributes, &self.key);
        let found = match self.scope {
            Scope::Any => on_span().or_else(on_resource),
            Scope::Span => on_span(),
            Scope::Resource => on_resource(),
        };
        let Some(found) = found else {
            return matches!(self.comparison, Comparison::NotEqual(_));
        };
        match &self.comparison {
            Comparison::Exists => true,
            Comparison::Equal(wanted) => any_item(found, |item| same(item, wanted)),
            Comparison::NotEqual(wanted) => !any_item(found, |item| same(item, wanted)),
            Comparison::Less(bound) => is_ordered(found, *bound, Ordering::is_lt),
            Comparison::LessOrEqual(bound) => is_ordered(found, *bound, Ordering::is_le),
            Comparison::Greater(bound) => is_ordered(found, *bound, Ordering::is_gt),
            Comparison::GreaterOrEqual(bound) => is_ordered(found, *bound, Ordering::is_ge),
        }
    }

    /// Returns a condition for the store that holds wherever this one does; none where the store knows no such one.
    #[must_use]
    pub fn for_store(&self) -> Option<AttributeMatch> {
        if self.scope != Scope::Any {
            return None;
        }
        let (operator, value) = match &self.comparison {
            Comparison::Exists => (AttributeOperator::Exists, AnyValue::Empty),
            Comparison::Equal(value) => (AttributeOperator::Equal, value.clone()),
            Comparison::NotEqual(value) => (AttributeOperator::NotEqual, value.clone()),
            _ => (AttributeOperator::Exists, AnyValue::Empty),
        };
        Some(AttributeMatch { key: self.key.clone(), operator, value })
    }
}

fn any_item(found: &AnyValue, holds: impl Fn(&AnyValue) -> bool) -> bool {
    match found {
        AnyValue::Array(items) => items.iter().any(holds),
        single => holds(single),
    }
}

fn same(found: &AnyValue, wanted: &AnyValue) -> bool {
    match (found, wanted) {
        (AnyValue::Int(found), AnyValue::Double(wanted)) => *found as f64 == *wanted,
        (AnyValue::Double(found), AnyValue::Int(wanted)) => *found == *wanted as f64,
        (AnyValue::String(text), scalar) | (scalar, AnyValue::String(text)) => is_plain_text(scalar, text),
        _ => found == wanted,
    }
}

fn is_plain_text(scalar: &AnyValue, text: &str) -> bool {
    match scalar {
        AnyValue::String(other) => other == text,
        AnyValue::Bool(_) | AnyValue::Int(_) | AnyValue::Double(_) => scalar.to_string() == text,
        _ => false,
    }
}

fn is_ordered(found: &AnyValue, bound: f64, holds: fn(Ordering) -> bool) -> bool {
    any_item(found, |item| number(item).and_then(|number| number.partial_cmp(&bound)).is_some_and(holds))
}

fn number(value: &AnyValue) -> Option<f64> {
    match value {
        AnyValue::Int(number) => Some(*number as f64),
        AnyValue::Double(number) => Some(*number),
        AnyValue::String(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::search::tests::span;

    fn matches(scope: Scope, key: &str, comparison: Comparison) -> bool {
        let mut span = span(1, 1);
        let code = crate::model::KeyValue::new("code", 200_i64);
        let tags = AnyValue::Array(vec!["a".into(), 7_i64.into()]);
        span.attributes = vec![
            code,
            crate::model::KeyValue::new("ratio", 0.5),
            crate::model::KeyValue::new("text", "300"),
            crate::model::KeyValue::new("tags", tags),
        ];
        let condition = AttributeCondition { key: key.to_owned(), scope, comparison };
        if let Some(wider) = condition.for_store() {
            let predicate = crate::model::SpanPredicate { attributes: vec![wider], ..Default::default() };
            assert!(!condition.matches(&span) || predicate.matches(&span), "{condition:?}");
        }
        condition.matches(&span)
    }

    #[test]
    fn comparisons() {
        let any = |key: &str, comparison| matches(Scope::Any, key, comparison);
        assert!(any("code", Comparison::Exists));
        assert!(any("code", Comparison::Equal(200_i64.into())));
        assert!(any("code", Comparison::Equal("200".into())));
        assert!(any("code", Comparison::Equal(200.0.into())));
        assert!(!any("code", Comparison::Equal("200.0".into())));
        assert!(any("code", Comparison::NotEqual(404_i64.into())));
        assert!(!any("code", Comparison::NotEqual(200_i64.into())));
        assert!(any("missing", Comparison::NotEqual(200_i64.into())));
        assert!(!any("missing", Comparison::Exists));
        assert!(!any("missing", Comparison::Less(1.0)));
        assert!(any("code", Comparison::GreaterOrEqual(200.0)));
        assert!(!any("code", Comparison::Greater(200.0)));
        assert!(any("ratio", Comparison::Less(0.6)));
        assert!(any("text", Comparison::LessOrEqual(300.0)));
        assert!(any("tags", Comparison::Equal("a".into())));
        assert!(any("tags", Comparison::Equal("7".into())));
        assert!(!any("tags", Comparison::NotEqual("a".into())));
        assert!(!any("tags", Comparison::Less(7.0)));
        assert!(!any("code", Comparison::Less(f64::NAN)));
    }

    #[test]
    fn scopes() {
        assert!(!matches(Scope::Resource, "code", Comparison::Exists));
        assert!(matches(Scope::Span, "code", Comparison::Exists));
        assert!(matches(Scope::Resource, "service.name", Comparison::Equal("shop".into())));
        assert!(matches(Scope::Any, "service.name", Comparison::Equal("shop".into())));
        assert!(!matches(Scope::Span, "service.name", Comparison::Exists));
    }
}
