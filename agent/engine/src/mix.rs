//! The one hash whose values leave the process.

use std::net::{IpAddr, SocketAddr};

/// The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), with 0 moved away.
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Returns a hash of an address and a port.
pub(crate) fn mix_address(address: SocketAddr) -> u64 {
    let (high, low) = match address.ip() {
        IpAddr::V4(address) => (0, u64::from(address.to_bits())),
        IpAddr::V6(address) => ((address.to_bits() >> u64::BITS) as u64, address.to_bits() as u64),
    };
    mix(mix(mix(high) ^ low) ^ u64::from(address.port()))
}
