//! Shapes of answers and of the search body. Objects are closed: nothing else is in an answer.

mod inferred;

use serde_json::{Map, Value, json};

use crate::api::error::CODES;
use crate::api::names::KINDS;
use crate::api::search::{DEFAULT_TRACES, MAX_CONDITIONS, MAX_TRACES, OPERATORS, SCOPES};

pub(super) fn schemas() -> Value {
    let mut all = Map::new();
    for part in [shared(), search(), trace(), inferred::inferred(), sums()] {
        if let Value::Object(part) = part {
            all.extend(part);
        }
    }
    Value::Object(all)
}

/// Returns a reference to one of the schemas.
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// A closed object in which every field is there.
fn object(description: &str, fields: &[(&str, Value)]) -> Value {
    let required: Vec<&str> = fields.iter().map(|field| field.0).collect();
    let mut schema = optional_object(description, fields);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

/// A closed object in which fields may be left out.
fn optional_object(description: &str, fields: &[(&str, Value)]) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({ "type": "object", "description": description, "properties": properties, "additionalProperties": false })
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

fn text_or_null(description: &str) -> Value {
    json!({ "type": ["string", "null"], "description": description })
}

fn whole(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": description })
}

fn fraction(description: &str) -> Value {
    json!({ "type": "number", "minimum": 0, "description": description })
}

fn truth(description: &str) -> Value {
    json!({ "type": "boolean", "description": description })
}

fn list(items: Value, description: &str) -> Value {
    json!({ "type": "array", "items": items, "description": description })
}

fn or_null(schema: Value) -> Value {
    json!({ "oneOf": [schema, { "type": "null" }] })
}

fn moment(description: &str) -> Value {
    json!({ "type": "string", "format": "date-time", "description": description })
}

fn unix_nano(description: &str) -> Value {
    json!({ "type": "string", "pattern": "^[0-9]+$", "description": format!("{description} Nanoseconds since 1970, as text.") })
}

fn hex(digits: usize, description: &str) -> Value {
    json!({ "type": "string", "pattern": format!("^[0-9a-f]{{{digits}}}$"), "description": description })
}

fn kind() -> Value {
    text(&format!(
        "One of {}; other numbers that a sender may have used are written as such.",
        KINDS.join(", ")
    ))
}

fn status() -> Value {
    text("One of unset, ok, error; other numbers that a sender may have used are written as such.")
}

fn attributes(description: &str) -> Value {
    json!({ "type": "object", "description": description, "additionalProperties": true })
}

fn shared() -> Value {
    let codes: Vec<&str> = CODES.iter().map(|code| code.0).collect();
    let facts = object(
        "What went wrong.",
        &[
            ("code", json!({ "type": "string", "enum": codes, "description": "For programs." })),
            ("message", text("For people.")),
            ("field", text_or_null("The parameter, or the path in the body, that is wrong.")),
        ],
    );
    json!({
        "Error": object("Comes with every status from 400 on.", &[("error", facts)]),
        "Range": object("The time that the answer is about.", &[("from", moment("First moment inside.")), ("until", moment("First moment outside."))]),
        "Latency": object("Durations in nanoseconds. Mean, least and greatest are exact.", &[
            ("p50_ns", whole("Median.")),
            ("p90_ns", whole("90 % take at most this long.")),
            ("p95_ns", whole("95 % take at most this long.")),
            ("p99_ns", whole("99 % take at most this long.")),
            ("mean_ns", whole("Mean.")),
            ("min_ns", whole("Least.")),
            ("max_ns", whole("Greatest.")),
            ("relative_error", fraction("Bound of the quantiles' error: 0.0055 is 0.55 %.")),
        ]),
        "Sums": object("Rate, errors and durations.", &sum_fields()),
    })
}

fn sum_fields() -> Vec<(&'static str, Value)> {
    vec![
        ("count", whole("Spans.")),
        ("errors", whole("Spans with error status.")),
        (
            "error_rate",
            json!({ "type": ["number", "null"], "minimum": 0, "maximum": 1, "description": "errors / count; null without spans." }),
        ),
        ("throughput_per_second", fraction("Spans per second of the time that has passed.")),
        ("latency", or_null(reference("Latency"))),
    ]
}

fn summary_fields() -> Vec<(&'static str, Value)> {
    let service = object(
        "Share of one service.",
        &[
            ("name", text("The service.")),
            ("span_count", whole("Its spans.")),
            ("error_count", whole("Those with error status.")),
        ],
    );
    vec![
        ("trace_id", hex(32, "The trace.")),
        ("root_service", text("Service of the root; of the earliest span while there is no root.")),
        ("root_operation", text("Name of the root, likewise.")),
        ("root_status", status()),
        ("has_root", truth("A span without parent is there.")),
        ("start_time", moment("Start of the earliest span.")),
        ("start_time_unix_nano", unix_nano("The same.")),
        ("duration_ns", whole("From the first start to the last end.")),
        ("span_count", whole("Spans, without duplicates.")),
        ("error_count", whole("Those with error status.")),
        ("services", list(service, "By name.")),
    ]
}

fn search() -> Value {
    let duration = |description: &str| json!({ "type": "string", "description": description, "examples": ["250ms", "1.5s"] });
    let moment = |description: &str| json!({ "type": ["string", "number"], "description": description });
    let scalar = json!({ "type": ["string", "number", "boolean"] });
    let condition = json!({
        "type": "object",
        "description": "A condition on one attribute. Numbers, truths and their plain texts are the same (200 and \"200\"); of an array, one item must fulfil it. `!=` also holds where the attribute is missing. `<`, `<=`, `>`, `>=` compare numbers.",
        "properties": {
            "key": text("Name of the attribute."),
            "op": { "type": "string", "enum": OPERATORS, "description": "Default: `=` with a value, `exists` without." },
            "value": { "type": ["string", "number", "boolean"], "description": "Left out for `exists`; a number for the comparisons." },
            "scope": { "type": "string", "enum": SCOPES, "default": "any", "description": "Where the attribute is looked for; `any`: on the span, and on its resource where the span has none." },
        },
        "required": ["key"],
        "additionalProperties": false,
    });
    let attributes = json!({
        "oneOf": [
            { "type": "array", "maxItems": MAX_CONDITIONS, "items": reference("AttributeCondition") },
            { "type": "object", "maxProperties": MAX_CONDITIONS, "additionalProperties": scalar },
        ],
        "description": "Conditions that all must hold; an object is a list of attributes that must be equal.",
    });
    let matched = object(
        "A span that fulfils all conditions on spans.",
        &[
            ("span_id", hex(16, "The span.")),
            ("service", text("Its service.")),
            ("name", text("Its name.")),
            ("kind", kind()),
            ("status", status()),
            ("start_time_unix_nano", unix_nano("Its start.")),
            ("duration_ns", whole("How long it took.")),
        ],
    );
    let mut found = summary_fields();
    found.push(("matched_spans", list(matched, "The earliest three spans that fulfil the conditions; empty where no condition needed spans to be looked at.")));
    json!({
        "AttributeCondition": condition,
        "SearchRequest": optional_object("All parts are optional.", &[
            ("service", text("A span of this service.")),
            ("operation", text("A span with this name.")),
            ("kind", json!({ "type": "string", "enum": KINDS, "description": "A span of this kind." })),
            ("status", json!({ "type": "string", "enum": ["unset", "ok", "error"], "description": "A span with this status." })),
            ("attributes", attributes),
            ("min_duration", duration("The trace takes at least this long.")),
            ("max_duration", duration("The trace takes at most this long.")),
            ("min_span_duration", duration("A span takes at least this long.")),
            ("max_span_duration", duration("A span takes at most this long.")),
            ("from", moment("The trace starts at this moment or later: RFC 3339, or unix time in s, ms, µs or ns. Excludes `since`.")),
            ("until", moment("The trace starts before this moment; default: now.")),
            ("since", duration("How far back from `until`; default: 1h.")),
            ("limit", json!({ "type": "integer", "minimum": 1, "maximum": MAX_TRACES, "default": DEFAULT_TRACES, "description": "Traces on a page." })),
            ("cursor", text("`next_cursor` of the page before.")),
        ]),
        "FoundTrace": object("A trace that fulfils the conditions.", &found),
        "SearchResult": object("A page.", &[
            ("range", reference("Range")),
            ("traces", list(reference("FoundTrace"), "Newest first.")),
            ("next_cursor", text_or_null("Leads to the next page; null on the last one.")),
        ]),
    })
}

fn trace() -> Value {
    let fields = vec![
        ("completeness", reference("Completeness")),
        ("resources", list(reference("Resource"), "Each once; spans name its index.")),
        ("scopes", list(reference("Scope"), "Each once; spans name its index.")),
        ("spans", list(reference("Span"), "Each after its parent, siblings by start.")),
        ("inferred", reference("Inferred")),
        ("aliases", list(hex(32, "An id."), "Other ids of the trace, from before it was joined.")),
        (
            "clock_skews",
            list(
                reference("ClockSkew"),
                "Hosts whose clocks were off. The times of their spans are corrected in this answer; what is stored stays.",
            ),
        ),
    ];
    let event = object(
        "Something that happened.",
        &[
            ("name", text("What.")),
            ("time_unix_nano", unix_nano("When.")),
            (
                "offset_ns",
                json!({ "type": "integer", "description": "From the trace's start; negative before it." }),
            ),
            ("attributes", attributes("Facts about it.")),
        ],
    );
    let link = object(
        "A related span.",
        &[
            ("trace_id", text("Its trace, hex, as it was sent.")),
            ("span_id", text("The span, hex, as it was sent.")),
            ("trace_state", text("W3C tracestate.")),
            ("attributes", attributes("Facts about the relation.")),
        ],
    );
    let status = object("How it went.", &[("code", status()), ("message", text("Words of the sender."))]);
    json!({
        "Trace": object("A trace.", &[summary_fields(), fields].concat()),
        "Completeness": object("What is known to be missing.", &[
            ("is_complete", truth("Nothing is known to be missing.")),
            ("ratio", fraction("found_spans / expected_spans.")),
            ("found_spans", whole("Distinct spans that are there.")),
            ("expected_spans", whole("Those, and the parents that are named but missing.")),
            ("orphan_count", whole("Spans whose parent is missing.")),
            ("duplicates_removed", whole("Spans that came more than once and were left out.")),
            ("doubles_merged", whole("Spans of the agent that were left out because an SDK describes the same requests.")),
            ("incomplete_spans", whole("Spans whose sender says, in `remora.incomplete`, that it did not see all of the exchange.")),
        ]),
        "ClockSkew": object("A host's clock that differs from that of the host on which the trace begins, as the requests between them show: none is read before it is written, and no answer before it is given.", &[
            ("host", text("`host.id`, `k8s.node.name` or `host.name`, the first that its spans have.")),
            ("ahead_ns", json!({ "type": "integer", "description": "How far the clock is ahead, in nanoseconds; negative where it is behind." })),
            ("uncertainty_ns", whole("By how much that may be wrong, in nanoseconds.")),
        ]),
        "Resource": object("What made spans.", &[("service", text("service.name, or unknown_service.")), ("attributes", attributes("Resource attributes."))]),
        "Scope": object("The library that made spans.", &[("name", text("Its name.")), ("version", text("Its version.")), ("attributes", attributes("Facts about it."))]),
        "Span": object("A span in its place.", &[
            ("span_id", hex(16, "The span.")),
            ("parent_span_id", json!({ "type": ["string", "null"], "pattern": "^[0-9a-f]{16}$", "description": "The span that caused it; null for a root." })),
            ("depth", whole("Steps from the root of its tree.")),
            ("child_count", whole("Its children.")),
            ("service", text("Its service.")),
            ("name", text("Its name.")),
            ("kind", kind()),
            ("status", status),
            ("start_time_unix_nano", unix_nano("Start.")),
            ("end_time_unix_nano", unix_nano("End, as it was sent.")),
            ("offset_ns", whole("From the trace's start.")),
            ("duration_ns", whole("How long it took; 0 if it was sent with an end before its start.")),
            ("is_orphan", truth("It names a parent that is not there.")),
            ("has_duplicate_id", truth("Another span of the trace has the same id and other content.")),
            ("is_cycle_cut", truth("Its parent is its own descendant, so the link was cut here.")),
            ("resource", whole("Index in `resources`.")),
            ("scope", whole("Index in `scopes`.")),
            ("trace_state", text("W3C tracestate.")),
            ("flags", whole("OTLP flags: W3C trace flags in the low eight bits.")),
            ("attributes", attributes("Attributes by key. Bytes are `{\"bytes\": \"<hex>\"}`; numbers that JSON lacks are the texts NaN, Infinity, -Infinity.")),
            ("events", list(event, "In the order in which they were sent.")),
            ("links", list(link, "In the order in which they were sent.")),
            ("dropped_attributes_count", whole("Attributes that the sender left out.")),
            ("dropped_events_count", whole("Events that the sender left out.")),
            ("dropped_links_count", whole("Links that the sender left out.")),
        ]),
    })
}

fn sums() -> Value {
    let service = object(
        "A service.",
        &[
            ("name", text("service.name.")),
            ("span_count", whole("All its spans.")),
            ("span_error_count", whole("Those with error status.")),
            ("operation_count", whole("Distinct names of its spans.")),
            ("last_seen", moment("Start of the last minute with a span.")),
            ("requests", reference("Sums")),
        ],
    );
    let operation = vec![
        ("name", text("Name of the spans.")),
        ("kind", kind()),
        ("last_seen", moment("Start of the last minute with such a span.")),
    ];
    let point = vec![("time", moment("Start of the point."))];
    let series = object(
        "A line of a chart.",
        &[
            ("service", text("The service.")),
            ("operation", text_or_null("Name of the spans; null where a series is a service.")),
            ("kinds", list(kind(), "Kinds of the spans that were counted.")),
            ("total", reference("Sums")),
            (
                "points",
                list(
                    object("Sums of a step.", &[point, sum_fields()].concat()),
                    "One for each step of the range, in order.",
                ),
            ),
        ],
    );
    let node_types = json!({ "type": "string", "enum": ["service", "database", "cache", "messaging", "uninstrumented"], "description": "`service` sends spans; the others are known by their callers only." });
    let node = object(
        "A node.",
        &[
            ("name", text("service.name, or what callers say.")),
            ("type", node_types.clone()),
            ("requests", or_null(reference("Sums"))),
        ],
    );
    let edge = object(
        "Calls from one node to another.",
        &[
            ("caller", text("Name of the calling node.")),
            ("caller_type", node_types.clone()),
            ("callee", text("Name of the called node.")),
            ("callee_type", node_types),
            (
                "connection",
                json!({ "type": "string", "enum": ["service", "database", "cache", "messaging"], "description": "What runs over it." }),
            ),
            ("calls", whole("Calls.")),
            ("errors", whole("Calls that either side calls an error.")),
            (
                "error_rate",
                json!({ "type": ["number", "null"], "minimum": 0, "maximum": 1, "description": "errors / calls." }),
            ),
            ("throughput_per_second", fraction("Calls per second of the time that has passed.")),
            ("client_latency", or_null(reference("Latency"))),
            ("server_latency", or_null(reference("Latency"))),
        ],
    );
    let group = object(
        "Errors with the same service, operation, kind, type and message.",
        &[
            ("service", text("The service.")),
            ("operation", text("Name of the spans.")),
            ("kind", text_or_null("Kind of the spans; null for `_other`.")),
            ("error_type", text_or_null("What kind of error; null where nothing says it.")),
            ("message", text_or_null("Words of the sender; null where there are none.")),
            ("count", whole("Spans.")),
            ("first_seen", moment("Start of the first one in the range's minutes.")),
            ("last_seen", moment("Start of the last one.")),
            ("trace_ids", list(hex(32, "A trace."), "The latest traces with this error, latest first.")),
        ],
    );
    json!({
        "Services": object("All services.", &[("range", reference("Range")), ("services", list(service, "By name."))]),
        "Operations": object("The operations of a service.", &[
            ("range", reference("Range")),
            ("service", text("The service.")),
            ("operations", list(object("Spans of one name and kind.", &[operation, sum_fields()].concat()), "By name and kind.")),
        ]),
        "Performance": object("Rate, errors and latency over time.", &[
            ("range", reference("Range")),
            ("step_seconds", whole("Width of a point.")),
            ("series_count", whole("Series that there are, also those beyond the limit.")),
            ("series", list(series, "Most spans first, then by name.")),
        ]),
        "Dependencies": object("The service map.", &[
            ("range", reference("Range")),
            ("nodes", list(node, "By type and name.")),
            ("edges", list(edge, "By caller and callee.")),
        ]),
        "Errors": object("What goes wrong.", &[
            ("range", reference("Range")),
            ("group_count", whole("Groups that there are, also those beyond the limit.")),
            ("error_count", whole("Errors in all groups.")),
            ("errors", list(group, "Most frequent first.")),
        ]),
    })
}
