//! `GET /`: the description for people, made of the OpenAPI document.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::response::Html;
use serde_json::{Map, Value};

use super::openapi::description;

static PAGE: LazyLock<String> = LazyLock::new(|| render(description()));

pub(super) async fn page() -> Html<&'static str> {
    Html(&PAGE)
}

const STYLE: &str = include_str!("page/style.css");

fn render(document: &Value) -> String {
    let title = text(document, "/info/title");
    let mut html = String::new();
    let _ = write!(
        html,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body>\n",
        title = escape(title)
    );
    let _ = write!(
        html,
        "<nav><h1>{}</h1><p>version {}</p>",
        escape(title),
        escape(text(document, "/info/version"))
    );
    for (method, path, operation) in operations(document) {
        let _ = write!(
            html,
            "<a href=\"#{}\"><b class=\"{method}\">{method}</b> {}</a>",
            escape(text(operation, "/operationId")),
            escape(path)
        );
    }
    html.push_str(
        "<a href=\"#shapes\">Shapes</a><a href=\"/api/v1/openapi.json\">openapi.json</a></nav>\n<main>",
    );
    html.push_str(&prose(text(document, "/info/description")));
    for (method, path, operation) in operations(document) {
        html.push_str(&operation_section(document, method, path, operation));
    }
    html.push_str("<section id=\"shapes\"><h2>Shapes</h2>");
    for (name, schema) in object(document, "/components/schemas") {
        let _ = write!(html, "<h3 id=\"shape-{0}\">{0}</h3>{1}", escape(name), schema_table(schema));
    }
    html.push_str("</section></main></body></html>\n");
    html
}

/// Returns method, path and operation of each route.
fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    object(document, "/paths").flat_map(|(path, methods)| {
        let methods = methods.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| (method.as_str(), path.as_str(), operation))
    })
}

fn operation_section(document: &Value, method: &str, path: &str, operation: &Value) -> String {
    let mut html = String::new();
    let _ = write!(
        html,
        "<section id=\"{}\"><h2>{}</h2><p class=\"route\"><b class=\"{method}\">{method}</b> <code>{}</code></p>{}",
        escape(text(operation, "/operationId")),
        escape(text(operation, "/summary")),
        escape(path),
        prose(text(operation, "/description"))
    );
    let parameters: Vec<&Value> = operation["parameters"].as_array().into_iter().flatten().collect();
    if !parameters.is_empty() {
        html.push_str("<table><tr><th>parameter<th>type<th>meaning</tr>");
        for parameter in parameters {
            let required = if parameter["required"] == true { " <i>required</i>" } else { "" };
            let _ = write!(
                html,
                "<tr><td><code>{}</code>{required}<td>{}<td>{}</tr>",
                escape(text(parameter, "/name")),
                schema_type(&parameter["schema"]),
                inline(text(parameter, "/description"))
            );
        }
        html.push_str("</table>");
    }
    let json = |value: &Value| value.pointer("/content/application~1json").cloned().unwrap_or_default();
    let body = json(&operation["requestBody"]);
    if let Some(name) = referred(&body["schema"]) {
        let _ = write!(html, "<h3>Body</h3>{}", schema_table(&document["components"]["schemas"][name]));
    }
    let _ = write!(
        html,
        "<pre class=\"curl\">{}</pre>",
        escape(&curl(method, path, operation, &body["example"]))
    );
    let answer = json(&operation["responses"]["200"]);
    if let Some(example) = answer.get("example") {
        let shape = referred(&answer["schema"]).map(shape_link).unwrap_or_default();
        let pretty = serde_json::to_string_pretty(example).unwrap_or_default();
        let _ = write!(
            html,
            "<details><summary>Answer {shape}</summary><pre>{}</pre></details>",
            escape(&pretty)
        );
    }
    let statuses: Vec<&str> = object(operation, "/responses")
        .map(|(status, _)| status.as_str())
        .filter(|status| *status != "200")
        .collect();
    let _ = writeln!(html, "<p class=\"statuses\">Errors: {}</p></section>", statuses.join(", "));
    html
}

/// Returns a command that asks this bridge; the page's reader puts in the address.
fn curl(method: &str, path: &str, operation: &Value, body: &Value) -> String {
    let mut query = Vec::new();
    let mut path = path.to_owned();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let (name, example) = (text(parameter, "/name"), text(parameter, "/example"));
        let is_shown = parameter["required"] == true || name == "since";
        match text(parameter, "/in") {
            "path" => path = path.replace(&format!("{{{name}}}"), example),
            "query" if is_shown => query.push(format!("{name}={}", example.replace(' ', "+"))),
            _ => {}
        }
    }
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    if method == "post" {
        let body = serde_json::to_string(body).unwrap_or_default();
        return format!("curl localhost:7654{path} --json '{body}'");
    }
    format!("curl 'localhost:7654{path}{query}'")
}

fn schema_table(schema: &Value) -> String {
    let mut html = inline(text(schema, "/description"));
    html.push_str("<table><tr><th>field<th>type<th>meaning</tr>");
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let all = object(schema, "/properties").count() == required.len();
    for (name, field) in object(schema, "/properties") {
        let mark = if !all && required.contains(&name.as_str()) { " <i>required</i>" } else { "" };
        let _ = write!(
            html,
            "<tr><td><code>{}</code>{mark}<td>{}<td>{}</tr>",
            escape(name),
            schema_type(field),
            inline(text(field, "/description"))
        );
    }
    html.push_str("</table>");
    html
}

/// Returns the type in words, with links to named shapes.
fn schema_type(schema: &Value) -> String {
    if let Some(name) = referred(schema) {
        return shape_link(name);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        return choices.iter().map(schema_type).collect::<Vec<_>>().join(" or ");
    }
    if let Some(values) = schema["enum"].as_array() {
        let values =
            values.iter().filter_map(Value::as_str).map(|value| format!("<code>{}</code>", escape(value)));
        return values.collect::<Vec<_>>().join(" ");
    }
    let name = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        one => one.as_str().unwrap_or("any").to_owned(),
    };
    match (name.as_str(), &schema["items"], schema.get("properties")) {
        ("array", items, _) => format!("list of {}", schema_type(items)),
        ("object", _, Some(_)) => schema_table(schema),
        ("integer", ..) if schema.get("maximum").is_some() => {
            format!("integer {}–{}, default {}", schema["minimum"], schema["maximum"], schema["default"])
        }
        _ => name,
    }
}

fn shape_link(name: &str) -> String {
    format!("<a href=\"#shape-{0}\">{0}</a>", escape(name))
}

fn referred(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/components/schemas/")
}

fn object<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.pointer(pointer).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Paragraphs of the little Markdown that descriptions use.
fn prose(markdown: &str) -> String {
    markdown.split("\n\n").map(|paragraph| format!("<p>{}</p>", inline(paragraph))).collect()
}

/// Reads `code` and **strong**; everything else is text.
fn inline(markdown: &str) -> String {
    let mut html = String::new();
    for (number, part) in markdown.split('`').enumerate() {
        if number % 2 == 1 {
            let _ = write!(html, "<code>{}</code>", escape(part));
            continue;
        }
        for (number, part) in part.split("**").enumerate() {
            let (open, close) = if number % 2 == 1 { ("<b>", "</b>") } else { ("", "") };
            let _ = write!(html, "{open}{}{close}", escape(part));
        }
    }
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_escaped() {
        assert_eq!(inline("a < `b<c` **d&e**"), "a &lt; <code>b&lt;c</code> <b>d&amp;e</b>");
    }

    #[test]
    fn every_route_and_shape_is_on_the_page() {
        let page = render(description());
        for (_, path, operation) in operations(description()) {
            assert!(page.contains(&format!("<code>{path}</code>")), "{path}");
            assert!(page.contains(&format!("id=\"{}\"", text(operation, "/operationId"))), "{path}");
        }
        for (name, _) in object(description(), "/components/schemas") {
            assert!(page.contains(&format!("id=\"shape-{name}\"")), "{name}");
        }
        let links: Vec<&str> =
            page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        for link in links {
            assert!(page.contains(&format!("id=\"{link}\"")), "{link} leads nowhere");
        }
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        let page = render(description());
        for foreign in ["src=", "<script", "<link", "url(", "@import", "http://", "https://"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn commands() {
        let page = render(description());
        assert!(page.contains("curl 'localhost:7654/api/v1/traces/0af7651916cd43dd8448eb211c80319c'"));
        assert!(
            page.contains("curl 'localhost:7654/api/v1/traces/operations?service=checkout&amp;since=15m'")
        );
        assert!(page.contains("curl localhost:7654/api/v1/traces/search --json '{&quot;"));
    }
}
