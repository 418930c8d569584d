//! Ports and addresses on loopback.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::wait;

/// Ports that were given away: what is known of one server must not be taken for what is known of a later one.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Returns an address on `127.0.0.1` with a port that nobody listens on, and that was not given away before.
pub fn free_address() -> Result<SocketAddr> {
    free_address_on(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// Returns an address on `ip` with a port that nobody listens on, and that was not given away before.
pub fn free_address_on(ip: IpAddr) -> Result<SocketAddr> {
    loop {
        let listener = TcpListener::bind((ip, 0)).with_context(|| format!("find a free port on {ip}"))?;
        let address = listener.local_addr()?;
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(address.port()) {
            return Ok(address);
        }
    }
}

/// Waits until somebody listens on `address`.
pub fn wait_listening(address: SocketAddr, within: Duration) -> Result<()> {
    wait::until(&format!("somebody listens on {address}"), within, || {
        TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        Ok(Some(()))
    })
}
