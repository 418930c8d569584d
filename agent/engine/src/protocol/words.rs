//! Names that people or programs have given: which parts are values.

use std::borrow::Cow;

/// Digits that a word with letters has at least to be a value: queues are called `mail2` and `s3-events`.
const MIN_DIGITS: usize = 4;
/// Longest word.
const MAX_WORD_BYTES: usize = 40;

/// Returns whether a part of a destination's name is more likely a value than a word: numbers, UUIDs, hashes, tokens.
pub(super) fn is_value(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let is_hexadecimal = word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let is_number = digits > 0 && digits == word.len();
    let is_mixed = digits >= MIN_DIGITS && (is_hexadecimal || digits * 3 >= word.len() || word.len() > 24);
    is_number || is_mixed || word.len() > MAX_WORD_BYTES
}

/// Returns a name with `*` in place of the parts between `separators` that are values.
pub(super) fn template<'a>(name: &'a str, separators: &[char]) -> Cow<'a, str> {
    // Most names have no values: all of these have digits, or are long.
    if name.len() <= MAX_WORD_BYTES && !name.bytes().any(|byte| byte.is_ascii_digit()) {
        return Cow::Borrowed(name);
    }
    let mut template = String::with_capacity(name.len());
    for part in name.split_inclusive(separators) {
        let word = part.trim_end_matches(separators);
        template.push_str(if is_value(word) { "*" } else { word });
        template.push_str(part.get(word.len()..).unwrap_or_default());
    }
    Cow::Owned(template)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_give_way_to_an_asterisk() {
        for (name, expected) in [
            ("orders.created", "orders.created"),
            ("orders.700123.created", "orders.*.created"),
            ("a..b", "a..b"),
            ("v1.users.7.s3-events", "v1.users.*.s3-events"),
            ("q1", "q1"),
            ("", ""),
            ("5f3a9e70-12cd-4e8b-9a61-3b1c8f0d7e21", "*"),
        ] {
            assert_eq!(template(name, &['.']), expected);
        }
    }
}
