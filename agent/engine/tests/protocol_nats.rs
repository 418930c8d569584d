//! NATS made by hand: answers that come late or never, streams that promise messages, and what no server would send.

#[path = "support/replay.rs"]
mod replay;

use remora_engine::protocol::nats::Nats;
use remora_engine::protocol::{Conversation, MessageKind, ParserSettings, Protocol as _, Side};
use replay::Replay;

use Side::{Client, Server};

fn replay(is_start: bool) -> Replay {
    Replay::new(Nats.parser(&Conversation::new(&ParserSettings::default(), is_start)))
}

fn said(steps: &[(Side, &str)]) -> Vec<String> {
    let mut replay = replay(true);
    replay.feed(Server, b"INFO {\"server_id\":\"NB\"}\r\n");
    replay.feed(Client, b"CONNECT {}\r\n");
    steps.iter().for_each(|(side, text)| replay.feed(*side, text.as_bytes()));
    assert_eq!(replay.broken, [""; 0]);
    told(&replay)
}

fn told(replay: &Replay) -> Vec<String> {
    replay.said.iter().map(|said| tell(&said.kind)).collect()
}

fn tell(kind: &MessageKind) -> String {
    match kind {
        MessageKind::Request(request) => {
            format!("{}{}", request.name.verb, if request.is_one_way { " (one-way)" } else { "" })
        }
        MessageKind::Response(response) => {
            let keys = response.received.as_ref().map_or(0, |received| received.keys.as_slice().len());
            let outcome = response.outcome.error_type.clone().unwrap_or_else(|| "ok".to_owned());
            if keys > 0 { format!("{outcome} with {keys} keys") } else { outcome }
        }
        MessageKind::Delivered(delivery) => delivery.name.clone().unwrap_or_default(),
        MessageKind::Settled(settled) => {
            let failure =
                settled.outcome.error_type.as_ref().map_or(String::new(), |error| format!(" {error}"));
            format!("settled {}{failure}", settled.number)
        }
        MessageKind::Lost => "lost".to_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn answers_find_their_requests_in_any_order() {
    let mut replay = replay(true);
    replay.feed(Client, b"SUB _INBOX.a.* 1\r\nPUB x _INBOX.a.1 0\r\n\r\nPUB y _INBOX.a.2 0\r\n\r\n");
    replay.feed(
        Server,
        b"MSG _INBOX.a.2 1 2\r\nok\r\nMSG _INBOX.a.1 1 2\r\nok\r\nMSG _INBOX.a.1 1 4\r\nlate\r\n",
    );
    let names: Vec<_> = replay.pairs.iter().map(|pair| tell(&pair.request.kind)).collect();
    assert_eq!(names, ["send y", "send x"]);
    assert_eq!(replay.said.len(), 4, "the second answer answers nothing");
}

#[test]
fn an_answer_that_another_connection_awaits_is_not_awaited_here() {
    assert_eq!(said(&[(Client, "PUB x elsewhere 0\r\n\r\n")]), ["send x (one-way)"]);
    assert_eq!(said(&[(Client, "SUB >  1\r\nPUB x elsewhere 0\r\n\r\n")]), ["send x"]);
}

#[test]
fn nobody_listens() {
    let told = said(&[
        (Client, "SUB _INBOX.a.* 1\r\nPUB x _INBOX.a.1 0\r\n\r\n"),
        (Server, "HMSG _INBOX.a.1 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"),
    ]);
    assert_eq!(told, ["send x", "503"]);
}

#[test]
fn a_client_that_stops_listening_has_given_up() {
    let told = said(&[
        (Client, "SUB _INBOX.a 1\r\nUNSUB 1 1\r\nPUB x _INBOX.a 0\r\n\r\n"),
        (Client, "UNSUB 1\r\n"),
        (Server, "MSG _INBOX.a 1 4\r\nlate\r\n"),
    ]);
    assert_eq!(told, ["send x", "timeout"]);
}

#[test]
fn a_service_answers_what_it_was_asked() {
    let told = said(&[
        (Client, "SUB sums.* workers 1\r\n"),
        (Server, "MSG sums.add 1 _INBOX.a.1 3\r\n1+2\r\nMSG sums.sub 1 _INBOX.a.2 3\r\n1-2\r\n"),
        (Client, "HPUB _INBOX.a.2 40 40\r\nNATS/1.0\r\nNats-Service-Error-Code: 7\r\n\r\n\r\n"),
        (Client, "PUB _INBOX.a.1 1\r\n3\r\n"),
    ]);
    assert_eq!(told, ["process sums.add", "process sums.sub", "settled 2 7", "settled 1"]);
}

const ACK: &str = "$JS.ACK.S.c.1.1.1.1795282839614850219.0";

#[test]
fn a_pull_for_one_message_is_answered_by_it() {
    let told = said(&[
        (Client, "SUB _INBOX.p 1\r\nPUB $JS.API.CONSUMER.MSG.NEXT.S.c _INBOX.p 11\r\n{\"batch\":1}\r\n"),
        (Server, &format!("MSG jobs 1 {ACK} 4\r\nwork\r\n")),
        (Client, &format!("PUB {ACK} 4\r\n+WPI\r\nPUB {ACK} 5\r\n+TERM\r\n")),
    ]);
    assert_eq!(told, ["receive S", "ok with 2 keys", "settled 1 term"]);
}

#[test]
fn a_pull_is_not_answered_by_what_an_earlier_one_was_promised() {
    let pull =
        |batch: u32| format!("PUB $JS.API.CONSUMER.MSG.NEXT.S.c _INBOX.p 11\r\n{{\"batch\":{batch}}}\r\n");
    let message = format!("MSG jobs 1 {ACK} 4\r\nwork\r\n");
    let told = said(&[
        (Client, "SUB _INBOX.p 1\r\n"),
        (Client, &pull(2)),
        (Server, &message),
        (Client, &pull(1)),
        (Server, &message),
        (Server, &message),
        (Client, &pull(1)),
        (Server, "HMSG _INBOX.p 1 32 32\r\nNATS/1.0 408 Request Timeout\r\n\r\n"),
        (Server, "\r\n"),
    ]);
    let expected = [
        "receive S (one-way)",
        "process jobs",
        "receive S (one-way)",
        "process jobs",
        "process jobs",
        "receive S",
        "ok",
    ];
    assert_eq!(told, expected);
}

#[test]
fn streams_refuse() {
    let error = "{\"error\":{\"code\":404,\"err_code\":10059,\"description\":\"stream not found\"}}";
    let told = said(&[
        (Client, "SUB _INBOX.a.* 1\r\nPUB $JS.API.STREAM.INFO.S _INBOX.a.1 0\r\n\r\n"),
        (Server, &format!("MSG _INBOX.a.1 1 {}\r\n{error}\r\n", error.len())),
    ]);
    assert_eq!(told, ["$JS.API.STREAM.INFO S", "10059"]);
}

#[test]
fn an_answer_of_a_service_may_look_like_an_error() {
    let answer = "{\"error\":{\"code\":404}}";
    let told = said(&[
        (Client, "SUB _INBOX.a.* 1\r\nPUB users.get _INBOX.a.1 0\r\n\r\n"),
        (Server, &format!("MSG _INBOX.a.1 1 {}\r\n{answer}\r\n", answer.len())),
    ]);
    assert_eq!(told, ["send users.get", "ok"]);
}

#[test]
fn requests_that_nobody_answers_do_not_pile_up() {
    let mut replay = replay(true);
    replay.feed(Client, b"SUB _INBOX.a.* 1\r\n");
    for number in 0..5000 {
        replay.feed(Client, format!("PUB x _INBOX.a.{number} 0\r\n\r\n").as_bytes());
    }
    let lost = told(&replay).iter().filter(|said| *said == "lost").count();
    assert_eq!(lost, 5000 - 1024);
    replay.feed(Server, b"MSG _INBOX.a.4999 1 0\r\n\r\nMSG _INBOX.a.0 1 0\r\n\r\n");
    assert_eq!(replay.pairs.len(), 1);
}

#[test]
fn payloads_are_passed_over() {
    let payload = "x".repeat(100_000);
    let mut replay = replay(true);
    replay.feed(Client, b"PUB big 100000\r\n");
    replay.feed(Client, &payload.as_bytes()[..5000]);
    replay.lose(Client, 90_000);
    replay.feed(Client, &payload.as_bytes()[95_000..]);
    replay.feed(Client, b"\r\nPUB next 0\r\n\r\n");
    assert_eq!(told(&replay), ["send big (one-way)", "send next (one-way)"]);
}

#[test]
fn each_message_of_a_cut_batch_is_told_or_counted() {
    const MESSAGES: usize = 30;
    for (bytes, from, to) in [(100, 0, 500), (100, 777, 1400), (5000, 16_384, 100_000), (5000, 4096, 150_000)]
    {
        let mut replay = replay(true);
        replay.feed(Client, b"SUB _INBOX.a.* 1\r\nPUB $JS.API.CONSUMER.MSG.NEXT.S.C _INBOX.a.1 2\r\n30\r\n");
        let place = |number: usize| format!("$JS.ACK.S.C.1.{number}.{number}.1700000000000000000.0");
        let message = |number| format!("MSG s.x 1 {} {bytes}\r\n{}\r\n", place(number), "p".repeat(bytes));
        let batch: String = (1..=MESSAGES).map(message).collect();
        replay.feed(Server, &batch.as_bytes()[..from]);
        replay.lose(Server, (to - from).min(batch.len() - from) as u64);
        replay.feed(Server, batch.as_bytes().get(to..).unwrap_or_default());
        for number in 1..=MESSAGES {
            replay.feed(Client, format!("PUB {} 4\r\n+ACK\r\n", place(number)).as_bytes());
        }
        let count = |of: fn(&MessageKind) -> bool| replay.said.iter().filter(|said| of(&said.kind)).count();
        let told = count(|kind| matches!(kind, MessageKind::Delivered(_)));
        let missed = count(|kind| matches!(kind, MessageKind::MissedDelivery));
        assert_eq!(told + missed, MESSAGES, "{bytes} {from} {to}: {told} told");
        assert!(missed >= (to - from) / (bytes + 80), "{bytes} {from} {to}: {told} told");
        assert_eq!(count(|kind| matches!(kind, MessageKind::Settled(_))), told);
    }
}

#[test]
fn what_is_awaited_may_come_behind_missing_bytes() {
    let mut replay = replay(true);
    replay.feed(Client, b"SUB _INBOX.a.* 1\r\nPUB x _INBOX.a.1 0\r\n\r\nPUB y _INBOX.a.2 0\r\n\r\n");
    replay.feed(Server, b"MSG _INB");
    replay.lose(Server, 100);
    replay.feed(Server, b"lost\r\nMSG _INBOX.a.2 1 2\r\nok\r\n");
    let names: Vec<_> = replay.pairs.iter().map(|pair| tell(&pair.request.kind)).collect();
    assert_eq!(names, ["send y"]);
}

#[test]
fn lines_in_payloads_are_no_lines() {
    let mut replay = replay(true);
    replay.feed(Client, b"PUB a 16\r\nPUB b 2\r\nxx\r\nyyy\r\nPUB c 0\r\n\r\n");
    assert_eq!(told(&replay), ["send a (one-way)", "send c (one-way)"]);
}

#[test]
fn first_lines_of_any_length_are_passed_over() {
    let mut replay = replay(true);
    let urls = "\"127.0.0.1:4222\",".repeat(2000);
    replay.feed(
        Server,
        format!("INFO {{\"server_id\":\"NB\",\"connect_urls\":[{urls}\"\"]}}\r\nPING\r\n").as_bytes(),
    );
    replay.feed(Server, b"MSG a 1 0\r\n\r\n");
    assert_eq!((told(&replay).len(), replay.unread()), (1, [0, 0]));
    assert_eq!(replay.broken, [""; 0]);
}

#[test]
fn what_goes_on_in_tls_is_not_read() {
    let mut replay = replay(true);
    replay.feed(Server, b"INFO {\"server_id\":\"NB\",\"tls_required\":true}\r\n");
    replay.feed(Client, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    assert!(replay.is_opaque);
}

#[test]
fn hostile_lines_are_refused() {
    for line in [
        "PUB a 99999999999999999999\r\n",
        "PUB a -1\r\n",
        "HPUB a 9 5\r\n",
        "MSG a 1 5\r\nhello\r\n",
        "PUB a\r\n",
        "\r\n",
        "PUB a 5\n",
        &format!("PUB {} 5\r\n", "a".repeat(10_000)),
    ] {
        let mut replay = replay(true);
        replay.feed(Client, line.as_bytes());
        assert!(!replay.broken.is_empty(), "{line}");
        assert!(replay.said.is_empty());
    }
}
