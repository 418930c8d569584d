//! Two ends of a connection, and the bytes that go over it.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt;

use super::added::Added;
use super::{Bench, Mismatch, expect};

/// How long anything may take before it counts as stuck.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// Both ends of a connection.
pub(super) struct Pair {
    pub(super) client: TcpStream,
    pub(super) server: TcpStream,
}

impl Pair {
    /// Connects over IPv4.
    pub(super) fn new() -> io::Result<Self> {
        Self::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Connects to a server with so little room that it scales no windows.
    pub(super) fn small() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        sockopt::set_socket_recv_buffer_size(&listener, 4096)?;
        Self::by(&listener)
    }

    /// Connects by way of this address.
    pub(super) fn at(address: SocketAddr) -> io::Result<Self> {
        Self::by(&TcpListener::bind(address)?)
    }

    fn by(listener: &TcpListener) -> io::Result<Self> {
        let client = TcpStream::connect(listener.local_addr()?)?;
        let (server, _) = listener.accept()?;
        for end in [&client, &server] {
            end.set_read_timeout(Some(PATIENCE))?;
            end.set_write_timeout(Some(PATIENCE))?;
        }
        // The client's own choices are what is tried.
        server.set_nodelay(true)?;
        Ok(Self { client, server })
    }

    /// Returns the next bytes that the server gets, as many as `sent` and what was added; nothing may follow.
    pub(super) fn received(&mut self, sent: &[u8], bench: &mut Bench) -> Result<(), Mismatch> {
        let got = receive(&mut self.server, sent)?;
        compare("what the server gets", sent, got, bench)?;
        self.server.set_nonblocking(true)?;
        let more = self.server.read(&mut [0]);
        self.server.set_nonblocking(false)?;
        expect("further bytes", &Err(io::ErrorKind::WouldBlock), &more.map_err(|error| error.kind()))
    }

    /// The client sends, the server answers, the client reads the answer.
    pub(super) fn exchange(&mut self, request: &[u8], bench: &mut Bench) -> Result<(), Mismatch> {
        let response = pattern(request.len() / 2 + 1);
        let Self { client, server } = self;
        let got = thread::scope(|scope| -> Result<Vec<u8>, Mismatch> {
            let answering = scope.spawn(|| -> io::Result<Vec<u8>> {
                let got = receive(server, request)?;
                server.write_all(&response)?;
                Ok(got)
            });
            client.write_all(request)?;
            let mut answer = vec![0; response.len()];
            client.read_exact(&mut answer)?;
            expect("what the client gets", &true, &(answer == response))?;
            joined(answering.join())
        })?;
        compare("what the server gets", request, got, bench)
    }
}

/// Returns what a thread returned.
pub(super) fn joined<T>(result: thread::Result<io::Result<T>>) -> Result<T, Mismatch> {
    match result {
        Ok(result) => Ok(result?),
        Err(_) => Err(Mismatch { expected: "a thread that ends".into(), got: "a panic".into() }),
    }
}

/// Reads as many bytes as were sent, and the header that was added, if one was.
pub(super) fn receive(server: &mut TcpStream, sent: &[u8]) -> io::Result<Vec<u8>> {
    let mut got = vec![0; sent.len()];
    server.read_exact(&mut got)?;
    if let Some(added) = Added::find(sent, &got) {
        let mut rest = vec![0; added.length()];
        server.read_exact(&mut rest)?;
        got.extend(rest);
    }
    Ok(got)
}

/// Compares what was got with what was sent, apart from the header that was added.
pub(super) fn compare(what: &str, sent: &[u8], mut got: Vec<u8>, bench: &mut Bench) -> Result<(), Mismatch> {
    if got != sent
        && let Some(added) = Added::find(sent, &got)
    {
        added.remove(&mut got, bench)?;
    }
    if got == sent {
        return Ok(());
    }
    let at = got.iter().zip(sent).position(|(got, sent)| got != sent).unwrap_or(got.len().min(sent.len()));
    let excerpt = |bytes: &[u8]| {
        let part = bytes.get(at..bytes.len().min(at + 24)).unwrap_or_default();
        format!("{what}: {} bytes, {:?} at {at}", bytes.len(), String::from_utf8_lossy(part))
    };
    Err(Mismatch { expected: excerpt(sent), got: excerpt(&got) })
}

/// Returns bytes of which no two neighbouring stretches are alike, and none look like text.
pub(super) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 131 + index / 251 + index / 65_537) as u8 | 0x80).collect()
}

/// Returns a request with a body of this length.
pub(super) fn request(body: usize) -> Vec<u8> {
    let head = format!(
        "POST /trial/7?part=1 HTTP/1.1\r\nHost: trial\r\nAccept: */*\r\nContent-Length: {body}\r\n\r\n"
    );
    let mut request = head.into_bytes();
    request.extend(pattern(body));
    request
}
