//! PostgreSQL on hand-written connections.

#[path = "support/replay.rs"]
mod replay;

use std::net::{Ipv4Addr, SocketAddr};

use remora_engine::event::Endpoint;
use remora_engine::protocol::postgresql::Postgresql;
use remora_engine::protocol::{Conversation, Learned, MessageKind, ParserSettings, Protocol, Side};
use replay::{Replay, attribute};

const CLIENT: Side = Side::Client;
const SERVER: Side = Side::Server;

type Play = Vec<(Side, Vec<u8>)>;

/// Returns messages from a text: each `X:body` between `|`, where `X` is the type and `_` in the body a zero byte.
fn messages(text: &str) -> Vec<u8> {
    text.split('|').flat_map(message).collect()
}

fn message(text: &str) -> Vec<u8> {
    let (kind, body) = text.split_once(':').expect("type and body");
    let body: Vec<u8> = body.bytes().map(|byte| if byte == b'_' { 0 } else { byte }).collect();
    let length = u32::try_from(body.len() + 4).expect("short");
    [kind.as_bytes(), &length.to_be_bytes(), &body].concat()
}

fn first(code: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 8).expect("short");
    [&length.to_be_bytes(), &code.to_be_bytes(), body].concat()
}

fn session() -> Play {
    vec![
        (CLIENT, first(196_608, b"user\0me\0database\0shop\0\0")),
        (SERVER, messages("R:____|S:standard-conforming_on_|K:12345678|Z:I")),
    ]
}

fn client(text: &str) -> (Side, Vec<u8>) {
    (CLIENT, messages(text))
}

fn server(text: &str) -> (Side, Vec<u8>) {
    (SERVER, messages(text))
}

fn feed(replay: &mut Replay, play: &[(Side, Vec<u8>)], window: usize) {
    for (side, piece) in play {
        for part in piece.chunks(window) {
            replay.feed(*side, part);
        }
    }
}

fn told(replay: &Replay) -> Vec<String> {
    let messages = replay.said.iter().map(|said| tell(&said.kind));
    let broken = replay.broken.iter().map(|reason| format!("broken: {reason}"));
    messages.chain(broken).chain(replay.is_opaque.then(|| "opaque".to_owned())).collect()
}

/// `>` with the name for requests, `<` for responses with rows and error.
fn tell(kind: &MessageKind) -> String {
    match kind {
        MessageKind::Request(request) => format!(">{}", request.name.verb),
        MessageKind::Response(response) => {
            let name = response.name.as_ref().map_or("", |name| &name.verb);
            let rows = attribute(&response.attributes, "db.response.returned_rows").unwrap_or_default();
            format!("<{name}{rows}{}", response.outcome.error_type.as_deref().unwrap_or(""))
        }
        MessageKind::OneWay => "one way".to_owned(),
        MessageKind::Missed | MessageKind::MissedDelivery => "missed".to_owned(),
        MessageKind::Delivered(_) | MessageKind::Settled(_) => panic!("no queues here"),
        other => panic!("{other:?}"),
    }
}

fn check(rest: &[(Side, Vec<u8>)], expected: &[&str]) {
    let play = [session(), rest.to_vec()].concat();
    for window in [1, 2, 3, 5, 16, 100_000] {
        let mut replay = Replay::new(Postgresql.parser(&Conversation::new(&ParserSettings::default(), true)));
        feed(&mut replay, &play, window);
        assert_eq!(told(&replay), expected, "window {window}");
        assert_eq!(replay.unread(), [0, 0], "window {window}");
    }
}

#[test]
fn simple_queries_end_when_the_server_is_ready() {
    check(
        &[
            client("Q:select 1 from t_"),
            server("T:_|D:__|D:__|C:SELECT 2_|Z:I"),
            client("Q:begin; update t set a = 1_"),
            server("C:BEGIN_|C:UPDATE 0_|Z:T"),
            client("Q:_"),
            server("I:|Z:I"),
            client("Q:select 1/0_"),
            server("E:SERROR_C22012_Mdivision by zero__|Z:I"),
        ],
        &[">select t", "<2", ">BATCH", "<", ">postgresql", "<", ">select", "<22012"],
    );
}

#[test]
fn attributes_of_a_query() {
    let mut replay = Replay::new(Postgresql.parser(&Conversation::new(&ParserSettings::default(), true)));
    feed(&mut replay, &[session(), vec![client("Q:SELECT a FROM t WHERE b = 'secret'_")]].concat(), 1000);
    let MessageKind::Request(request) = &replay.said[0].kind else { panic!("no request") };
    let keys: Vec<String> = request
        .attributes
        .iter()
        .map(|(key, _)| format!("{key}={}", attribute(&request.attributes, key).expect("there")))
        .collect();
    let expected = [
        "db.system.name=postgresql",
        "db.namespace=shop",
        "remora.db.user=me",
        "db.operation.name=SELECT",
        "db.query.summary=SELECT t",
        "db.collection.name=t",
        "db.query.text=SELECT a FROM t WHERE b = ?",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn each_execute_is_an_exchange() {
    check(
        &[
            client("P:_select 1 from t___|B:________|D:P_|E:_____|S:"),
            server("1:|2:|T:_|D:__|C:SELECT 1_|Z:I"),
            client("B:________|E:_____|P:_update u set a = $1___|B:________|E:_____|S:"),
            server("2:|D:__|s:|1:|2:|C:UPDATE 1_|Z:I"),
        ],
        &[">select t", "<1", ">select t", ">update u", "<1", "<"],
    );
}

#[test]
fn a_suspended_portal_goes_on_with_its_next_execute() {
    for end in ["H:", "S:"] {
        let ready = if end == "S:" { "|Z:T" } else { "" };
        check(
            &[
                client(&format!("P:_select 1 from t___|B:p________|E:p_____|{end}")),
                server(&format!("1:|2:|D:__|D:__|s:{ready}")),
                client(&format!("E:p_____|{end}")),
                server(&format!("D:__|s:{ready}")),
                client("E:p_____|C:Pp_|S:"),
                server("C:SELECT 0_|3:|Z:T"),
            ],
            &[">select t", "<2", ">select t", "<1", ">select t", "<0"],
        );
    }
}

#[test]
fn preparing_alone_is_an_exchange() {
    check(
        &[
            client("P:s1_select 1 from t___|D:Ss1_|S:"),
            server("1:|t:__|T:_|Z:I"),
            client("B:_s1_______|E:_____|S:"),
            server("2:|C:SELECT 0_|Z:I"),
            client("P:s2_select 2 from t___|D:Ss2_|H:"),
            server("1:|t:__|n:"),
            client("B:_s2_______|E:_____|S:"),
            server("2:|C:SELECT 0_|Z:I"),
            client("P:s3_selec___|S:"),
            server("E:SERROR_C42601__|Z:I"),
            client("C:Ss1_|S:"),
            server("3:|Z:I"),
            client("B:_s1_______|E:_____|S:"),
            server("E:SERROR_C26000__|Z:I"),
        ],
        &[
            ">PREPARE select t",
            "<",
            ">select t",
            "<0",
            ">PREPARE select t",
            "<",
            ">select t",
            "<0",
            ">PREPARE",
            "<42601",
            ">postgresql",
            "<26000",
        ],
    );
}

#[test]
fn an_error_aborts_the_rest_of_its_batch() {
    check(
        &[
            client("P:_select 1___|B:________|E:_____|B:________|E:_____|B:________|E:_____|S:|Q:select 2_"),
            server("1:|2:|C:SELECT 0_|E:SERROR_C22012__|Z:I|C:SELECT 0_|Z:I"),
        ],
        &[">select", ">select", ">select", ">select", "<0", "<22012", "<pipeline_aborted", "<0"],
    );
}

#[test]
fn an_error_when_committing_fails_the_last_exchange() {
    check(
        &[
            client("P:_insert into t values (1)___|B:________|E:_____|S:"),
            server("1:|2:|C:INSERT 0 1_|E:SERROR_C23503__|Z:I"),
        ],
        &[">insert t", "<23503"],
    );
}

#[test]
fn pipelined_batches_find_their_answers() {
    check(
        &[
            client("P:_select 1 from a___|B:________|E:_____|S:|P:_select 1 from b___|B:________|E:_____|S:"),
            server("1:|2:|D:__|C:SELECT 1_|Z:I"),
            client("Q:select 3 from c_"),
            server("1:|2:|E:SERROR_C22012__|Z:I|C:SELECT 0_|Z:I"),
        ],
        &[">select a", ">select b", "<1", ">select c", "<22012", "<0"],
    );
}

#[test]
fn copies_are_one_exchange() {
    check(
        &[
            client("Q:copy t from stdin_"),
            server("G:___"),
            client("d:1\t2\n|d:3\t4\n|c:"),
            server("C:COPY 2_|Z:I"),
            client("Q:copy t to stdout_"),
            server("H:___|d:1\t2\n|c:|C:COPY 1_|Z:I"),
            client("Q:copy t from stdin_"),
            server("G:___"),
            client("d:1\t2\n|f:no_"),
            server("E:SERROR_C57014__|Z:I"),
        ],
        &[">copy t", "<", ">copy t", "<", ">copy t", "<57014"],
    );
}

#[test]
fn a_sync_during_a_copy_is_ignored() {
    check(
        &[
            client("P:_copy t from stdin___|B:________|E:_____|S:"),
            server("1:|2:|G:___"),
            client("d:1\n|H:|S:|c:|S:"),
            server("C:COPY 1_|Z:I"),
            client("Q:select 1_"),
            server("C:SELECT 0_|Z:I"),
        ],
        &[">copy t", "<", ">select", "<0"],
    );
}

#[test]
fn functions_are_called() {
    check(&[client("F:____________"), server("V:____|Z:I")], &[">FUNCTION CALL", "<"]);
}

#[test]
fn what_comes_unasked_answers_nothing() {
    check(
        &[
            server("A:____a_b_|N:SNOTICE__"),
            client("Q:select 1_"),
            server("S:a_b_|A:____a_b_|C:SELECT 0_|N:SNOTICE__|Z:I"),
            server("E:SFATAL_C57P01__"),
        ],
        &["one way", ">select", "one way", "<0", "one way"],
    );
}

#[test]
fn encryption_is_followed_as_far_as_it_can_be() {
    let ssl = first(80_877_103, b"");
    let mut refused = vec![(CLIENT, ssl.clone()), (SERVER, b"N".to_vec())];
    refused.extend(session());
    refused.extend([client("Q:select 1_"), server("C:SELECT 0_|Z:I")]);
    let accepted = vec![(CLIENT, ssl), (SERVER, b"S".to_vec()), (CLIENT, b"\x16\x03\x01".to_vec())];
    for (play, expected) in [(refused, &[">select", "<0"][..]), (accepted, &["opaque"])] {
        let mut replay = Replay::new(Postgresql.parser(&Conversation::new(&ParserSettings::default(), true)));
        feed(&mut replay, &play, 1);
        assert_eq!(told(&replay), expected);
    }
}

#[test]
fn refused_sign_ins_are_told_once() {
    let startup = || session().remove(0);
    let refusal = || server("E:SFATAL_C28P01_Mpassword authentication failed for user \"me\"__");
    let ssl = (CLIENT, first(80_877_103, b""));
    let full = server("E:SFATAL_C53300_Msorry, too many clients already__");
    for (play, expected) in [
        (vec![startup(), server("R:____"), refusal()], &[">connect", "<28P01"][..]),
        (vec![startup(), refusal(), refusal()], &[">connect", "<28P01", "one way"]),
        // Who answers a request for encryption with an error has no room for a process.
        (vec![ssl, full], &[">connect", "<53300"]),
        // What was asked before the server was ready is what has no answer.
        (vec![startup(), client("Q:select 1_"), refusal()], &[">select"]),
    ] {
        for window in [1, 3, 100_000] {
            let mut replay =
                Replay::new(Postgresql.parser(&Conversation::new(&ParserSettings::default(), true)));
            feed(&mut replay, &play, window);
            assert_eq!(told(&replay), expected, "window {window}");
        }
    }
}

#[test]
fn cancelling_and_replicating() {
    let cancel = vec![(CLIENT, first(80_877_102, &[0; 8]))];
    let replicate =
        vec![(CLIENT, first(196_608, b"user\0me\0replication\0true\0\0")), (SERVER, messages("R:____"))];
    for (play, expected) in [(cancel, "one way"), (replicate, "opaque")] {
        let mut replay = Replay::new(Postgresql.parser(&Conversation::new(&ParserSettings::default(), true)));
        feed(&mut replay, &play, 1);
        assert_eq!(told(&replay), [expected]);
    }
}

#[test]
fn an_answer_before_its_question_waits() {
    check(&[server("C:SELECT 0_|Z:I"), client("Q:select 1_")], &[">select", "<0"]);
}

#[test]
fn an_error_before_the_step_that_failed_waits() {
    check(
        &[
            server("1:|2:|E:SERROR_C22012_Mdivision by zero__|Z:I"),
            client("P:_select 1/0___|B:________|E:_____|S:"),
        ],
        &[">select", "<22012"],
    );
}

#[test]
fn backslashes_follow_the_servers_setting() {
    let mut replay = Replay::new(Postgresql.parser(&Conversation::new(&ParserSettings::default(), true)));
    let parameter = b"S\0\0\0\x24standard_conforming_strings\0off\0".to_vec();
    let play = [session(), vec![(SERVER, parameter), client("Q:select 'it\\'s secret'_")]].concat();
    feed(&mut replay, &play, 1);
    let MessageKind::Request(request) = &replay.said[0].kind else { panic!("no request") };
    assert_eq!(attribute(&request.attributes, "db.query.text").as_deref(), Some("select ?"));
}

#[test]
fn long_statements_and_rows_need_not_be_seen() {
    let mut replay = Replay::new(Postgresql.parser(&Conversation::new(&ParserSettings::default(), true)));
    feed(&mut replay, &session(), 1000);
    let long = message(&format!("Q:select 1 from t where a = '{}'_", "x".repeat(10_000)));
    // All that is wanted is there.
    replay.feed(CLIENT, &long[..5000]);
    replay.lose(CLIENT, long.len() as u64 - 5000);
    let row = message(&format!("D:{}", "x".repeat(10_000)));
    replay.feed(SERVER, &[messages("T:_"), row[..100].to_vec()].concat());
    replay.lose(SERVER, row.len() as u64 - 100);
    replay.feed(SERVER, &messages("C:SELECT 1_|Z:I"));
    // Less than is wanted is there.
    replay.feed(CLIENT, &long[..100]);
    replay.lose(CLIENT, long.len() as u64 - 100);
    replay.feed(SERVER, &messages("C:SELECT 1_|Z:I"));
    assert_eq!(told(&replay), [">select t", "<1", ">select t", "<0"]);
}

#[test]
fn an_old_connection_is_paired_when_the_server_was_ready() {
    let mut replay = Replay::new(Postgresql.parser(&Conversation::new(&ParserSettings::default(), false)));
    let play = [
        server("D:__|C:SELECT 1_|Z:I"),
        client("B:_s1_______|E:_____|S:"),
        server("2:|C:SELECT 3_|Z:I"),
        client("Q:select 1_"),
        server("C:SELECT 0_|Z:I"),
    ];
    feed(&mut replay, &play, 1000);
    assert_eq!(told(&replay), [">postgresql", "<SELECT0", ">select", "<0"]);
    let MessageKind::Request(request) = &replay.said[0].kind else { panic!("no request") };
    assert_eq!(attribute(&request.attributes, "remora.incomplete").as_deref(), Some("statement_unknown"));
    assert_eq!(attribute(&request.attributes, "db.query.text"), None);
}

#[test]
fn nasty_10_a_statement_of_an_old_connection_is_known_from_others_under_a_name_of_all() {
    let settings = ParserSettings::default();
    let server_end = Endpoint::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 5432)));
    let learned = Learned::default();
    let open = |is_start| {
        let conversation = Conversation {
            settings: &settings,
            is_start,
            server: Some(&server_end),
            learned: learned.clone(),
        };
        Replay::new(Postgresql.parser(&conversation))
    };
    let hash = "stmtcache-0123456789abcdef0123456789abcdef0123456789abcdef";
    // Two connections agree on each but the hash.
    for name in [hash, "S1", "by-id", "S1", "by-id"] {
        let mut known = open(true);
        let prepare = client(&format!("P:{name}_select a from t___|S:"));
        feed(&mut known, &[session(), vec![prepare]].concat(), 1000);
    }
    for (name, expected) in [(hash, ">select t"), ("S1", ">postgresql"), ("by-id", ">select t")] {
        let mut old = open(false);
        let play = [
            server("C:SELECT 1_|Z:I"),
            client(&format!("B:_{name}_______|E:_____|S:")),
            server("2:|C:SELECT 3_|Z:I"),
        ];
        feed(&mut old, &play, 1000);
        assert_eq!(told(&old).first().map(String::as_str), Some(expected), "{name}");
    }
}

#[test]
fn a_loss_never_shifts_answers() {
    let mut replay = Replay::new(Postgresql.parser(&Conversation::new(&ParserSettings::default(), true)));
    let one = messages("Q:select 1_");
    let answer = messages("C:SELECT 0_|Z:I");
    feed(&mut replay, &session(), 1000);
    replay.feed(CLIENT, &[one.clone(), one[..4].to_vec()].concat());
    replay.lose(CLIENT, one.len() as u64 - 4);
    replay.feed(CLIENT, &one);
    replay.feed(SERVER, &[answer.clone(), answer.clone(), answer.clone()].concat());
    assert_eq!(told(&replay), [">select"]);
    replay.feed(CLIENT, &one);
    replay.feed(SERVER, &answer);
    assert_eq!(told(&replay), [">select", ">select", "<0"]);
    assert_eq!(replay.broken, [""; 0]);
}

#[test]
fn hostile_messages_are_broken() {
    for (side, bytes, reason) in [
        (CLIENT, &b"Q\xff\xff\xff\xff"[..], "impossible message length"),
        (CLIENT, b"Q\0\0\0\x03", "impossible message length"),
        (CLIENT, b"!\0\0\0\x04", "unknown message type"),
        (SERVER, b"1\0\0\0\x04", "answer to another question"),
    ] {
        let mut replay = Replay::new(Postgresql.parser(&Conversation::new(&ParserSettings::default(), true)));
        feed(&mut replay, &[session(), vec![client("Q:select 1_")]].concat(), 1000);
        replay.feed(side, bytes);
        if side == CLIENT {
            // What was asked before is answered all the same.
            assert!(replay.broken.is_empty(), "{}", bytes.escape_ascii());
            feed(&mut replay, &[server("C:SELECT 0_|Z:I")], 3);
            assert_eq!(told(&replay), [">select", "<0", &format!("broken: {reason}")]);
        }
        assert_eq!(replay.broken, [reason], "{}", bytes.escape_ascii());
    }
}

/// Plays `before`, leaves out `missing` bytes of the last piece's side, and plays `after` in parts of any length.
fn check_missing(before: &[(Side, Vec<u8>)], missing: u64, after: &[(Side, Vec<u8>)], expected: &[&str]) {
    for window in [1, 2, 3, 5, 16, 100_000] {
        let mut replay = Replay::new(Postgresql.parser(&Conversation::new(&ParserSettings::default(), true)));
        feed(&mut replay, &session(), 1000);
        feed(&mut replay, before, 1000);
        replay.lose(before.last().expect("a piece").0, missing);
        feed(&mut replay, after, window);
        assert_eq!(told(&replay), expected, "{missing} bytes missing, window {window}");
    }
}

fn next() -> [(Side, Vec<u8>); 2] {
    [client("Q:select 2 from u_"), server("T:_|D:__|C:SELECT 1_|Z:I")]
}

/// Returns a piece of the server that begins in the middle of a row.
fn tail(text: &str) -> (Side, Vec<u8>) {
    (SERVER, [b"f some row", messages(text).as_slice()].concat())
}

#[test]
fn an_answer_ends_behind_missing_bytes() {
    let query = client("Q:select 1 from t_");
    let batch = client("P:_select 1 from t__|B:____|D:P_|E:_____|S:");
    for (question, rows) in [(query, server("T:_|D:__|D:__")), (batch, server("1:|2:|T:_|D:__|D:__"))] {
        for (ending, told) in [
            ("C:SELECT 58_|Z:I", "<58"),
            ("C:SELECT 1_|Z:I", "<"),
            ("C:INSERT 0 9_|Z:T", "<"),
            ("s:|Z:T", "<"),
            ("E:SERROR_C57014_Mcanceling statement__|Z:I", "<57014"),
            ("C:SELECT 58_|E:SERROR_C40001_Mno__|Z:E", "<40001"),
        ] {
            let after = [&[tail(ending)], next().as_slice()].concat();
            let before = [question.clone(), rows.clone()];
            check_missing(&before, 5000, &after, &[">select t", told, ">select u", "<1"]);
        }
    }
}

#[test]
fn rows_of_several_statements_are_not_counted_by_the_last() {
    check_missing(
        &[client("Q:select 1 from t; select 2 from t_"), server("T:_|D:__")],
        5000,
        &[tail("C:SELECT 58_|Z:I")],
        &[">BATCH select t", "<"],
    );
}

#[test]
fn an_answer_with_an_unknown_ending_is_lost() {
    let before = [client("Q:select 1 from t_"), server("T:_|D:__")];
    for ending in ["N:SNOTICE_C00000__|Z:I", "Z:I", "C:SELECT 58_|Z:E", "I:|Z:I"] {
        let after = [&[tail(ending)], next().as_slice()].concat();
        check_missing(&before, 5000, &after, &[">select t", ">select u", "<1"]);
    }
}

#[test]
fn a_new_question_ends_the_search_for_the_end() {
    let before = [client("Q:select 1 from t_"), server("T:_|D:__")];
    let after = [&[client("Q:select 3 from v_"), tail("C:SELECT 58_|Z:I")], next().as_slice()].concat();
    check_missing(&before, 5000, &after, &[">select t", ">select u", "<1"]);
}

#[test]
fn answers_to_several_questions_are_lost_with_missing_bytes() {
    let batches = client("P:_select 1 from t__|B:____|E:_____|S:|B:____|E:_____|S:");
    let after = [&[tail("C:SELECT 58_|Z:I")], next().as_slice()].concat();
    check_missing(
        &[batches, server("1:|2:|D:__")],
        5000,
        &after,
        &[">select t", ">select t", ">select u", "<1"],
    );
    let batch = client("P:_select 1 from t__|B:____|E:_____|B:____|E:_____|S:");
    check_missing(
        &[batch, server("1:|2:|D:__")],
        5000,
        &after,
        &[">select t", ">select t", ">select u", "<1"],
    );
}

#[test]
fn a_long_batch_is_one_exchange_though_its_middle_is_missing() {
    let statement = message("P:s1_insert into t values (1)__");
    let answer = server("1:|2:|n:|C:INSERT 0 9_|Z:I");
    let rest = (CLIENT, [b"of parameters", messages("D:P_|E:_____|S:").as_slice()].concat());
    for shown in [20, statement.len(), statement.len() + 3, statement.len() + 9] {
        let first = [statement.as_slice(), &messages("B:_s1_________")].concat();
        let before = [(CLIENT, first[..shown].to_vec())];
        let name = if shown == 20 { ">insert" } else { ">insert t" };
        let play = |answer| [&[rest.clone(), answer], next().as_slice()].concat();
        check_missing(&before, 90_000, &play(answer.clone()), &[name, "<", ">select u", "<1"]);
        let failure = server("1:|2:|E:SERROR_C23505_Mno__|Z:I");
        check_missing(&before, 90_000, &play(failure), &[name, "<23505", ">select u", "<1"]);
        // More was asked than is known.
        for answer in
            ["1:|2:|n:|C:INSERT 0 9_|2:|C:INSERT 0 1_|Z:I", "1:|2:|C:INSERT 0 9_|E:SERROR_C23505_Mno__|Z:I"]
        {
            check_missing(&before, 90_000, &play(server(answer)), &[name, ">select u", "<1"]);
        }
    }
    // No end is seen, or it is of another kind.
    for rest in [client("H:"), client("C:S_|S:")] {
        let before = [(CLIENT, statement.clone())];
        let play = [&[rest, answer.clone()], next().as_slice()].concat();
        check_missing(&before, 90_000, &play, &[">select u", "<1"]);
    }
}
