//! The first packets of a connection (MySQL internals manual, "Connection Phase"; MariaDB documentation, "Connection").

use super::answering::Manner;
use super::packet::Reader;

/// Version of the protocol with which a greeting begins.
pub(super) const VERSION: u8 = 10;
/// Longest version text of a server that is believed (the server's own limit is 60).
pub(super) const MAX_VERSION_BYTES: usize = 128;
/// Length of the packet that asks for encryption: a login without its names.
const ENCRYPTION_BYTES: usize = 32;
/// What MariaDB writes before its own version, for clients that compare versions.
const MARIADB: &[u8] = b"MariaDB";

/// What both sides of a connection can do, as bits.
mod capability {
    pub(super) const WITH_DATABASE: u32 = 1 << 3;
    pub(super) const COMPRESS: u32 = 1 << 5;
    pub(super) const PROTOCOL_41: u32 = 1 << 9;
    pub(super) const ENCRYPTION: u32 = 1 << 11;
    pub(super) const SECURE_CONNECTION: u32 = 1 << 15;
    pub(super) const LENGTH_ENCODED_AUTHENTICATION: u32 = 1 << 21;
    pub(super) const SESSION_TRACK: u32 = 1 << 23;
    pub(super) const DEPRECATE_EOF: u32 = 1 << 24;
    pub(super) const COMPRESS_ZSTD: u32 = 1 << 26;
}

/// The server's greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    capabilities: u32,
    pub(super) is_mariadb: bool,
}

/// The client's answer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login<'a> {
    /// TLS begins.
    Encryption,
    /// These names, and how the connection goes on.
    Names { user: &'a [u8], database: Option<&'a [u8]>, is_compressed: bool, manner: Manner },
    /// The protocol before MySQL 4.1.
    Old,
}

impl Greeting {
    /// Returns the greeting that the payload of a packet is.
    pub(super) fn of(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(payload);
        if reader.u8()? != VERSION {
            return None;
        }
        let version = reader.zero_ended()?;
        let is_text = version.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
        if !is_text || !version.first()?.is_ascii_digit() || version.len() > MAX_VERSION_BYTES {
            return None;
        }
        // Number of the connection, first part of the challenge and a zero byte.
        reader.take(4 + 8)?;
        if reader.u8()? != 0 {
            return None;
        }
        let low = reader.u16()?;
        // Collation and status.
        let high = reader.take(1 + 2).and_then(|_| reader.u16()).unwrap_or(0);
        let is_mariadb = memchr::memmem::find(version, MARIADB).is_some();
        Some(Self { capabilities: u32::from(low) | u32::from(high) << 16, is_mariadb })
    }

    /// Returns what the client answers with the payload of its first packet, of which the beginning is enough.
    pub(super) fn answer<'a>(&self, payload: &'a [u8], length: usize) -> Option<Login<'a>> {
        let mut reader = Reader::new(payload);
        let capabilities = reader.u32()?;
        if capabilities & capability::PROTOCOL_41 == 0 {
            return Some(Login::Old);
        }
        if capabilities & capability::ENCRYPTION != 0 && length == ENCRYPTION_BYTES {
            return Some(Login::Encryption);
        }
        // Longest packet, collation and reserved bytes.
        reader.take(4 + 1 + 23)?;
        let user = reader.zero_ended()?;
        skip_authentication(&mut reader, capabilities)?;
        let has_database = capabilities & capability::WITH_DATABASE != 0;
        let database = if has_database { reader.zero_ended() } else { None };
        let common = capabilities & self.capabilities;
        Some(Login::Names {
            user,
            database: database.filter(|database| !database.is_empty()),
            is_compressed: common & (capability::COMPRESS | capability::COMPRESS_ZSTD) != 0,
            manner: Manner {
                ends_definitions: Some(common & capability::DEPRECATE_EOF == 0),
                tracks_session: common & capability::SESSION_TRACK != 0,
            },
        })
    }
}

fn skip_authentication(reader: &mut Reader<'_>, capabilities: u32) -> Option<()> {
    if capabilities & capability::LENGTH_ENCODED_AUTHENTICATION != 0 {
        reader.text()?;
    } else if capabilities & capability::SECURE_CONNECTION != 0 {
        let length = reader.u8()?;
        reader.take(usize::from(length))?;
    } else {
        reader.zero_ended()?;
    }
    Some(())
}

/// Returns user and database of the payload of `COM_CHANGE_USER`, without its first byte.
pub(super) fn change_user(payload: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let mut reader = Reader::new(payload);
    let user = reader.zero_ended()?;
    skip_authentication(&mut reader, capability::SECURE_CONNECTION)?;
    let database = reader.zero_ended()?;
    Some((user, Some(database).filter(|database| !database.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(version: &str, capabilities: u32) -> Vec<u8> {
        let [a, b, c, d] = capabilities.to_le_bytes();
        [b"\x0a", version.as_bytes(), b"\0\x01\0\0\0abcdefgh\0", &[a, b], b"\x21\x02\0", &[c, d]].concat()
    }

    fn login(capabilities: u32, rest: &[u8]) -> Vec<u8> {
        [&capabilities.to_le_bytes()[..], &[0; 28], rest].concat()
    }

    #[test]
    fn greetings_say_who_and_what() {
        let ours = Greeting::of(&greeting("8.0.15", 0x04ff_ffff)).expect("a greeting");
        assert!(!ours.is_mariadb && ours.capabilities == 0x04ff_ffff);
        assert!(Greeting::of(&greeting("5.5.5-10.11.6-MariaDB-1", 0)).is_some_and(|found| found.is_mariadb));
        for wrong in [&b"\x09x"[..], b"\x0a8.0", b"\x0anot a version\0\x01\0\0\0abcdefgh\0\0\0", b""] {
            assert_eq!(Greeting::of(wrong), None, "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn logins_name_user_and_database() {
        let server = Greeting::of(&greeting("8.0.15", u32::MAX)).expect("a greeting");
        let check = |capabilities: u32, rest: &[u8], expected: Option<(&str, Option<&str>, bool)>| {
            let payload = login(capabilities | 0x200, rest);
            let found = server.answer(&payload, payload.len()).map(|login| match login {
                Login::Names { user, database, is_compressed, .. } => {
                    (user.to_vec(), database.map(<[u8]>::to_vec), is_compressed)
                }
                other => panic!("{other:?}"),
            });
            let expected = expected.map(|(user, database, is)| (user.into(), database.map(Into::into), is));
            assert_eq!(found, expected, "{}", rest.escape_ascii());
        };
        check(0x8008, b"me\0\x03abcshop\0", Some(("me", Some("shop"), false)));
        check(0x20_8028, b"me\0\xfc\x03\0abcshop\0", Some(("me", Some("shop"), true)));
        check(0x400_8000, b"me\0\0", Some(("me", None, true)));
        check(0x8008, b"me\0\0\0", Some(("me", None, false)));
        check(0, b"me\0abc\0", Some(("me", None, false)));
        check(0x8008, b"me\0\x09abc", None);
        let encryption = login(0xa00, b"");
        assert_eq!(server.answer(&encryption, encryption.len()), Some(Login::Encryption));
        assert_eq!(server.answer(&login(0, b"")[..], 32), Some(Login::Old));
    }

    #[test]
    fn another_user_may_bring_another_database() {
        assert_eq!(change_user(b"eve\0\x02xyshop\0\x21\0"), Some((&b"eve"[..], Some(&b"shop"[..]))));
        assert_eq!(change_user(b"eve\0\0\0"), Some((&b"eve"[..], None)));
        assert_eq!(change_user(b"eve\0\x09"), None);
    }
}
