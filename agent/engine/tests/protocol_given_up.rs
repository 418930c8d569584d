//! Where more is outstanding than a parser follows, what it gives up is told: whatever was asked is answered in the end, or
//! lost, and never silently.

#[path = "support/replay.rs"]
mod replay;
#[path = "support/session.rs"]
mod session;

use remora_engine::protocol::{Conversation, MessageKind, ParserSettings, REGISTRY, Side};
use replay::Replay;

/// Asks and answers without end.
struct Talk {
    protocol: &'static str,
    /// The recorded session that it goes on from; none where it begins the connection.
    session: Option<&'static str>,
    ask: fn(u32) -> Vec<u8>,
    answer: fn(u32) -> Vec<u8>,
    /// Requests that the parser follows.
    most: usize,
}

const TALKS: &[Talk] = &[
    Talk { protocol: "dns", session: None, ask: dns, answer: dns_answer, most: 1024 },
    Talk {
        protocol: "kafka",
        session: Some("kafka/confluent-1"),
        ask: kafka,
        answer: kafka_answer,
        most: 1024,
    },
    Talk { protocol: "nats", session: Some("nats/nats-py-1"), ask: nats, answer: nats_answer, most: 1024 },
    Talk { protocol: "mongodb", session: None, ask: mongodb, answer: mongodb_answer, most: 1024 },
    Talk { protocol: "http2", session: None, ask: http2, answer: http2_answer, most: 4096 },
];

fn length_before(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).expect("short").to_be_bytes()[..], body].concat()
}

fn dns_message(number: u32, flags: &[u8]) -> Vec<u8> {
    let name = format!("{number:08}");
    let id = u16::try_from(number).expect("16 bits").to_be_bytes();
    let counts = b"\0\x01\0\0\0\0\0\0";
    let message = [&id[..], flags, counts, b"\x08", name.as_bytes(), b"\0\0\x01\0\x01"].concat();
    [&u16::try_from(message.len()).expect("short").to_be_bytes()[..], &message].concat()
}

fn dns(number: u32) -> Vec<u8> {
    dns_message(number, b"\x01\0")
}

fn dns_answer(number: u32) -> Vec<u8> {
    dns_message(number, b"\x81\x80")
}

/// Heartbeat of version 0.
fn kafka(number: u32) -> Vec<u8> {
    let number = (number + 1_000_000).to_be_bytes();
    length_before(&[b"\0\x0c\0\0", &number[..], b"\0\x01c\0\x01g\0\0\0\x01\0\x01m"].concat())
}

fn kafka_answer(number: u32) -> Vec<u8> {
    length_before(&[&(number + 1_000_000).to_be_bytes()[..], b"\0\0"].concat())
}

fn nats(number: u32) -> Vec<u8> {
    format!("SUB _INBOX.own{number} {}\r\nPUB orders _INBOX.own{number} 5\r\nhello\r\n", number + 1000)
        .into_bytes()
}

fn nats_answer(number: u32) -> Vec<u8> {
    format!("MSG _INBOX.own{number} {} 2\r\nok\r\n", number + 1000).into_bytes()
}

fn mongodb_message(number: u32, response_to: u32, document: &[u8]) -> Vec<u8> {
    let length = u32::try_from(document.len() + 21).expect("short");
    let words = [length, number, response_to, 2013, 0].map(u32::to_le_bytes).concat();
    [&words[..], b"\0", document].concat()
}

fn mongodb(number: u32) -> Vec<u8> {
    mongodb_message(number + 1, 0, b"\x22\0\0\0\x02find\0\x02\0\0\0c\0\x02$db\0\x05\0\0\0shop\0\0")
}

fn mongodb_answer(number: u32) -> Vec<u8> {
    mongodb_message(1_000_000 + number, number + 1, b"\x11\0\0\0\x01ok\0\0\0\0\0\0\0\xf0\x3f\0")
}

fn http2(number: u32) -> Vec<u8> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let stream = (number * 2 + 1).to_be_bytes();
    let frame = [b"\0\0\x03\x01\x05", &stream[..], b"\x82\x86\x84"].concat();
    if number == 0 { [&preface[..], &frame].concat() } else { frame }
}

fn http2_answer(number: u32) -> Vec<u8> {
    [b"\0\0\x01\x01\x05", &(number * 2 + 1).to_be_bytes()[..], b"\x88"].concat()
}

#[test]
fn what_is_given_up_is_told() {
    let settings = ParserSettings::default();
    for talk in TALKS {
        let protocol = REGISTRY.iter().find(|protocol| protocol.name() == talk.protocol).expect("a protocol");
        let mut replay = Replay::new(protocol.parser(&Conversation::new(&settings, true)));
        if let Some(name) = talk.session {
            let sessions = session::all();
            let recorded = sessions.iter().find(|session| session.name == name).expect("a session");
            recorded.pieces.iter().for_each(|(side, bytes)| replay.feed(*side, bytes));
        }
        let (said_before, pairs_before) = (replay.said.len(), replay.pairs.len());
        let asked = u32::try_from(talk.most).expect("few") + 200;
        (0..asked).for_each(|number| replay.feed(Side::Client, &(talk.ask)(number)));
        (0..asked).for_each(|number| replay.feed(Side::Server, &(talk.answer)(number)));
        let said = &replay.said[said_before..];
        let count = |is: fn(&MessageKind) -> bool| said.iter().filter(|said| is(&said.kind)).count();
        let requests = count(|kind| matches!(kind, MessageKind::Request(request) if !request.is_one_way));
        let lost = count(|kind| matches!(kind, MessageKind::Lost));
        let pairs = replay.pairs.len() - pairs_before;
        assert_eq!((requests, lost, pairs), (talk.most + 200, 200, talk.most), "{}", talk.protocol);
        assert!(replay.broken.is_empty(), "{}: {:?}", talk.protocol, replay.broken);
    }
}
