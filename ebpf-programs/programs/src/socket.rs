//! Sockets: finding them, announcing them, and the bytes that system calls move through them.

pub(crate) mod call;
pub(crate) mod close;
pub(crate) mod find;
pub(crate) mod open;
pub(crate) mod segments;
pub(crate) mod transfer;
