//! The operations of a GraphQL document (GraphQL specification, October 2021, sections 2.1 to 2.3), whose end may not be
//! there.

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Query,
    Mutation,
    Subscription,
}

impl Kind {
    /// Returns the value of `graphql.operation.type`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Kind::Query => "query",
            Kind::Mutation => "mutation",
            Kind::Subscription => "subscription",
        }
    }

    fn of(keyword: &[u8]) -> Option<Self> {
        match keyword {
            b"query" => Some(Kind::Query),
            b"mutation" => Some(Kind::Mutation),
            b"subscription" => Some(Kind::Subscription),
            _ => None,
        }
    }
}

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operation<'a> {
    pub(super) kind: Kind,
    pub(super) name: Option<&'a [u8]>,
}

/// Returns whether text is a name.
pub(super) fn is_name(text: &[u8]) -> bool {
    text.first().is_some_and(|byte| !byte.is_ascii_digit()) && text.iter().all(is_of_name)
}

fn is_of_name(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || *byte == b'_'
}

/// Returns what stands before the word that ends a text, if one does.
pub(super) fn without_last_word(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| !is_of_name(byte)).map_or(0, |at| at + 1);
    text.get(..end).unwrap_or_default()
}

/// Returns whether text begins as documents do. Of one that is not cut, what follows the name must be there.
pub(super) fn is_plausible(document: &[u8], is_cut: bool) -> bool {
    let mut tokens = Tokens { rest: document };
    match tokens.next() {
        Some(Token::Open(b'{')) => begins_selections(&mut tokens, is_cut),
        Some(Token::Name(keyword)) if Kind::of(keyword).is_some() => {
            let next = match tokens.next() {
                Some(Token::Name(_)) => tokens.next(),
                next => next,
            };
            match next {
                Some(Token::Open(b'{')) => begins_selections(&mut tokens, is_cut),
                Some(Token::Open(b'(') | Token::Other(b'@')) => true,
                next => is_cut && next.is_none(),
            }
        }
        Some(Token::Name(b"fragment")) => match (tokens.next(), tokens.next()) {
            (Some(Token::Name(_)), Some(Token::Name(keyword))) => keyword == b"on",
            (_, None) => is_cut,
            _ => false,
        },
        _ => false,
    }
}

/// Returns whether what follows a brace may be a selection set (section 2.4): a field, maybe under another name, or a
/// spread. JSON, filters and templates in braces are none.
fn begins_selections(tokens: &mut Tokens<'_>, is_cut: bool) -> bool {
    let is_field = |token| matches!(token, Token::Name(name) if is_name(name));
    let Some(first) = tokens.next() else { return is_cut };
    let next = tokens.next();
    match (first, next) {
        (Token::Other(b'.'), _) => next.map_or(is_cut, |next| next == Token::Other(b'.')),
        (first, None) => is_cut && is_field(first),
        (first, Some(Token::Other(b':'))) => is_field(first) && tokens.next().map_or(is_cut, is_field),
        (first, Some(next)) => {
            let may_follow = matches!(
                next,
                Token::Name(_) | Token::Open(b'{' | b'(') | Token::Close(b'}') | Token::Other(b'@' | b'.')
            );
            is_field(first) && may_follow
        }
    }
}

/// Returns the operations of a document, in their order.
pub(super) fn operations(document: &[u8]) -> impl Iterator<Item = Operation<'_>> {
    let mut tokens = Tokens { rest: document }.peekable();
    // Opened and not closed, and whether the definition that is being read has been told.
    let (mut depth, mut is_told) = (0usize, false);
    std::iter::from_fn(move || {
        while let Some(token) = tokens.next() {
            match token {
                Token::Name(keyword) if depth == 0 && !is_told => {
                    is_told = true;
                    let Some(kind) = Kind::of(keyword) else { continue };
                    let name = match tokens.peek() {
                        Some(&Token::Name(name)) => Some(name),
                        _ => None,
                    };
                    return Some(Operation { kind, name });
                }
                Token::Open(byte) => {
                    let is_anonymous = depth == 0 && !is_told && byte == b'{';
                    depth += 1;
                    if is_anonymous {
                        is_told = true;
                        return Some(Operation { kind: Kind::Query, name: None });
                    }
                }
                Token::Close(byte) => {
                    depth = depth.saturating_sub(1);
                    // A definition ends with its selections.
                    is_told &= depth > 0 || byte != b'}';
                }
                Token::Name(_) | Token::Text | Token::Other(_) => {}
            }
        }
        None
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Name(&'a [u8]),
    /// A string.
    Text,
    /// `{`, `(` or `[`.
    Open(u8),
    /// `}`, `)` or `]`.
    Close(u8),
    /// Anything else.
    Other(u8),
}

/// The tokens of a document, without what is ignored.
#[derive(Clone, Copy, Debug)]
struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let (&byte, after) = self.rest.split_first()?;
            match byte {
                b'#' => {
                    self.rest =
                        memchr::memchr(b'\n', after).and_then(|end| after.get(end..)).unwrap_or_default()
                }
                b'"' => {
                    self.rest = behind_text(after);
                    return Some(Token::Text);
                }
                b' ' | b'\t' | b'\n' | b'\r' | b',' | 0xef | 0xbb | 0xbf => self.rest = after,
                byte if is_of_name(&byte) => {
                    let end = self.rest.iter().position(|byte| !is_of_name(byte)).unwrap_or(self.rest.len());
                    let (name, rest) = self.rest.split_at_checked(end)?;
                    self.rest = rest;
                    return Some(Token::Name(name));
                }
                _ => {
                    self.rest = after;
                    return Some(match byte {
                        b'{' | b'(' | b'[' => Token::Open(byte),
                        b'}' | b')' | b']' => Token::Close(byte),
                        other => Token::Other(other),
                    });
                }
            }
        }
    }
}

/// Returns what follows a string whose first quote has been passed: `"…"`, or `"""…"""` with quotes in it.
fn behind_text(text: &[u8]) -> &[u8] {
    if let Some(block) = text.strip_prefix(b"\"\"") {
        let end = memchr::memmem::find(block, b"\"\"\"");
        return end.and_then(|end| block.get(end + 3..)).unwrap_or_default();
    }
    let mut rest = text;
    while let Some((at, &byte)) = rest.iter().enumerate().find(|(_, byte)| matches!(byte, b'"' | b'\\')) {
        let passed = if byte == b'"' { 1 } else { 2 };
        rest = rest.get(at + passed..).unwrap_or_default();
        if byte == b'"' {
            return rest;
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(document: &str, expected: &str) {
        let told: Vec<String> = operations(document.as_bytes())
            .map(|Operation { kind, name }| {
                format!("{} {}", kind.as_str(), name.map_or("-".into(), String::from_utf8_lossy))
            })
            .collect();
        assert_eq!(told.join(", "), expected, "{document}");
    }

    #[test]
    fn operations_are_told_from_what_looks_like_them() {
        check("query A { query mutation { subscription } }", "query A");
        check("{ a(b: \"query B { x }\") } mutation C { c }", "query -, mutation C");
        check("query A($a: T = {b: [1]}) @d(e: {f: 1}) { a } query B { b }", "query A, query B");
        check("fragment mutation on query { a } subscription S { s }", "subscription S");
        check(
            "query A { a(b: \"\"\"x } \" query B {\"\"\") } # query C { }\nquery D { d }",
            "query A, query D",
        );
        check("query A { a(b: \"\\\"}\") } query B {b}", "query A, query B");
        check("}}}) query A {a}", "query A");
        check("", "");
    }

    #[test]
    fn sentences_are_no_documents() {
        for document in
            ["query A { a }", "{a}", "mutation($a: T) { a }", "query A @live {a}", "fragment F on T {a}"]
        {
            assert!(is_plausible(document.as_bytes(), false), "{document}");
        }
        for document in
            ["{ a: b { c } }", "{...F}", "{ ... on T { a } }", "{ a @skip(if: true) b }", "{ a(b: 1) }"]
        {
            assert!(is_plausible(document.as_bytes(), false), "{document}");
        }
        for text in ["query", "query plan", "query plan of it", "select 1", "", "fragment of it", "[1]"] {
            assert!(!is_plausible(text.as_bytes(), false), "{text}");
        }
        for text in [
            "{\"term\":{\"a\":1}}",
            "{ status = open }",
            "{",
            "{}",
            "{a",
            "{ a: 1 }",
            "{{ name }}",
            "query A {\"a\"}",
            "{ 1a }",
        ] {
            assert!(!is_plausible(text.as_bytes(), false), "{text}");
        }
        for text in ["query Get", "{", "{ a", "{ a:", "{."] {
            assert!(is_plausible(text.as_bytes(), true), "{text}");
        }
    }
}
