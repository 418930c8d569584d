//! Rollups as bytes: a protobuf message with one table of names.
//!
//! Reading goes through the same limits as counting does, so bytes of any origin cannot make rollups that are larger
//! or stranger than counted ones.

mod messages;
mod read;
mod write;

pub(super) use read::decode;
pub(super) use write::encode;

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;

/// Why bytes are not rollups.
#[derive(Debug, thiserror::Error)]
pub enum RollupError {
    /// They are no such message.
    #[error("rollups are not readable")]
    Message(#[from] prost::DecodeError),
    /// They were written by another version.
    #[error("rollups have version {0}, expected {VERSION}")]
    Version(u32),
    /// They contradict themselves.
    #[error("rollups are not consistent: {0}")]
    Inconsistent(&'static str),
}
