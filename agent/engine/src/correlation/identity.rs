//! Ids that both ends of an exchange compute alike, without talking to each other.

use std::net::{IpAddr, SocketAddr};

use crate::event::{ConnectionId, Endpoint, FirstPositions, Opened, Role};
use crate::mix::{mix, mix_address};
use crate::pairing::Started;
use crate::session::Place;
use crate::span::{SpanId, SpanKind, TraceId};

/// The ids of one exchange, as either end computes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The trace that begins here, if one does.
    pub(super) trace: TraceId,
    /// The client's span.
    pub(super) client_span: SpanId,
    /// The server's span.
    pub(super) server_span: SpanId,
}

impl Identity {
    /// Returns the ids of the exchange whose request begins at `place`.
    ///
    /// The positions of a connection's first bytes and that of the request's first byte are the same at both ends of a
    /// TCP connection, behind address translation too, and whatever else is under way on it. Where the beginning is not
    /// known, the position of the response's first byte takes its place. Where positions are private to one end, the
    /// ids are new.
    pub(super) fn of(kind: SpanKind, place: &Place, opened: &Opened, ids: &mut IdSource) -> Self {
        let pair = match beginning(kind, opened) {
            _ if !place.is_absolute => ids.next(),
            Some((client, server)) => {
                mix(u64::from(client) << 32 | u64::from(server))
                    ^ mix(u64::from(place.position) << 32 | u64::from(place.ordinal))
            }
            None => {
                (u64::from(place.position) << 32 | u64::from(place.reverse_position))
                    ^ mix(u64::from(place.ordinal))
            }
        };
        Self::of_number(pair)
    }

    fn of_number(pair: u64) -> Self {
        let [high, low] = [mix(pair ^ 0x7472_6163_6531), mix(pair ^ 0x7472_6163_6532)];
        let mut trace = [0; 16];
        for (target, source) in trace.iter_mut().zip(high.to_be_bytes().into_iter().chain(low.to_be_bytes()))
        {
            *target = source;
        }
        Self {
            trace: TraceId(trace),
            client_span: SpanId(mix(pair ^ 0x636c_6965_6e74).max(1).to_be_bytes()),
            server_span: SpanId(mix(pair ^ 0x0073_6572_7665_7200).max(1).to_be_bytes()),
        }
    }
}

/// Returns the ids of what nobody else can tell of.
pub(super) fn new(ids: &mut IdSource) -> Identity {
    Identity::of_number(ids.next())
}

/// Returns the ids of what follows from an exchange, and is none itself.
pub(super) fn following(trace: TraceId, span: SpanId) -> Identity {
    Identity::of_number(mix(u128::from_be_bytes(trace.0) as u64) ^ u64::from_be_bytes(span.0))
}

/// Returns the positions of the first bytes of the client and of the server.
fn beginning(kind: SpanKind, opened: &Opened) -> Option<(u32, u32)> {
    let FirstPositions { egress, ingress } = opened.first?;
    let has_connected = match opened.role {
        Role::Connected => true,
        Role::Accepted => false,
        // Clients connect, servers accept.
        Role::Unknown => kind == SpanKind::Client,
    };
    let egress = egress.wrapping_add(u32::from(has_connected));
    Some(ordered(kind, egress, ingress))
}

/// Gives numbers that do not repeat.
#[derive(Debug)]
pub(super) struct IdSource(u64);

impl IdSource {
    pub(super) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}

/// What both ends of an exchange on this host have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum WireKey {
    /// Both addresses and the request's position: exact also where requests overlap.
    Addresses { client: SocketAddr, server: SocketAddr, position: u32, ordinal: u32 },
    /// The pair of positions: survives address translation.
    Positions { position: u32, reverse_position: u32, ordinal: u32 },
    /// Both sockets of a Unix connection and the bytes counted since it was opened.
    Sockets { client: u64, server: u64, position: u32, ordinal: u32 },
    /// Both ports of a datagram, and a hash of its number and question. The client's address is none where its socket has
    /// none of its own.
    Datagram { client: Option<IpAddr>, client_port: u16, server_port: u16, number: u64 },
}

/// Returns the keys of an exchange, the most exact first.
pub(super) fn wire_keys(
    kind: SpanKind,
    started: &Started,
    connection: ConnectionId,
    opened: &Opened,
) -> Vec<WireKey> {
    if opened.is_datagram {
        return datagram_keys(kind, started, opened);
    }
    let Place { position, reverse_position, ordinal, is_absolute, peer: _ } = started.place;
    if !is_absolute {
        let Some(peer) = opened.peer_sock else { return Vec::new() };
        let (client, server) = ordered(kind, connection.sock, peer);
        return vec![WireKey::Sockets { client, server, position, ordinal }];
    }
    let mut keys = Vec::with_capacity(2);
    if let (Endpoint::Ip(local), Endpoint::Ip(peer)) = (&opened.local, &opened.peer) {
        let (client, server) = ordered(kind, *local, *peer);
        keys.push(WireKey::Addresses { client, server, position, ordinal });
    }
    keys.push(WireKey::Positions { position, reverse_position, ordinal });
    keys
}

/// Returns the keys of a request in a datagram. Where both ends use the same port, as in mDNS, every host of the network
/// asks from there, and its number is most often 0.
fn datagram_keys(kind: SpanKind, started: &Started, opened: &Opened) -> Vec<WireKey> {
    let (Endpoint::Ip(local), Endpoint::Ip(peer)) = (&opened.local, &opened.peer) else { return Vec::new() };
    let (client, server) = ordered(kind, *local, *peer);
    let Some(number) = started.number.filter(|_| client.port() != server.port()) else { return Vec::new() };
    let is_server = kind == SpanKind::Server;
    // A server that has many clients tells them apart in the number.
    let number = started.place.peer.filter(|_| is_server).map_or(number, |peer| number ^ mix_address(peer));
    let key = |client_address| WireKey::Datagram {
        client: client_address,
        client_port: client.port(),
        server_port: server.port(),
        number,
    };
    let address = Some(client.ip()).filter(|address| !address.is_unspecified());
    if is_server && address.is_some() { vec![key(address), key(None)] } else { vec![key(address)] }
}

fn ordered<T>(kind: SpanKind, own: T, peer: T) -> (T, T) {
    match kind {
        SpanKind::Client | SpanKind::Producer => (own, peer),
        SpanKind::Server | SpanKind::Consumer => (peer, own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Executor;

    const PLACE: Place =
        Place { position: 1, reverse_position: 2, ordinal: 0, is_absolute: true, peer: None };

    fn opened(role: Role, first: Option<(u32, u32)>) -> Opened {
        Opened {
            executor: Executor::default(),
            local: Endpoint::Unix(String::new()),
            peer: Endpoint::Unix(String::new()),
            role,
            is_datagram: false,
            peer_sock: None,
            first: first.map(|(egress, ingress)| FirstPositions { egress, ingress }),
        }
    }

    #[test]
    fn both_ends_compute_the_same_ids() {
        let (mut one, mut other) = (IdSource::new(1), IdSource::new(2));
        for (client, server) in [(Role::Connected, Role::Accepted), (Role::Unknown, Role::Unknown)] {
            // The kernel of the end that connected counts the SYN with the bytes.
            let client = opened(client, Some((99, 500)));
            let server = opened(server, Some((500, 100)));
            assert_eq!(
                Identity::of(SpanKind::Client, &PLACE, &client, &mut one),
                Identity::of(SpanKind::Server, &Place { reverse_position: 77, ..PLACE }, &server, &mut other),
                "what is under way in the other direction does not matter"
            );
        }
        let unknown = opened(Role::Connected, None);
        assert_eq!(
            Identity::of(SpanKind::Client, &PLACE, &unknown, &mut one),
            Identity::of(SpanKind::Server, &PLACE, &unknown, &mut other)
        );
    }

    #[test]
    fn ids_differ_by_every_part_of_the_place() {
        let mut ids = IdSource::new(1);
        let mut of = |place: &Place, first| {
            Identity::of(SpanKind::Client, place, &opened(Role::Connected, first), &mut ids)
        };
        let base = of(&PLACE, Some((5, 6)));
        for (place, first) in [
            (Place { position: 2, ..PLACE }, Some((5, 6))),
            (Place { ordinal: 1, ..PLACE }, Some((5, 6))),
            (PLACE, Some((6, 6))),
            (PLACE, Some((5, 7))),
            (PLACE, Some((6, 5))),
            (PLACE, None),
            (Place { reverse_position: 1, ..PLACE }, None),
            (Place { is_absolute: false, ..PLACE }, Some((5, 6))),
            (Place { is_absolute: false, ..PLACE }, Some((5, 6))),
        ] {
            let other = of(&place, first);
            assert_ne!(base.trace, other.trace);
            assert_ne!(base.client_span, other.client_span);
            assert_ne!(base.server_span, other.server_span);
        }
    }
}
