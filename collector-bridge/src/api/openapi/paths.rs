//! Paths, parameters and error answers.

use serde_json::{Map, Value, json};

use super::examples;
use super::schemas::reference;
use crate::api::error::CODES;
use crate::api::errors::{DEFAULT_GROUPS, MAX_GROUPS};
use crate::api::fields::MAX_TEXT_CHARS;
use crate::api::names::KINDS;
use crate::api::performance::{DEFAULT_SERIES, MAX_POINTS, MAX_POINTS_TOTAL, MAX_SERIES};
use crate::api::{MAX_BODY_BYTES, MAX_QUERIES, QUERY_TIMEOUT};

pub(super) fn paths() -> Value {
    json!({
        "/": { "get": page() },
        "/api/v1/openapi.json": { "get": document() },
        "/api/v1/traces/{id}": { "get": trace() },
        "/api/v1/traces/search": { "post": search() },
        "/api/v1/traces/services": { "get": services() },
        "/api/v1/traces/operations": { "get": operations() },
        "/api/v1/traces/performance": { "get": performance() },
        "/api/v1/traces/dependencies": { "get": dependencies() },
        "/api/v1/traces/errors": { "get": errors() },
    })
}

fn page() -> Value {
    json!({
        "tags": ["about"],
        "operationId": "page",
        "summary": "This page",
        "description": "The description of the interface, for people.",
        "responses": responses(json!({ "description": "HTML.", "content": { "text/html": { "schema": { "type": "string" } } } }), &[405]),
    })
}

fn document() -> Value {
    json!({
        "tags": ["about"],
        "operationId": "openapi",
        "summary": "The description of the interface, for programs",
        "description": "OpenAPI 3.1.",
        "responses": responses(ok("The description.", json!({ "type": "object" }), None), &[405]),
    })
}

fn trace() -> Value {
    json!({
        "tags": ["traces"],
        "operationId": "trace",
        "summary": "One trace",
        "description": "All spans that are stored of a trace, each after its parent, siblings by their start. Any of the trace's ids finds it; the answer bears the one under which it is listed. Where the agent and an SDK describe the same request, the SDK's span is shown. Spans whose parent is not there stand at the end as roots of their own (`is_orphan`). `completeness` says what is known to be missing. Where requests between hosts show that their clocks differ, all times are those of the host on which the trace begins, and `clock_skews` says by how much they were corrected.\n\n`inferred` says what the times of spans tell where nothing better does: calls of other traces that were probably made for requests of this one, and the requests for which calls of this one were probably made.",
        "parameters": [{
            "name": "id", "in": "path", "required": true,
            "description": "32 hex digits, or 16, which are padded with zeros on the left.",
            "schema": { "type": "string", "pattern": "^([0-9a-fA-F]{16}|[0-9a-fA-F]{32})$" },
            "example": "0af7651916cd43dd8448eb211c80319c",
        }],
        "responses": responses(ok("The trace.", reference("Trace"), Some(examples::trace())), &[400, 404, 405, 500, 503]),
    })
}

fn search() -> Value {
    json!({
        "tags": ["traces"],
        "operationId": "search",
        "summary": "Find traces",
        "description": format!("Finds the traces that start in the range and fulfil all conditions; newest first, of equal start the larger id first. The conditions on spans (`service`, `operation`, `kind`, `status`, `attributes`, span durations) must hold for one and the same span. An empty body asks for the newest traces of the last hour.\n\nFor the next page send the same body with `cursor` set to `next_cursor`: the range stays that of the first page, and while spans keep arriving no trace is skipped or comes twice. The body may have {MAX_BODY_BYTES} bytes."),
        "requestBody": {
            "required": false,
            "content": { "application/json": { "schema": reference("SearchRequest"), "example": examples::search_request() } },
        },
        "responses": responses(ok("A page of traces.", reference("SearchResult"), Some(examples::search_result())), &[400, 405, 413, 415, 500, 503]),
    })
}

fn services() -> Value {
    json!({
        "tags": ["services"],
        "operationId": "services",
        "summary": "All services",
        "description": "The services that sent spans, by name. `requests` sums their server and consumer spans.",
        "parameters": range_parameters(),
        "responses": responses(ok("The services.", reference("Services"), Some(examples::services())), &[400, 405, 500, 503]),
    })
}

fn operations() -> Value {
    let mut parameters = vec![
        text_parameter("service", true, "The service.", "checkout"),
        kind_parameter(&KINDS, "Operations of this kind only."),
    ];
    parameters.extend(range_parameters());
    json!({
        "tags": ["services"],
        "operationId": "operations",
        "summary": "The operations of a service",
        "description": "Names of spans with their kind, by name; an unknown service has none.",
        "parameters": parameters,
        "responses": responses(ok("The operations.", reference("Operations"), Some(examples::operations())), &[400, 405, 500, 503]),
    })
}

fn performance() -> Value {
    let kinds: Vec<&str> = ["auto", "all"].into_iter().chain(KINDS).collect();
    let mut parameters = vec![
        text_parameter("service", false, "This service only.", "checkout"),
        text_parameter("operation", false, "Spans with this name only, of whatever kind.", "GET /cart"),
        kind_parameter(
            &kinds,
            "Which spans count. `auto` (the default, unless an operation is named): server and consumer spans of services that have any in the range, all spans of the others.",
        ),
        json!({
            "name": "group_by", "in": "query",
            "description": "What makes a series. Default: `operation` (name and kind) where a service or an operation is named, else `service`.",
            "schema": { "type": "string", "enum": ["service", "operation"] },
        }),
        json!({
            "name": "step", "in": "query",
            "description": format!("Width of a point, whole minutes. Default: the shortest of 1m, 2m, 5m, 10m, 15m, 30m, 1h, 2h, 3h, 6h, 12h, 1d that makes about 60 points. At most {MAX_POINTS} points a series, and {MAX_POINTS_TOTAL} (series times points) in all. The range begins at a multiple of the step."),
            "schema": { "type": "string" }, "example": "5m",
        }),
        limit_parameter("Series, those with the most spans first.", DEFAULT_SERIES, MAX_SERIES),
    ];
    parameters.extend(range_parameters());
    json!({
        "tags": ["services"],
        "operationId": "performance",
        "summary": "Rate, errors and latency over time",
        "description": "p50, p90, p95, p99, throughput and error rate per service or operation, in total and over time. Points without spans are there too. The throughput of a point that is not over yet refers to the time that has passed.",
        "parameters": parameters,
        "responses": responses(ok("The series, most spans first, then by name.", reference("Performance"), Some(examples::performance())), &[400, 405, 500, 503]),
    })
}

fn dependencies() -> Value {
    let mut parameters =
        vec![text_parameter("service", false, "Edges of this service (or other node) only.", "checkout")];
    parameters.extend(range_parameters());
    json!({
        "tags": ["services"],
        "operationId": "dependencies",
        "summary": "The service map",
        "description": "Who calls whom. A call is a client span with the server span that names it as its parent. Where no server span is known, the callee is a node named by what the caller says: `postgresql/shop@db:5432` for databases and caches, `kafka/orders` for messages, the address for anything else. If the caller's other calls to the same address were answered by one known service, the call belongs to it. Services without calls are nodes too. A call whose server side is still on its way may shortly appear without it.",
        "parameters": parameters,
        "responses": responses(ok("Nodes by type and name, edges by caller and callee.", reference("Dependencies"), Some(examples::dependencies())), &[400, 405, 500, 503]),
    })
}

fn errors() -> Value {
    let mut parameters = vec![
        text_parameter("service", false, "Errors of this service only.", "checkout"),
        text_parameter("operation", false, "Errors of spans with this name only.", "GET /cart"),
        limit_parameter("Groups, the most frequent first.", DEFAULT_GROUPS, MAX_GROUPS),
    ];
    parameters.extend(range_parameters());
    json!({
        "tags": ["services"],
        "operationId": "errors",
        "summary": "What goes wrong",
        "description": "Spans with error status, grouped by service, operation, kind, error type (`error.type`, else the exception's type, else the status code of HTTP, database or gRPC) and message (the status message, else the exception's). With the latest traces as examples.",
        "parameters": parameters,
        "responses": responses(ok("The groups, most frequent first, then last seen first.", reference("Errors"), Some(examples::errors())), &[400, 405, 500, 503]),
    })
}

fn range_parameters() -> Vec<Value> {
    let parameter = |name: &str, description: &str, example: &str| json!({ "name": name, "in": "query", "description": description, "schema": { "type": "string" }, "example": example });
    vec![
        parameter(
            "from",
            "First moment inside: RFC 3339, or unix time in s, ms, µs or ns. Excludes `since`.",
            "2026-01-31T12:00:00Z",
        ),
        parameter("until", "First moment outside; default: now.", "1769864400"),
        parameter("since", "How far back from `until`, such as 15m, 6h or 7d; default: 1h.", "15m"),
    ]
}

fn text_parameter(name: &str, required: bool, description: &str, example: &str) -> Value {
    json!({
        "name": name, "in": "query", "required": required, "description": description,
        "schema": { "type": "string", "minLength": 1, "maxLength": MAX_TEXT_CHARS }, "example": example,
    })
}

fn kind_parameter(kinds: &[&str], description: &str) -> Value {
    json!({ "name": "kind", "in": "query", "description": description, "schema": { "type": "string", "enum": kinds } })
}

fn limit_parameter(description: &str, default: usize, max: usize) -> Value {
    json!({
        "name": "limit", "in": "query", "description": description,
        "schema": { "type": "integer", "minimum": 1, "maximum": max, "default": default },
    })
}

fn ok(description: &str, schema: Value, example: Option<Value>) -> Value {
    let mut content = json!({ "schema": schema });
    if let (Some(example), Some(content)) = (example, content.as_object_mut()) {
        content.insert("example".to_owned(), example);
    }
    json!({ "description": description, "content": { "application/json": content } })
}

fn responses(ok: Value, errors: &[u16]) -> Value {
    let mut responses = Map::from_iter([("200".to_owned(), ok)]);
    // The token is checked before anything else.
    for status in [401].iter().chain(errors) {
        let reference = format!("#/components/responses/{status}");
        responses.insert(status.to_string(), json!({ "$ref": reference }));
    }
    Value::Object(responses)
}

/// One answer for each status of an error.
pub(super) fn error_responses() -> Value {
    let mut responses = Map::new();
    for status in [400, 401, 404, 405, 413, 415, 500, 503] {
        let codes = CODES.iter().filter(|code| code.1 == status);
        let described: Vec<String> =
            codes.clone().map(|(code, _, meaning)| format!("`{code}`: {meaning}")).collect();
        let mut response = json!({
            "description": described.join("\n"),
            "content": { "application/json": {
                "schema": reference("Error"),
                "example": examples::error(codes.clone().next().map_or("internal_error", |code| code.0)),
            } },
        });
        let header = match status {
            401 => Some(("WWW-Authenticate", "Bearer.".to_owned())),
            405 => Some(("Allow", "The method that the path answers.".to_owned())),
            503 => Some((
                "Retry-After",
                format!(
                    "Seconds. {MAX_QUERIES} queries run at once, each for {} s at most.",
                    QUERY_TIMEOUT.as_secs()
                ),
            )),
            _ => None,
        };
        if let (Some((name, description)), Some(response)) = (header, response.as_object_mut()) {
            let header = json!({ name: { "description": description, "schema": { "type": "string" } } });
            response.insert("headers".to_owned(), header);
        }
        responses.insert(status.to_string(), response);
    }
    Value::Object(responses)
}
