//! A server that keeps every byte that it gets.

mod http2;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;

type Connections = Arc<Mutex<Vec<Vec<u8>>>>;

/// A recording server of HTTP/1.1, and of HTTP/2 by prior knowledge, on loopback. It says nothing before it was asked.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    connections: Connections,
}

impl Recorder {
    /// Starts it; it runs until the process ends.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let connections = Connections::default();
        let kept = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                let index = {
                    let mut all = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    all.push(Vec::new());
                    all.len() - 1
                };
                thread::spawn(move || serve(stream, &kept, index));
            }
        });
        Ok(Self { address, connections })
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what came over each connection so far, in the order of the connections.
    #[must_use]
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets what came so far.
    pub fn clear(&self) {
        for connection in self.connections.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            connection.clear();
        }
    }
}

fn serve(mut stream: TcpStream, kept: &Connections, index: usize) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
    let _ = stream.set_nodelay(true);
    let mut unread: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 65_536];
    let mut http2 = http2::Answers::default();
    loop {
        if http2.is_preface(&unread) && stream.write_all(&http2.answer(&mut unread)).is_err() {
            return;
        }
        while let Some(length) = request_length(&unread) {
            unread.drain(..length);
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
        let Ok(length @ 1..) = stream.read(&mut buffer) else { return };
        let part = buffer.get(..length).unwrap_or_default();
        unread.extend_from_slice(part);
        if let Some(all) = kept.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
            all.extend_from_slice(part);
        }
    }
}

/// Returns the length of the first request, once all of it is there.
fn request_length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(bytes.get(..end)?).to_lowercase();
    if let Some((_, length)) = head.split_once("content-length:") {
        let body: usize = length.lines().next()?.trim().parse().ok()?;
        return (bytes.len() >= end + body).then_some(end + body);
    }
    if head.contains("transfer-encoding: chunked") {
        let rest = bytes.get(end..)?;
        let last = rest.windows(5).position(|window| window == b"0\r\n\r\n")?;
        return Some(end + last + 5);
    }
    Some(end)
}
