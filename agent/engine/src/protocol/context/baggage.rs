//! W3C Baggage: what a program wants known downstream, as a list of `key=value;properties`.

use crate::protocol::{set, text};
use crate::semconv::Attributes;

/// Bytes of all members that are looked at (W3C Baggage, section 3.3.2).
const MAX_BYTES: usize = 8192;
/// Longest value that is recorded, in bytes.
const MAX_VALUE_BYTES: usize = 256;

/// Records the members with these keys as `baggage.<key>`; of two with one key the last, as the recommendation has it.
pub(in crate::protocol) fn record<'a>(
    attributes: &mut Attributes,
    fields: impl Iterator<Item = &'a [u8]>,
    keys: &[String],
) {
    if keys.is_empty() {
        return;
    }
    let mut left = MAX_BYTES;
    for field in fields {
        let field = field.get(..left).unwrap_or(field);
        left -= field.len();
        for member in field.split(|&byte| byte == b',') {
            let pair = member.split(|&byte| byte == b';').next().unwrap_or_default();
            let Some(at) = memchr::memchr(b'=', pair) else { continue };
            let (key, value) = pair.split_at(at);
            let key = key.trim_ascii();
            if let Some(name) = keys.iter().find(|name| name.as_bytes() == key) {
                let value = text::percent_decoded(value.get(1..).unwrap_or_default().trim_ascii());
                set(attributes, format!("baggage.{name}").into(), text::lossy(&value, MAX_VALUE_BYTES));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(fields: &[&str], keys: &[&str]) -> String {
        let mut attributes = Attributes::new();
        let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        record(&mut attributes, fields.iter().map(|field| field.as_bytes()), &keys);
        format!("{attributes:?}")
    }

    #[test]
    fn only_what_was_asked_for_is_recorded() {
        let found = recorded(&["user.id = a%20b ;p=1, secret=x", "tenant=t"], &["user.id", "tenant"]);
        assert!(found.contains("baggage.user.id") && found.contains("a b"), "{found}");
        assert!(found.contains("baggage.tenant") && !found.contains("secret"), "{found}");
        assert_eq!(recorded(&["user.id=1"], &[]), "[]");
    }

    #[test]
    fn whatever_is_sent_is_no_danger() {
        for field in ["", "=", ",,;=", "k", "k=", "k=%", "k=%zz;", "=k=k"] {
            let _no_panic = recorded(&[field], &["k"]);
        }
        let long = format!("{}k=late", "a=b,".repeat(MAX_BYTES));
        assert_eq!(recorded(&[&long], &["k"]), "[]");
    }
}
