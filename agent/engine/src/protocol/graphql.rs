//! GraphQL over HTTP (the GraphQL over HTTP draft, and Apollo's batches): which operation a request asks for, and whether
//! its response has errors.
//!
//! Only the beginnings of bodies are looked at, by a scanner that makes no tree: what stands further behind is not known,
//! and is then not told.

mod document;
mod json;

use super::{Name, Outcome, set, text};
use crate::held::Held;
use crate::semconv::{self, Attributes};
use document::Kind;
use json::Scanner;

/// Bytes of a request's body that are looked at: clients put the operation's name first, or the document.
pub(super) const REQUEST_BYTES: usize = 2048;
/// Bytes of a response's body that are looked at: servers put errors first, or after data that are null.
pub(super) const RESPONSE_BYTES: usize = 1024;
/// Longest name of an operation that is recorded, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// Longest code of an error that is recorded, in bytes.
const MAX_CODE_BYTES: usize = 64;
/// The members with which the body of a request may begin.
const FIRST_MEMBERS: &[&str] = &["query", "operationName", "variables", "extensions", "id"];
/// `error.type` of an error without a code.
const UNNAMED_ERROR: &str = "graphql_error";
/// Codes of Apollo Server and of graphql-java by which a server says that the request was wrong.
const BLAMES: &[&str] = &[
    "BAD_REQUEST",
    "BAD_USER_INPUT",
    "FORBIDDEN",
    "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED",
    "NOT_FOUND",
    "OPERATION_RESOLUTION_FAILURE",
    "PERSISTED_QUERY_NOT_FOUND",
    "PERSISTED_QUERY_NOT_SUPPORTED",
    "UNAUTHENTICATED",
    "UNAUTHORIZED",
];

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Operation {
    kind: Option<Kind>,
    name: Option<String>,
}

impl Operation {
    /// Adds what the conventions have for it.
    pub(super) fn describe(&self, attributes: &mut Attributes) {
        if let Some(kind) = self.kind {
            set(attributes, semconv::GRAPHQL_OPERATION_TYPE, kind.as_str());
        }
        if let Some(name) = &self.name {
            set(attributes, semconv::GRAPHQL_OPERATION_NAME, name.clone());
        }
    }

    /// Returns the name of the span: by the conventions the type alone, since the name is the client's to choose.
    pub(super) fn span_name(&self, path: Option<String>) -> Name {
        Name { verb: self.kind.map_or("GraphQL Operation", Kind::as_str).into(), path }
    }
}

impl Held for Operation {
    fn held_bytes(&self) -> usize {
        self.name.held_bytes()
    }
}

/// Returns whether a path says that GraphQL is spoken there.
pub(super) fn is_endpoint(path: &str) -> bool {
    path.split('/')
        .any(|segment| segment.eq_ignore_ascii_case("graphql") || segment.eq_ignore_ascii_case("gql"))
}

/// Returns whether a body in JSON that begins so may be a request: says no as soon as it can.
pub(super) fn may_begin(body: &[u8]) -> bool {
    let beginning: Vec<u8> =
        body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).take(20).collect();
    let object = beginning.strip_prefix(b"[").unwrap_or(&beginning);
    let Some(member) = object.strip_prefix(b"{") else { return object.is_empty() };
    let Some(name) = member.strip_prefix(b"\"") else { return member.is_empty() };
    FIRST_MEMBERS.iter().any(|known| match name.split_at_checked(known.len()) {
        Some((name, rest)) => name == known.as_bytes() && rest.first().is_none_or(|&byte| byte == b'"'),
        None => known.as_bytes().starts_with(name),
    })
}

/// Returns the operation of a body in JSON. Where nothing but the body says that it is GraphQL (`is_endpoint`), it must
/// have a document.
pub(super) fn of_body(body: &[u8], is_endpoint: bool) -> Option<Operation> {
    let mut scanner = Scanner::new(body);
    if !scanner.enter(b'[') {
        return of_object(&mut scanner, is_endpoint);
    }
    let mut batch: Option<Operation> = None;
    while let Some(operation) = of_object(&mut scanner, is_endpoint) {
        batch = Some(match batch {
            None => operation,
            // Several have a type in common, or none.
            Some(before) => {
                Operation { kind: before.kind.filter(|kind| operation.kind == Some(*kind)), name: None }
            }
        });
        if !scanner.enter(b',') {
            break;
        }
    }
    batch
}

fn of_object(scanner: &mut Scanner<'_>, is_endpoint: bool) -> Option<Operation> {
    if !scanner.is_at(b'{') {
        return None;
    }
    let (mut document, mut name, mut is_persisted) = (None, None, false);
    let is_whole = scanner.object(|member, value| match member {
        b"query" => {
            document = value.text();
            if document.is_some() { Some(()) } else { value.skip() }
        }
        b"operationName" => {
            name = value.text();
            if name.is_some() { Some(()) } else { value.skip() }
        }
        b"extensions" | b"id" | b"documentId" => {
            is_persisted = true;
            value.skip()
        }
        _ => value.skip(),
    });
    let name = name.filter(|name| name.is_whole).map(|name| name.unescaped());
    match document {
        Some(document) => operation(&document.unescaped(), name.as_deref(), !document.is_whole),
        None => {
            // The document may stand behind what was looked at.
            let is_it = is_endpoint && (is_persisted || name.is_some() || is_whole.is_none());
            is_it.then(|| Operation { kind: None, name: name.as_deref().and_then(recorded) })
        }
    }
}

/// Returns the operation of a body that is the document itself (`application/graphql`), or the beginning of it.
pub(super) fn of_document(body: &[u8]) -> Option<Operation> {
    operation(body, None, true)
}

/// Returns the operation that the query of a URL asks for.
pub(super) fn of_query(query: &[u8]) -> Option<Operation> {
    let parameter = |wanted: &str| -> Option<(Vec<u8>, bool)> {
        let mut parameters = query.split(|&byte| byte == b'&');
        let value = parameters.find_map(|found| found.strip_prefix(wanted.as_bytes())?.strip_prefix(b"="))?;
        let spaced: Vec<u8> = value.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
        let shown = spaced.get(..REQUEST_BYTES).unwrap_or(&spaced);
        Some((text::percent_decoded(shown), shown.len() < spaced.len()))
    };
    let name = parameter("operationName").map(|(name, _)| name);
    match parameter("query") {
        Some((document, is_cut)) => operation(&document, name.as_deref(), is_cut),
        None => {
            let is_persisted = parameter("extensions").is_some();
            is_persisted.then(|| Operation { kind: None, name: name.as_deref().and_then(recorded) })
        }
    }
}

fn operation(document: &[u8], wanted: Option<&[u8]>, is_cut: bool) -> Option<Operation> {
    // A name with which a document is cut may be longer.
    let document = if is_cut { document::without_last_word(document) } else { document };
    if !document::is_plausible(document, is_cut) {
        return None;
    }
    let mut operations = document::operations(document);
    let found = match wanted {
        Some(_) => operations.find(|operation| operation.name == wanted),
        None => operations.next(),
    };
    let name = wanted.or(found.and_then(|operation| operation.name)).and_then(recorded);
    Some(Operation { kind: found.map(|operation| operation.kind), name })
}

fn recorded(name: &[u8]) -> Option<String> {
    let is_name = document::is_name(name) && name.len() <= MAX_NAME_BYTES;
    is_name.then(|| text::lossy(name, MAX_NAME_BYTES))
}

/// Returns how a request went whose response's body begins so; none where no errors are to be seen.
pub(super) fn failure(body: &[u8]) -> Option<Outcome> {
    let mut scanner = Scanner::new(body);
    let is_batch = scanner.enter(b'[');
    loop {
        let mut failure = None;
        let is_whole = scanner.object(|member, value| match member {
            b"errors" => {
                let (found, is_whole) = errors(value);
                failure = found;
                is_whole
            }
            _ => value.skip(),
        });
        if let Some(error_type) = failure {
            let is_client_fault = BLAMES.contains(&error_type.as_str());
            return Some(Outcome { error_type: Some(error_type), message: None, is_client_fault });
        }
        is_whole?;
        if !(is_batch && scanner.enter(b',')) {
            return None;
        }
    }
}

/// Returns the type of the first error in a list, and whether the list is there to its end.
fn errors(scanner: &mut Scanner<'_>) -> (Option<String>, Option<()>) {
    if !scanner.enter(b'[') {
        return (None, scanner.skip());
    }
    if !scanner.is_at(b'{') {
        return (None, scanner.leave());
    }
    let mut code = None;
    let first = scanner.object(|member, value| match member {
        b"extensions" if value.is_at(b'{') => value.object(|member, value| match member {
            b"code" => {
                code = value.text();
                if code.is_some() { Some(()) } else { value.skip() }
            }
            _ => value.skip(),
        }),
        _ => value.skip(),
    });
    let is_code = |code: &[u8]| {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        (1..=MAX_CODE_BYTES).contains(&code.len()) && code.iter().all(is_part)
    };
    let code = code.filter(|code| code.is_whole && is_code(code.raw));
    let named = code.map_or_else(|| UNNAMED_ERROR.to_owned(), |code| text::lossy(code.raw, MAX_CODE_BYTES));
    (Some(named), first.and_then(|()| scanner.leave()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(operation: Option<Operation>) -> String {
        match operation {
            None => "-".to_owned(),
            Some(Operation { kind, name }) => {
                format!("{} {}", kind.map_or("?", Kind::as_str), name.as_deref().unwrap_or("-"))
            }
        }
    }

    #[track_caller]
    fn check(body: &str, expected: &str) {
        assert!(may_begin(body.as_bytes()), "{body}");
        assert_eq!(told(of_body(body.as_bytes(), true)), expected, "{body}");
    }

    #[test]
    fn operations_are_found_wherever_clients_put_them() {
        check(r#"{"query":"query GetUser($id: ID!) { user(id: $id) { name } }"}"#, "query GetUser");
        check(
            r#"{"operationName":"A","variables":{"x":[1,{"y":"}"}]},"query":"mutation A { a }"}"#,
            "mutation A",
        );
        check(r#"{ "query" : "\n  # a comment\n  subscription   News{ a }" }"#, "subscription News");
        check(r#"{"query":"{ me { id } }","operationName":null}"#, "query -");
        check(r#"{"operationName":"B","query":"query A { a } mutation B { b }"}"#, "mutation B");
        check(r#"{"query":"fragment F on T { query { x } } query C { ...F }"}"#, "query C");
        check(r#"{"query":"\u0071uery D{a}"}"#, "query D");
    }

    #[test]
    fn what_is_cut_or_persisted_is_told_as_far_as_it_is_known() {
        check(r#"{"operationName":"A","variables":{"long":"xxxxxxxx"#, "? A");
        check(r#"{"query":"query GetUser($id: ID!) { us"#, "query GetUser");
        check(r#"{"query":"query GetUs"#, "query -");
        check(r#"{"extensions":{"persistedQuery":{"version":1}},"operationName":"A"}"#, "? A");
        check(r#"{"operationName":"not a name","extensions":{}}"#, "? -");
    }

    #[test]
    fn batches_have_what_their_operations_have_in_common() {
        check(r#"[{"query":"query A {a}"}]"#, "query A");
        check(r#"[{"query":"query A {a}"},{"query":"query B {a}"}]"#, "query -");
        check(r#"[{"query":"query A {a}"},{"query":"mutation B {a}"}]"#, "? -");
        assert_eq!(of_body(b"[]", true), None);
    }

    #[test]
    fn other_bodies_are_not_taken_for_it() {
        for body in [
            r#"{"query":{"match_all":{}}}"#,
            r#"{"query":"select * from users"}"#,
            r#"{"query":"query plan"}"#,
            r#"{"id":7,"name":"x"}"#,
            r#"{"operationName":"A"}"#,
            "{",
            "",
        ] {
            assert_eq!(of_body(body.as_bytes(), false), None, "{body}");
        }
        for body in [r#"{"queries":1"#, r#"{"user":1"#, "7", r#""query""#, "[7"] {
            assert!(!may_begin(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn urls_ask_too() {
        let of = |query: &str| told(of_query(query.as_bytes()));
        assert_eq!(of("query=query%20A%7Ba%7D&variables=%7B%7D"), "query A");
        assert_eq!(of("a=b&query=%7Ba%7D"), "query -");
        assert_eq!(of("operationName=A&extensions=%7B%7D"), "? A");
        assert_eq!(of("query=query+A+@live{a}"), "query A");
        assert_eq!(of("query=shoes"), "-");
        let fragment = "fragment%20F%20on%20T%20%7Ba%7D%20".to_owned() + &"%20".repeat(800);
        let cut = fragment.get(..2035).unwrap().to_owned() + "%20query%20GetUser%7Ba%7D";
        assert_eq!(of(&format!("query={cut}")), "query -");
        assert_eq!(of("q=1"), "-");
    }

    #[test]
    fn errors_are_found_first_and_behind_small_data() {
        let of = |body: &str| {
            failure(body.as_bytes()).map(|outcome| (outcome.error_type, outcome.is_client_fault))
        };
        let named = |name: &str, is_client_fault| Some((Some(name.to_owned()), is_client_fault));
        let code = r#"{"errors":[{"message":"m","locations":[{"line":1}],"extensions":{"code":"GRAPHQL_VALIDATION_FAILED"}}]}"#;
        assert_eq!(of(code), named("GRAPHQL_VALIDATION_FAILED", true));
        assert_eq!(of(r#"{"data":null,"errors":[{"message":"m"}]}"#), named("graphql_error", false));
        assert_eq!(of(r#"{"errors":[{"message":"this one is cut of"#), named("graphql_error", false));
        assert_eq!(of(r#"[{"data":{}},{"errors":[{"extensions":{"code":"X"}}]}]"#), named("X", false));
        assert_eq!(of(r#"{"data":{"errors":[{"message":"data of the application"}]}}"#), None);
        assert_eq!(of(r#"{"errors":[],"data":{}}"#), None);
        assert_eq!(of(r#"{"data":{"a":"#), None);
        assert_eq!(of(r#"{"errors":[{"extensions":{"code":"a b"}}]}"#), named("graphql_error", false));
    }

    #[test]
    fn deep_and_broken_bodies_end_the_look() {
        let deep = format!(r#"{{"variables":{}"#, "[{\"a\":".repeat(5_000));
        assert_eq!(told(of_body(deep.as_bytes(), true)), "? -");
        for body in
            ["{\"a\\", "{\"query\":\"\\u12", "{{{{", "[[[", "{\"query\":\"{\"", "\u{0}", "{:}", "{\"a\" 1}"]
        {
            let _ = of_body(body.as_bytes(), true);
            let _ = failure(body.as_bytes());
        }
    }
}
