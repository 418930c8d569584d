//! What is encrypted: records on the wire, the objects of the libraries that make them, and which bytes of both are one.
//!
//! Takes the ciphertext of connections and the plaintext of libraries, gives plaintext with its connection and its place on
//! the wire. It knows no protocol but TLS. Its one hard problem is to believe no place rather than a wrong one: both ends of
//! a connection must find the same one.

mod cipher;
mod conversation;
mod handshake;
mod hello;
mod join;
mod places;
mod reads;
mod records;
mod unseen;
mod writes;

pub(crate) use conversation::{Begins, Conversation, Told, begins};
pub(crate) use join::{Joins, Waits};
pub(crate) use unseen::Unseen;
pub use unseen::{TlsCounts, TlsKind};

/// Versions on the wire (RFC 8446, 4.2.1).
pub(crate) mod version {
    pub(crate) const TLS_1_2: u16 = 0x0303;
    pub(crate) const TLS_1_3: u16 = 0x0304;
}
