//! Attribute values (OTLP `AnyValue`).

use std::fmt;
use std::sync::Arc;

/// A typed value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum AnyValue {
    /// An attribute without a value.
    #[default]
    Empty,
    /// Text.
    String(String),
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A fraction.
    Double(f64),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// Several values.
    Array(Vec<AnyValue>),
    /// A map, in the order in which it was sent.
    Map(Vec<KeyValue>),
}

/// An attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyValue {
    /// Its name; shared, because few names fill many spans.
    pub key: Arc<str>,
    /// Its value.
    pub value: AnyValue,
}

impl KeyValue {
    /// Returns an attribute.
    pub fn new(key: impl Into<Arc<str>>, value: impl Into<AnyValue>) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}

/// Returns the value of the first attribute with that key.
#[must_use]
pub fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a AnyValue> {
    attributes.iter().find(|attribute| &*attribute.key == key).map(|attribute| &attribute.value)
}

impl AnyValue {
    /// Returns the text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            AnyValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the whole number, if it is one.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self {
            AnyValue::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns the bytes that the value holds outside its own struct; an estimate for budgets.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match self {
            AnyValue::Empty | AnyValue::Bool(_) | AnyValue::Int(_) | AnyValue::Double(_) => 0,
            AnyValue::String(text) => text.capacity(),
            AnyValue::Bytes(bytes) => bytes.capacity(),
            AnyValue::Array(values) => {
                values.iter().map(|value| size_of::<AnyValue>() + value.heap_bytes()).sum()
            }
            AnyValue::Map(pairs) => {
                pairs.iter().map(|pair| size_of::<KeyValue>() + pair.value.heap_bytes()).sum()
            }
        }
    }
}

/// Writes scalars as plain text, arrays and maps as JSON-like text, bytes as hex.
impl fmt::Display for AnyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnyValue::Empty => Ok(()),
            AnyValue::String(text) => f.write_str(text),
            AnyValue::Bool(truth) => truth.fmt(f),
            AnyValue::Int(number) => number.fmt(f),
            AnyValue::Double(number) => number.fmt(f),
            AnyValue::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            AnyValue::Array(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    f.write_str(if index > 0 { "," } else { "" })?;
                    value.fmt_nested(f)?;
                }
                f.write_str("]")
            }
            AnyValue::Map(pairs) => {
                f.write_str("{")?;
                for (index, pair) in pairs.iter().enumerate() {
                    write!(f, "{}{:?}:", if index > 0 { "," } else { "" }, pair.key)?;
                    pair.value.fmt_nested(f)?;
                }
                f.write_str("}")
            }
        }
    }
}

impl AnyValue {
    fn fmt_nested(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnyValue::Empty => f.write_str("null"),
            AnyValue::String(text) => write!(f, "{text:?}"),
            AnyValue::Bytes(_) => write!(f, "\"{self}\""),
            _ => fmt::Display::fmt(self, f),
        }
    }
}

impl From<&str> for AnyValue {
    fn from(text: &str) -> Self {
        AnyValue::String(text.to_owned())
    }
}
impl From<String> for AnyValue {
    fn from(text: String) -> Self {
        AnyValue::String(text)
    }
}
impl From<i64> for AnyValue {
    fn from(number: i64) -> Self {
        AnyValue::Int(number)
    }
}
impl From<bool> for AnyValue {
    fn from(truth: bool) -> Self {
        AnyValue::Bool(truth)
    }
}
impl From<f64> for AnyValue {
    fn from(number: f64) -> Self {
        AnyValue::Double(number)
    }
}
