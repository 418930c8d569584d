//! Bytes that an engine or a socket works on: in an array, which the JVM may move, or elsewhere in memory.

use super::ids::Ids;
use crate::jni::{Env, Object};

/// Where some bytes are.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// In an array, from an index on.
    Array(Object, i32),
    /// At an address. It is never read here: the memory could be gone, which only the kernel bears.
    Address(u64),
}

/// Some bytes.
#[derive(Clone, Copy)]
pub(super) struct Bytes {
    pub(super) place: Place,
    pub(super) length: u32,
}

impl Bytes {
    /// Returns `length` bytes of a `ByteBuffer`, from a position on.
    pub(super) fn of(env: Env, ids: &Ids, buffer: Object, position: i32, length: i32) -> Option<Self> {
        let length = u32::try_from(length).ok()?;
        let place = match env.object(buffer, ids.array) {
            Some(array) => Place::Array(array, env.int(buffer, ids.offset).checked_add(position)?),
            None => {
                let begin = u64::try_from(env.long(buffer, ids.address)).ok().filter(|begin| *begin != 0)?;
                Place::Address(begin.checked_add(u64::try_from(position).ok()?)?)
            }
        };
        Some(Self { place, length })
    }

    /// Returns some bytes of an array.
    pub(super) fn of_array(array: Object, offset: i32, length: i32) -> Self {
        Self { place: Place::Array(array, offset), length: u32::try_from(length).unwrap_or(0) }
    }
}
