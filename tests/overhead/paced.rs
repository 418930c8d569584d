//! HTTP requests at a steady rate, over kept connections.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

const CONNECTIONS: u32 = 16;
/// How often each connection sends what is due: few wake-ups, so that the load itself costs little.
const TICK: Duration = Duration::from_millis(5);

/// Sends `rate` requests a second for `lasting` and returns how many were answered.
pub(crate) fn run(server: SocketAddr, path: &str, rate: u32, lasting: Duration) -> Result<u64> {
    thread::scope(|scope| {
        let send = || connection(server, path, f64::from(rate) / f64::from(CONNECTIONS), lasting);
        let connections: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(send)).collect();
        let answered =
            connections.into_iter().map(|connection| connection.join().expect("a connection panicked"));
        answered.sum()
    })
}

fn connection(server: SocketAddr, path: &str, rate: f64, lasting: Duration) -> Result<u64> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\n\r\n");
    let begin = Instant::now();
    let mut sent = 0_u64;
    while begin.elapsed() < lasting {
        let due = (begin.elapsed().as_secs_f64() * rate) as u64;
        while sent < due {
            exchange(&mut stream, request.as_bytes())?;
            sent += 1;
        }
        thread::sleep(TICK);
    }
    Ok(sent)
}

/// Small answers come in one piece; what ends the head is not looked for twice.
fn exchange(stream: &mut TcpStream, request: &[u8]) -> Result<()> {
    stream.write_all(request)?;
    let mut buffer = [0; 4096];
    let read = stream.read(&mut buffer)?;
    ensure!(buffer[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..read]));
    Ok(())
}
