//! Within what the names of messages are unique, and what may be told of messages.

use super::SYSTEM;
use crate::event::Endpoint;
use crate::protocol::MessageKey;
use crate::protocol::rpc::Around;

/// Ids of the service are numbers of sixteen digits and more. Shorter ones are of an emulator, and each of those counts
/// for itself.
const MIN_UNIQUE_ID_BYTES: usize = 12;

/// One server, and what users chose.
#[derive(Clone, Debug)]
pub(super) struct Realm {
    server: String,
    /// Literals are told.
    pub(super) tells_keys: bool,
}

impl Realm {
    /// Returns the realm of a call.
    pub(super) fn new(around: Around<'_>) -> Self {
        let server = match around.server {
            Some(Endpoint::Ip(address)) => match address.ip().to_canonical() {
                // One client of an emulator may take its IPv4 address and another one the other.
                ip if ip.is_loopback() => format!("localhost:{}", address.port()),
                ip => format!("{ip}:{}", address.port()),
            },
            Some(Endpoint::Unix(name)) => name.clone(),
            None => String::new(),
        };
        Self { server, tells_keys: !around.settings.redact_statements }
    }

    /// Returns the key of the message that the server has given this id.
    pub(super) fn key(&self, project: &str, id: &[u8]) -> Option<MessageKey> {
        if id.is_empty() {
            return None;
        }
        let is_unique = id.len() >= MIN_UNIQUE_ID_BYTES && id.iter().all(u8::is_ascii_digit);
        let project = project.as_bytes();
        Some(match is_unique {
            true => MessageKey::of_place(SYSTEM, &[project, id]),
            false => MessageKey::of_place(SYSTEM, &[project, id, self.server.as_bytes()]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ParserSettings;

    fn realm(server: &str) -> Realm {
        let server = Endpoint::Ip(server.parse().unwrap());
        Realm::new(Around { settings: &ParserSettings::default(), server: Some(&server) })
    }

    #[test]
    fn ids_of_the_service_are_unique_and_those_of_emulators_are_not() {
        let (one, other) = (realm("127.0.0.1:8085"), realm("127.0.0.1:8086"));
        let id = b"2070443601311540";
        assert_eq!(one.key("shop", id), other.key("shop", id));
        assert_ne!(one.key("shop", id), one.key("news", id));
        assert_ne!(one.key("shop", b"m1"), other.key("shop", b"m1"));
        for same in ["[::ffff:127.0.0.1]:8085", "[::1]:8085"] {
            assert_eq!(one.key("shop", b"m1"), realm(same).key("shop", b"m1"));
        }
        assert_ne!(one.key("shop", b"m1"), realm("192.0.2.1:8085").key("shop", b"m1"));
        assert_eq!(one.key("shop", b""), None);
    }
}
