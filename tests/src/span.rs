//! Spans as the bridge tells them, and what tests say about them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::Value;

/// A span out of the bridge's API.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its trace, 32 hex digits.
    pub trace_id: String,
    /// Its id, 16 hex digits.
    pub span_id: String,
    /// Its parent's id; none for a root.
    pub parent_id: Option<String>,
    /// Its name.
    pub name: String,
    /// `server`, `client`, ….
    pub kind: String,
    /// `service.name` of its resource.
    pub service: String,
    /// `unset`, `ok` or `error`.
    pub status: String,
    /// Start, nanoseconds since 1970.
    pub start_ns: u64,
    /// End, likewise.
    pub end_ns: u64,
    /// Its attributes.
    pub attributes: BTreeMap<String, Value>,
    /// Attributes of its resource.
    pub resource: BTreeMap<String, Value>,
    /// Ids of the spans that it is linked to.
    pub links: Vec<String>,
}

impl Span {
    /// Returns an attribute's text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).and_then(Value::as_str)
    }

    /// Returns an attribute's number.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<i64> {
        self.attributes.get(key).and_then(Value::as_i64)
    }
}

/// What stands in outlines instead of values that differ from run to run.
#[derive(Clone, Debug, Default)]
pub struct Names {
    texts: Vec<(String, String)>,
    ports: BTreeMap<i64, String>,
}

impl Names {
    /// Returns names for the addresses of these servers.
    #[must_use]
    pub fn of(servers: &[(&str, SocketAddr)]) -> Self {
        let mut names = Self::default();
        // A test that connects by itself is a service like any other, named after its file.
        let file = std::env::current_exe().ok().and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
        names.texts.extend(file.map(|file| (file, "this test".to_owned())));
        for (name, address) in servers {
            names.texts.push((address.to_string(), (*name).to_owned()));
            names.texts.push((format!(":{}", address.port()), format!(":{name}.port")));
            names.ports.insert(i64::from(address.port()), format!("{name}.port"));
        }
        names
    }

    /// Adds a name for a text.
    #[must_use]
    pub fn and(mut self, text: impl Into<String>, name: &str) -> Self {
        self.texts.push((text.into(), name.to_owned()));
        self
    }

    fn text(&self, text: &str) -> String {
        self.texts.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    fn port(&self, port: i64) -> String {
        match self.ports.get(&port) {
            Some(name) => name.clone(),
            // The kernel's choice (`net.ipv4.ip_local_port_range`).
            None if port >= 32_768 => "*".to_owned(),
            None => port.to_string(),
        }
    }

    fn value(&self, key: &str, value: &Value) -> String {
        match value {
            Value::Number(number) if key.ends_with(".port") => match number.as_i64() {
                Some(port) => self.port(port),
                None => number.to_string(),
            },
            // Versions of programs differ between hosts.
            Value::String(text) if key == "user_agent.original" => {
                text.split('/').next().unwrap_or_default().to_owned() + "/*"
            }
            Value::String(text) => self.text(text),
            other => other.to_string(),
        }
    }
}

/// Which attributes an outline shows.
#[derive(Clone, Copy, Debug)]
pub enum Show<'a> {
    /// All.
    All,
    /// These, in alphabetical order.
    Only(&'a [&'a str]),
}

/// Writes spans as a forest, one line for each span and attribute, children by start below their parent.
///
/// Spans whose parent is not among `spans` are roots; where that parent is named, it is shown as `(parent elsewhere)`.
#[must_use]
pub fn outline(spans: &[Span], names: &Names, show: Show<'_>) -> String {
    let ids: BTreeSet<_> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let is_root = |span: &&Span| span.parent_id.as_deref().is_none_or(|parent| !ids.contains(parent));
    let mut text = String::new();
    for root in by_start(spans.iter().filter(is_root)) {
        write_tree(&mut text, spans, root, 0, names, show);
    }
    text
}

fn write_tree(text: &mut String, spans: &[Span], span: &Span, depth: usize, names: &Names, show: Show<'_>) {
    let indent = "  ".repeat(depth);
    let orphan = if depth == 0 && span.parent_id.is_some() { " (parent elsewhere)" } else { "" };
    let Span { kind, service, status, .. } = span;
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{indent}{kind} `{}` of {}, {status}{orphan}",
        names.text(&span.name),
        names.text(service)
    );
    for (key, value) in &span.attributes {
        let is_shown = match show {
            Show::All => true,
            Show::Only(keys) => keys.contains(&key.as_str()),
        };
        if is_shown {
            let _ = writeln!(text, "{indent}    {key} = {}", names.value(key, value));
        }
    }
    let is_child =
        |other: &&Span| other.parent_id.as_ref() == Some(&span.span_id) && other.span_id != span.span_id;
    for child in by_start(spans.iter().filter(is_child)) {
        write_tree(text, spans, child, depth + 1, names, show);
    }
}

fn by_start<'a>(spans: impl Iterator<Item = &'a Span>) -> Vec<&'a Span> {
    let mut spans: Vec<_> = spans.collect();
    spans.sort_by_key(|span| (span.start_ns, span.end_ns));
    spans
}

/// Fails where a span of one trace lies outside its parent's time, but for clocks' and calls' rounding.
///
/// Both sides of one exchange are looked at by one clock: a server's span begins after its client's has begun.
pub fn check_times(spans: &[Span]) -> Result<(), String> {
    for span in spans {
        if span.end_ns < span.start_ns {
            return Err(format!("`{}` of {} ends before it starts", span.name, span.service));
        }
        let parent = spans.iter().find(|other| Some(&other.span_id) == span.parent_id.as_ref());
        if let Some(parent) = parent.filter(|parent| span.start_ns < parent.start_ns) {
            return Err(format!(
                "`{}` of {} starts before its parent `{}`",
                span.name, span.service, parent.name
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: Option<&str>, start_ns: u64) -> Span {
        Span {
            trace_id: "t".to_owned(),
            span_id: id.to_owned(),
            parent_id: parent.map(str::to_owned),
            name: format!("GET /{id}"),
            kind: "server".to_owned(),
            service: "shop".to_owned(),
            status: "unset".to_owned(),
            start_ns,
            end_ns: start_ns + 1,
            attributes: [
                ("server.port".to_owned(), 8080.into()),
                ("client.port".to_owned(), 40_000.into()),
                ("url.full".to_owned(), "http://127.0.0.1:8080/a".into()),
            ]
            .into(),
            resource: BTreeMap::new(),
            links: Vec::new(),
        }
    }

    #[test]
    fn an_outline_is_a_tree_with_names() {
        let names = Names::of(&[("SHOP", "127.0.0.1:8080".parse().unwrap())]);
        let spans = [span("c", Some("a"), 3), span("b", Some("a"), 2), span("a", Some("x"), 1)];
        let expected = "server `GET /a` of shop, unset (parent elsewhere)
    client.port = *
    server.port = SHOP.port
    url.full = http://SHOP/a
  server `GET /b` of shop, unset
  server `GET /c` of shop, unset
";
        let mut found = outline(&spans, &names, Show::All);
        for _ in 0..2 {
            found = found.replace(
                "      client.port = *\n      server.port = SHOP.port\n      url.full = http://SHOP/a\n",
                "",
            );
        }
        assert_eq!(found, expected);
        assert_eq!(outline(&spans, &names, Show::Only(&[])).lines().count(), 3);
    }

    #[test]
    fn a_child_before_its_parent_is_found() {
        assert_eq!(check_times(&[span("a", None, 1), span("b", Some("a"), 2)]), Ok(()));
        assert!(check_times(&[span("a", None, 2), span("b", Some("a"), 1)]).is_err());
    }
}
