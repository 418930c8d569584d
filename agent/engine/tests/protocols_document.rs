//! `docs/protocols.md` is what the recorded sessions show.
//!
//! `UPDATE_EXPECT=1 cargo test -p remora-engine --test protocols_document` writes it.

#[path = "support/matrix.rs"]
mod matrix;
#[path = "support/replay.rs"]
mod replay;
#[path = "support/session.rs"]
mod session;
#[path = "support/summary.rs"]
mod summary;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use matrix::{Count, Matrix, PLACES};
use remora_engine::protocol::{Protocol, REGISTRY};
use session::Session;
use summary::{Above, Summary};

/// Names of requests and errors beyond this are counted.
const MAX_LISTED: usize = 60;

const HEAD: &str = "\
# Protocols

What the agent reads. All but the limits is worked out from recorded sessions of real clients and servers \
(`agent/engine/fixtures`): a test fails where this page says something else, and \
`UPDATE_EXPECT=1 cargo test -p remora-engine --test protocols_document` writes it anew. So what stands here has been \
seen to work; what does not may still.

";

const MATRIX: &str = "\
## Who claims whose bytes

Each protocol is asked about all recorded bytes of all protocols: about each side from its first byte on, as on a \
connection that is seen from its beginning; from the beginning of each piece, as on a connection that is met between \
two calls; and from each byte, as within a long body. A cell has how often it said *yes*, *unsure* and *no*; `·` is \
always *no*. *Unsure* waits for more bytes or for the other side. A *yes* to another's bytes fails the tests, as does \
one that takes the server for the client (from the first byte on, and from the beginning of a piece).

";

#[test]
fn the_document_is_what_the_sessions_show() {
    let sessions = session::all();
    let mut text = HEAD.to_owned();
    let summaries: Vec<(&dyn Protocol, Summary)> =
        REGISTRY.iter().map(|&protocol| (protocol, summary::of(protocol, &sessions))).collect();
    overview(&mut text, &summaries);
    above(&mut text, &summary::above(REGISTRY, &sessions));
    for (protocol, summary) in summaries.iter().filter(|(_, summary)| summary.connections > 0) {
        section(&mut text, protocol.name(), summary);
    }
    text.push_str(MATRIX);
    confusion(&mut text, &matrix::of(&sessions), &sessions);
    let path = session::folder().join("../../../docs/protocols.md");
    expect_test::expect_file![path].assert_eq(&text);
}

fn overview(text: &mut String, summaries: &[(&dyn Protocol, Summary)]) {
    text.push_str("| protocol | responses find their requests | trace context read | recorded exchanges | servers | clients |\n");
    text.push_str("|---|---|---|---|---|---|\n");
    for (protocol, summary) in summaries {
        let name = protocol.name();
        if summary.connections == 0 {
            let _ = writeln!(text, "| {name} | | | nothing recorded yet | | |");
            continue;
        }
        assert_eq!(
            summary.anonymous, [""; 0],
            "sessions that lack `# client NAME VERSION` and `# server NAME VERSION`"
        );
        let contexts =
            if summary.contexts.is_empty() { "–".to_owned() } else { list(&summary.contexts, usize::MAX) };
        let _ = writeln!(
            text,
            "| [{name}](#{name}) | {} | {contexts} | {} on {} connections | {} | {} |",
            list(&summary.pairings, usize::MAX),
            summary.pairs,
            summary.connections,
            list(&summary.servers, usize::MAX),
            list(&summary.clients, usize::MAX),
        );
    }
    text.push('\n');
}

fn above(text: &mut String, all: &[Above]) {
    text.push_str("What is spoken by way of them, in the same recordings:\n\n");
    text.push_str("| | by way of | recorded connections | attributes | servers | clients |\n|---|---|---|---|---|---|\n");
    for Above { name, carriers, connections, attributes, servers, clients } in all {
        assert!(*connections > 0, "{name} is recorded");
        let _ = writeln!(
            text,
            "| {name} | {} | {connections} | {} | {} | {} |",
            list(carriers, usize::MAX),
            code(attributes),
            list(servers, usize::MAX),
            list(clients, usize::MAX),
        );
    }
    text.push('\n');
}

fn section(text: &mut String, name: &str, summary: &Summary) {
    let _ = writeln!(text, "## {name}\n");
    let _ = writeln!(text, "Requests: {}.\n", code(&summary.requests));
    if !summary.others.is_empty() {
        let _ = writeln!(text, "Also: {}.\n", list(&summary.others, usize::MAX));
    }
    let _ = writeln!(text, "Attributes: {}.\n", code(&summary.attributes));
    let _ = writeln!(text, "Errors (`error.type`): {}.\n", code(&summary.errors));
    let path = session::folder().join(name).join("limits.md");
    let limits = fs::read_to_string(&path).unwrap_or_else(|_| "- Not written down yet.\n".to_owned());
    let are_bullets = limits.lines().all(|line| line.starts_with("- ") || line.starts_with("  "));
    assert!(are_bullets && !limits.is_empty(), "{}: one bullet for each limit", path.display());
    let _ = writeln!(text, "Known limits:\n\n{limits}");
}

fn confusion(text: &mut String, matrix: &Matrix, sessions: &[Session]) {
    let spoken: BTreeSet<&str> = sessions.iter().map(|session| session.protocol.as_str()).collect();
    let asked: Vec<&str> = REGISTRY.iter().map(|protocol| protocol.name()).collect();
    for place in PLACES {
        let _ = writeln!(text, "| {} | {} |", place.label(), asked.join(" | "));
        let _ = writeln!(text, "|---|{}", "---|".repeat(asked.len()));
        for spoken in &spoken {
            let counts = REGISTRY
                .iter()
                .map(|protocol| matrix.counts.get(&((*spoken).to_owned(), place, protocol.name())))
                .map(|count| cell(count.copied().unwrap_or_default()));
            let _ = writeln!(text, "| {spoken} | {} |", counts.collect::<Vec<_>>().join(" | "));
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
}

fn cell(count: Count) -> String {
    match count {
        Count { yes: 0, unsure: 0, .. } => "·".to_owned(),
        Count { yes, unsure, no } => format!("{yes} / {unsure} / {no}"),
    }
}

fn code(words: &BTreeSet<String>) -> String {
    if words.is_empty() {
        return "none recorded".to_owned();
    }
    list(&words.iter().map(|word| format!("`{word}`")).collect(), MAX_LISTED)
}

fn list<T: AsRef<str>>(words: &BTreeSet<T>, most: usize) -> String {
    let shown: Vec<&str> = words.iter().map(AsRef::as_ref).take(most).collect();
    let left = words.len() - shown.len();
    let more = if left > 0 { format!(" and {left} more") } else { String::new() };
    shown.join(", ") + &more
}
