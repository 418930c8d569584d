//! As much of JSON Schema as the description uses; any other keyword is an error, so that nothing goes unchecked.

use serde_json::{Map, Value};

/// Keywords that say nothing about a value, or are checked below.
const KEYWORDS: [&str; 21] = [
    "$ref",
    "additionalProperties",
    "default",
    "description",
    "enum",
    "example",
    "examples",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minLength",
    "minimum",
    "oneOf",
    "pattern",
    "properties",
    "required",
    "type",
    "const",
];

/// Returns all ways in which the value is not as the schema says.
pub(crate) fn problems(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    check(document, schema, value, "$", &mut problems);
    problems
}

fn check(document: &Value, schema: &Value, value: &Value, path: &str, problems: &mut Vec<String>) {
    let schema = schema.as_object().unwrap_or_else(|| panic!("{path}: no schema but {schema}"));
    if let Some(unknown) = schema.keys().find(|keyword| !KEYWORDS.contains(&keyword.as_str())) {
        panic!("{path}: keyword {unknown} is not known here");
    }
    if let Some(reference) = schema.get("$ref") {
        let pointer = reference.as_str().and_then(|reference| reference.strip_prefix('#')).unwrap();
        let target = document.pointer(pointer).unwrap_or_else(|| panic!("{path}: {pointer} leads nowhere"));
        return check(document, target, value, path, problems);
    }
    if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
        let fitting =
            choices.iter().filter(|choice| crate::schema::problems(document, choice, value).is_empty());
        let count = fitting.count();
        if count != 1 {
            problems.push(format!("{path}: fits {count} of {} choices", choices.len()));
        }
    }
    if !has_type(schema, value) {
        problems.push(format!("{path}: {value} is not {}", schema["type"]));
        return;
    }
    if schema.get("enum").and_then(Value::as_array).is_some_and(|allowed| !allowed.contains(value)) {
        problems.push(format!("{path}: {value} is not in {}", schema["enum"]));
    }
    match value {
        Value::Object(object) => check_object(document, schema, object, path, problems),
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    check(document, schema, item, &format!("{path}[{index}]"), problems);
                }
            }
        }
        Value::String(text) => check_text(schema, text, path, problems),
        Value::Number(number) => {
            let number = number.as_f64().unwrap();
            let below = schema.get("minimum").and_then(Value::as_f64).is_some_and(|minimum| number < minimum);
            let above = schema.get("maximum").and_then(Value::as_f64).is_some_and(|maximum| number > maximum);
            if below || above {
                problems.push(format!("{path}: {number} is out of bounds"));
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn check_object(
    document: &Value,
    schema: &Map<String, Value>,
    object: &Map<String, Value>,
    path: &str,
    problems: &mut Vec<String>,
) {
    for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        if !object.contains_key(required.as_str().unwrap()) {
            problems.push(format!("{path}: {required} is missing"));
        }
    }
    for (name, value) in object {
        let path = format!("{path}.{name}");
        match (
            schema.get("properties").and_then(|properties| properties.get(name)),
            schema.get("additionalProperties"),
        ) {
            (Some(property), _) => check(document, property, value, &path, problems),
            (None, Some(Value::Bool(false))) => problems.push(format!("{path} is not described")),
            (None, Some(any @ Value::Object(_))) => check(document, any, value, &path, problems),
            (None, _) => {}
        }
    }
}

fn has_type(schema: &Map<String, Value>, value: &Value) -> bool {
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("type {other} is not known here"),
    };
    match schema.get("type") {
        None => true,
        Some(Value::Array(types)) => types.iter().any(|name| is(name.as_str().unwrap())),
        Some(name) => is(name.as_str().unwrap()),
    }
}

fn check_text(schema: &Map<String, Value>, text: &str, path: &str, problems: &mut Vec<String>) {
    let is_hex =
        |digits: usize| text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let fits = match schema.get("pattern").and_then(Value::as_str) {
        None => true,
        Some("^[0-9]+$") => !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()),
        Some("^[0-9a-f]{16}$") => is_hex(16),
        Some("^[0-9a-f]{32}$") => is_hex(32),
        Some(other) => panic!("pattern {other} is not known here"),
    };
    let is_moment = match schema.get("format").and_then(Value::as_str) {
        None => true,
        Some("date-time") => text.len() == 30 && text.ends_with('Z') && text.as_bytes()[10] == b'T',
        Some(other) => panic!("format {other} is not known here"),
    };
    if !fits || !is_moment {
        problems.push(format!("{path}: {text:?} has not the described form"));
    }
}
