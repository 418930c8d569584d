//! A relay that writes down what passes.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::session::{Piece, Session};

/// Most bytes that are relayed at once.
const BUFFER_BYTES: usize = 64 * 1024;
/// How often a waiting thread looks whether it is over.
const PAUSE: Duration = Duration::from_millis(5);

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// `host:port`.
    Tcp(String),
    /// Path of a Unix socket.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            _ if text.contains('/') => Ok(Address::Unix(text.into())),
            _ if text.contains(':') => Ok(Address::Tcp(text.to_owned())),
            _ => bail!("{text:?} is neither host:port nor the path of a Unix socket"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => formatter.write_str(address),
            Address::Unix(path) => path.display().fmt(formatter),
        }
    }
}

impl Address {
    /// Returns the port; 0 for a Unix socket.
    pub(super) fn port(&self) -> u16 {
        match self {
            Address::Tcp(address) => {
                address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0)
            }
            Address::Unix(_) => 0,
        }
    }

    fn connect(&self) -> io::Result<Stream> {
        Ok(match self {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
        })
    }

    /// Returns whether somebody listens there.
    pub(super) fn is_open(&self) -> bool {
        self.connect().is_ok()
    }
}

/// A relay that is running.
pub(super) struct Proxy {
    address: Address,
    sessions: Arc<Mutex<Vec<Arc<Mutex<Session>>>>>,
    is_over: Arc<AtomicBool>,
    accepting: JoinHandle<Vec<JoinHandle<()>>>,
}

impl Proxy {
    /// Starts to relay connections made at `listen` (port 0: any) to `to`.
    pub(super) fn start(listen: &Address, to: Address) -> Result<Self> {
        let (listener, address) = Listener::bind(listen).with_context(|| format!("listen at {listen}"))?;
        let sessions = Arc::default();
        let is_over = Arc::new(AtomicBool::new(false));
        let (to_accept, over) = (Arc::clone(&sessions), Arc::clone(&is_over));
        let accepting = thread::spawn(move || accept(&listener, &to, &to_accept, &over));
        Ok(Self { address, sessions, is_over, accepting })
    }

    /// Returns where it listens.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Accepts no more, waits until all connections have ended, and returns what passed.
    pub(super) fn finish(self, linger: Duration) -> Result<Vec<Session>> {
        self.is_over.store(true, Ordering::Relaxed);
        let connections = self.accepting.join().map_err(|_| anyhow::anyhow!("the relay panicked"))?;
        let deadline = Instant::now() + linger;
        while !connections.iter().all(JoinHandle::is_finished) {
            if Instant::now() > deadline {
                bail!("a connection did not end within {linger:?}");
            }
            thread::sleep(PAUSE);
        }
        let sessions = std::mem::take(&mut *lock(&self.sessions));
        Ok(sessions.into_iter().map(|session| std::mem::take(&mut *lock(&session))).collect())
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn bind(listen: &Address) -> io::Result<(Self, Address)> {
        Ok(match listen {
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                let address = Address::Tcp(listener.local_addr()?.to_string());
                (Listener::Tcp(listener), address)
            }
            Address::Unix(path) => {
                let _ = std::fs::remove_file(path);
                let listener = UnixListener::bind(path)?;
                listener.set_nonblocking(true)?;
                (Listener::Unix(listener), listen.clone())
            }
        })
    }

    fn accept(&self) -> io::Result<Stream> {
        Ok(match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(false)?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(false)?;
                Stream::Unix(stream)
            }
        })
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone()?),
            Stream::Unix(stream) => Stream::Unix(stream.try_clone()?),
        })
    }

    fn end(&self) {
        // The other end may be gone already.
        let _ = match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }
}

fn accept(
    listener: &Listener,
    to: &Address,
    sessions: &Mutex<Vec<Arc<Mutex<Session>>>>,
    is_over: &AtomicBool,
) -> Vec<JoinHandle<()>> {
    let mut connections = Vec::new();
    loop {
        match listener.accept().and_then(|client| Ok((client, to.connect()?))) {
            Ok((client, server)) => {
                let session = Arc::default();
                lock(sessions).push(Arc::clone(&session));
                match relay(client, server, &session) {
                    Ok(threads) => connections.extend(threads),
                    Err(error) => eprintln!("relay a connection to {to}: {error}"),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if is_over.load(Ordering::Relaxed) {
                    return connections;
                }
                thread::sleep(PAUSE);
            }
            Err(error) => eprintln!("relay a connection to {to}: {error}"),
        }
    }
}

fn relay(client: Stream, server: Stream, session: &Arc<Mutex<Session>>) -> io::Result<[JoinHandle<()>; 2]> {
    let began = Instant::now();
    let (client_too, server_too) = (client.try_clone()?, server.try_clone()?);
    let (up, down) = (Arc::clone(session), Arc::clone(session));
    Ok([
        thread::spawn(move || copy(client, server, true, began, &up)),
        thread::spawn(move || copy(server_too, client_too, false, began, &down)),
    ])
}

/// Copies until the end. Every piece is noted before it is passed on, so that an answer never stands before its cause.
fn copy(mut from: Stream, mut to: Stream, is_from_client: bool, began: Instant, session: &Mutex<Session>) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = from.read(&mut buffer).unwrap_or(0);
        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
        let piece = Piece { is_from_client, at_us: began.elapsed().as_micros(), bytes };
        lock(session).pieces.push(piece);
        if length == 0 || to.write_all(buffer.get(..length).unwrap_or_default()).is_err() {
            return to.end();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
