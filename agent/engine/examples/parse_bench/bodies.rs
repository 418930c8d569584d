//! Large bodies that nobody looks into, through the whole engine, every byte of them captured.

use bytes::Bytes;
use remora_engine::protocol::Side;

use crate::clock::Clock;
use crate::figure;
use crate::pipeline::Player;

/// Bytes of a body.
const BODY_BYTES: usize = 256 << 20;
/// Bytes of one where a message has no more.
const MESSAGE_BYTES: usize = 40 << 20;
/// Bytes that one call moves.
const CALL_BYTES: usize = 64 << 10;

/// A response with a large body.
struct Body {
    name: &'static str,
    /// What was said before it.
    said: Vec<(Side, Vec<u8>)>,
    /// What the body is made of, again and again.
    unit: Vec<u8>,
    bytes: usize,
    /// Who says it.
    side: Side,
}

impl Body {
    /// Returns one that follows a question and the beginning of its answer.
    fn new(name: &'static str, asked: Vec<u8>, head: Vec<u8>, unit: Vec<u8>) -> Self {
        Self {
            name,
            said: vec![(Side::Client, asked), (Side::Server, head)],
            unit,
            bytes: BODY_BYTES,
            side: Side::Server,
        }
    }
}

/// Measures the large bodies of a protocol.
pub(crate) fn run(protocol: &str, rounds: usize) {
    for body in bodies(protocol) {
        let unit = body.unit.repeat(repeated(&body.unit));
        let calls = body.bytes / unit.len();
        let rates: Vec<f64> = (0..rounds)
            .map(|_| {
                let unit = Bytes::copy_from_slice(&unit);
                let mut player = Player::new();
                player.open();
                for (side, bytes) in &body.said {
                    player.data(*side, &Bytes::copy_from_slice(bytes));
                }
                let began = Clock::now();
                (0..calls).for_each(|_| player.data(body.side, &unit));
                let rate = (calls * unit.len()) as f64 / began.elapsed().as_secs_f64() / 1e6;
                assert_eq!(player.close(), 1, "{protocol}, {}: spans", body.name);
                rate
            })
            .collect();
        figure::print(&format!("skipped bodies: {protocol}, {}", body.name), "MB/s", &rates);
    }
}

/// Returns how many units one call moves.
fn repeated(unit: &[u8]) -> usize {
    (CALL_BYTES / unit.len()).max(1)
}

/// Returns how many bytes of such units a body has.
fn total(unit: &[u8]) -> usize {
    let call = repeated(unit) * unit.len();
    BODY_BYTES / call * call
}

fn number(value: usize) -> [u8; 4] {
    u32::try_from(value).expect("short").to_be_bytes()
}

fn bodies(protocol: &str) -> Vec<Body> {
    match protocol {
        "amqp" => amqp(),
        "http1" => http1(),
        "http2" => http2(),
        "kafka" => kafka(),
        "mongodb" => mongodb(),
        "mysql" => mysql(),
        "nats" => nats(),
        "postgresql" => postgresql(),
        "redis" => redis(),
        _ => Vec::new(),
    }
}

fn http1() -> Vec<Body> {
    let get = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n").into_bytes();
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let chunk = [b"2000\r\n".to_vec(), vec![0; 0x2000], b"\r\n".to_vec()].concat();
    vec![
        Body::new("of known length", get.clone(), head, vec![0; CALL_BYTES]),
        Body::new("chunks of 8 KiB", get, chunked, chunk),
    ]
}

fn http2() -> Vec<Body> {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = number(payload.len());
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let (settings, ending) = (frame(4, 0, 0, b""), 0x5);
    // GET, /, http, and a literal `:authority: a`.
    let fields = frame(1, ending, 1, b"\x82\x84\x86\x41\x01a");
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    vec![Body::new(
        "frames of 16 KiB",
        [preface, settings.clone(), fields].concat(),
        [settings, frame(1, 0x4, 1, b"\x88")].concat(),
        frame(0, 0, 1, &[0; 16 << 10]),
    )]
}

fn postgresql() -> Vec<Body> {
    let startup = b"\0\0\0\x11\0\x03\0\0user\0me\0\0";
    let row = |length: usize| {
        let field = vec![b'x'; length];
        [&b"D"[..], &number(length + 10), &[0, 1], &number(length), &field].concat()
    };
    let asked = [&startup[..], b"Q\0\0\0\x0dSELECT 1\0"].concat();
    let head = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I".to_vec();
    vec![
        Body::new("rows of 100 bytes", asked.clone(), head.clone(), row(89)),
        Body::new("rows of 8 KiB", asked, head, row(8181)),
    ]
}

fn redis() -> Vec<Body> {
    vec![
        Body::new(
            "one string",
            b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n".to_vec(),
            format!("${BODY_BYTES}\r\n").into_bytes(),
            vec![0; CALL_BYTES],
        ),
        Body::new(
            "strings of 100 bytes",
            b"*4\r\n$6\r\nLRANGE\r\n$1\r\na\r\n$1\r\n0\r\n$2\r\n-1\r\n".to_vec(),
            b"*100000000\r\n".to_vec(),
            [b"$100\r\n".to_vec(), vec![b'x'; 100], b"\r\n".to_vec()].concat(),
        ),
    ]
}

/// A message that is fetched: `basic.get-ok`, its header, and frames.
fn amqp() -> Vec<Body> {
    let frame =
        |kind: u8, payload: &[u8]| [&[kind, 0, 1][..], &number(payload.len()), payload, &[0xce]].concat();
    let get = frame(1, b"\0\x3c\0\x46\0\0\x06orders\0");
    let unit = frame(3, &[0; (64 << 10) - 8]);
    let (frames, payload) = (total(&unit) / unit.len(), unit.len() - 8);
    let size = (frames as u64 * payload as u64).to_be_bytes();
    let header = frame(2, &[&b"\0\x3c\0\0"[..], &size, &[0, 0]].concat());
    let got = frame(1, b"\0\x3c\0\x47\0\0\0\0\0\0\0\x01\0\0\x06orders\0\0\0\0");
    let asked = [b"AMQP\0\0\x09\x01".to_vec(), get].concat();
    vec![Body::new("frames of 64 KiB", asked, [got, header].concat(), unit)]
}

/// A poll that brings batches of one record each (Fetch 4).
fn kafka() -> Vec<Body> {
    let topics = [&number(1)[..], b"\0\x06orders", &number(1), &number(0)].concat();
    let fetch =
        [&[0xff; 4][..], &number(500), &number(1), &number(1 << 30), &[0], &topics, &[0; 12]].concat();
    let request = [&b"\0\x01\0\x04\0\0\0\x07\0\x04shop"[..], &fetch].concat();
    let asked = [&number(request.len())[..], &request].concat();
    let records = vec![0; (64 << 10) - 61];
    let batch = [
        &[0; 8][..],
        &number(records.len() + 49),
        &[0; 4],
        &[2],
        &[0; 4],
        // No compression; one record, whose contents nobody can read.
        &[0; 2 + 4 + 8 + 8 + 8 + 2 + 4],
        &number(1),
        &records,
    ]
    .concat();
    let length = total(&batch);
    let partition = [&number(0)[..], &[0; 2 + 8 + 8], &[0xff; 4], &number(length)].concat();
    let topics = [&number(1)[..], b"\0\x06orders", &number(1), &partition].concat();
    let head = [&number(7)[..], &[0; 4], &topics].concat();
    let head = [&number(head.len() + length)[..], &head].concat();
    vec![Body::new("batches of 64 KiB", asked, head, batch)]
}

/// An answer of one document with one binary value.
fn mongodb() -> Vec<Body> {
    let little = |value: usize| u32::try_from(value).expect("short").to_le_bytes();
    let message = |id: usize, to: usize, document: &[u8], more: usize| {
        let length = 16 + 5 + document.len() + more;
        [&little(length)[..], &little(id), &little(to), &little(2013), &[0; 5], document].concat()
    };
    let find = b"\x10find\0\x01\0\0\0\x02$db\0\x05\0\0\0shop\0\0";
    let asked = message(7, 0, &[&little(find.len() + 4)[..], find].concat(), 0);
    // The document's end is the last byte of the body.
    let before = [&b"\x05data\0"[..], &little(MESSAGE_BYTES - 1), &[0]].concat();
    let document = [&little(4 + before.len() + MESSAGE_BYTES)[..], &before].concat();
    let answer = message(8, 7, &document, MESSAGE_BYTES);
    let body = Body::new("one value", asked, answer, vec![0; CALL_BYTES]);
    vec![Body { bytes: MESSAGE_BYTES, ..body }]
}

/// Rows of a text result, of one column each.
fn mysql() -> Vec<Body> {
    let packet = |number: usize, payload: &[u8]| {
        let length = u32::try_from(payload.len()).expect("short").to_le_bytes();
        [&length[..3], &[(number % 256) as u8], payload].concat()
    };
    // CLIENT_LONG_PASSWORD, CLIENT_PROTOCOL_41, CLIENT_SECURE_CONNECTION.
    let capabilities = 0x8201_u32.to_le_bytes();
    let greeting = [
        &b"\x0a8.0.15\0\x07\0\0\0saltsalt\0"[..],
        &capabilities[..2],
        b"\xff\x02\0\0\0\x15",
        &[0; 10],
        b"saltsaltsalt\0",
    ];
    let hello = [&capabilities[..], &number(1 << 24), b"\xff", &[0; 23], b"shop\0\0"].concat();
    let (okay, end) = (b"\0\0\0\x02\0\0\0".to_vec(), b"\xfe\0\0\x02\0".to_vec());
    let column = b"\x03def\0\0\0\x04note\0\x0c\xff\0\0\x01\0\0\xfd\0\0\0\0\0".to_vec();
    let head = [packet(1, b"\x01"), packet(2, &column), packet(3, &end)].concat();
    let rows = |row: &[u8]| (4..260).flat_map(|at| packet(at, row)).collect::<Vec<u8>>();
    let short = [vec![100], vec![b'x'; 100]].concat();
    let long = [&b"\xfc\0\x20"[..], &[b'x'; 8192]].concat();
    let body = |name, row: &[u8]| Body {
        name,
        said: vec![
            (Side::Server, packet(0, &greeting.concat())),
            (Side::Client, packet(1, &hello)),
            (Side::Server, packet(2, &okay)),
            (Side::Client, packet(0, b"\x03SELECT note FROM orders")),
            (Side::Server, head.clone()),
        ],
        unit: rows(row),
        bytes: BODY_BYTES,
        side: Side::Server,
    };
    vec![body("rows of 100 bytes", &short), body("rows of 8 KiB", &long)]
}

/// A message that is published.
fn nats() -> Vec<Body> {
    let info = b"INFO {\"server_id\":\"a\",\"version\":\"2.15.1\",\"max_payload\":1048576} \r\n".to_vec();
    let asked = format!("CONNECT {{\"verbose\":false}}\r\nPUB orders {MESSAGE_BYTES}\r\n").into_bytes();
    vec![Body {
        name: "one message",
        said: vec![(Side::Server, info), (Side::Client, asked)],
        unit: vec![0; CALL_BYTES],
        bytes: MESSAGE_BYTES,
        side: Side::Client,
    }]
}
