//! Concurrent HTTP requests from the test's own process, each with the bytes that the test wrote.
//!
//! Tests that look at a client's span use `curl`; these requests are only there to keep servers busy at once.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// One request and what its response's body must contain.
#[derive(Clone, Debug)]
pub struct Request {
    /// Path and query.
    pub path: String,
    /// Headers besides `Host`.
    pub headers: Vec<(String, String)>,
    /// What must be in the body.
    pub expected: String,
}

/// Sends all requests to `server`, `concurrency` at a time, each of that many connections being used again and
/// again. Fails when a response is not a 200 with the expected text in it.
pub fn run(server: SocketAddr, requests: &[Request], concurrency: usize) -> Result<()> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        let mut stream = TcpStream::connect(server).with_context(|| format!("connect to {server}"))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
            exchange(&mut stream, server, request).with_context(|| request.path.clone())?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..concurrency).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            match worker.join() {
                Ok(result) => result?,
                Err(_) => bail!("a worker panicked"),
            }
        }
        Ok(())
    })
}

/// Sends one request on an open connection and reads its response.
pub fn exchange(stream: &mut TcpStream, server: SocketAddr, request: &Request) -> Result<()> {
    let mut head = format!("GET {} HTTP/1.1\r\nHost: {server}\r\n", request.path);
    for (name, value) in &request.headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    let response = read_response(stream)?;
    let text = String::from_utf8_lossy(&response);
    ensure!(text.starts_with("HTTP/1.1 200 "), "{text}");
    ensure!(text.contains(&request.expected), "`{}` is missing: {text}", request.expected);
    Ok(())
}

/// Reads a head and a body of `Content-Length` bytes.
fn read_response(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut response = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        if let Some(length) = complete_length(&response)? {
            ensure!(response.len() == length, "the server sent more than it announced");
            return Ok(response);
        }
        let read = stream.read(&mut buffer)?;
        ensure!(read > 0, "the server closed the connection after {} bytes", response.len());
        response.extend_from_slice(&buffer[..read]);
    }
}

/// Returns the length of the whole response if it is there.
fn complete_length(response: &[u8]) -> Result<Option<usize>> {
    let Some(head) = response.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&response[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.with_context(|| format!("no content-length: {text}"))?.trim().parse()?;
    let whole = head + 4 + length;
    Ok((response.len() >= whole).then_some(whole))
}
