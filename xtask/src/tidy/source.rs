//! The tracked files, with views that rules need.

use std::fs;

use anyhow::{Context as _, Result};

use crate::{shell, workspace};

/// A tracked text file.
pub(super) struct Source {
    /// Path from the root of the checkout.
    pub(super) path: String,
    /// What it says.
    pub(super) text: String,
    /// The same for Rust, with comments and literals blanked: equal lines, only code in them.
    pub(super) code: String,
}

impl Source {
    pub(super) fn new(path: &str, text: String) -> Self {
        let code = if path.ends_with(".rs") { blank(&text) } else { String::new() };
        Self { path: path.to_owned(), text, code }
    }

    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the whole file is tests.
    pub(super) fn is_test(&self) -> bool {
        let is_named_so = self.path.ends_with("/tests.rs") || self.path.contains("/tests/");
        is_named_so
            || self.path.starts_with("tests/")
            || self.path.contains("/benches/")
            || self.path.contains("/fuzz/")
    }

    /// Returns the code lines before the inline test module, numbered from 1.
    pub(super) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code.lines().take_while(|line| line.trim() != "#[cfg(test)]");
        lines.enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// Returns all files that git tracks or would track and that are text.
pub(super) fn tracked() -> Result<Vec<Source>> {
    let list =
        shell::output(shell::program("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]))
            .context("list the checkout's files")?;
    let mut sources = Vec::new();
    for path in list.lines() {
        // A file may be deleted and not yet committed, or be no text.
        if let Ok(text) = fs::read_to_string(workspace::root().join(path)) {
            sources.push(Source::new(path, text));
        }
    }
    Ok(sources)
}

/// Replaces comments and the insides of string and character literals by spaces.
fn blank(text: &str) -> String {
    let mut blanked = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let length = opaque_length(rest);
        let Some(length) = length else {
            let step = plain_length(rest);
            blanked.push_str(&rest[..step]);
            rest = &rest[step..];
            continue;
        };
        blanked.extend(rest[..length].chars().map(|character| if character == '\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    blanked
}

/// Returns the length of the next character, or of the whole word: `r` in `for"` begins no literal.
fn plain_length(rest: &str) -> usize {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let word = rest.find(|character| !is_word(character)).unwrap_or(rest.len());
    if word > 0 { word } else { rest.chars().next().map_or(0, char::len_utf8) }
}

/// Returns the length of the comment or literal that `rest` begins with.
fn opaque_length(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment_length(rest));
    }
    let prefix = ["br", "b", "cr", "c", "r", ""].into_iter().find(|prefix| {
        let after = rest.strip_prefix(prefix).unwrap_or_default().trim_start_matches('#');
        after.starts_with('"') && rest.starts_with(prefix)
    });
    if let Some(prefix) = prefix {
        return string_length(rest, prefix);
    }
    character_length(rest)
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest[at..];
        if here.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn string_length(rest: &str, prefix: &str) -> Option<usize> {
    let after = &rest[prefix.len()..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    let opening = prefix.len() + hashes + 1;
    if prefix.ends_with('r') {
        let closing = format!("\"{}", "#".repeat(hashes));
        return Some(rest[opening..].find(&closing).map_or(rest.len(), |at| opening + at + closing.len()));
    }
    // `#"` outside a raw string is an attribute's or macro's business.
    if hashes > 0 {
        return None;
    }
    let mut is_escaped = false;
    for (at, character) in rest[opening..].char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some(opening + at + 1),
            _ => {}
        }
    }
    Some(rest.len())
}

/// Character literals, as opposed to lifetimes.
fn character_length(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix("b'").or_else(|| rest.strip_prefix('\''))?;
    let opening = rest.len() - inside.len();
    if let Some(escaped) = inside.strip_prefix('\\') {
        let skipped = escaped.chars().next()?.len_utf8();
        return escaped[skipped..].find('\'').map(|at| opening + 1 + skipped + at + 1);
    }
    let character = inside.chars().next()?;
    inside[character.len_utf8()..].starts_with('\'').then(|| opening + character.len_utf8() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(blank(text), expected);
        assert_eq!(blank(text).lines().count(), text.lines().count());
    }

    #[test]
    fn comments_are_blanked() {
        check("a // b\nc", "a     \nc");
        check("a /* b /* c */ d */ e", "a                   e");
    }

    #[test]
    fn literals_are_blanked() {
        check(r#"f("x\"y", z)"#, "f(      , z)");
        check(r##"f(r#"a"b"#, c)"##, "f(        , c)");
        check(r"f(b'\'', 'x', '\n')", "f(     ,    ,     )");
    }

    #[test]
    fn lifetimes_and_words_stay() {
        check("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}");
        check(r#"for"x""#, "for   ");
    }
}
