//! Google Pub/Sub through the whole engine, as its client in Go was recorded: who received is linked to who sent.

#[path = "support/peers.rs"]
mod peers;
#[path = "support/session.rs"]
mod session;

use peers::Peers;
use remora_engine::protocol::Side;
use remora_engine::semconv::{self, Value};
use remora_engine::span::{Span, SpanKind};
use session::Session;

/// The emulator's port.
const PORT: u16 = 8085;

fn recorded(name: &str) -> Session {
    let Some(session) = session::all().into_iter().find(|session| session.name == name) else {
        panic!("{name} was not recorded")
    };
    session
}

/// What was said, in turns of one side of one connection.
fn play(turns: &[(&Session, &[Side])]) -> Vec<Span> {
    let mut peers = Peers::new();
    let mut links: Vec<(&str, peers::Link)> = Vec::new();
    for (number, (session, sides)) in (40_000..).zip(turns) {
        let known = links.iter().position(|(name, _)| *name == session.name);
        let at = known.unwrap_or_else(|| {
            links.push((&session.name, peers.open(number, PORT, true)));
            links.len() - 1
        });
        for (side, bytes) in session.pieces.iter().filter(|(side, _)| sides.contains(side)) {
            if !bytes.is_empty() {
                peers.say(&mut links[at].1, *side, bytes);
            }
        }
    }
    peers.finish()
}

fn named<'a>(spans: &'a [Span], kind: SpanKind, name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.kind == kind && span.name == name).collect()
}

fn check(spans: &[Span]) {
    let sent = named(spans, SpanKind::Producer, "send orders");
    assert_eq!(sent.len(), 4);
    // Each message names the context of who sent it, or shares that of its batch: besides those, there are the producers.
    let producers = |span: &Span| -> Vec<usize> {
        let place = |id| sent.iter().position(|sent| sent.span_id == id);
        span.links.iter().filter_map(|link| place(link.span_id)).collect()
    };
    let pulled = named(spans, SpanKind::Client, "receive packing");
    let found: Vec<_> = pulled.iter().map(|span| producers(span)).collect();
    assert_eq!(found, [vec![0, 1], vec![2], vec![2]], "the third time the message comes again");
    let streamed = named(spans, SpanKind::Consumer, "receive packing");
    assert_eq!(streamed.len(), 3);
    for span in streamed.iter().chain(&pulled) {
        let waited = span.attributes.iter().find(|(key, _)| *key == semconv::REMORA_MESSAGE_QUEUE_TIME);
        assert!(matches!(waited, Some((_, Value::Double(seconds))) if *seconds > 0.0), "{span:#?}");
    }
    assert!(streamed.iter().all(|span| producers(span) == [3]), "{streamed:#?}");
}

#[test]
fn consumers_are_linked_to_producers() {
    let (sent, received) = (recorded("http2/pubsub-go-1"), recorded("http2/pubsub-go-2"));
    let both = &[Side::Client, Side::Server][..];
    check(&play(&[(&sent, both), (&received, both)]));
}

#[test]
fn messages_may_come_before_their_names() {
    let (sent, received) = (recorded("http2/pubsub-go-1"), recorded("http2/pubsub-go-2"));
    let both = &[Side::Client, Side::Server][..];
    check(&play(&[(&sent, &[Side::Client]), (&received, both), (&sent, &[Side::Server])]));
}
