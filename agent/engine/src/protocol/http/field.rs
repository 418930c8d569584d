//! Fields of a head, looked up and recorded, in all versions of HTTP.

use crate::protocol::{set, text};
use crate::semconv::{Attributes, Value};

/// Longest value that is recorded, in bytes.
pub(in crate::protocol) const MAX_VALUE_BYTES: usize = 1024;
/// What stands for a value that is not recorded.
pub(in crate::protocol) const REDACTED: &str = "REDACTED";

/// One field line.
#[derive(Clone, Copy, Debug)]
pub(in crate::protocol) struct Field<'a> {
    /// As it was sent, in any case.
    pub(in crate::protocol) name: &'a [u8],
    /// Without white space around it.
    pub(in crate::protocol) value: &'a [u8],
}

/// Returns the values of all fields called `name` (lower case), in their order.
pub(in crate::protocol) fn values<'a>(
    fields: &'a [Field<'a>],
    name: &'a str,
) -> impl Iterator<Item = &'a [u8]> {
    let is_it = move |field: &&Field<'_>| field.name.eq_ignore_ascii_case(name.as_bytes());
    fields.iter().filter(is_it).map(|field| field.value)
}

/// Returns the value of the first field called `name` (lower case).
pub(in crate::protocol) fn value<'a>(fields: &'a [Field<'a>], name: &'a str) -> Option<&'a [u8]> {
    values(fields, name).next()
}

/// Returns whether a comma-separated list in fields called `name` has this member, in any case.
pub(in crate::protocol) fn lists<'a>(fields: &'a [Field<'a>], name: &'a str, member: &str) -> bool {
    values(fields, name)
        .flat_map(|list| list.split(|&byte| byte == b','))
        .any(|found| found.trim_ascii().eq_ignore_ascii_case(member.as_bytes()))
}

/// Records the fields that were asked for as `<prefix>.<name>`.
pub(in crate::protocol) fn record(
    attributes: &mut Attributes,
    fields: &[Field<'_>],
    prefix: &str,
    captured: &[String],
    redacted: &[String],
) {
    for name in captured {
        let is_redacted = redacted.contains(name);
        let text =
            |value| if is_redacted { REDACTED.to_owned() } else { text::lossy(value, MAX_VALUE_BYTES) };
        let texts: Vec<String> = values(fields, name).map(text).collect();
        if !texts.is_empty() {
            set(attributes, format!("{prefix}.{name}").into(), Value::Texts(texts));
        }
    }
}
