//! Bytes of peers that want to be remembered: each request is well formed, different from the others, and never answered.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

/// A flood of one protocol.
pub struct Flood {
    /// The recorded session that it goes on from; none for a connection that begins with it.
    pub session: Option<&'static str>,
    /// Its protocol.
    pub protocol: &'static str,
    /// Bytes of its client, by number.
    pub piece: fn(u32) -> Vec<u8>,
    /// Pieces.
    pub count: u32,
}

/// One flood of each kind of state that a peer can make a parser keep.
pub const FLOODS: &[Flood] = &[
    Flood { session: None, protocol: "http1", piece: http1, count: 1500 },
    Flood { session: None, protocol: "http2", piece: http2, count: 3000 },
    Flood { session: Some("kafka/confluent-1"), protocol: "kafka", piece: kafka, count: 2000 },
    Flood { session: None, protocol: "mongodb", piece: mongodb, count: 2000 },
    Flood { session: Some("mysql/pymysql-1"), protocol: "mysql", piece: mysql, count: 2500 },
    Flood { session: Some("postgresql/psycopg"), protocol: "postgresql", piece: postgresql, count: 2500 },
    Flood { session: None, protocol: "redis", piece: redis, count: 4500 },
    Flood { session: Some("amqp/pika-1"), protocol: "amqp", piece: amqp_consumers, count: 16_000 },
    Flood { session: Some("amqp/pika-1"), protocol: "amqp", piece: amqp_messages, count: 8000 },
    Flood { session: Some("nats/nats-go"), protocol: "nats", piece: nats_subscriptions, count: 2000 },
    Flood { session: Some("nats/nats-go"), protocol: "nats", piece: nats_requests, count: 3000 },
    Flood { session: None, protocol: "dns", piece: dns, count: 3000 },
    Flood { session: None, protocol: "http1", piece: one_byte, count: 30_000 },
];

/// Returns `length` bytes of text that differ from number to number, and are no repetition.
fn text(number: u32, length: usize) -> String {
    let mut text = format!("t{number}");
    let mut state = number.wrapping_mul(2_654_435_761).wrapping_add(1);
    while text.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push(char::from(b'a' + (state >> 27) as u8 % 26));
    }
    text
}

/// A head without an end, each byte of which is a call of its own.
fn one_byte(number: u32) -> Vec<u8> {
    b"GET / HTTP/1.1\r\nA: ".get(number as usize).map_or(b'x', |&byte| byte).to_be_bytes().to_vec()
}

fn http1(number: u32) -> Vec<u8> {
    let (path, agent) = (text(number, 2000), text(number, 1000));
    format!("GET /{path} HTTP/1.1\r\nHost: h\r\nUser-Agent: {agent}\r\n\r\n").into_bytes()
}

/// Two long fields go into the table once, and are told by two bytes from then on.
fn http2(number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut block = vec![0x82, 0x86];
    if number == 0 {
        bytes.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
        block.extend_from_slice(b"\x44\x7f\xd1\x0e/");
        block.extend_from_slice(text(1, 1999).as_bytes());
        block.extend_from_slice(b"\x7a\x7f\xe9\x06");
        block.extend_from_slice(text(2, 1000).as_bytes());
    } else {
        block.extend_from_slice(b"\xbf\xbe");
    }
    let length = u32::try_from(block.len()).expect("short").to_be_bytes();
    bytes.extend_from_slice(&length[1..]);
    bytes.extend_from_slice(b"\x01\x05");
    bytes.extend_from_slice(&(number * 2 + 1).to_be_bytes());
    bytes.extend_from_slice(&block);
    bytes
}

/// Produce of version 3, with a long topic for each batch.
fn kafka(number: u32) -> Vec<u8> {
    let mut body =
        [&b"\0\0\0\x03"[..], &number.to_be_bytes(), b"\0\x01c\xff\xff\xff\xff\0\0\x75\x30"].concat();
    body.extend_from_slice(&16u32.to_be_bytes());
    for topic in 0..16 {
        let name = text(number * 16 + topic, 240);
        body.extend_from_slice(&240u16.to_be_bytes());
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(&1u32.to_be_bytes());
        body.extend_from_slice(&[0; 4]);
        let batch = batch();
        body.extend_from_slice(&u32::try_from(batch.len()).expect("short").to_be_bytes());
        body.extend_from_slice(&batch);
    }
    [&u32::try_from(body.len()).expect("short").to_be_bytes()[..], &body].concat()
}

/// A batch of one record.
fn batch() -> Vec<u8> {
    let record = b"\x12\0\0\0\x01\x06key\0";
    let rest =
        [&[0; 4][..], b"\x02", &[0; 4], &[0; 2], &[0; 4], &[0; 16], &[0xff; 14], b"\0\0\0\x01", record]
            .concat();
    [&[0; 8][..], &u32::try_from(rest.len()).expect("short").to_be_bytes(), &rest].concat()
}

fn mongodb(number: u32) -> Vec<u8> {
    let element = |kind: u8, name: &str, value: &[u8]| [&[kind], name.as_bytes(), b"\0", value].concat();
    let string = |text: &str| {
        [&u32::try_from(text.len() + 1).expect("short").to_le_bytes()[..], text.as_bytes(), b"\0"].concat()
    };
    let document = |elements: &[u8]| {
        [&u32::try_from(elements.len() + 5).expect("short").to_le_bytes()[..], elements, b"\0"].concat()
    };
    let names: Vec<u8> = (0..60).flat_map(|at| element(16, &text(number * 60 + at, 60), &[0; 4])).collect();
    let body = [
        element(2, "find", &string("orders")),
        element(3, "filter", &document(&names)),
        element(2, "$db", &string("shop")),
    ];
    let payload = [&[0; 5][..], &document(&body.concat())].concat();
    let length = u32::try_from(payload.len() + 16).expect("short");
    [&length.to_le_bytes()[..], &(number + 1).to_le_bytes(), &[0; 4], &2013u32.to_le_bytes(), &payload]
        .concat()
}

fn mysql(number: u32) -> Vec<u8> {
    let payload = format!("\x16SELECT {} FROM t", text(number, 4000));
    let length = u32::try_from(payload.len()).expect("short").to_le_bytes();
    [&length[..3], b"\0", payload.as_bytes()].concat()
}

/// A statement of its own name, a portal of its own name, and the end of the batch.
fn postgresql(number: u32) -> Vec<u8> {
    let message = |kind: u8, body: &[u8]| {
        [&[kind], &u32::try_from(body.len() + 4).expect("short").to_be_bytes()[..], body].concat()
    };
    let name = text(number, 200);
    let parse = format!("{name}\0SELECT {} FROM t\0\0\0", text(number, 4000));
    let bind = format!("{name}\0{name}\0\0\0\0\0\0\0");
    [message(b'P', parse.as_bytes()), message(b'B', bind.as_bytes()), message(b'S', b"")].concat()
}

fn redis(number: u32) -> Vec<u8> {
    let fields: String =
        (0..15).map(|at| format!("$60\r\n{}\r\n", &text(number * 15 + at, 60)[..60])).collect();
    format!("*17\r\n$4\r\nHDEL\r\n$60\r\n{}\r\n{fields}", &text(number, 60)[..60]).into_bytes()
}

fn amqp_frame(kind: u8, channel: u32, payload: &[u8]) -> Vec<u8> {
    let channel = u16::try_from(channel).expect("a channel").to_be_bytes();
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&[kind], &channel[..], &length, payload, b"\xce"].concat()
}

/// `basic.consume` on many channels, with the longest names.
fn amqp_consumers(number: u32) -> Vec<u8> {
    let (queue, tag) = (&text(number, 255)[..255], &text(number + 1, 255)[..255]);
    let payload =
        [b"\0\x3c\0\x14\0\0\xff", queue.as_bytes(), b"\xff", tag.as_bytes(), b"\0\0\0\0\0"].concat();
    amqp_frame(1, number % 2000 + 2, &payload)
}

/// `confirm.select` on a new channel, and messages on which the broker has to give its word.
fn amqp_messages(number: u32) -> Vec<u8> {
    let channel = number % 2000 + 2;
    let opened = if number < 2000 {
        [amqp_frame(1, channel, b"\0\x14\0\x0a\0"), amqp_frame(1, channel, b"\0\x55\0\x0a\0")].concat()
    } else {
        Vec::new()
    };
    let key = &text(number, 255)[..255];
    let publish = [b"\0\x3c\0\x28\0\0\0\xff", key.as_bytes(), b"\0"].concat();
    let header = [&b"\0\x3c\0\0"[..], &0u64.to_be_bytes(), b"\0\0"].concat();
    [opened, amqp_frame(1, channel, &publish), amqp_frame(2, channel, &header)].concat()
}

fn nats_subscriptions(number: u32) -> Vec<u8> {
    format!("SUB {} {} {}\r\n", text(number, 3000), text(number, 2000), text(number, 2000)).into_bytes()
}

fn nats_requests(number: u32) -> Vec<u8> {
    format!("PUB orders.{} _INBOX.{} 5\r\nhello\r\n", text(number, 200), text(number, 1000)).into_bytes()
}

fn dns(number: u32) -> Vec<u8> {
    let label = &text(number, 60)[..60];
    let name = [&[60], label.as_bytes()].concat().repeat(3);
    let id = u16::try_from(number % 65_536).expect("16 bits").to_be_bytes();
    let message = [&id[..], b"\x01\0\0\x01\0\0\0\0\0\0", &name, b"\0\0\x01\0\x01"].concat();
    [&u16::try_from(message.len()).expect("short").to_be_bytes()[..], &message].concat()
}
