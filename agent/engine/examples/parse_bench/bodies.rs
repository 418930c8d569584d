//! Large bodies that nobody looks into, through the whole engine, every byte of them captured.

use bytes::Bytes;
use remora_engine::protocol::Side;

use crate::clock::Clock;
use crate::figure;
use crate::pipeline::Player;

/// Bytes of a body.
const BODY_BYTES: usize = 256 << 20;
/// Bytes that one call moves.
const CALL_BYTES: usize = 64 << 10;

/// A response with a large body.
struct Body {
    name: &'static str,
    /// What the client asks, and what the server says first.
    asked: Vec<u8>,
    head: Vec<u8>,
    /// What the body is made of, again and again.
    unit: Vec<u8>,
}

/// Measures the large bodies of a protocol, where it has some.
pub(crate) fn run(protocol: &str, rounds: usize) {
    for body in bodies(protocol) {
        let unit = body.unit.repeat((CALL_BYTES / body.unit.len()).max(1));
        let calls = BODY_BYTES / unit.len();
        let rates: Vec<f64> = (0..rounds)
            .map(|_| {
                let unit = Bytes::copy_from_slice(&unit);
                let mut player = Player::new();
                player.open();
                player.data(Side::Client, &Bytes::copy_from_slice(&body.asked));
                player.data(Side::Server, &Bytes::copy_from_slice(&body.head));
                let began = Clock::now();
                (0..calls).for_each(|_| player.data(Side::Server, &unit));
                let rate = (calls * unit.len()) as f64 / began.elapsed().as_secs_f64() / 1e6;
                assert_eq!(player.close(), 1, "{protocol}: spans");
                rate
            })
            .collect();
        figure::print(&format!("skipped bodies: {protocol}, {}", body.name), "MB/s", &rates);
    }
}

fn bodies(protocol: &str) -> Vec<Body> {
    let zeros = vec![0; CALL_BYTES];
    let get = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    match protocol {
        "http1" => vec![
            Body {
                name: "of known length",
                asked: get.clone(),
                head: format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n").into_bytes(),
                unit: zeros,
            },
            Body {
                name: "chunks of 8 KiB",
                asked: get,
                head: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
                unit: [b"2000\r\n".to_vec(), vec![0; 0x2000], b"\r\n".to_vec()].concat(),
            },
        ],
        "postgresql" => {
            let startup = b"\0\0\0\x11\0\x03\0\0user\0me\0\0";
            let row = |length: u32| {
                let field = vec![b'x'; length as usize];
                [&b"D"[..], &(length + 10).to_be_bytes(), &[0, 1], &length.to_be_bytes(), &field].concat()
            };
            let asked = [&startup[..], b"Q\0\0\0\x0dSELECT 1\0"].concat();
            let head = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I".to_vec();
            vec![
                Body { name: "rows of 100 bytes", asked: asked.clone(), head: head.clone(), unit: row(89) },
                Body { name: "rows of 8 KiB", asked, head, unit: row(8181) },
            ]
        }
        "redis" => vec![
            Body {
                name: "one string",
                asked: b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n".to_vec(),
                head: format!("${BODY_BYTES}\r\n").into_bytes(),
                unit: zeros,
            },
            Body {
                name: "strings of 100 bytes",
                asked: b"*4\r\n$6\r\nLRANGE\r\n$1\r\na\r\n$1\r\n0\r\n$2\r\n-1\r\n".to_vec(),
                head: b"*100000000\r\n".to_vec(),
                unit: [b"$100\r\n".to_vec(), vec![b'x'; 100], b"\r\n".to_vec()].concat(),
            },
        ],
        _ => Vec::new(),
    }
}
