//! Which datagrams are captured.

use remora_abi::DATAGRAM_PORTS;

/// Port of DNS (RFC 1035 section 4.2.1).
const DNS: u16 = 53;

/// Ports of which datagrams are captured, at either end. All others cost one look at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramPorts([u16; DATAGRAM_PORTS]);

impl Default for DatagramPorts {
    fn default() -> Self {
        Self([DNS; DATAGRAM_PORTS])
    }
}

impl DatagramPorts {
    /// Most ports.
    pub const MAX: usize = DATAGRAM_PORTS;

    /// Returns these ports; none where they are no port, too many, or 0, which is no port.
    #[must_use]
    pub fn of(ports: &[u16]) -> Option<Self> {
        let first = *ports.first()?;
        if ports.len() > Self::MAX || ports.contains(&0) {
            return None;
        }
        // All places are in use.
        let mut all = [first; DATAGRAM_PORTS];
        all.iter_mut().zip(ports).for_each(|(place, port)| *place = *port);
        Some(Self(all))
    }

    /// Returns them as the programs have them.
    pub(super) fn of_programs(self) -> [u16; DATAGRAM_PORTS] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_a_port() {
        assert_eq!(DatagramPorts::of(&[53]), Some(DatagramPorts::default()));
        assert_eq!(DatagramPorts::of(&[53, 5353]), Some(DatagramPorts([53, 5353, 53, 53])));
        for wrong in [&[][..], &[0], &[53, 0], &[1, 2, 3, 4, 5]] {
            assert_eq!(DatagramPorts::of(wrong), None, "{wrong:?}");
        }
    }
}
