//! The other ends of datagrams, which come in records of their own right before those of the datagrams.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use remora_abi::{DataEvent, EventHeader, PeerEvent, SOCKADDR_BYTES};

/// Threads between whose two records others may come. Of one more, the oldest datagram has no other end.
const MAX_PENDING: usize = 64;
/// `AF_INET` and `AF_INET6`.
const INET: u16 = remora_abi::FAMILY_INET as u16;
const INET6: u16 = remora_abi::FAMILY_INET6 as u16;

/// Other ends whose datagrams have not come yet.
#[derive(Debug, Default)]
pub(super) struct Peers {
    pending: VecDeque<(Datagram, SocketAddr)>,
}

/// Which datagram is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Datagram {
    tid: u32,
    sock: u64,
    direction: u8,
    position: u32,
}

impl Datagram {
    fn of(header: &EventHeader, position: u32) -> Self {
        Self { tid: header.tid, sock: header.sock, direction: header.direction, position }
    }
}

impl Peers {
    /// Remembers the other end of the datagram that the thread tells next.
    pub(super) fn note(&mut self, event: &PeerEvent) {
        // The record of the one before was lost.
        self.pending.retain(|(datagram, _)| datagram.tid != event.header.tid);
        let Some(address) = address(event.name) else { return };
        if self.pending.len() >= MAX_PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back((Datagram::of(&event.header, event.position), address));
    }

    /// Returns the other end of a datagram, if it was told.
    pub(super) fn take(&mut self, event: &DataEvent) -> Option<SocketAddr> {
        let datagram = Datagram::of(&event.header, event.position);
        let at = self.pending.iter().position(|(pending, _)| *pending == datagram)?;
        self.pending.remove(at).map(|(_, address)| address)
    }
}

/// Returns what a `struct sockaddr_in` or `struct sockaddr_in6` says; none for any other.
fn address(name: [u8; SOCKADDR_BYTES]) -> Option<SocketAddr> {
    let [f0, f1, p0, p1, rest @ ..] = name;
    let port = u16::from_be_bytes([p0, p1]);
    let address = match u16::from_ne_bytes([f0, f1]) {
        INET => IpAddr::V4(Ipv4Addr::from(*rest.first_chunk::<4>()?)),
        // Behind the flow label.
        INET6 => IpAddr::V6(Ipv6Addr::from(*rest.get(4..)?.first_chunk::<16>()?)).to_canonical(),
        _ => return None,
    };
    (port != 0).then(|| SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(tid: u32, position: u32, name: &[u8]) -> PeerEvent {
        let mut bytes = [0; SOCKADDR_BYTES];
        bytes[..name.len()].copy_from_slice(name);
        let header = EventHeader {
            kind: remora_abi::KIND_PEER,
            flags: 0,
            direction: 1,
            family: remora_abi::FAMILY_INET | remora_abi::FAMILY_DATAGRAM,
            tgid: 1,
            tid,
            inode: 2,
            sock: 3,
            time_ns: 4,
        };
        PeerEvent { header, position, name: bytes }
    }

    fn data(of: &PeerEvent) -> DataEvent {
        DataEvent {
            header: EventHeader { kind: remora_abi::KIND_DATA, ..of.header },
            position: of.position,
            reverse_position: 0,
            length: 5,
            captured: 0,
            task: 0,
            task_parent: 0,
            turn: 0,
            inserted_at: 0,
            inserted: 0,
        }
    }

    const ANYBODY: &[u8] = &[2, 0, 0xc3, 0x50, 10, 0, 0, 7];

    #[test]
    fn a_datagram_has_the_other_end_that_its_own_thread_told_for_it() {
        let mut peers = Peers::default();
        let (first, other) = (peer(1, 0, ANYBODY), peer(2, 9, &[2, 0, 0, 53, 10, 0, 0, 8]));
        peers.note(&first);
        peers.note(&other);
        assert_eq!(peers.take(&data(&first)), Some("10.0.0.7:50000".parse().unwrap()));
        assert_eq!(peers.take(&data(&first)), None, "it was for one datagram");
        assert_eq!(peers.take(&data(&other)), Some("10.0.0.8:53".parse().unwrap()));
    }

    #[test]
    fn what_was_told_for_a_lost_datagram_is_for_no_other() {
        let mut peers = Peers::default();
        peers.note(&peer(1, 0, ANYBODY));
        assert_eq!(peers.take(&data(&peer(1, 30, &[]))), None);
        peers.note(&peer(1, 30, &[]));
        assert_eq!(peers.take(&data(&peer(1, 0, &[]))), None);
        (0..1000).for_each(|tid| peers.note(&peer(tid, 0, ANYBODY)));
        assert_eq!(peers.pending.len(), MAX_PENDING);
    }

    #[test]
    fn addresses_of_both_families_are_read_and_no_others() {
        let ipv6: Vec<u8> = [10, 0, 0, 53, 1, 2, 3, 4].into_iter().chain(1..=16).collect();
        for (name, expected) in [
            (ANYBODY, Some("10.0.0.7:50000")),
            (&ipv6, Some("[102:304:506:708:90a:b0c:d0e:f10]:53")),
            (
                &[10, 0, 0, 53, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 9],
                Some("10.0.0.9:53"),
            ),
            (&[2, 0, 0, 0, 10, 0, 0, 7], None),
            (&[1, 0, 0, 53, 10, 0, 0, 7], None),
            (&[], None),
        ] {
            let found = address(peer(1, 0, name).name);
            assert_eq!(found, expected.map(|text| text.parse().unwrap()), "{name:?}");
        }
    }
}
