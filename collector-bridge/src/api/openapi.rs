//! The OpenAPI 3.1 description of every route, with the limits as the code has them.

mod examples;
mod paths;
mod schemas;

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::json::Json;

static DOCUMENT: LazyLock<Value> = LazyLock::new(build);

/// Returns the description.
pub(super) fn description() -> &'static Value {
    &DOCUMENT
}

pub(super) async fn document() -> Json<&'static Value> {
    Json(&DOCUMENT)
}

fn build() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Remora bridge",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": INTRODUCTION,
        },
        "servers": [{ "url": "/", "description": "This bridge" }],
        "tags": [
            { "name": "traces", "description": "Single traces, found by id or by what is in them." },
            { "name": "services", "description": "What all spans add up to: services, operations, rates, errors, latency and who calls whom." },
            { "name": "about", "description": "This description." },
        ],
        "paths": paths::paths(),
        "components": { "schemas": schemas::schemas(), "responses": paths::error_responses() },
    })
}

const INTRODUCTION: &str = "\
Traces of everything that runs on this host, and of every OpenTelemetry SDK that sends to it.

**Time.** Wherever a moment is asked for (`from`, `until`), write RFC 3339 (`2026-01-31T12:00:00Z`, any offset) or unix \
time as a number: seconds (below 10^11, a fraction is allowed), milliseconds (below 10^14), microseconds (below 10^17) \
or nanoseconds. `since` is a duration counted back from `until`, such as `15m`, `1h30m` or `7d`; durations are a number \
and a unit: ns, us, ms, s, m, h, d. Without any of them a question is about the last hour. `from` is inside the range, \
`until` is not.

**Answers.** Moments come as RFC 3339 in UTC with nanoseconds, or in `…_unix_nano` fields as text, because JSON numbers \
lose digits; durations come as whole nanoseconds in `…_ns` fields. Ids are lower-case hex. The order is stable: the same \
question has the same answer. Services, operations, performance, dependencies and errors are summed by the minute, so \
their range is widened to whole minutes, which `range` in the answer shows; they count every span that was received. \
Quantiles keep the relative error that stands beside them. `_other` sums what had no place below a limit.

**Errors.** Any status from 400 on comes with `{\"error\": {\"code\", \"message\", \"field\"}}`; `code` is made for \
programs, `message` for people, `field` names what is wrong, or is null. Unknown parameters are refused, not ignored.";
