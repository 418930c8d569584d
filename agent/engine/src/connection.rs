//! One byte stream per direction: order, gaps and caps.
//!
//! `Data` events become [`Chunk`]s: bytes in the order of their positions, and declared gaps where bytes are missing.
//! The room knows nothing of what the bytes mean. Its one hard problem is to tell a segment that is late, because two
//! threads shared the work, from one that never comes.

mod stream;
mod translation;

pub(crate) use stream::{Chunk, Content, Stamp, Stream};
pub(crate) use translation::{Told, Translation};
