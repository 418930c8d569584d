//! Parameters and parts of a body, read one by one; whatever is wrong is named.

use serde_json::{Map, Value};

use crate::model::{SpanKind, StatusCode};

use super::error::ApiError;
use super::names::{KINDS, STATUSES, parse_kind, parse_status};
use super::time::{DURATION_FORMS, INSTANT_FORMS, parse_duration, parse_instant};

/// Characters of a text parameter.
pub(super) const MAX_TEXT_CHARS: usize = 1_024;

/// The fields of one object, of a query string or of JSON.
#[derive(Debug)]
pub(super) struct Fields {
    /// `attributes[0].` for the fields of a nested object.
    prefix: String,
    values: Map<String, Value>,
}

impl Fields {
    /// Returns the parameters of a query string; each may come once, only `allowed` ones.
    pub(super) fn of_query(query: Option<&str>, allowed: &[&str]) -> Result<Self, ApiError> {
        let mut values = Map::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decode(name), decode(value)) else {
                let message = format!("`{pair}` is not percent-encoded UTF-8");
                return Err(ApiError::new("invalid_parameter", message));
            };
            if values.contains_key(&name) {
                return Err(ApiError::invalid(&name, format!("`{name}` is given more than once")));
            }
            values.insert(name, Value::String(value));
        }
        Self::of_object(values, "", allowed)
    }

    /// Returns the fields of a JSON object; only `allowed` ones. `prefix` comes before their names in messages.
    pub(super) fn of_object(
        values: Map<String, Value>,
        prefix: &str,
        allowed: &[&str],
    ) -> Result<Self, ApiError> {
        if let Some(unknown) = values.keys().find(|name| !allowed.contains(&name.as_str())) {
            let known = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
            let message = format!("unknown parameter `{prefix}{unknown}`; known here: {known}");
            return Err(ApiError::new("unknown_parameter", message).of(&format!("{prefix}{unknown}")));
        }
        Ok(Self { prefix: prefix.to_owned(), values })
    }

    /// Takes a value out; `null` counts as missing.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.values.remove(name).filter(|value| !value.is_null())
    }

    /// Returns the name with its path, for messages.
    pub(super) fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Takes a text that is not empty.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Err(self.invalid(name, "must not be empty")),
            Some(Value::String(text)) if text.chars().count() > MAX_TEXT_CHARS => {
                Err(self.invalid(name, &format!("is longer than {MAX_TEXT_CHARS} characters")))
            }
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.invalid(name, &format!("must be a text, not {other}"))),
        }
    }

    /// Takes a text that must be there.
    pub(super) fn required_text(&mut self, name: &str) -> Result<String, ApiError> {
        let path = self.path(name);
        let missing = || ApiError::new("missing_parameter", format!("`{path}` is required")).of(&path);
        self.text(name)?.ok_or_else(missing)
    }

    /// Takes a moment, in unix nanoseconds.
    pub(super) fn instant(&mut self, name: &str) -> Result<Option<u64>, ApiError> {
        self.parsed(name, parse_instant, INSTANT_FORMS)
    }

    /// Takes a duration, in nanoseconds.
    pub(super) fn duration(&mut self, name: &str) -> Result<Option<u64>, ApiError> {
        self.parsed(name, parse_duration, DURATION_FORMS)
    }

    /// Takes a kind of spans.
    pub(super) fn kind(&mut self, name: &str) -> Result<Option<SpanKind>, ApiError> {
        self.parsed(name, parse_kind, &format!("one of {}", KINDS.join(", ")))
    }

    /// Takes a status.
    pub(super) fn status(&mut self, name: &str) -> Result<Option<StatusCode>, ApiError> {
        self.parsed(name, parse_status, &format!("one of {}", STATUSES.join(", ")))
    }

    /// Takes a count from 1 to `max`.
    pub(super) fn count(&mut self, name: &str, default: usize, max: usize) -> Result<usize, ApiError> {
        let parse = |text: &str| text.parse().ok().filter(|count| (1..=max).contains(count));
        Ok(self.parsed(name, parse, &format!("a whole number from 1 to {max}"))?.unwrap_or(default))
    }

    /// Takes a text or number that has one of the stated forms.
    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Option<T>,
        forms: &str,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let text = match &value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            other => return Err(self.invalid(name, &format!("must be {forms}, not {other}"))),
        };
        match parse(&text) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(self.invalid(name, &format!("must be {forms}, not `{}`", shown(&text)))),
        }
    }

    fn invalid(&self, name: &str, problem: &str) -> ApiError {
        let path = self.path(name);
        ApiError::invalid(&path, format!("`{path}` {problem}"))
    }
}

/// A wrong value as it is repeated to the client: not all of a long one.
pub(super) fn shown(text: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    let mut shown: String = text.chars().take(SHOWN_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// Decodes `application/x-www-form-urlencoded`.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (high, low) = (rest.next()?, rest.next()?);
                let digit = |byte: u8| char::from(byte).to_digit(16);
                u8::try_from(digit(high)? * 16 + digit(low)?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_strings_are_decoded() {
        let mut fields = Fields::of_query(Some("a=GET+%2Fx%c3%A4&b=&&c"), &["a", "b", "c"]).unwrap();
        assert_eq!(fields.text("a"), Ok(Some("GET /xä".to_owned())));
        assert_eq!(fields.text("b").unwrap_err().to_string(), "`b` must not be empty");
        assert_eq!(fields.text("a"), Ok(None));
    }

    #[test]
    fn wrong_query_strings_are_refused() {
        let check = |query: &str, message: &str| {
            assert_eq!(
                Fields::of_query(Some(query), &["a", "b"]).unwrap_err().to_string(),
                message,
                "{query}"
            );
        };
        check("a=%zz", "`a=%zz` is not percent-encoded UTF-8");
        check("a=%f", "`a=%f` is not percent-encoded UTF-8");
        check("a=%ff", "`a=%ff` is not percent-encoded UTF-8");
        check("a=1&a=2", "`a` is given more than once");
        check("x=1", "unknown parameter `x`; known here: a, b");
    }

    #[test]
    fn long_values_are_not_repeated_in_full() {
        let query = format!("a={}", "9".repeat(500));
        let mut fields = Fields::of_query(Some(&query), &["a"]).unwrap();
        let message = fields.count("a", 1, 10).unwrap_err().to_string();
        assert!(message.starts_with("`a` must be a whole number from 1 to 10, not `999"), "{message}");
        assert!(message.chars().count() < 120, "{message}");
    }
}
