//! A condition on single spans.

use super::value::find;
use super::{AnyValue, Span, SpanKind, StatusCode};

/// A condition on a span; what is none or empty is not asked for. All parts must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanPredicate {
    /// Its service has this name.
    pub service: Option<String>,
    /// It has this name.
    pub name: Option<String>,
    /// It has this kind.
    pub kind: Option<SpanKind>,
    /// It has this status.
    pub status: Option<StatusCode>,
    /// It took at least this long.
    pub min_duration_ns: Option<u64>,
    /// It took at most this long.
    pub max_duration_ns: Option<u64>,
    /// It names no parent.
    pub without_parent: bool,
    /// Conditions on span and resource attributes.
    pub attributes: Vec<AttributeMatch>,
}

/// A condition on one attribute of the span or, where the span has none of that key, of its resource.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeMatch {
    /// Name of the attribute.
    pub key: String,
    /// How it is compared.
    pub operator: AttributeOperator,
    /// What it is compared with; not looked at for [`AttributeOperator::Exists`].
    pub value: AnyValue,
}

/// How an attribute is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeOperator {
    /// It is there and has the value. Numbers, truths and their plain texts are the same (`200` and `"200"`);
    /// an array has the value if one of its items has it.
    Equal,
    /// It is missing, or has another value.
    NotEqual,
    /// It is there.
    Exists,
}

impl SpanPredicate {
    /// Returns whether all conditions hold.
    #[must_use]
    pub fn matches(&self, span: &Span) -> bool {
        let duration_ns = span.duration_ns();
        self.name.as_ref().is_none_or(|name| **name == *span.name)
            && self.kind.is_none_or(|kind| kind == span.kind)
            && self.status.is_none_or(|status| status == span.status.code)
            && self.min_duration_ns.is_none_or(|min| duration_ns >= min)
            && self.max_duration_ns.is_none_or(|max| duration_ns <= max)
            && !(self.without_parent && span.parent_span_id.is_some())
            && self.service.as_ref().is_none_or(|service| service == span.service_name())
            && self.attributes.iter().all(|wanted| wanted.matches(span))
    }
}

impl AttributeMatch {
    fn matches(&self, span: &Span) -> bool {
        let found = find(&span.attributes, &self.key).or_else(|| find(&span.resource.attributes, &self.key));
        self.accepts(found)
    }

    /// Returns whether the condition holds for the value that was found, if any.
    #[must_use]
    pub fn accepts(&self, found: Option<&AnyValue>) -> bool {
        match self.operator {
            AttributeOperator::Exists => found.is_some(),
            AttributeOperator::Equal => found.is_some_and(|found| same(found, &self.value)),
            AttributeOperator::NotEqual => !found.is_some_and(|found| same(found, &self.value)),
        }
    }
}

fn same(found: &AnyValue, wanted: &AnyValue) -> bool {
    match (found, wanted) {
        (AnyValue::String(found), AnyValue::String(wanted)) => found == wanted,
        (AnyValue::Array(items), wanted) if !matches!(wanted, AnyValue::Array(_)) => {
            items.iter().any(|item| same(item, wanted))
        }
        (AnyValue::Int(found), AnyValue::Double(wanted)) => *found as f64 == *wanted,
        (AnyValue::Double(found), AnyValue::Int(wanted)) => *found == *wanted as f64,
        (AnyValue::Int(_) | AnyValue::Double(_) | AnyValue::Bool(_), AnyValue::String(wanted)) => {
            found.to_string() == *wanted
        }
        (AnyValue::String(found), AnyValue::Int(_) | AnyValue::Double(_) | AnyValue::Bool(_)) => {
            *found == wanted.to_string()
        }
        _ => found == wanted,
    }
}
