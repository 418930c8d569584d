//! Patterns with `*` (any text, slashes included) and `?` (any one character).

/// Returns whether `pattern` matches all of `text`. Takes time proportional to the product of the lengths at worst.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut from) = (0, 0);
    // Where to go on after a mismatch: behind the last star, with one more character eaten by it.
    let mut retry: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some('*') => {
                retry = Some((at + 1, from));
                at += 1;
            }
            Some(&expected) if expected == '?' || Some(&expected) == text.get(from) => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((star, eaten)) = retry else {
                    return false;
                };
                retry = Some((star, eaten + 1));
                at = star;
                from = eaten + 1;
            }
        }
    }
    pattern.iter().skip(at).all(|&rest| rest == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_and_question_marks() {
        let table = [
            ("/usr/bin/python*", "/usr/bin/python3.11", true),
            ("/usr/bin/python*", "/opt/usr/bin/python3", false),
            ("*gunicorn*", "python3 /usr/bin/gunicorn app:app", true),
            ("*a*b*c", "xxaybzbc", true),
            ("*a*b*c", "xxaybzb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "", true),
            ("*", "", true),
            ("exact", "exact", true),
            ("exact", "exact ", false),
            ("*é?", "caféx", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_do_not_explode() {
        assert!(!matches(&"*a".repeat(200), &"b".repeat(5000)));
    }
}
