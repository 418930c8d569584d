//! Frames and header blocks of HTTP/2, made by hand.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use remora_engine::protocol::http2::Http2;
use remora_engine::protocol::{Conversation, ParserSettings, Protocol as _, Side};

use super::replay::Replay;

pub const CLIENT: Side = Side::Client;
pub const SERVER: Side = Side::Server;
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const PRIORITY: u8 = 0x20;

pub fn replay(is_start: bool) -> Replay {
    Replay::new(Http2.parser(&Conversation::new(&ParserSettings::default(), is_start)))
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub fn data(flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    frame(0, flags, stream, payload)
}

pub fn headers(flags: u8, stream: u32, block: &[u8]) -> Vec<u8> {
    frame(1, flags | END_HEADERS, stream, block)
}

pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(3, 0, stream, &code.to_be_bytes())
}

pub fn window() -> Vec<u8> {
    frame(8, 0, 0, b"\0\0\x10\0")
}

pub fn settings() -> Vec<u8> {
    frame(4, 0, 0, b"")
}

/// A field that is not indexed, with a literal name.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    literal(0x00, name, value)
}

/// A field that is added to the table.
pub fn indexed(name: &str, value: &str) -> Vec<u8> {
    literal(0x40, name, value)
}

pub fn literal(first: u8, name: &str, value: &str) -> Vec<u8> {
    [&[first][..], &length(name.len()), name.as_bytes(), &length(value.len()), value.as_bytes()].concat()
}

pub fn length(length: usize) -> Vec<u8> {
    match length.checked_sub(127) {
        None => vec![length as u8],
        Some(rest) if rest < 128 => vec![127, rest as u8],
        Some(rest) => vec![127, (rest & 127) as u8 | 128, u8::try_from(rest >> 7).expect("short")],
    }
}

/// `GET` over `http`.
pub fn get(path: &str) -> Vec<u8> {
    [&b"\x82\x86"[..], &field(":path", path), &field(":authority", "shop")].concat()
}

/// `POST` of gRPC.
pub fn call(method: &str) -> Vec<u8> {
    [&b"\x83\x86"[..], &field(":path", method), &field("content-type", "application/grpc")].concat()
}

/// A message of gRPC.
pub fn message(bytes: usize) -> Vec<u8> {
    [&[0][..], &u32::try_from(bytes).expect("short").to_be_bytes(), &vec![b'x'; bytes]].concat()
}

pub const OK: &[u8] = b"\x88";

pub fn grpc_ok() -> Vec<u8> {
    [OK, &field("content-type", "application/grpc")].concat()
}

pub fn status(code: &str) -> Vec<u8> {
    field("grpc-status", code)
}

pub fn begin(replay: &mut Replay) {
    replay.feed(CLIENT, &[PREFACE, &settings()].concat());
    replay.feed(SERVER, &settings());
}
