//! From what the agent printed to what is right: each call carries the number of the request that it was made for.

mod claims;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use serde::Serialize;
use serde_json::Value;

use crate::links::{Link, SURE};
use crate::protocol::Protocol;
pub(crate) use claims::{Claims, Ids};

/// The first number that the lab gives. Numbers have nine digits and begin with a seven, which nothing else does.
pub(crate) const FIRST_NUMBER: u64 = 700_000_001;
/// Likewise where long numbers are needed: thirteen digits, twelve of which nobody chooses twice.
pub(crate) const FIRST_LONG_NUMBER: u64 = 7_000_000_000_001;
/// Digits of a number.
const DIGITS: [usize; 2] = [9, 13];
/// Kept examples of each kind of mistake.
const EXAMPLES: usize = 5;
/// Spans between a call and the request that it was made for.
const MAX_STEPS: usize = 16;

/// Where the parent of a call has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    /// The span of the request with this number, in the process that makes the call.
    Server,
    /// Below the work that was asked for, which is linked to a span of the request with this number: one process
    /// answered it, another does the work.
    Job,
    /// Nowhere: nobody asked for the calls.
    Roots,
}

/// How to tell the spans of the lab's own servers.
#[derive(Clone, Debug)]
pub(crate) struct Neighbours {
    /// Where calls go to, and what they speak.
    pub(crate) ports: Vec<(u64, Protocol)>,
    /// Processes of the servers whose own spans are joined to the calls.
    pub(crate) downstream: Vec<u64>,
}

impl Neighbours {
    fn speaks(&self, port: u64) -> Option<Protocol> {
        self.ports.iter().find(|(known, _)| *known == port).map(|(_, protocol)| *protocol)
    }
}

/// A span as the agent prints it, as far as it matters here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Span {
    id: String,
    trace: String,
    /// The trace that began with it, and that the bridge makes part of its own.
    alias: Option<String>,
    parent: Option<String>,
    evidence: String,
    is_server: bool,
    /// It is a request between services, as opposed to one to a store.
    is_request: bool,
    links: Vec<String>,
    started_ns: u64,
    ended_ns: u64,
    process: u64,
    peer_port: u64,
    number: Option<u64>,
    /// What it is about, for examples.
    text: String,
}

impl Span {
    /// Reads a line of the agent; none where it is not a span.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let attributes = &value["attributes"];
        let told = NUMBERED.iter().find_map(|key| text_of(&attributes[*key])).unwrap_or_default();
        let started_ns = value["start_unix_ns"].as_u64().unwrap_or_default();
        let links = value["links"].as_array().into_iter().flatten();
        Some(Self {
            id: value["span_id"].as_str()?.to_owned(),
            trace: text("trace_id"),
            alias: attributes["remora.trace.alias"].as_str().map(str::to_owned),
            parent: value["parent_span_id"].as_str().map(str::to_owned),
            evidence: value["parent_evidence"].as_str().unwrap_or("none").to_owned(),
            is_server: value["kind"] == "server",
            is_request: is_request(value["protocol"].as_str()?),
            links: links.filter_map(|link| link["span_id"].as_str().map(str::to_owned)).collect(),
            started_ns,
            ended_ns: started_ns + value["duration_ns"].as_u64().unwrap_or_default(),
            process: value["resource"]["process.pid"].as_u64().unwrap_or_default(),
            peer_port: attributes["network.peer.port"].as_u64().unwrap_or_default(),
            number: number_in(told),
            text: told.to_owned(),
        })
    }
}

/// Attributes in which the number of a request stands.
const NUMBERED: [&str; 5] =
    ["url.path", "url.full", "db.query.text", "rpc.request.metadata.x-item", "messaging.kafka.message.key"];

/// Returns the text of an attribute; of several, the first.
fn text_of(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.as_array()?.first()?.as_str())
}

fn is_request(protocol: &str) -> bool {
    protocol.starts_with("http") || protocol == "grpc"
}

/// Returns the number of the lab that stands in a text.
fn number_in(text: &str) -> Option<u64> {
    text.split(|character: char| !character.is_ascii_digit())
        .filter(|digits| DIGITS.contains(&digits.len()) && digits.starts_with('7'))
        .find_map(|digits| digits.parse().ok())
}

/// What was found about the requests of one cell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    /// Requests whose SERVER span was seen.
    pub(crate) servers: u64,
    /// Requests of which at least one call was seen, by protocol.
    pub(crate) called: BTreeMap<&'static str, u64>,
    /// CLIENT spans that carry a number: those that are judged.
    pub(crate) spans: u64,
    /// Those whose parent is the span of their own request.
    pub(crate) right: u64,
    /// Those whose parent is the span of another request, or of none of the lab's.
    pub(crate) wrong: u64,
    /// Those without a parent.
    pub(crate) missing: u64,
    /// Of those without a parent, the ones that are linked to something.
    pub(crate) linked: u64,
    /// Of those without a parent, what is inferred by their times: surely, …
    pub(crate) sure: Inferred,
    /// …and at all.
    pub(crate) inferred: Inferred,
    /// Those whose parent has their number but is in the wrong place, or was not seen.
    pub(crate) other: u64,
    /// Downstream SERVER spans below the CLIENT span with their number.
    pub(crate) joined: u64,
    /// Downstream SERVER spans below anything else.
    pub(crate) misjoined: u64,
    /// Downstream SERVER spans without a parent.
    pub(crate) unjoined: u64,
    /// Verdicts by the evidence that the agent names.
    pub(crate) evidence: BTreeMap<String, u64>,
    /// Verdicts by protocol.
    pub(crate) protocols: BTreeMap<String, u64>,
    /// Some of the mistakes, in words.
    pub(crate) examples: Vec<String>,
}

/// How many inferred links there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Inferred {
    /// Those to the span of their own request.
    pub(crate) right: u64,
    pub(crate) all: u64,
}

impl Inferred {
    fn add(&mut self, is_right: bool) {
        self.right += u64::from(is_right);
        self.all += 1;
    }
}

/// All spans of one run of the agent.
pub(crate) struct Judge {
    spans: Vec<Span>,
    by_id: HashMap<String, usize>,
    /// By call.
    links: HashMap<String, Link>,
    neighbours: Neighbours,
}

impl Judge {
    pub(crate) fn new(spans: Vec<Span>, neighbours: Neighbours) -> Self {
        let by_id = spans.iter().enumerate().map(|(index, span)| (span.id.clone(), index)).collect();
        Self { spans, by_id, links: HashMap::new(), neighbours }
    }

    /// Judges what is inferred too: links by span id of the call.
    pub(crate) fn with_links(self, links: HashMap<String, Link>) -> Self {
        Self { links, ..self }
    }

    /// Judges the spans that carry one of `numbers`.
    pub(crate) fn tally(&self, numbers: &Range<u64>, truth: Truth) -> Tally {
        let mut tally = Tally::default();
        let mut seen: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        for span in &self.spans {
            let Some(number) = span.number.filter(|number| numbers.contains(number)) else { continue };
            match self.role(span) {
                Some(Role::Server) => _ = seen.entry("server").or_default().insert(number),
                Some(Role::Downstream) => self.join(span, &mut tally),
                Some(Role::Call(protocol)) => {
                    seen.entry(protocol.label()).or_default().insert(number);
                    self.judge(span, protocol.label(), truth, &mut tally);
                }
                None => {}
            }
        }
        tally.servers = seen.remove("server").map_or(0, |numbers| numbers.len() as u64);
        tally.called = seen.into_iter().map(|(protocol, numbers)| (protocol, numbers.len() as u64)).collect();
        tally
    }

    fn role(&self, span: &Span) -> Option<Role> {
        let is_downstream = self.neighbours.downstream.contains(&span.process);
        match span {
            _ if span.is_server && span.is_request && is_downstream => Some(Role::Downstream),
            _ if span.is_server && span.is_request => Some(Role::Server),
            _ if span.is_server => None,
            // A queue in Redis has the number too, but in no key.
            _ => self
                .neighbours
                .speaks(span.peer_port)
                .filter(|protocol| *protocol != Protocol::Redis || span.text.contains("item:7"))
                .map(Role::Call),
        }
    }

    fn judge(&self, span: &Span, protocol: &str, truth: Truth, tally: &mut Tally) {
        let verdict = self.verdict(span, truth);
        tally.spans += 1;
        *match verdict {
            Verdict::Right => &mut tally.right,
            Verdict::Wrong => &mut tally.wrong,
            Verdict::Missing => &mut tally.missing,
            Verdict::Other => &mut tally.other,
        } += 1;
        tally.linked += u64::from(verdict == Verdict::Missing && !span.links.is_empty());
        *tally.evidence.entry(format!("{} {}", verdict.label(), span.evidence)).or_default() += 1;
        *tally.protocols.entry(format!("{} {protocol}", verdict.label())).or_default() += 1;
        self.judge_link(span, verdict, tally);
        let is_mistake = matches!(verdict, Verdict::Wrong | Verdict::Other);
        if is_mistake && tally.examples.len() < EXAMPLES {
            tally.examples.push(self.example(span, verdict.label()));
        }
    }

    fn judge_link(&self, span: &Span, verdict: Verdict, tally: &mut Tally) {
        let Some(link) = self.links.get(&span.id).filter(|_| verdict == Verdict::Missing) else { return };
        let request = self.by_id.get(&link.request).and_then(|&index| self.spans.get(index));
        let is_right = request.is_some_and(|request| request.number == span.number);
        tally.inferred.add(is_right);
        if link.confidence >= SURE {
            tally.sure.add(is_right);
        }
    }

    fn verdict(&self, span: &Span, truth: Truth) -> Verdict {
        let Some(parent) = &span.parent else {
            return if truth == Truth::Roots { Verdict::Right } else { Verdict::Missing };
        };
        let Some(parent) = self.by_id.get(parent).and_then(|&index| self.spans.get(index)) else {
            return Verdict::Other;
        };
        let is_same_request = match truth {
            Truth::Server => parent.number == span.number,
            // Below work whose sender is not known it is below no request.
            Truth::Job => match self.origin(parent) {
                None => return Verdict::Missing,
                origin => origin == span.number,
            },
            Truth::Roots => false,
        };
        let is_in_place = match truth {
            Truth::Server => parent.is_server && parent.process == span.process,
            Truth::Job | Truth::Roots => true,
        };
        match (is_same_request, is_in_place) {
            (false, _) => Verdict::Wrong,
            (true, true) if parent.trace == span.trace => Verdict::Right,
            (true, _) => Verdict::Other,
        }
    }

    /// Returns the number of the request that a span belongs to, by its parents and where it is linked to.
    fn origin(&self, span: &Span) -> Option<u64> {
        let mut span = span;
        for _ in 0..MAX_STEPS {
            // A job's own id may look like a number.
            if span.is_server && span.is_request {
                return span.number;
            }
            let next = span.parent.as_ref().or(span.links.first())?;
            span = self.spans.get(*self.by_id.get(next)?)?;
        }
        None
    }

    fn join(&self, span: &Span, tally: &mut Tally) {
        let parent = span.parent.as_ref().map(|parent| self.by_id.get(parent));
        match parent {
            None => tally.unjoined += 1,
            Some(Some(&index)) if self.is_call_of(&self.spans[index], span) => tally.joined += 1,
            Some(_) => {
                tally.misjoined += 1;
                if tally.examples.len() < EXAMPLES {
                    tally.examples.push(self.example(span, "joined wrongly"));
                }
            }
        }
    }

    fn is_call_of(&self, call: &Span, served: &Span) -> bool {
        let is_of_trace = call.trace == served.trace || call.alias.as_ref() == Some(&served.trace);
        !call.is_server && call.number == served.number && is_of_trace
    }

    fn example(&self, span: &Span, verdict: &str) -> String {
        let parent = span.parent.as_ref().and_then(|parent| self.by_id.get(parent));
        let parent = parent.map(|&index| &self.spans[index]);
        let below = parent.map_or("a span that was not seen".to_owned(), |parent| {
            let side = if parent.is_server { "server" } else { "client" };
            format!("{side} `{}` of process {}", parent.text, parent.process)
        });
        format!("{verdict}: `{}` of process {} below {below} by {}", span.text, span.process, span.evidence)
    }
}

/// Whose span it is.
enum Role {
    /// The measured program's, for a request.
    Server,
    /// The downstream server's.
    Downstream,
    /// The measured program's, for a call.
    Call(Protocol),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Right,
    Wrong,
    Missing,
    Other,
}

impl Verdict {
    fn label(self) -> &'static str {
        match self {
            Verdict::Right => "right",
            Verdict::Wrong => "wrong",
            Verdict::Missing => "missing",
            Verdict::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOWNSTREAM: u64 = 9;
    const APP: u64 = 5;

    fn server(id: &str, number: u64) -> Span {
        Span {
            id: id.to_owned(),
            trace: "t".to_owned(),
            is_server: true,
            is_request: true,
            process: APP,
            number: Some(number),
            ..Span::default()
        }
    }

    fn call(id: &str, port: u64, parent: Option<&str>, number: u64) -> Span {
        Span {
            id: id.to_owned(),
            trace: "t".to_owned(),
            parent: parent.map(str::to_owned),
            process: APP,
            peer_port: port,
            number: Some(number),
            text: format!("get item:{number}"),
            ..Span::default()
        }
    }

    fn neighbours() -> Neighbours {
        let ports = vec![(1, Protocol::Http), (2, Protocol::Postgresql), (3, Protocol::Redis)];
        Neighbours { ports, downstream: vec![DOWNSTREAM] }
    }

    fn tally(spans: &[Span], truth: Truth) -> Tally {
        Judge::new(spans.to_vec(), neighbours()).tally(&(FIRST_NUMBER..FIRST_NUMBER + 10), truth)
    }

    #[test]
    fn a_number_is_found_in_paths_statements_and_keys() {
        for text in ["/paced/700000001", "SELECT 1 /* item 700000001 */", "get item:700000001", "=700000001"]
        {
            assert_eq!(number_in(text), Some(FIRST_NUMBER), "{text}");
        }
        for text in ["", "/paced/7000000012", "/paced/600000001", "http://127.0.0.1:45678/"] {
            assert_eq!(number_in(text), None, "{text}");
        }
    }

    #[test]
    fn a_parent_with_the_same_number_is_right_and_with_another_wrong() {
        let (one, two) = (FIRST_NUMBER, FIRST_NUMBER + 1);
        let found = tally(
            &[
                server("a", one),
                server("b", two),
                call("c", 1, Some("a"), one),
                call("d", 2, Some("b"), one),
                call("e", 3, None, two),
                call("f", 3, Some("gone"), two),
            ],
            Truth::Server,
        );
        assert_eq!(found.servers, 2);
        assert_eq!(found.called, [("http", 1), ("postgresql", 1), ("redis", 1)].into());
        let verdicts = (found.spans, found.right, found.wrong, found.missing, found.other);
        assert_eq!(verdicts, (4, 1, 1, 1, 1));
    }

    #[test]
    fn links_are_judged_only_where_parents_are_missing() {
        let (one, two) = (FIRST_NUMBER, FIRST_NUMBER + 1);
        let spans = [
            server("a", one),
            server("b", two),
            call("c", 1, Some("a"), one),
            call("d", 1, None, one),
            call("e", 2, None, one),
            call("f", 3, None, one),
        ];
        let link = |request: &str, confidence| Link { request: request.to_owned(), confidence };
        let links =
            [("c", link("b", 0.95)), ("d", link("a", 0.9)), ("e", link("b", 0.95)), ("f", link("a", 0.6))];
        let links = links.map(|(call, link)| (call.to_owned(), link)).into();
        let found =
            Judge::new(spans.to_vec(), neighbours()).with_links(links).tally(&(one..two + 1), Truth::Server);
        assert_eq!(found.sure, Inferred { right: 1, all: 2 });
        assert_eq!(found.inferred, Inferred { right: 2, all: 3 });
    }

    #[test]
    fn another_process_is_only_right_for_jobs() {
        let mut elsewhere = call("b", 1, Some("a"), FIRST_NUMBER);
        elsewhere.process = APP + 1;
        let spans = [server("a", FIRST_NUMBER), elsewhere];
        assert_eq!(tally(&spans, Truth::Server).other, 1);
        assert_eq!(tally(&spans, Truth::Job).right, 1);
    }

    #[test]
    fn work_is_told_by_the_request_that_it_is_linked_to() {
        let (one, two) = (FIRST_NUMBER, FIRST_NUMBER + 1);
        let mut sent = call("b", 3, Some("a"), one);
        sent.number = None;
        let work = Span {
            id: "c".to_owned(),
            trace: "t".to_owned(),
            links: vec!["b".to_owned()],
            ..Span::default()
        };
        let spans =
            [server("a", one), sent, work, call("d", 1, Some("c"), one), call("e", 1, Some("c"), two)];
        let found = tally(&spans, Truth::Job);
        assert_eq!((found.right, found.wrong, found.spans), (1, 1, 2));
    }

    #[test]
    fn work_that_nobody_is_known_to_have_asked_for_is_no_cause() {
        let work = Span { id: "c".to_owned(), trace: "t".to_owned(), ..Span::default() };
        let spans = [server("a", FIRST_NUMBER), work, call("d", 1, Some("c"), FIRST_NUMBER)];
        let found = tally(&spans, Truth::Job);
        assert_eq!((found.missing, found.wrong, found.spans), (1, 0, 1));
    }

    #[test]
    fn roots_have_no_parent() {
        let spans = [
            server("a", FIRST_NUMBER),
            call("b", 1, Some("a"), FIRST_NUMBER),
            call("c", 2, None, FIRST_NUMBER),
        ];
        let found = tally(&spans, Truth::Roots);
        assert_eq!((found.right, found.wrong), (1, 1));
    }

    #[test]
    fn a_downstream_span_joins_the_call_of_its_number() {
        let (one, two) = (FIRST_NUMBER, FIRST_NUMBER + 1);
        let served = |id: &str, parent: Option<&str>, number| Span {
            process: DOWNSTREAM,
            parent: parent.map(str::to_owned),
            ..server(id, number)
        };
        let spans = [
            call("a", 1, None, one),
            served("b", Some("a"), one),
            served("c", Some("a"), two),
            served("d", None, two),
        ];
        let found = tally(&spans, Truth::Server);
        assert_eq!((found.joined, found.misjoined, found.unjoined, found.servers), (1, 1, 1, 0));
    }
    #[test]
    fn a_conclusion_is_right_where_it_names_the_only_request_that_can_be_meant() {
        let (one, two) = (FIRST_NUMBER + 1, FIRST_NUMBER + 2);
        assert_eq!(one ^ 1, two);
        let open = |mut span: Span, from, to| {
            (span.started_ns, span.ended_ns) = (from, to);
            span
        };
        let linked = |mut span: Span, to: &str| {
            span.links = vec![to.to_owned()];
            span
        };
        let spans = vec![
            open(server("a", one), 0, 100),
            open(server("b", two), 0, 100),
            open(server("c", two), 50, 100),
            open(call("d", 1, Some("a"), one), 10, 20),
            open(linked(call("e", 2, None, two), "b"), 10, 20),
            open(linked(call("f", 2, None, two), "b"), 60, 70),
            open(call("g", 1, Some("b"), one), 10, 20),
            open(call("h", 1, None, one), 10, 20),
        ];
        let judge = Judge::new(spans, neighbours());
        let numbers = FIRST_NUMBER..FIRST_NUMBER + 10;
        let expected = Claims {
            calls: 5,
            right_parents: 1,
            wrong_parents: 1,
            right_links: 1,
            wrong_links: 1,
            silent: 1,
        };
        assert_eq!(judge.claims(&numbers, Ids::Shared), expected);
        let crossed = judge.claims(&numbers, Ids::Crossed);
        assert_eq!((crossed.right_parents, crossed.wrong_parents, crossed.wrong_links), (1, 1, 2));
    }
}
