//! The load: requests with numbers that no other request has, a given number of them in flight.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use remora_tests::tools;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::interrupt;

/// Every so many requests of a client come on a connection of their own, the others on one that is kept.
const NEW_CONNECTION_EVERY: u64 = 8;
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A server, and how it is asked.
pub(crate) struct Target {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
}

impl Target {
    /// In clear text.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    /// Over TLS, with a certificate of `authority` for `localhost`.
    pub(crate) fn encrypted(address: SocketAddr, authority: &Path) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(authority)
            .with_context(|| format!("read the certificate {}", authority.display()))?;
        roots.add(certificate)?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { address, tls: Some(Arc::new(config)) })
    }

    /// Returns the URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    fn connect(&self) -> Result<Connection> {
        let server = self.address;
        let stream = TcpStream::connect(server).with_context(|| format!("connect to {server}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        let Some(config) = &self.tls else { return Ok(BufReader::new(Box::new(stream))) };
        let name = ServerName::try_from("localhost")?;
        let client = ClientConnection::new(Arc::clone(config), name)?;
        Ok(BufReader::new(Box::new(StreamOwned::new(client, stream))))
    }
}

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

type Connection = BufReader<Box<dyn Stream>>;

/// What was sent and not answered well.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    pub(crate) count: u64,
    /// The first one, in words.
    pub(crate) first: Option<String>,
}

/// Sends a GET of its path for each of `numbers` to `target`, on `in_flight` connections, each time `at_once` of them
/// before an answer is awaited.
pub(crate) fn http(
    target: &Target,
    numbers: Range<u64>,
    in_flight: usize,
    at_once: u64,
    path: impl Fn(u64) -> String + Sync,
) -> Result<Failures> {
    let path = &path;
    in_parallel(numbers, in_flight, at_once, || {
        let mut kept = None;
        let mut sent = 0_u64;
        move |numbers| {
            sent += 1;
            let is_last = sent.is_multiple_of(NEW_CONNECTION_EVERY);
            let paths: Vec<String> = numbers.map(path).collect();
            let answered = exchange(&mut kept, target, &paths, is_last);
            if is_last || answered.is_err() {
                kept = None;
            }
            answered
        }
    })
}

/// Runs a command for each of `numbers`, `in_flight` at a time.
pub(crate) fn commands(
    numbers: Range<u64>,
    in_flight: usize,
    command: impl Fn(u64) -> Result<Command> + Sync,
) -> Result<Failures> {
    in_parallel(numbers, in_flight, 1, || {
        |numbers: Range<u64>| tools::printed(&mut command(numbers.start)?).map(drop)
    })
}

fn in_parallel<W>(
    numbers: Range<u64>,
    in_flight: usize,
    at_once: u64,
    worker: impl Fn() -> W + Sync,
) -> Result<Failures>
where
    W: FnMut(Range<u64>) -> Result<()>,
{
    let next = AtomicU64::new(numbers.start);
    let work = || -> Result<Failures> {
        let mut failures = Failures::default();
        let mut send = worker();
        loop {
            let first = next.fetch_add(at_once, Ordering::Relaxed);
            if first >= numbers.end {
                return Ok(failures);
            }
            interrupt::check()?;
            let taken = first..numbers.end.min(first + at_once);
            let count = taken.end - taken.start;
            if let Err(error) = send(taken) {
                failures.count += count;
                failures.first.get_or_insert_with(|| format!("{first}: {error:#}"));
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..in_flight).map(|_| scope.spawn(work)).collect();
        let mut all = Failures::default();
        for worker in workers {
            let Ok(failures) = worker.join() else { bail!("a worker of the load panicked") };
            let failures = failures?;
            all.count += failures.count;
            all.first = all.first.or(failures.first);
        }
        Ok(all)
    })
}

fn exchange(kept: &mut Option<Connection>, target: &Target, paths: &[String], is_last: bool) -> Result<()> {
    let reader = match kept {
        Some(reader) => reader,
        None => kept.insert(target.connect()?),
    };
    let server = target.address;
    let mut requests = String::new();
    for (index, path) in paths.iter().enumerate() {
        let connection = if is_last && index + 1 == paths.len() { "close" } else { "keep-alive" };
        write!(
            requests,
            "GET {path} HTTP/1.1\r\nHost: {server}\r\nUser-Agent: lab\r\nAccept: */*\r\nConnection: {connection}\r\n\r\n"
        )?;
    }
    reader.get_mut().write_all(requests.as_bytes())?;
    for path in paths {
        let status = read_response(reader)?;
        ensure!(status == 200, "{path}: {status}");
    }
    Ok(())
}

enum Body {
    Sized(usize),
    Chunked,
    UntilEnd,
}

/// Reads a whole response and returns its status.
fn read_response(reader: &mut Connection) -> Result<u16> {
    let mut line = String::new();
    ensure!(reader.read_line(&mut line)? > 0, "the server closed the connection");
    let status = line.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("no status in {line:?}"))?;
    let mut body = Body::UntilEnd;
    loop {
        let mut header = String::new();
        ensure!(reader.read_line(&mut header)? > 0, "the end within a head");
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(length) = header.strip_prefix("content-length:") {
            body = Body::Sized(length.trim().parse().context("a broken content-length")?);
        } else if header == "transfer-encoding: chunked" {
            body = Body::Chunked;
        }
    }
    match body {
        Body::Sized(length) => skip(reader, length)?,
        Body::Chunked => skip_chunks(reader)?,
        Body::UntilEnd => reader.read_to_end(&mut Vec::new()).map(drop)?,
    }
    Ok(status)
}

fn skip_chunks(reader: &mut Connection) -> Result<()> {
    loop {
        let mut line = String::new();
        ensure!(reader.read_line(&mut line)? > 0, "the end within a body");
        let length = usize::from_str_radix(line.trim(), 16).with_context(|| format!("no chunk: {line:?}"))?;
        skip(reader, length + 2)?;
        if length == 0 {
            return Ok(());
        }
    }
}

fn skip(reader: &mut Connection, length: usize) -> Result<()> {
    let mut body = vec![0; length];
    reader.read_exact(&mut body).context("the end within a body")
}
