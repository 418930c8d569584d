//! A relay for datagrams. Each client's socket is a session of its own, and each datagram a piece with its length before
//! it in two bytes, as the capture tells it.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::proxy::Address;
use super::session::{Piece, Session};

/// Longest datagram.
const BUFFER_BYTES: usize = 64 * 1024;
/// How long it waits for a client before it looks for answers.
const PAUSE: Duration = Duration::from_millis(1);

/// A relay that is running.
pub(super) struct DatagramProxy {
    address: Address,
    is_over: Arc<AtomicBool>,
    relaying: JoinHandle<io::Result<Vec<Session>>>,
}

/// What one client's socket says, and is told.
struct Client {
    address: SocketAddr,
    server: UdpSocket,
    session: Session,
}

impl DatagramProxy {
    /// Starts to relay datagrams, which come to any port on loopback, to `to`.
    pub(super) fn start(to: &Address) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").context("find a free port")?;
        socket.set_read_timeout(Some(PAUSE))?;
        let address = Address::Tcp(socket.local_addr()?.to_string());
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, server) = (Arc::clone(&is_over), to.to_string());
        let relaying = thread::spawn(move || relay(&socket, &server, &over));
        Ok(Self { address, is_over, relaying })
    }

    /// Returns where it waits.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Ends the relay and returns what passed.
    pub(super) fn finish(self) -> Result<Vec<Session>> {
        self.is_over.store(true, Ordering::Relaxed);
        let sessions = self.relaying.join().map_err(|_| anyhow::anyhow!("the relay panicked"))?;
        sessions.context("relay datagrams")
    }
}

fn relay(socket: &UdpSocket, server: &str, is_over: &AtomicBool) -> io::Result<Vec<Session>> {
    let began = Instant::now();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut clients: Vec<Client> = Vec::new();
    let mut places: HashMap<SocketAddr, usize> = HashMap::new();
    while !is_over.load(Ordering::Relaxed) {
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                let place = *places.entry(from).or_insert(clients.len());
                if place == clients.len() {
                    clients.push(Client::new(from, server)?);
                }
                if let (Some(client), Some(bytes)) = (clients.get_mut(place), buffer.get(..length)) {
                    client.note(true, began, bytes);
                    client.server.send(bytes)?;
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        for client in &mut clients {
            while let Ok(length) = client.server.recv(&mut buffer) {
                let bytes = buffer.get(..length).unwrap_or_default();
                client.note(false, began, bytes);
                socket.send_to(bytes, client.address)?;
            }
        }
    }
    Ok(clients.into_iter().map(|client| client.session).collect())
}

impl Client {
    fn new(address: SocketAddr, server: &str) -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        Ok(Self { address, server: socket, session: Session::default() })
    }

    fn note(&mut self, is_from_client: bool, began: Instant, bytes: &[u8]) {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
        let bytes = [&length[..], bytes].concat();
        self.session.pieces.push(Piece { is_from_client, at_us: began.elapsed().as_micros(), bytes });
    }
}
