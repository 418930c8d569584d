//! Tokens of SQL (PostgreSQL documentation, "Lexical Structure"; MySQL reference manual, "Language Structure").

use super::{Dialect, Options};

/// A piece of a statement. All pieces together are the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a [u8],
}

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// White space.
    Space,
    /// `-- …` or `/* … */`, and what stands around code in comments (`/*!40101 … */`).
    Comment,
    /// A key word or a name without quotes.
    Word,
    /// A name in double quotes or backticks.
    Quoted,
    /// A string, with its prefix.
    Text,
    /// A number.
    Number,
    /// `$1`.
    Parameter,
    /// One byte of anything else.
    Sign,
}

impl Token<'_> {
    /// Returns whether it is this sign.
    pub(super) fn is_sign(&self, sign: u8) -> bool {
        self.kind == Kind::Sign && self.text == [sign]
    }
}

/// The tokens of a text, one after the other.
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    rest: &'a [u8],
    dialect: Dialect,
    backslash_escapes: bool,
    /// We are in code that stands in a comment.
    is_in_comment: bool,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a [u8], options: Options) -> Self {
        let Options { dialect, backslash_escapes, .. } = options;
        Self { rest: text, dialect, backslash_escapes, is_in_comment: false }
    }

    fn next_kind_and_length(&mut self) -> Option<(Kind, usize)> {
        let rest = self.rest;
        let (&first, after) = rest.split_first()?;
        let second = after.first().copied();
        if self.dialect == Dialect::Mysql
            && let Some(found) = self.mysql(rest, first, second)
        {
            return Some(found);
        }
        Some(match first {
            _ if first.is_ascii_whitespace() || first == b'\x0b' => (Kind::Space, run(rest, is_space)),
            b'-' if second == Some(b'-') => {
                (Kind::Comment, memchr::memchr(b'\n', rest).unwrap_or(rest.len()))
            }
            b'/' if second == Some(b'*') => (Kind::Comment, comment(rest)),
            b'\'' => (Kind::Text, quoted(rest, 1, b'\'', self.backslash_escapes)),
            b'"' => (Kind::Quoted, quoted(rest, 1, b'"', false)),
            b'$' if second.is_some_and(|byte| byte.is_ascii_digit()) => {
                (Kind::Parameter, 1 + run(after, |byte| byte.is_ascii_digit()))
            }
            b'$' => dollar_quoted(rest).map_or((Kind::Sign, 1), |length| (Kind::Text, length)),
            b'0'..=b'9' => (Kind::Number, number(rest)),
            b'.' if second.is_some_and(|byte| byte.is_ascii_digit()) => (Kind::Number, number(rest)),
            _ if is_name_start(first) => self.word(rest),
            _ => (Kind::Sign, 1),
        })
    }

    /// Returns what stands otherwise in MySQL's dialect.
    fn mysql(&mut self, rest: &[u8], first: u8, second: Option<u8>) -> Option<(Kind, usize)> {
        let line = || (Kind::Comment, memchr::memchr(b'\n', rest).unwrap_or(rest.len()));
        Some(match (first, second) {
            (b'"', _) => (Kind::Text, quoted(rest, 1, b'"', self.backslash_escapes)),
            (b'`', _) => (Kind::Quoted, quoted(rest, 1, b'`', false)),
            (b'#', _) => line(),
            // Two hyphens without a space are two signs.
            (b'-', Some(b'-')) => match rest.get(2) {
                Some(third) if !third.is_ascii_whitespace() && !third.is_ascii_control() => (Kind::Sign, 1),
                _ => line(),
            },
            (b'/', Some(b'*')) => match code_in_comment(rest) {
                Some(length) => {
                    self.is_in_comment = true;
                    (Kind::Comment, length)
                }
                None => (Kind::Comment, flat_comment(rest)),
            },
            (b'*', Some(b'/')) if self.is_in_comment => {
                self.is_in_comment = false;
                (Kind::Comment, 2)
            }
            (b'$', _) => (Kind::Word, run(rest, is_name)),
            (b'u' | b'U', Some(b'&')) => (Kind::Word, 1),
            _ => return None,
        })
    }

    /// A word, or a string or name with a prefix (`E'…'`, `B'…'`, `X'…'`, `N'…'`, `U&'…'`, `U&"…"`).
    fn word(&self, rest: &[u8]) -> (Kind, usize) {
        match rest {
            [b'e' | b'E', b'\'', ..] => (Kind::Text, quoted(rest, 2, b'\'', true)),
            [b'b' | b'B' | b'x' | b'X' | b'n' | b'N', b'\'', ..] => {
                (Kind::Text, quoted(rest, 2, b'\'', self.backslash_escapes))
            }
            [b'u' | b'U', b'&', b'\'', ..] => (Kind::Text, quoted(rest, 3, b'\'', false)),
            [b'u' | b'U', b'&', b'"', ..] => (Kind::Quoted, quoted(rest, 3, b'"', false)),
            _ => (Kind::Word, run(rest, is_name)),
        }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let (kind, length) = self.next_kind_and_length()?;
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(Token { kind, text })
    }
}

fn run(text: &[u8], is_part: impl Fn(u8) -> bool) -> usize {
    text.iter().position(|&byte| !is_part(byte)).unwrap_or(text.len())
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == b'\x0b'
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_name(byte: u8) -> bool {
    is_name_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

/// Returns the length of a quoted text whose contents begin at `start`. A doubled quote does not end it. One that
/// does not end takes all.
fn quoted(text: &[u8], start: usize, quote: u8, backslash_escapes: bool) -> usize {
    let mut at = start;
    while let Some(&byte) = text.get(at) {
        at += 1;
        if byte == b'\\' && backslash_escapes {
            at += 1;
        } else if byte == quote {
            if text.get(at) != Some(&quote) {
                return at;
            }
            at += 1;
        }
    }
    text.len()
}

/// Returns the length of a comment; such comments nest.
fn comment(text: &[u8]) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(pair) = text.get(at..at + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Returns the length of what begins code in a comment: `/*!`, MariaDB's `/*M!`, and the version behind it. None where
/// `text` begins an ordinary comment.
fn code_in_comment(text: &[u8]) -> Option<usize> {
    let version = text.strip_prefix(b"/*!").or_else(|| text.strip_prefix(b"/*M!"))?;
    let digits = run(version, |byte| byte.is_ascii_digit());
    Some(text.len() - version.len() + digits)
}

/// Returns the length of a comment that does not nest.
fn flat_comment(text: &[u8]) -> usize {
    let contents = text.get(2..).unwrap_or_default();
    memchr::memmem::find(contents, b"*/").map_or(text.len(), |end| end + 4)
}

/// Returns the length of `$tag$…$tag$`; none where `text` does not begin with such a quote.
fn dollar_quoted(text: &[u8]) -> Option<usize> {
    let name = run(text.get(1..)?, |byte| is_name(byte) && byte != b'$');
    let tag = text.get(..name + 2).filter(|tag| tag.ends_with(b"$"))?;
    let contents = text.get(tag.len()..)?;
    Some(memchr::memmem::find(contents, tag).map_or(text.len(), |end| end + 2 * tag.len()))
}

/// Returns the length of a number in any notation; letters at its end are taken too, so that none of it is missed.
fn number(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let is_exponent_sign = matches!(byte, b'+' | b'-')
            && matches!(text.get(at.wrapping_sub(1)), Some(b'e' | b'E'))
            && text.get(at + 1).is_some_and(u8::is_ascii_digit)
            && !text.starts_with(b"0x");
        if !(byte == b'.' || is_name(byte) || is_exponent_sign) {
            break;
        }
        at += 1;
    }
    at
}
