//! MySQL and MariaDB on hand-written connections.

#[path = "support/replay.rs"]
mod replay;

use std::net::{Ipv4Addr, SocketAddr};

use remora_engine::event::Endpoint;
use remora_engine::protocol::mysql::Mysql;
use remora_engine::protocol::{
    Conversation, Detection, Learned, MessageKind, ParserSettings, Protocol, Side,
};
use replay::{Replay, attribute};

const CLIENT: Side = Side::Client;
const SERVER: Side = Side::Server;

type Play = Vec<(Side, Vec<u8>)>;

/// Capabilities of a client, as it negotiates them.
mod capability {
    pub(super) const BASE: u32 = 0x0000_8200;
    pub(super) const COMPRESS: u32 = 1 << 5;
    pub(super) const DEPRECATE_EOF: u32 = 1 << 24;
    pub(super) const SESSION_TRACK: u32 = 1 << 23;
    pub(super) const SSL: u32 = 1 << 11;
}

const OK: &[u8] = b"\0\0\0\x02\0\0\0";
const EOF: &[u8] = b"\xfe\0\0\x02\0";
const EOF_MORE: &[u8] = b"\xfe\0\0\x0a\0";
const DEFINITION: &[u8] = b"\x03def\x04shop\x01t\x01t\x01a\x01a\x0c\x3f\0\x0b\0\0\0\x03\0\0\0\0\0";

fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let [low, middle, high, _] = u32::try_from(payload.len()).expect("short").to_le_bytes();
    [&[low, middle, high, sequence], payload].concat()
}

fn packets(mut sequence: u8, payloads: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for payload in payloads {
        bytes.extend(packet(sequence, payload));
        sequence = sequence.wrapping_add(1);
    }
    bytes
}

fn client(command: u8, rest: &[u8]) -> (Side, Vec<u8>) {
    (CLIENT, packet(0, &[&[command], rest].concat()))
}

fn query(text: &str) -> (Side, Vec<u8>) {
    client(3, text.as_bytes())
}

fn server(payloads: &[&[u8]]) -> (Side, Vec<u8>) {
    (SERVER, packets(1, payloads))
}

fn greeting(version: &str) -> Vec<u8> {
    let rest = b"\0\x01\0\0\0abcdefgh\0\xff\xff\x21\x02\0\xff\xff\x15\0\0\0\0\0\0\0\0\0\0ijklmnopqrst\0";
    packet(0, &[b"\x0a", version.as_bytes(), rest].concat())
}

fn login(capabilities: u32) -> Vec<u8> {
    let names = b"me\0\0shop\0";
    packet(1, &[&(capabilities | 8).to_le_bytes()[..], &[0; 28], names].concat())
}

fn session_with(capabilities: u32) -> Play {
    vec![
        (SERVER, greeting("8.0.15")),
        (CLIENT, login(capability::BASE | capabilities)),
        (SERVER, packet(2, OK)),
    ]
}

fn session() -> Play {
    session_with(0)
}

fn feed(replay: &mut Replay, play: &[(Side, Vec<u8>)], window: usize) {
    for (side, piece) in play {
        for part in piece.chunks(window) {
            replay.feed(*side, part);
        }
    }
}

/// `>` with the name for requests, `<` for responses with rows and error.
fn told(replay: &Replay) -> Vec<String> {
    let tell = |kind: &MessageKind| match kind {
        MessageKind::Request(request) => format!(">{}", request.name.verb),
        MessageKind::Response(response) => {
            let rows = attribute(&response.attributes, "db.response.returned_rows").unwrap_or_default();
            format!("<{rows}{}", response.outcome.error_type.as_deref().unwrap_or(""))
        }
        MessageKind::OneWay => "one way".to_owned(),
        MessageKind::Missed | MessageKind::MissedDelivery => "missed".to_owned(),
        other => panic!("{other:?}"),
    };
    let messages = replay.said.iter().map(|said| tell(&said.kind));
    let broken = replay.broken.iter().map(|reason| format!("broken: {reason}"));
    messages.chain(broken).chain(replay.is_opaque.then(|| "opaque".to_owned())).collect()
}

fn parser(is_start: bool) -> Replay {
    Replay::new(Mysql.parser(&Conversation::new(&ParserSettings::default(), is_start)))
}

fn check_after(session: Play, rest: &[(Side, Vec<u8>)], expected: &[&str]) {
    let play = [session, rest.to_vec()].concat();
    for window in [1, 2, 3, 5, 16, 1_000_000] {
        let mut replay = parser(true);
        feed(&mut replay, &play, window);
        assert_eq!(told(&replay), expected, "window {window}");
        assert!(replay.is_opaque || replay.unread() == [0, 0], "window {window}");
    }
}

fn check(rest: &[(Side, Vec<u8>)], expected: &[&str]) {
    check_after(session(), rest, expected);
}

#[test]
fn results_end_with_or_without_a_packet_behind_definitions() {
    let rows: [&[u8]; 2] = [b"\x011", b"\x012"];
    let old = [&[&b"\x01"[..], DEFINITION, EOF][..], &rows, &[EOF]].concat();
    check(&[query("select a from t"), server(&old)], &[">select t", "<2"]);
    let end: &[u8] = b"\xfe\0\0\x02\0\0\0";
    let new = [&[&b"\x01"[..], DEFINITION][..], &rows, &[end]].concat();
    check_after(
        session_with(capability::DEPRECATE_EOF),
        &[
            query("select a from t"),
            server(&new),
            query("select b from u"),
            server(&[b"\x01", DEFINITION, end]),
        ],
        &[">select t", "<2", ">select u", "<0"],
    );
}

#[test]
fn nasty_14_multi_statement() {
    let answer: [&[u8]; 7] = [
        b"\x01",
        DEFINITION,
        EOF,
        b"\x011",
        EOF_MORE,
        b"\0\x01\0\x0a\0\0\0",
        b"\xff\x7a\x04#42S02Table 'shop.x' doesn't exist",
    ];
    check(&[query("select 1; update t set a = 1; select * from x"), server(&answer)], &[">BATCH", "<1146"]);
}

#[test]
fn nasty_14_load_data() {
    let file =
        |sequence| (CLIENT, [packets(sequence, &[b"1,2\n", b"3,4\n"]), packet(sequence + 2, b"")].concat());
    check(
        &[
            query("LOAD DATA LOCAL INFILE '/x' INTO TABLE t"),
            server(&[b"\xfb/x"]),
            file(2),
            (SERVER, packet(5, OK)),
            query("select 1"),
            server(&[b"\x01", DEFINITION, EOF, EOF]),
        ],
        &[">LOAD t", "<", ">select", "<0"],
    );
    // A long file wraps the numbers: a packet with number 0 is no command.
    let many: Vec<u8> =
        (2..600usize).flat_map(|number| packet((number % 256) as u8, b"\x03SELECT 1\n")).collect();
    let last = (600 % 256) as u8;
    check(
        &[
            query("LOAD DATA LOCAL INFILE '/x' INTO TABLE t"),
            server(&[b"\xfb/x"]),
            (CLIENT, [many, packet(last, b"")].concat()),
            (SERVER, packet(last + 1, OK)),
        ],
        &[">LOAD t", "<"],
    );
}

#[test]
fn nasty_14_caching_sha2() {
    // Full authentication: the public key is asked for, and the password sent with it.
    let play = [
        (SERVER, greeting("8.0.15")),
        (CLIENT, login(capability::BASE)),
        (SERVER, packet(2, b"\x01\x04")),
        (CLIENT, packet(3, b"\x02")),
        (SERVER, packet(4, b"\x01-----BEGIN PUBLIC KEY-----")),
        (CLIENT, packet(5, &[7; 256])),
        (SERVER, packet(6, OK)),
    ];
    check_after(play.to_vec(), &[query("select 1"), server(&[OK])], &[">select", "<"]);
    // Another manner of proof, and a refusal.
    let refused = [
        (SERVER, greeting("5.5.5-10.11.6-MariaDB")),
        (CLIENT, login(capability::BASE)),
        (SERVER, packet(2, b"\xfemysql_native_password\0abcdefgh\0")),
        (CLIENT, packet(3, &[7; 20])),
        (SERVER, packet(4, b"\xff\x15\x04#28000Access denied")),
    ];
    check_after(refused.to_vec(), &[], &[">connect", "<1045"]);
}

#[test]
fn too_many_connections_are_refused_unasked_and_once() {
    let full = packet(0, b"\xff\x10\x04Too many connections");
    check_after(vec![(SERVER, full.clone())], &[], &[">connect", "<1040"]);
    check_after(vec![(SERVER, full.clone()), (SERVER, full)], &[], &[">connect", "<1040", "one way"]);
}

#[test]
fn nasty_14_compressed() {
    let wrap = |sequence: u8, payload: &[u8], algorithm: u8| {
        let body = match algorithm {
            0 => payload.to_vec(),
            1 => zlib(payload),
            _ => zstd::bulk::compress(payload, 3).expect("memory"),
        };
        let length = |length: usize| u32::try_from(length).expect("short").to_le_bytes();
        let original = if algorithm == 0 { 0 } else { payload.len() };
        let header = [&length(body.len())[..3], &[sequence], &length(original)[..3]].concat();
        [header, body].concat()
    };
    for algorithm in 0..3 {
        let command = query(&format!("select {} from t", "1, ".repeat(30))).1;
        // The answer is cut anywhere, and one packet on the wire ends within a row.
        let answer = packets(1, &[b"\x01", DEFINITION, EOF, &[b'x'; 200], b"\x012", EOF]);
        let (first, second) = answer.split_at(70);
        check_after(
            session_with(capability::COMPRESS),
            &[
                (CLIENT, wrap(0, &command, algorithm)),
                (SERVER, wrap(1, first, algorithm)),
                (SERVER, wrap(2, second, 0)),
                (CLIENT, wrap(0, &query("commit").1, 0)),
                (SERVER, wrap(1, &packet(1, OK), 0)),
            ],
            &[">select t", "<2", ">commit", "<"],
        );
    }
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn encryption_is_another_rooms() {
    let request = packet(1, &[&(capability::BASE | capability::SSL).to_le_bytes()[..], &[0; 28]].concat());
    check_after(vec![(SERVER, greeting("8.0.15")), (CLIENT, request)], &[], &["opaque"]);
}

fn prepare(id: u8, columns: u8, parameters: u8) -> Vec<u8> {
    vec![0, id, 0, 0, 0, columns, 0, parameters, 0, 0, 0, 0]
}

fn execute(id: u8) -> (Side, Vec<u8>) {
    client(0x17, &[&[id, 0, 0, 0, 0, 1, 0, 0, 0][..], b"\0\x01\x08\0\x2a\0\0\0\0\0\0\0"].concat())
}

#[test]
fn prepared_statements_are_known_by_their_numbers() {
    let close = client(0x19, &[1, 0, 0, 0]);
    check(
        &[
            client(0x16, b"select a from t where b = ?"),
            server(&[&prepare(1, 1, 1), DEFINITION, EOF, DEFINITION, EOF]),
            execute(1),
            server(&[b"\x01", DEFINITION, EOF, b"\0\0\x01\0\0\0", EOF]),
            client(0x1c, &[1, 0, 0, 0, 2, 0, 0, 0]),
            server(&[b"\0\0\x01\0\0\0", b"\0\0\x02\0\0\0", EOF]),
            client(0x18, &[1, 0, 0, 0, 0, 0, b'x', b'y']),
            close,
            execute(1),
            server(&[
                b"\xff\xdb\x04#HY000Unknown prepared statement handler (1) given to mysqld_stmt_execute",
            ]),
        ],
        &[">PREPARE select t", "<", ">select t", "<1", ">FETCH select t", "<2", ">mysql", "<1243"],
    );
}

#[test]
fn another_user_and_a_reset_forget_statements() {
    for (command, answer) in [
        (client(0x1f, b""), (SERVER, packet(1, OK))),
        (client(0x11, b"eve\0\0mine\0\x21\0"), (SERVER, packet(1, OK))),
    ] {
        let name = if command.1[4] == 0x1f { ">RESET_CONNECTION" } else { ">CHANGE_USER" };
        check(
            &[
                client(0x16, b"commit"),
                server(&[&prepare(1, 0, 0)]),
                command,
                answer,
                execute(1),
                server(&[OK]),
            ],
            &[">PREPARE commit", "<", name, "<", ">mysql", "<"],
        );
    }
}

#[test]
fn the_database_is_followed() {
    let tracked = b"\0\0\0\x02\x40\0\0\0\x07\x01\x05\x04mine".to_vec();
    let play = [
        session_with(capability::SESSION_TRACK),
        vec![
            query("select 1"),
            server(&[OK]),
            query("call move()"),
            server(&[&tracked]),
            query("use `other`"),
            server(&[OK]),
            client(2, b"third"),
            server(&[OK]),
            query("use nowhere"),
            server(&[b"\xff\x19\x04#42000Unknown database 'nowhere'"]),
            query("select 2"),
            server(&[OK]),
        ],
    ]
    .concat();
    let mut replay = parser(true);
    feed(&mut replay, &play, usize::MAX);
    let databases: Vec<_> = replay
        .pairs
        .iter()
        .map(|pair| match &pair.request.kind {
            MessageKind::Request(request) => {
                attribute(&request.attributes, "db.namespace").unwrap_or_default()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(databases, ["shop", "shop", "mine", "other", "third", "third"]);
}

#[test]
fn mariadb_pipelines_a_statement_and_its_execution() {
    let both =
        [client(0x16, b"select a from t").1, client(0x17, &[255, 255, 255, 255, 0, 1, 0, 0, 0]).1].concat();
    // And leaves out definitions that the client has.
    let answers = [
        packets(1, &[&prepare(1, 1, 0), DEFINITION, EOF]),
        packets(1, &[b"\x01\0", EOF, b"\0\0\x01\0\0\0", EOF]),
    ]
    .concat();
    check(&[(CLIENT, both), (SERVER, answers)], &[">PREPARE select t", ">select t", "<", "<1"]);
}

#[test]
fn mariadb_reports_progress_within_errors() {
    let progress: &[u8] = b"\xff\xff\xff\x01\x01\x02\0\0\0\x05stage";
    check(
        &[query("alter table t engine = aria"), server(&[progress, progress, OK])],
        &[">alter table t", "<"],
    );
}

#[test]
fn mysql_may_leave_out_definitions() {
    check(&[query("select a from t"), server(&[b"\0\x01", EOF, b"\x011", EOF])], &[">select t", "<1"]);
}

#[test]
fn packets_of_16_mib_are_continued() {
    let full = 0xff_ffff;
    let head = [&[0xff, 0xff, 0xff, 0][..], b"\x03insert into t values ('"].concat();
    let mut replay = parser(true);
    feed(&mut replay, &session(), usize::MAX);
    replay.feed(CLIENT, &head);
    // Longer than the statement that is kept: the rest passes by, and so do two more packets.
    let shown = head.len() - 4;
    replay.feed(CLIENT, &vec![b'x'; 8192 - shown]);
    replay.lose(CLIENT, (full - 8192) as u64);
    replay.feed(CLIENT, &[0xff, 0xff, 0xff, 1]);
    replay.lose(CLIENT, full as u64);
    replay.feed(CLIENT, &packet(2, b"')"));
    replay.feed(SERVER, &packet(3, OK));
    // A row as long, whose second half looks like the end.
    feed(&mut replay, &[query("select a from t")], usize::MAX);
    replay.feed(SERVER, &packets(1, &[b"\x01", DEFINITION, EOF]));
    replay.feed(SERVER, &[0xff, 0xff, 0xff, 4, 0xfe]);
    replay.lose(SERVER, (full - 1) as u64);
    replay.feed(SERVER, &packets(5, &[EOF, b"\x011", EOF]));
    assert_eq!(told(&replay), [">insert t", "<", ">select t", "<2"]);
}

#[test]
fn long_results_end_behind_missing_bytes() {
    let check = |tail: &[u8], expected: &[&str]| {
        let mut replay = parser(true);
        feed(&mut replay, &session(), usize::MAX);
        feed(
            &mut replay,
            &[query("select a from t"), server(&[b"\x01", DEFINITION, EOF, b"\x011"])],
            usize::MAX,
        );
        replay.lose(SERVER, 100_000);
        replay.feed(SERVER, tail);
        feed(&mut replay, &[query("commit"), server(&[OK])], usize::MAX);
        assert_eq!(told(&replay), expected, "{}", tail.escape_ascii());
    };
    let next = [">commit", "<"];
    let with = |answer: &'static str| [&[">select t", answer][..], &next].concat();
    check(&[b"cut\x013", &packet(77, EOF)[..]].concat(), &with("<"));
    check(
        &[b"cut\x013", &packet(77, b"\xff\x25\x05#70100Query execution was interrupted")[..]].concat(),
        &with("<1317"),
    );
    let more = [packet(77, EOF_MORE), packet(78, OK)].concat();
    let mut replay = parser(true);
    feed(&mut replay, &session(), usize::MAX);
    feed(
        &mut replay,
        &[query("select 1; commit"), server(&[b"\x01", DEFINITION, EOF, b"\x011"])],
        usize::MAX,
    );
    replay.lose(SERVER, 100_000);
    replay.feed(SERVER, &more[..9]);
    replay.feed(SERVER, &more[9..]);
    assert_eq!(told(&replay), [">BATCH", "<"]);
    // No end was seen: the next command begins anew.
    check(b"only more rows", &[">select t", ">commit", "<"]);
}

#[test]
fn what_comes_unasked_answers_nothing() {
    check(
        &[
            query("select 1"),
            server(&[OK]),
            (
                SERVER,
                packet(
                    0,
                    b"\xff\xbf\x0f#HY000The client was disconnected by the server because of inactivity.",
                ),
            ),
        ],
        &[">select", "<", "one way"],
    );
}

#[test]
fn an_answer_before_its_command_waits() {
    check(&[server(&[OK]), query("select 1")], &[">select", "<"]);
}

#[test]
fn replication_is_left_alone() {
    check(&[client(0x12, b"\x04\0\0\0\0\0\x01\0\0\0binlog.1")], &["opaque"]);
}

#[test]
fn an_old_connection_is_paired_when_the_server_has_answered() {
    let mut replay = parser(false);
    replay.feed(SERVER, b"the end of a row\x05\0\0\x09\xfe\0\0\x02\0");
    let play = [
        query("select a from t"),
        server(&[b"\x01", DEFINITION, EOF, b"\x011", EOF]),
        execute(1),
        server(&[OK]),
    ];
    feed(&mut replay, &play, usize::MAX);
    assert_eq!(told(&replay), [">select t", "<1", ">mysql", "<"]);
    let MessageKind::Request(request) = &replay.said[2].kind else { panic!("a request") };
    assert_eq!(attribute(&request.attributes, "remora.incomplete").as_deref(), Some("statement_unknown"));
}

#[test]
fn an_old_connection_of_a_known_server_has_its_system() {
    let settings = ParserSettings::default();
    let server_end = Endpoint::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 3306)));
    let learned = Learned::default();
    let open = |is_start| {
        let conversation = Conversation {
            settings: &settings,
            is_start,
            server: Some(&server_end),
            learned: learned.clone(),
        };
        Replay::new(Mysql.parser(&conversation))
    };
    let mut first = open(true);
    first.feed(SERVER, &greeting("11.4.2-MariaDB"));
    let mut old = open(false);
    feed(&mut old, &[query("commit"), server(&[OK]), query("commit"), server(&[OK])], usize::MAX);
    let MessageKind::Request(request) = &old.said[0].kind else { panic!("a request") };
    assert_eq!(attribute(&request.attributes, "db.system.name").as_deref(), Some("mariadb"));
}

#[test]
fn hostile_packets_are_broken() {
    let commit = query("commit");
    for (side, bytes, expected) in [
        (CLIENT, packet(0, b"\x77"), "broken: unknown command"),
        (CLIENT, packet(0, b""), "broken: empty command"),
        (CLIENT, packet(0, b"\x0ex"), "broken: impossible length of a command"),
        (CLIENT, packet(7, b"\x03select 1"), "broken: packet of no command"),
    ] {
        let mut replay = parser(true);
        feed(&mut replay, &session(), usize::MAX);
        replay.feed(side, &bytes);
        assert_eq!(told(&replay), [expected], "{}", bytes.escape_ascii());
    }
    for (answer, expected) in [
        (packet(1, b""), "broken: empty answer"),
        (packet(2, OK), "broken: packet out of order"),
        (packet(1, b"\xfc\xff"), "broken: no number of columns"),
        (packet(1, b"\xfd\0\0\x01"), "broken: impossible number of columns"),
        (packet(1, b"\xff\x01"), "broken: error without a number"),
    ] {
        let mut replay = parser(true);
        feed(&mut replay, &session(), usize::MAX);
        feed(&mut replay, std::slice::from_ref(&commit), usize::MAX);
        replay.feed(SERVER, &answer);
        assert_eq!(told(&replay), [">commit", expected], "{}", answer.escape_ascii());
    }
}

#[test]
fn more_commands_than_are_remembered_break_the_connection() {
    let mut replay = parser(true);
    feed(&mut replay, &session(), usize::MAX);
    (0..4097).for_each(|_| replay.feed(CLIENT, &packet(0, b"\x0e")));
    assert_eq!(replay.broken, ["too many outstanding commands"]);
}

#[test]
fn a_bomb_is_not_unpacked() {
    let bomb = zlib(&vec![0; 8 << 20]);
    let length = u32::try_from(bomb.len()).expect("short").to_le_bytes();
    for original in [0x0100_u32, 0x00ff_ffff] {
        let header = [&length[..3], &[0], &original.to_le_bytes()[..3]].concat();
        let mut replay = parser(true);
        feed(&mut replay, &session_with(capability::COMPRESS), usize::MAX);
        replay.feed(CLIENT, &[header, bomb.clone()].concat());
        assert!(replay.pairs.is_empty());
    }
}

#[test]
fn greetings_are_recognised_at_every_length() {
    let bytes = greeting("10.11.6-MariaDB-0+deb12u1");
    let first = (1..bytes.len()).find(|&end| Mysql.detect(&bytes[..end]) != Detection::Unsure);
    assert!(first.is_some_and(|end| Mysql.detect(&bytes[..end]) == Detection::Yes(SERVER)));
}

#[test]
fn backslashes_follow_the_servers_setting() {
    let plain = b"\0\0\0\x02\x02\0\0";
    let statement = |text: &str| {
        let mut replay = parser(true);
        feed(&mut replay, &session(), usize::MAX);
        feed(
            &mut replay,
            &[query("set sql_mode = 'NO_BACKSLASH_ESCAPES'"), server(&[plain]), query(text)],
            usize::MAX,
        );
        let MessageKind::Request(request) = &replay.said[2].kind else { panic!("a request") };
        attribute(&request.attributes, "db.query.text")
    };
    assert_eq!(
        statement("select 'a\\' from t where b = 'secret'").as_deref(),
        Some("select ? from t where b = ?")
    );
}
