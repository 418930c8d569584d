//! Programs send and receive the same bytes with and without the agent.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use remora_tests::remora::Remora;
use remora_tests::servers::{Gunicorn, HttpServer, Nginx, Redis, Workers};

/// Empty, around the capture limit, around the sizes of segments and buffers, and large.
const SIZES: [usize; 14] =
    [0, 1, 100, 1_460, 4_095, 4_096, 4_097, 16_384, 65_535, 65_536, 65_537, 1 << 20, (1 << 20) + 1, 8 << 20];

/// Bytes that repeat at no power of two, so that bytes of another place are seen.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index % 251) as u8 ^ (index / 65_521) as u8).collect()
}

struct Servers {
    nginx: Nginx,
    python: HttpServer,
    shop: Gunicorn,
    proxy: Nginx,
    redis: Redis,
}

impl Servers {
    fn start() -> Result<Self> {
        let files: Vec<_> = SIZES.iter().map(|&size| (format!("{size}"), pattern(size))).collect();
        let files: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
        let shop = Gunicorn::start(Workers::Threads(2), &[])?;
        Ok(Self {
            nginx: Nginx::files(&files)?,
            python: HttpServer::files(IpAddr::V4(Ipv4Addr::LOCALHOST), &files)?,
            proxy: Nginx::proxy(shop.address())?,
            shop,
            redis: Redis::start()?,
        })
    }

    /// Moves every size through every server, and compares.
    fn exchange(&self) -> Result<()> {
        for size in SIZES {
            let body = pattern(size);
            for server in [self.nginx.address(), self.python.address()] {
                let got = http(server, &format!("GET /{size}"), &[])?;
                ensure!(got == body, "GET of {size} bytes from {server}");
            }
            for server in [self.shop.address(), self.proxy.address()] {
                let echoed = http(server, "POST /echo", &body)?;
                ensure!(echoed == body, "echo of {size} bytes through {server}");
            }
            ensure!(redis(self.redis.address(), &body)? == body, "{size} bytes through Redis");
        }
        Ok(())
    }
}

fn connect(server: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(stream)
}

/// Returns the body of the answer to one request on a connection of its own.
fn http(server: SocketAddr, what: &str, body: &[u8]) -> Result<Vec<u8>> {
    let mut stream = connect(server)?;
    let head = format!(
        "{what} HTTP/1.1\r\nHost: {server}\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // The server may answer while it reads: the request must not wait for that.
    let mut writer = stream.try_clone()?;
    let request = [head.as_bytes(), body].concat();
    let writing = std::thread::spawn(move || writer.write_all(&request));
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    writing.join().expect("the writer panicked")?;
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").context("no end of the head")?;
    let status = String::from_utf8_lossy(&answer[..head]).lines().next().unwrap_or_default().to_owned();
    ensure!(status.contains(" 200 "), "{what}: {status}");
    Ok(answer.split_off(head + 4))
}

/// Stores a value and returns what is read back.
fn redis(server: SocketAddr, value: &[u8]) -> Result<Vec<u8>> {
    let mut stream = connect(server)?;
    let mut set = format!("*3\r\n$3\r\nSET\r\n$5\r\nvalue\r\n${}\r\n", value.len()).into_bytes();
    set.extend_from_slice(value);
    set.extend_from_slice(b"\r\n*2\r\n$3\r\nGET\r\n$5\r\nvalue\r\n");
    stream.write_all(&set)?;
    let head = format!("+OK\r\n${}\r\n", value.len()).into_bytes();
    let mut answer = vec![0; head.len() + value.len() + 2];
    stream.read_exact(&mut answer)?;
    ensure!(answer.starts_with(&head) && answer.ends_with(b"\r\n"), "an answer of another form");
    Ok(answer[head.len()..head.len() + value.len()].to_vec())
}

#[test]
#[ignore = "needs root"]
fn bytes_are_the_same_with_and_without_the_agent() {
    let servers = Servers::start().unwrap();
    servers.exchange().expect("without the agent");
    let mut remora = Remora::start().unwrap();
    servers.exchange().expect("with the agent");
    let bridge = remora.finish().unwrap();
    // It was there and looked: the large file is known by its size.
    let spans = bridge.spans_of_server(servers.nginx.address()).unwrap();
    let largest = i64::try_from(SIZES[SIZES.len() - 1]).unwrap();
    let seen = spans.iter().filter(|span| span.number("http.response.body.size") == Some(largest)).count();
    assert!(seen > 0, "{spans:#?}");
    servers.exchange().expect("after the agent");
}
