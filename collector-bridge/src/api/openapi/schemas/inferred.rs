//! Shapes of what is inferred.

use serde_json::{Value, json};

use super::{hex, list, object, reference, text, unix_nano, whole};
use crate::api::inferred::{ROLES, STATES};

pub(super) fn inferred() -> Value {
    let end = object(
        "The span at the other end.",
        &[
            ("trace_id", hex(32, "Its trace.")),
            ("span_id", hex(16, "The span.")),
            ("service", text("Its service.")),
            ("name", text("Its name.")),
            ("start_time_unix_nano", unix_nano("Its start.")),
            ("duration_ns", whole("How long it took.")),
        ],
    );
    let state = json!({
        "type": "string", "enum": STATES,
        "description": "`final`: nothing changes any more, unless spans come late. `provisional`: what is under way may change it. `partial`: there was too much to look at. `busy`: another question was being answered; ask again. `off`: the configuration says so.",
    });
    let role = json!({
        "type": "string", "enum": ROLES,
        "description": "What the other span is for this one: `request`: the request for which this call was probably made; `call`: a call that was probably made for this request.",
    });
    json!({
        "Inferred": object("What the times of spans say about calls of which nobody knows for whom they were made. No parent: it may be wrong.", &[
            ("state", state),
            ("links", list(reference("InferredLink"), "By start of the call.")),
        ]),
        "InferredLink": object("A span of another trace that probably belongs to this one.", &[
            ("span_id", hex(16, "The span of this trace; one of the agent, which may be left out above where an SDK describes the same.")),
            ("role", role),
            ("other", end),
            ("confidence", json!({ "type": "number", "minimum": 0, "maximum": 1, "description": "How likely it is: of a hundred links with 0.9, at least ninety are right." })),
            ("reason", json!({ "type": "string", "enum": ["timing"], "description": "Why." })),
        ]),
    })
}
