//! Ports and addresses on loopback.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::wait;

/// Returns an address on `127.0.0.1` with a port that nobody listens on.
pub fn free_address() -> Result<SocketAddr> {
    free_address_on(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// Returns an address on `ip` with a port that nobody listens on.
pub fn free_address_on(ip: IpAddr) -> Result<SocketAddr> {
    let listener = TcpListener::bind((ip, 0)).with_context(|| format!("find a free port on {ip}"))?;
    Ok(listener.local_addr()?)
}

/// Waits until somebody listens on `address`.
pub fn wait_listening(address: SocketAddr, within: Duration) -> Result<()> {
    wait::until(&format!("somebody listens on {address}"), within, || {
        TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        Ok(Some(()))
    })
}
