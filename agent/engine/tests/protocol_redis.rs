//! Redis on hand-written connections.

#[path = "support/replay.rs"]
mod replay;

use remora_engine::protocol::redis::Redis;
use remora_engine::protocol::{Conversation, MessageKind, ParserSettings, Protocol, Side};
use replay::{Replay, attribute};

const CLIENT: Side = Side::Client;
const SERVER: Side = Side::Server;

/// Returns a command as an array of strings.
fn command(words: &str) -> String {
    let words: Vec<&str> = words.split(' ').collect();
    let strings: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{strings}", words.len())
}

fn feed(replay: &mut Replay, play: &[(Side, &str)], window: usize) {
    for (side, piece) in play {
        for part in piece.as_bytes().chunks(window) {
            replay.feed(*side, part);
        }
    }
}

fn told(replay: &Replay) -> Vec<String> {
    let messages = replay.said.iter().map(|said| tell(&said.kind));
    let broken = replay.broken.iter().map(|reason| format!("broken: {reason}"));
    messages.chain(broken).chain(replay.is_opaque.then(|| "opaque".to_owned())).collect()
}

/// `>` with the text for requests (`~` where no reply comes), `<` for replies with their error.
fn tell(kind: &MessageKind) -> String {
    match kind {
        MessageKind::Request(request) => {
            let text = attribute(&request.attributes, "db.query.text").expect("text");
            format!("{}{text}", if request.is_one_way { "~" } else { ">" })
        }
        MessageKind::Response(response) => {
            format!("<{}", response.outcome.error_type.as_deref().unwrap_or(""))
        }
        MessageKind::OneWay | MessageKind::Delivered(_) | MessageKind::Settled(_) => "push".to_owned(),
        other => panic!("{other:?}"),
    }
}

fn check(play: &[(Side, &str)], expected: &[&str]) {
    for window in [1, 2, 3, 5, 16, 100_000] {
        let mut replay = Replay::new(Redis.parser(&Conversation::new(&ParserSettings::default(), true)));
        feed(&mut replay, play, window);
        assert_eq!(told(&replay), expected, "window {window}");
        assert_eq!(replay.unread(), [0, 0], "window {window}");
    }
}

#[test]
fn replies_of_all_types_are_walked_over() {
    for reply in [
        "+OK\r\n",
        ":-12\r\n",
        "$-1\r\n",
        "$0\r\n\r\n",
        "$5\r\nhello\r\n",
        "*0\r\n",
        "*-1\r\n",
        "*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
        "_\r\n",
        "#t\r\n",
        ",1.5\r\n",
        ",inf\r\n",
        "(3492890328409238509324850943850943825024385\r\n",
        "=15\r\ntxt:Some string\r\n",
        "%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n#f\r\n",
        "~2\r\n+a\r\n+b\r\n",
        "|1\r\n+ttl\r\n:3600\r\n$1\r\na\r\n",
        "*2\r\n|1\r\n+ttl\r\n:3600\r\n:1\r\n:2\r\n",
        "|0\r\n+OK\r\n",
        "$?\r\n;4\r\nHell\r\n;5\r\no wor\r\n;0\r\n",
        "*?\r\n:1\r\n*1\r\n:2\r\n.\r\n",
        "%?\r\n+a\r\n:1\r\n.\r\n",
        "*?\r\n$?\r\n;1\r\na\r\n;0\r\n.\r\n",
    ] {
        let get = command("GET a");
        check(
            &[(CLIENT, &get), (SERVER, reply), (CLIENT, &get), (SERVER, "+x\r\n")],
            &[">GET ?", "<", ">GET ?", "<"],
        );
    }
}

#[test]
fn errors_are_told_by_their_prefix() {
    let get = command("GET a");
    check(&[(CLIENT, &get), (SERVER, "-WRONGTYPE Operation against\r\n")], &[">GET ?", "<WRONGTYPE"]);
    check(&[(CLIENT, &get), (SERVER, "!21\r\nSYNTAX invalid syntax\r\n")], &[">GET ?", "<SYNTAX"]);
    check(&[(CLIENT, &get), (SERVER, "-something\r\n")], &[">GET ?", "<ERR"]);
}

#[test]
fn what_errors_quote_is_not_recorded() {
    let mut replay = Replay::new(Redis.parser(&Conversation::new(&ParserSettings::default(), true)));
    replay.feed(CLIENT, command("FOO secret").as_bytes());
    replay.feed(SERVER, b"-ERR unknown command 'FOO', with args beginning with: 'secret' \r\n");
    let MessageKind::Response(response) = &replay.said[1].kind else { panic!("no response") };
    assert_eq!(response.outcome.message.as_deref(), Some("ERR unknown command"));
    assert_eq!(attribute(&response.attributes, "db.response.status_code").as_deref(), Some("ERR"));
}

#[test]
fn arguments_are_counted_and_hidden() {
    let many = format!("MSET{}", " k v".repeat(20));
    for (words, expected) in [
        ("SET key value", ">SET ? ?"),
        ("CONFIG GET requirepass", ">CONFIG GET ?"),
        ("AUTH user password", ">AUTH ? ?"),
        ("HELLO 3 AUTH user password", ">HELLO ? ? ? ?"),
        ("PING", ">PING"),
        ("caf\u{e9} a", ">_OTHER ?"),
        (&many, ">MSET ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ... (40 arguments)"),
    ] {
        check(&[(CLIENT, &command(words)), (SERVER, "+OK\r\n")], &[expected, "<"]);
    }
}

#[test]
fn arguments_are_shown_where_that_was_asked_for_but_never_secrets() {
    let settings = ParserSettings { redact_statements: false, ..ParserSettings::default() };
    let mut replay = Replay::new(Redis.parser(&Conversation::new(&settings, true)));
    for words in
        ["SET key value", "AUTH user password", "HELLO 3 AUTH user password", "CONFIG SET requirepass x"]
    {
        replay.feed(CLIENT, command(words).as_bytes());
    }
    assert_eq!(told(&replay), [">SET key value", ">AUTH ? ?", ">HELLO ? ? ? ?", ">CONFIG SET ? ?"]);
}

#[test]
fn pipelines_and_inline_commands_are_paired_in_order() {
    let pipeline = command("GET a") + "PING\r\n\r\nset a  b\r\n*0\r\n" + &command("GET b");
    check(
        &[(CLIENT, &pipeline), (SERVER, "$1\r\n1\r\n+PONG\r\n-ERR no\r\n$-1\r\n")],
        &[">GET ?", ">PING", ">set ? ?", ">GET ?", "<", "<", "<ERR", "<"],
    );
}

#[test]
fn a_reply_before_its_command_waits() {
    check(&[(SERVER, "+OK\r\n"), (CLIENT, "PING\r\n")], &[">PING", "<"]);
}

#[test]
fn long_strings_need_not_be_seen() {
    let mut replay = Replay::new(Redis.parser(&Conversation::new(&ParserSettings::default(), true)));
    replay.feed(CLIENT, b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100000\r\nxxx");
    replay.lose(CLIENT, 99_997 + 2);
    replay.feed(SERVER, b"+OK\r\n");
    replay.feed(CLIENT, command("GET a").as_bytes());
    replay.feed(SERVER, b"$100000\r\nxxxx");
    replay.lose(SERVER, 99_996 + 2);
    assert_eq!(told(&replay), [">SET ? ?", "<", ">GET ?", "<"]);
    replay.feed(CLIENT, b"*2\r\n$4\r\nECHO\r\n$900\r\nxxx");
    replay.lose(CLIENT, 897 + 2);
    replay.feed(SERVER, b"$900\r\n");
    replay.lose(SERVER, 900 + 2);
    assert_eq!(told(&replay)[4..], [">ECHO ?", "<"]);
}

#[test]
fn transactions_tell_their_size() {
    let play = command("MULTI") + &command("SET a 1") + &command("INCR a") + &command("EXEC");
    let mut replay = Replay::new(Redis.parser(&Conversation::new(&ParserSettings::default(), true)));
    feed(
        &mut replay,
        &[(CLIENT, &play), (SERVER, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n-ERR no\r\n")],
        1,
    );
    assert_eq!(told(&replay), [">MULTI", ">SET ? ?", ">INCR ?", ">EXEC", "<", "<", "<", "<ERR"]);
    let MessageKind::Request(exec) = &replay.said[3].kind else { panic!("no request") };
    assert_eq!(attribute(&exec.attributes, "db.operation.batch.size").as_deref(), Some("2"));
}

#[test]
fn databases_are_followed() {
    let mut replay = Replay::new(Redis.parser(&Conversation::new(&ParserSettings::default(), true)));
    for words in ["GET a", "SELECT 3", "GET a", "RESET", "GET a"] {
        replay.feed(CLIENT, command(words).as_bytes());
        replay.feed(SERVER, b"+OK\r\n");
    }
    let database = |at: usize| match &replay.said[at].kind {
        MessageKind::Request(request) => attribute(&request.attributes, "db.namespace"),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        [database(0), database(4), database(8)],
        [Some("0".into()), Some("3".into()), Some("0".into())]
    );
}

#[test]
fn subscriptions_of_resp2() {
    check(
        &[
            (CLIENT, &command("SUBSCRIBE a b")),
            (SERVER, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"),
            (SERVER, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"),
            (CLIENT, &command("PING")),
            (SERVER, "*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
            (CLIENT, &command("UNSUBSCRIBE")),
            (
                SERVER,
                "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:0\r\n",
            ),
            (CLIENT, &command("UNSUBSCRIBE")),
            (SERVER, "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"),
            (CLIENT, &command("PING")),
            (SERVER, "+PONG\r\n"),
        ],
        &[
            ">SUBSCRIBE ? ?",
            "push",
            "<",
            "push",
            ">PING",
            "<",
            ">UNSUBSCRIBE",
            "push",
            "<",
            ">UNSUBSCRIBE",
            "<",
            ">PING",
            "<",
        ],
    );
}

#[test]
fn pushes_of_resp3_answer_nothing() {
    check(
        &[
            (CLIENT, &command("SUBSCRIBE a")),
            (
                SERVER,
                ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n",
            ),
            (CLIENT, &command("GET a")),
            (SERVER, ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n$1\r\nx\r\n"),
        ],
        &[">SUBSCRIBE ?", "<", "push", ">GET ?", "push", "<"],
    );
}

#[test]
fn clients_may_want_no_replies() {
    let play = command("CLIENT REPLY SKIP") + &command("SET a 1") + &command("GET a");
    let off =
        command("CLIENT REPLY OFF") + &command("SET a 1") + &command("CLIENT REPLY ON") + &command("GET a");
    check(
        &[(CLIENT, &play), (SERVER, "$1\r\n1\r\n"), (CLIENT, &off), (SERVER, "+OK\r\n$1\r\n1\r\n")],
        &[
            "~CLIENT REPLY ?",
            "~SET ? ?",
            ">GET ?",
            "<",
            "~CLIENT REPLY ?",
            "~SET ? ?",
            ">CLIENT REPLY ?",
            ">GET ?",
            "<",
            "<",
        ],
    );
}

#[test]
fn redirections_of_a_cluster_are_no_failures() {
    let mut replay = Replay::new(Redis.parser(&Conversation::new(&ParserSettings::default(), true)));
    for (reply, is_failure) in [
        ("-MOVED 3999 127.0.0.1:6381\r\n", false),
        ("-ASK 3999 127.0.0.1:6381\r\n", false),
        ("-CLUSTERDOWN Hash slot not served\r\n", true),
        ("-TRYAGAIN Multiple keys request during rehashing of slot\r\n", true),
    ] {
        replay.feed(CLIENT, command("GET a").as_bytes());
        replay.feed(SERVER, reply.as_bytes());
        let MessageKind::Response(response) = &replay.said.last().unwrap().kind else {
            panic!("no response")
        };
        let prefix = reply[1..].split(' ').next();
        assert_eq!(attribute(&response.attributes, "db.response.status_code").as_deref(), prefix);
        assert_eq!(response.outcome.error_type.as_deref(), prefix.filter(|_| is_failure));
    }
}

#[test]
fn a_connection_that_is_reset_listens_to_nothing() {
    check(
        &[
            (CLIENT, &command("SUBSCRIBE a")),
            (SERVER, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"),
            (CLIENT, &command("RESET")),
            (SERVER, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n+RESET\r\n"),
            (CLIENT, &command("LRANGE a 0 -1")),
            (SERVER, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"),
        ],
        &[">SUBSCRIBE ?", "<", ">RESET", "push", "<", ">LRANGE ? ? ?", "<"],
    );
}

/// Returns what the last response says it brought.
fn received(play: &[(Side, &str)]) -> (usize, bool) {
    let mut replay = Replay::new(Redis.parser(&Conversation::new(&ParserSettings::default(), true)));
    feed(&mut replay, play, 7);
    let MessageKind::Response(response) = &replay.said.last().expect("a response").kind else {
        panic!("no response")
    };
    let keys = response.received.as_ref().map(|received| received.keys.as_slice().len());
    (keys.unwrap_or(0), response.received.is_some())
}

#[test]
fn only_the_ids_of_entries_are_messages() {
    let entry = "*2\r\n$3\r\n1-1\r\n*2\r\n$5\r\nmonth\r\n$7\r\n2024-11\r\n";
    let claimed = format!("*3\r\n$3\r\n9-0\r\n*1\r\n{entry}*1\r\n$3\r\n7-7\r\n");
    let none = "*3\r\n$3\r\n0-0\r\n*0\r\n*0\r\n";
    let read = format!("*1\r\n*2\r\n$1\r\ns\r\n*1\r\n{entry}");
    let read_in_a_map = format!("%1\r\n$1\r\ns\r\n*1\r\n{entry}");
    for (words, reply, expected) in [
        ("XAUTOCLAIM s g c 0 0", claimed.as_str(), (1, true)),
        ("XAUTOCLAIM s g c 0 0", none, (0, false)),
        ("XCLAIM s g c 0 1-1", &format!("*1\r\n{entry}"), (1, true)),
        ("XCLAIM s g c 0 1-1 JUSTID", "*1\r\n$3\r\n1-1\r\n", (0, false)),
        ("XREAD STREAMS s 0", &read, (1, true)),
        ("XREAD STREAMS s 0", &read_in_a_map, (1, true)),
        ("XREAD BLOCK 5 STREAMS s $", "*-1\r\n", (0, false)),
    ] {
        assert_eq!(received(&[(CLIENT, &command(words)), (SERVER, reply)]), expected, "{words}: {reply}");
    }
}

#[test]
fn entries_that_a_transaction_appends_to_several_streams_are_not_confused() {
    let sent = |streams: [&str; 2]| {
        let [first, second] = streams.map(|stream| command(&format!("XADD {stream} * a b")));
        let play = command("MULTI") + &first + &second + &command("EXEC");
        let replies = "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$3\r\n1-1\r\n$3\r\n1-2\r\n";
        let mut replay = Replay::new(Redis.parser(&Conversation::new(&ParserSettings::default(), true)));
        feed(&mut replay, &[(CLIENT, &play), (SERVER, replies)], 5);
        let MessageKind::Response(response) = &replay.said.last().unwrap().kind else {
            panic!("no response")
        };
        response.sent.as_slice().len()
    };
    assert_eq!((sent(["s", "s"]), sent(["s", "t"])), (2, 0));
}

#[test]
fn contexts_in_messages_are_carried() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let job = format!("{{\"traceparent\":\"{parent}\"}}");
    for words in [
        format!("LPUSH jobs {job}"),
        format!("XADD s * a b traceparent {parent}"),
        format!("PUBLISH c {job}"),
    ] {
        let mut replay = Replay::new(Redis.parser(&Conversation::new(&ParserSettings::default(), true)));
        replay.feed(CLIENT, command(&words).as_bytes());
        let MessageKind::Request(request) = &replay.said[0].kind else { panic!("no request") };
        assert_eq!((request.carried.len(), &request.context), (1, &None), "{words}");
    }
    let entry = format!(
        "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$11\r\ntraceparent\r\n$55\r\n{parent}\r\n"
    );
    let element = format!("*2\r\n$4\r\njobs\r\n${}\r\n{job}\r\n", job.len());
    for (words, reply) in [("XREAD STREAMS s 0", entry), ("BRPOP jobs 1", element)] {
        let mut replay = Replay::new(Redis.parser(&Conversation::new(&ParserSettings::default(), true)));
        feed(&mut replay, &[(CLIENT, &command(words)), (SERVER, &reply)], 9);
        let MessageKind::Response(response) = &replay.said[1].kind else { panic!("no response") };
        let received = response.received.as_ref().expect("a message");
        assert_eq!(received.contexts.len(), 1, "{words}");
    }
}

#[test]
fn channels_and_patterns_name_what_they_bring() {
    let mut replay = Replay::new(Redis.parser(&Conversation::new(&ParserSettings::default(), true)));
    replay.feed(CLIENT, command("PSUBSCRIBE n*").as_bytes());
    replay.feed(SERVER, b"*3\r\n$10\r\npsubscribe\r\n$2\r\nn*\r\n:1\r\n");
    replay.feed(SERVER, b"*4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$2\r\nhi\r\n");
    let MessageKind::Delivered(delivery) = &replay.said[2].kind else { panic!("no delivery") };
    let queue = delivery.source.as_ref().and_then(|source| source.name.as_deref());
    assert_eq!((delivery.name.as_deref(), queue), (Some("process n*"), Some("news")));
}

#[test]
fn monitors_and_replicas_are_left_alone() {
    check(
        &[(CLIENT, "MONITOR\r\n"), (SERVER, "+OK\r\n+1339518083.107412 [0 127.0.0.1:60866] \"keys\"\r\n")],
        &[">MONITOR", "<", "opaque"],
    );
    check(&[(CLIENT, &command("PSYNC ? -1")), (SERVER, "+FULLRESYNC x 0\r\n")], &[">PSYNC ? ?", "opaque"]);
}

#[test]
fn rubbish_behind_a_command_takes_nothing_from_it() {
    for rubbish in ["*1\r\n:1\r\n", "*2\r\n$3\r\nGET\r\n$99999999999\r\n"] {
        for window in [1, 7, 100_000] {
            let mut replay = Replay::new(Redis.parser(&Conversation::new(&ParserSettings::default(), true)));
            let asked = format!("*2\r\n$3\r\nGET\r\n$1\r\na\r\n{rubbish}");
            feed(&mut replay, &[(CLIENT, asked.as_str())], window);
            assert!(replay.broken.is_empty(), "before the answer");
            feed(&mut replay, &[(SERVER, "$1\r\n1\r\n-ERR Protocol error: x\r\n")], window);
            assert_eq!(told(&replay)[..2], [">GET ?", "<"], "window {window}");
            assert_eq!(replay.broken.len(), 1);
        }
    }
}

#[test]
fn hostile_lengths_are_broken() {
    for (bytes, reason) in [
        ("*1\r\n$99999999999\r\n", "argument too long"),
        ("*1\r\n$2000\r\n", "name too long"),
        ("*99999999999\r\n", "not a command"),
        ("*1\r\n:1\r\n", "argument is no string"),
        ("*1\r\n$1\r\nabc", "argument without an end"),
    ] {
        let mut replay = Replay::new(Redis.parser(&Conversation::new(&ParserSettings::default(), true)));
        replay.feed(CLIENT, bytes.as_bytes());
        assert_eq!(replay.broken, [reason], "{bytes}");
    }
    let deep = "*1\r\n".repeat(100);
    for (bytes, reason) in [
        (deep.as_str(), "reply nested too deep"),
        ("$99999999999\r\n", "string too long"),
        ("@\r\n", "not a reply"),
        ("+a\n", "line without a carriage return"),
        ("$1\r\nabc", "string without an end"),
        ("*?\r\n;1\r\n", "not a reply"),
        ("$?\r\n:1\r\n", "chunk expected"),
    ] {
        let mut replay = Replay::new(Redis.parser(&Conversation::new(&ParserSettings::default(), true)));
        replay.feed(CLIENT, command("GET a").as_bytes());
        replay.feed(SERVER, bytes.as_bytes());
        assert_eq!(replay.broken, [reason], "{bytes}");
    }
}

#[test]
fn an_old_connection_is_paired_after_two_turns() {
    let mut replay = Replay::new(Redis.parser(&Conversation::new(&ParserSettings::default(), false)));
    let get = |key: &str| command(&format!("GET {key}"));
    let play = [
        (SERVER, "lo\r\n$1\r\na\r\n".to_owned()),
        (CLIENT, "x\r\n".to_owned() + &get("a")),
        (SERVER, "$1\r\n1\r\n".to_owned()),
        (CLIENT, get("b")),
        (SERVER, "$1\r\n2\r\n".to_owned()),
        (CLIENT, get("c")),
        (SERVER, "$1\r\n3\r\n".to_owned()),
    ];
    for (side, piece) in &play {
        replay.feed(*side, piece.as_bytes());
    }
    assert_eq!(told(&replay), [">GET ?", "<", ">GET ?", "<"]);
    assert_eq!(replay.broken, [""; 0]);
}

#[test]
fn a_loss_in_a_pipeline_never_shifts_replies() {
    let batch: String = ["GET a", "GET b", "GET c"].map(command).concat();
    let replies = "$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n";
    let one = command("GET a").len();
    let mut replay = Replay::new(Redis.parser(&Conversation::new(&ParserSettings::default(), true)));
    replay.feed(CLIENT, &batch.as_bytes()[..one]);
    replay.lose(CLIENT, one as u64);
    replay.feed(CLIENT, &batch.as_bytes()[one * 2..]);
    replay.feed(SERVER, replies.as_bytes());
    for _ in 0..3 {
        replay.feed(CLIENT, batch.as_bytes());
        replay.feed(SERVER, replies.as_bytes());
    }
    let lengths: Vec<(u64, u64)> =
        replay.pairs.iter().map(|pair| (pair.request.end, pair.response.end)).collect();
    let (asked, answered) = (one as u64, 7);
    let paired = [1].into_iter().chain(7..=12);
    let expected: Vec<(u64, u64)> = paired.map(|at| (at * asked, at * answered)).collect();
    assert_eq!(lengths, expected);
    assert_eq!(missed(&replay), 5);
}

fn missed(replay: &Replay) -> usize {
    replay.said.iter().filter(|said| matches!(said.kind, MessageKind::Missed)).count()
}

#[test]
fn each_exchange_of_a_cut_pipeline_is_told_or_counted() {
    let get = command("GET a");
    let one = get.len();
    for (commands, cut) in [(10, 1..9), (10, 0..10), (100, 30..31), (300, 20..299)] {
        for shift in [0, 5] {
            let mut replay = Replay::new(Redis.parser(&Conversation::new(&ParserSettings::default(), true)));
            let batch = get.repeat(commands);
            let (from, to) = (cut.start * one + shift, (cut.end * one + shift).min(batch.len()));
            replay.feed(CLIENT, &batch.as_bytes()[..from]);
            replay.lose(CLIENT, (to - from) as u64);
            replay.feed(CLIENT, &batch.as_bytes()[to..]);
            replay.feed(SERVER, "$1\r\na\r\n".repeat(commands).as_bytes());
            let told = replay.pairs.len();
            assert_eq!(told + missed(&replay), commands, "{commands} {cut:?} {shift}");
            assert!(told >= cut.start, "{commands} {cut:?} {shift}");
        }
    }
}

#[test]
fn commands_that_end_in_a_later_read_shift_no_replies() {
    const COMMANDS: usize = 400;
    let set = command(&format!("SET a {}", "v".repeat(1000)));
    let (one, stream) = (set.len(), set.repeat(COMMANDS));
    for (window, holes) in [(16_384, 1), (16_384, 3), (5000, 2), (1500, 7)] {
        let mut replay = Replay::new(Redis.parser(&Conversation::new(&ParserSettings::default(), true)));
        let mut answered = 0;
        for (index, read) in stream.as_bytes().chunks(window).enumerate() {
            let is_cut = (2..2 + holes).contains(&index);
            let seen = if is_cut { read.len() / 4 } else { read.len() };
            replay.feed(CLIENT, &read[..seen]);
            replay.lose(CLIENT, (read.len() - seen) as u64);
            let whole = (index * window + read.len()) / one;
            replay.feed(SERVER, "+OK\r\n".repeat(whole - answered).as_bytes());
            answered = whole;
        }
        let told = replay.pairs.len();
        for pair in &replay.pairs {
            assert_eq!(pair.request.start / one as u64 + 1, pair.response.end / 5, "{window} {holes}");
        }
        assert_eq!(told + missed(&replay), COMMANDS, "{window} {holes}");
        assert!(told > COMMANDS / 2, "{window} {holes}: {told}");
    }
}

#[test]
fn what_is_behind_missing_bytes_changes_nothing_before_them() {
    let mut replay = Replay::new(Redis.parser(&Conversation::new(&ParserSettings::default(), true)));
    // A reply that looks like a message of a channel.
    replay.feed(CLIENT, (command("HMGET e type from text") + &command("GET x")).as_bytes());
    replay.lose(CLIENT, 100);
    replay.feed(SERVER, b"*3\r\n$7\r\nmessage\r\n$3\r\nbob\r\n$2\r\nhi\r\n$1\r\n1\r\n+OK\r\n");
    let ends: Vec<u64> = replay.pairs.iter().map(|pair| pair.response.end).collect();
    assert_eq!((ends, missed(&replay)), (vec![34, 41], 1));
}

#[test]
fn a_client_that_asks_while_it_awaits_is_not_believed_to_wait() {
    // One command in the hole stays ahead of all others: `<A >C <M >D <C …`.
    let get = command("GET a");
    let mut replay = Replay::new(Redis.parser(&Conversation::new(&ParserSettings::default(), true)));
    replay.feed(CLIENT, get.as_bytes());
    replay.lose(CLIENT, get.len() as u64);
    for _ in 0..6 {
        replay.feed(SERVER, b"$1\r\na\r\n");
        replay.feed(CLIENT, get.as_bytes());
    }
    assert_eq!(replay.pairs.len(), 1);
}

#[test]
fn of_too_many_commands_the_first_are_told_and_the_others_counted() {
    let mut replay = Replay::new(Redis.parser(&Conversation::new(&ParserSettings::default(), true)));
    replay.feed(CLIENT, command("GET a").repeat(10_000).as_bytes());
    replay.feed(SERVER, "$1\r\na\r\n".repeat(10_000).as_bytes());
    assert_eq!((replay.pairs.len(), missed(&replay)), (4096, 10_000 - 4096));
}
