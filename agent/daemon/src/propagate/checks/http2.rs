//! Connections of HTTP/2: what opens one and the request that follows, in one call or in several.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionread;
use rustix::net::sockopt;

use super::added::{DATA, HEADERS, PREFACE, request_frame};
use super::pair::{PATIENCE, Pair, joined, pattern};
use super::{Bench, Mismatch, expect};

const CONTINUATION: u8 = 9;
/// Flags of frames.
const END_STREAM: u8 = 0x01;
const END_HEADERS: u8 = 0x04;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;
/// SETTINGS with one of them, and WINDOW_UPDATE of the connection.
const SETTINGS: &[u8] = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64";
const WINDOW_UPDATE: &[u8] = b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x01\xff\x00\x00";
/// `:method: POST`, `:scheme: http`, `:path: /trial`, `:authority: trial`, the last one by its code.
const FIELDS: &[u8] = b"\x83\x86\x44\x06/trial\x41\x84\x4d\x86\x1d\x1f";
/// A name that is as long as `traceparent`, one with its beginning, and a value whose length takes two bytes.
const MORE_FIELDS: &[u8] = b"\x40\x0btracepatent\x01a\x10\x0atraceparen\x01b\x0f\x0c\x7f\x49";
const LONG_VALUE: [u8; 200] = [b'v'; 200];
const CONTEXT: &[u8] = b"\x3700-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// `traceparent` by its code (RFC 7541, appendix B).
const CODED_NAME: &[u8] = b"\x88\x4d\x83\x21\x6b\x1d\x85\xa9\x3f";
/// The largest frame that may be sent to any server.
const MAX_FRAME: usize = 16_384;
/// How long a connection rests where something might happen to it.
const REST: Duration = Duration::from_millis(20);

/// Returns a connection's beginning with a request that has a body of this length.
pub(super) fn request(body: usize) -> Vec<u8> {
    let mut bytes = [PREFACE, SETTINGS, WINDOW_UPDATE].concat();
    let fields = [FIELDS, MORE_FIELDS, &LONG_VALUE].concat();
    let flags = if body == 0 { END_HEADERS | END_STREAM } else { END_HEADERS };
    bytes.extend(frame(HEADERS, flags, &fields));
    let body = pattern(body);
    let mut parts = body.chunks(MAX_FRAME).peekable();
    while let Some(part) = parts.next() {
        bytes.extend(frame(DATA, if parts.peek().is_none() { END_STREAM } else { 0 }, part));
    }
    bytes
}

/// Returns a frame of the first stream.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    let [_, high, middle, low] = length;
    let mut frame = vec![high, middle, low, kind, flags, 0, 0, 0, 1];
    frame.extend_from_slice(payload);
    frame
}

/// Returns a connection whose client does not wait for what it reads.
fn ready() -> io::Result<Pair> {
    let pair = Pair::new()?;
    pair.client.set_nonblocking(true)?;
    pair.client.set_nodelay(true)?;
    Ok(pair)
}

/// What opens the connection, and its request, in calls of their own.
pub(super) fn opened(bench: &mut Bench) -> Result<(), Mismatch> {
    for body in [0, 1, 1400, 16_384, 50_000] {
        let request = request(body);
        for at in [PREFACE.len(), PREFACE.len() + SETTINGS.len(), request_frame(&request).unwrap_or_default()]
        {
            let before = bench.fields;
            let mut pair = ready()?;
            let (opening, rest) = request.split_at(at);
            pair.client.write_all(opening)?;
            pair.client.write_all(rest)?;
            pair.received(&request, bench)?;
            answer(&mut pair)?;
            note_missing(bench, before, at);
        }
    }
    Ok(())
}

/// That nothing was written is no harm, but worth a word.
fn note_missing(bench: &Bench, before: u32, at: usize) {
    if bench.fields == before {
        tracing::debug!(at, "no header was written into a connection of HTTP/2");
    }
}

/// The server answers, and the client reads that.
fn answer(pair: &mut Pair) -> Result<(), Mismatch> {
    let content = pattern(3000);
    pair.server.write_all(&content)?;
    arrives(pair, content.len())?;
    let mut got = vec![0; content.len()];
    pair.client.set_nonblocking(false)?;
    pair.client.read_exact(&mut got)?;
    expect("what the client gets", &true, &(got == content))
}

/// The client learns how many bytes there are to be read.
fn arrives(pair: &Pair, length: usize) -> Result<(), Mismatch> {
    let deadline = Instant::now() + PATIENCE;
    let mut waiting = ioctl_fionread(&pair.client)?;
    while waiting != length as u64 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
        waiting = ioctl_fionread(&pair.client)?;
    }
    expect("FIONREAD", &(length as u64), &waiting)
}

pub(super) fn split(bench: &mut Bench) -> Result<(), Mismatch> {
    let request = request(100);
    for at in (1..request.len()).step_by(7) {
        let mut pair = ready()?;
        let (first, second) = request.split_at(at);
        pair.client.write_all(first)?;
        pair.client.write_all(second)?;
        pair.received(&request, bench)?;
    }
    let mut pair = ready()?;
    for byte in &request {
        pair.client.write_all(&[*byte])?;
    }
    pair.received(&request, bench)
}

/// Requests that are not understood to the last byte, or that have a context.
pub(super) fn left_alone(bench: &mut Bench) -> Result<(), Mismatch> {
    let whole = END_HEADERS | END_STREAM;
    let with = |fields: &[u8]| frame(HEADERS, whole, &[FIELDS, fields].concat());
    let requests = [
        with(&[b"\x00\x0btraceparent", CONTEXT].concat()),
        with(&[b"\x40\x0btraceparent", CONTEXT].concat()),
        with(&[b"\x10\x0bTraceParent", CONTEXT].concat()),
        with(&[b"\x00", CODED_NAME, CONTEXT].concat()),
        with(&[b"\x40", CODED_NAME, CONTEXT, b"\xbe"].concat()),
        with(b"\x00\x0btraceparent\x00"),
        with(b"\x00\x05name"),
        with(b"\x40\x04name\x7f\xff\xff\xff\x07value"),
        with(b"\x0f"),
        frame(HEADERS, whole | PADDED, &[b"\x02", FIELDS, b"\x00\x00"].concat()),
        frame(HEADERS, whole | PRIORITY, b"\x00\x00"),
        [frame(HEADERS, END_STREAM, FIELDS), frame(CONTINUATION, END_HEADERS, b"\x82")].concat(),
        with(&[b"\x00\x01a\x7f\xa1\x27".as_slice(), &pattern(5152)].concat()),
        frame(DATA, END_STREAM, b"data"),
    ];
    for request in requests {
        for is_alone in [false, true] {
            let mut pair = ready()?;
            if is_alone {
                pair.client.write_all(PREFACE)?;
                pair.client.write_all(&[SETTINGS, &request].concat())?;
            } else {
                pair.client.write_all(&[PREFACE, SETTINGS, &request].concat())?;
            }
            let sent = [PREFACE, SETTINGS, &request].concat();
            let mut got = vec![0; sent.len()];
            pair.server.read_exact(&mut got)?;
            expect("what the server gets", &true, &(got == sent))?;
            pair.received(&[], bench)?;
        }
    }
    Ok(())
}

/// The server speaks between what opens the connection and the request.
pub(super) fn answered(bench: &mut Bench) -> Result<(), Mismatch> {
    for (acknowledges_late, rests) in [(false, false), (false, true), (true, true)] {
        let mut pair = ready()?;
        if acknowledges_late {
            sockopt::set_tcp_quickack(&pair.client, false)?;
        }
        answer_between(&mut pair, rests, bench)?;
    }
    answer_between(&mut Pair::small()?, true, bench)
}

fn answer_between(pair: &mut Pair, rests: bool, bench: &mut Bench) -> Result<(), Mismatch> {
    let request = request(10);
    let (opening, rest) = request.split_at(request_frame(&request).unwrap_or_default());
    pair.client.set_nonblocking(true)?;
    pair.client.write_all(opening)?;
    expect("a read of nothing", &Some(io::ErrorKind::WouldBlock), &error_of(&pair.client))?;
    if rests {
        thread::sleep(REST);
    }
    for _ in 0..2 {
        pair.server.write_all(SETTINGS)?;
        arrives(pair, SETTINGS.len())?;
        let mut got = vec![0; SETTINGS.len()];
        pair.client.read_exact(&mut got)?;
        expect("what the client gets", &true, &(got == SETTINGS))?;
        expect("a read of nothing", &Some(io::ErrorKind::WouldBlock), &error_of(&pair.client))?;
    }
    pair.client.write_all(rest)?;
    pair.received(&request, bench)?;
    answer(pair)
}

fn error_of(mut client: &TcpStream) -> Option<io::ErrorKind> {
    client.read(&mut [0]).err().map(|error| error.kind())
}

/// The connection ends before there is a request.
pub(super) fn ended(_: &mut Bench) -> Result<(), Mismatch> {
    let request = request(10);
    let (opening, rest) = request.split_at(request_frame(&request).unwrap_or_default());
    for is_reset in [false, true] {
        let mut pair = ready()?;
        pair.client.write_all(opening)?;
        let mut got = vec![0; opening.len()];
        pair.server.read_exact(&mut got)?;
        expect("what the server gets", &true, &(got == opening))?;
        if is_reset {
            sockopt::set_socket_linger(&pair.server, Some(Duration::ZERO))?;
        }
        drop(pair.server);
        thread::sleep(REST);
        if is_reset {
            expect("a read", &Some(io::ErrorKind::ConnectionReset), &error_of(&pair.client))?;
            let written = pair.client.write(rest).err().map(|error| error.kind());
            expect("a write", &Some(io::ErrorKind::BrokenPipe), &written)?;
        } else {
            expect("bytes before the end", &0, &pair.client.read(&mut [0])?)?;
        }
    }
    // The client ends without a request.
    let mut pair = ready()?;
    pair.client.write_all(opening)?;
    drop(pair.client);
    let mut got = Vec::new();
    pair.server.read_to_end(&mut got)?;
    expect("what the server gets", &true, &(got == opening))
}

/// A thread of its own waits for what comes behind the opening of a connection.
pub(super) fn waiting_reader(bench: &mut Bench) -> Result<(), Mismatch> {
    let request = request(10);
    let (opening, rest) = request.split_at(request_frame(&request).unwrap_or_default());
    for is_reset in [false, true] {
        let mut pair = Pair::new()?;
        pair.client.write_all(opening)?;
        let mut reader = pair.client.try_clone()?;
        let reading = thread::spawn(move || reader.read(&mut [0; 900]));
        thread::sleep(REST);
        if is_reset {
            let mut got = vec![0; opening.len()];
            pair.server.read_exact(&mut got)?;
            sockopt::set_socket_linger(&pair.server, Some(Duration::ZERO))?;
            drop(pair.server);
            let got = reading.join().map_or(Ok(0), |read| read.map_err(|error| error.kind()));
            expect("a read during a reset", &Err(io::ErrorKind::ConnectionReset), &got)?;
        } else {
            pair.client.write_all(rest)?;
            pair.received(&request, bench)?;
            pair.server.write_all(&pattern(900))?;
            expect("bytes of the answer", &true, &(joined(reading.join())? > 0))?;
        }
    }
    Ok(())
}
