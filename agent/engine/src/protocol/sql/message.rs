//! Messages of database servers, without the values that they show.

/// How a server quotes what it shows in its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol) enum Quotes {
    /// Names and values in `"`, and values in `'` too.
    Double,
    /// Names and values in `'`.
    Single,
}

/// Returns `message` with `?` in place of numbers, and of what is quoted unless one of `objects` stands before it: that
/// is a name.
///
/// A value may have quotes in it, so its end is the last quote that can be one: all that is doubtful goes.
pub(in crate::protocol) fn redacted(message: &str, quotes: Quotes, objects: &[&str]) -> String {
    let mut redacted = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(at) = rest.find(|first: char| matches!(first, '"' | '\'') || first.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        redacted.push_str(before);
        let first = from.chars().next().unwrap_or_default();
        let is_inside_word = redacted.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        let is_naming = matches!((first, quotes), ('"', Quotes::Double) | ('\'', Quotes::Single));
        let is_name = match first {
            '"' | '\'' => is_naming && !is_inside_word && names(&redacted, objects),
            _ => is_inside_word,
        };
        let length = match first {
            '"' | '\'' if is_inside_word => 1,
            '"' | '\'' if is_name => {
                from.get(1..).and_then(|text| text.find(first)).map_or(from.len(), |end| end + 2)
            }
            '"' | '\'' => value_length(from, first, objects),
            _ => from.find(|digit: char| !digit.is_alphanumeric() && digit != '.').unwrap_or(from.len()),
        };
        let (shown, after) = from.split_at(length);
        let is_shown = is_name || (is_inside_word && length == 1);
        redacted.push_str(if is_shown { shown } else { "?" });
        rest = after;
    }
    redacted.push_str(rest);
    redacted
}

/// Returns whether what follows `before` is the name of one of `objects`.
fn names(before: &str, objects: &[&str]) -> bool {
    let before = before.trim_end();
    objects.iter().any(|object| {
        let start = before.len().checked_sub(object.len());
        let last = start.and_then(|start| before.get(start..));
        last.is_some_and(|last| last.eq_ignore_ascii_case(object))
    })
}

/// Returns the length of a quoted value: up to the last quote before the next name, or up to the last of all.
fn value_length(text: &str, quote: char, objects: &[&str]) -> usize {
    let contents = text.get(1..).unwrap_or_default();
    let next_name = contents
        .match_indices(quote)
        .find(|&(at, _)| {
            let before = contents.get(..at).unwrap_or_default();
            before.ends_with(' ') && names(before, objects) && before.contains(quote)
        })
        .map_or(contents.len(), |(at, _)| at);
    let searched = contents.get(..next_name).unwrap_or(contents);
    searched.rfind(quote).map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_within_values_do_not_end_them() {
        let objects = &["column", "key"];
        for (message, expected) in [
            ("value: \"a\"b\"", "value: ?"),
            ("value: \"a\"b\" for column \"c\" of 5", "value: ? for column \"c\" of ?"),
            ("it can't be 'x'", "it can't be ?"),
        ] {
            assert_eq!(redacted(message, Quotes::Double, objects), expected);
        }
        assert_eq!(redacted("entry 'a'b' for key 'k'", Quotes::Single, objects), "entry ? for key 'k'");
        assert_eq!(redacted("entry 'a", Quotes::Single, objects), "entry ?");
    }
}
