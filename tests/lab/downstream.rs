//! The server that the measured programs ask: HTTP/1, a thread for each connection, an answer after a moment.
//!
//! It is a process of its own, so that its spans are no part of the load's.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// The longest time that an answer takes. Answers that differ overtake each other, as they do everywhere.
const SLOWEST_US: u64 = 3_000;

/// Serves until the process ends.
pub(crate) fn serve(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
    for stream in listener.incoming().flatten() {
        thread::spawn(move || {
            // A client that goes away in the middle is its own business.
            let _ = connection(&stream);
        });
    }
    Ok(())
}

fn connection(stream: &TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader)? {
        thread::sleep(moment(&request.path));
        let name = request.path.rsplit('/').next().unwrap_or_default();
        let body = format!("{{\"down\":\"{name}\"}}");
        let connection = if request.is_last { "close" } else { "keep-alive" };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n",
            body.len()
        );
        (&*stream).write_all((head + &body).as_bytes())?;
        if request.is_last {
            break;
        }
    }
    Ok(())
}

struct Request {
    path: String,
    /// Whether the client wants the connection closed after the answer.
    is_last: bool,
}

/// Returns the next request, none at the end. Requests have no bodies here.
fn read_request(reader: &mut BufReader<&TcpStream>) -> Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let path = words.nth(1).context("a request line without a path")?.to_owned();
    let mut is_last = words.next() == Some("HTTP/1.0");
    loop {
        let mut header = String::new();
        anyhow::ensure!(reader.read_line(&mut header)? > 0, "the end within a head");
        let header = header.trim().to_ascii_lowercase();
        match header.as_str() {
            "" => return Ok(Some(Request { path, is_last })),
            "connection: close" => is_last = true,
            "connection: keep-alive" => is_last = false,
            _ => {}
        }
    }
}

/// Returns a time that differs from path to path, the same in each run.
fn moment(path: &str) -> Duration {
    let mixed = path.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |mixed, byte| {
        (mixed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Duration::from_micros((mixed >> 20) % SLOWEST_US)
}
