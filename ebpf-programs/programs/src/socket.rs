//! Sockets: finding them, announcing them, and the bytes that system calls move through them; pipes of workers.

pub(crate) mod call;
pub(crate) mod close;
pub(crate) mod find;
pub(crate) mod open;
mod peer;
pub(crate) mod pipe;
pub(crate) mod segments;
pub(crate) mod transfer;
