//! Addresses as the API writes them.

use std::net::IpAddr;

/// Returns the address, an IPv4 address that is mapped into IPv6 as what it is; none for `None` and names.
pub(super) fn parse(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}
