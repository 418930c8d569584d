//! Where a thread gathers bytes, so that they lie together while the kernel's side looks at them.

use core::ops::Range;

use super::bytes::{Bytes, Place};
use crate::jni::{Env, Object};
use crate::system_call::TlsMark;
use crate::threads::{FromNoughts, OfThread};

/// Bytes that are gathered, as many as one record holds (RFC 8446, 5.1). Of more, the first and the last.
const GATHERED_BYTES: u32 = 16 << 10;
/// The last bytes that the kernel's side wants of what is longer (`FRAME_BYTES` there).
const END_BYTES: u32 = 184;
const BEGINNING_BYTES: u32 = GATHERED_BYTES - END_BYTES;
/// The first bytes of ciphertext that the kernel's side wants (`FINGERPRINT_BYTES` there).
const CIPHERTEXT_BYTES: usize = 64;
/// Buffers of one call whose positions are noted. What is in more of them is told by its length.
const MAX_BUFFERS: usize = 16;

/// The room of each thread.
pub(super) static ROOMS: OfThread<Room> = OfThread::new();

/// A thread's room.
#[repr(C)]
pub(super) struct Room {
    /// What a call with several buffers has begun with.
    is_begun: bool,
    switches: u32,
    first: i32,
    count: i32,
    noted: usize,
    positions: [i32; MAX_BUFFERS],
    kept: Ciphertext,
    /// `switches` when it was kept.
    kept_at: u32,
    ciphertext: [u8; CIPHERTEXT_BYTES],
    bytes: [u8; GATHERED_BYTES as usize],
}

// SAFETY: all fields are numbers and flags.
unsafe impl FromNoughts for Room {}

/// Where the first bytes of some ciphertext are for now.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Ciphertext {
    /// Their address; 0 for none.
    address: u64,
    /// The first eight; 0 where only the address tells them.
    header: u64,
    /// Bytes of all of it.
    length: u32,
}

impl Ciphertext {
    /// Returns a mark that tells it too.
    pub(super) fn with(self, mark: TlsMark) -> TlsMark {
        let Self { address, header, length } = self;
        TlsMark { ciphertext: address, header, ciphertext_length: length, ..mark }
    }
}

impl Room {
    /// A call with several buffers begins. `switches` tells virtual threads apart that take turns on the thread.
    pub(super) fn begin(&mut self, switches: u32, first: i32, count: i32) {
        (self.is_begun, self.switches, self.first, self.count) = (true, switches, first, count);
        self.noted = 0;
    }

    /// Notes the position of the next buffer.
    pub(super) fn note(&mut self, position: i32) -> Option<()> {
        *self.positions.get_mut(self.noted)? = position;
        self.noted = self.noted.saturating_add(1);
        Some(())
    }

    /// Returns whether the call that ends is the one that began last, which ends by that.
    pub(super) fn has_begun(&mut self, switches: u32, first: i32, count: i32) -> bool {
        let is_begun = core::mem::replace(&mut self.is_begun, false);
        is_begun && (self.switches, self.first, self.count) == (switches, first, count)
    }

    /// Returns at which position a buffer was.
    pub(super) fn noted(&self, index: i32) -> Option<i32> {
        let index = usize::try_from(index).ok().filter(|index| *index < self.noted)?;
        self.positions.get(index).copied()
    }

    /// Returns where the first bytes of some ciphertext are, as long as nothing else is looked at.
    pub(super) fn beginning(&mut self, env: Env, ciphertext: &Bytes) -> Ciphertext {
        let length = ciphertext.length;
        match ciphertext.place {
            Place::Address(address) => Ciphertext { address, header: 0, length },
            Place::Array(array, index) => {
                let copied = (length as usize).min(CIPHERTEXT_BYTES);
                let Some(room) = self.ciphertext.get_mut(..copied) else { return Ciphertext::default() };
                if env.copy(array, index, room).is_err() {
                    return Ciphertext::default();
                }
                let header = room.first_chunk().map_or(0, |first| u64::from_ne_bytes(*first));
                Ciphertext { address: room.as_ptr().expose_provenance() as u64, header, length }
            }
        }
    }

    /// Keeps some ciphertext until the call that decrypts it ends, or nothing.
    pub(super) fn keep(&mut self, ciphertext: Ciphertext, switches: u32) {
        (self.kept, self.kept_at) = (ciphertext, switches);
    }

    /// Returns what was kept, once, unless another virtual thread has come since.
    pub(super) fn take_kept(&mut self, switches: u32) -> Ciphertext {
        let kept = core::mem::take(&mut self.kept);
        if self.kept_at == switches { kept } else { Ciphertext::default() }
    }

    /// Adds bytes to those that were gathered before.
    pub(super) fn gather(&mut self, env: Env, gathered: &mut Gathered, bytes: &Bytes) {
        let begin = gathered.added;
        gathered.added = begin.saturating_add(bytes.length);
        match bytes.place {
            Place::Address(address) if bytes.length == gathered.total => gathered.address = Some(address),
            Place::Array(array, index) => {
                gathered.room = self.bytes.as_ptr().expose_provenance() as u64;
                let is_copied = gathered.kept().iter().all(|kept| {
                    let (from, until) = (begin.max(kept.from), gathered.added.min(kept.until));
                    from >= until || self.copy(env, array, index, begin, kept, from..until).is_some()
                });
                if !is_copied {
                    gathered.break_at(begin);
                }
            }
            Place::Address(_) => gathered.break_at(begin),
        }
    }

    /// Copies what is kept of an array whose bytes from `index` on are those from `begin` on.
    fn copy(
        &mut self,
        env: Env,
        array: Object,
        index: i32,
        begin: u32,
        kept: &Kept,
        range: Range<u32>,
    ) -> Option<()> {
        let at = kept.at.checked_add(range.start - kept.from)? as usize;
        let room = self.bytes.get_mut(at..at.checked_add(range.len())?)?;
        let index = index.checked_add(i32::try_from(range.start - begin).ok()?)?;
        env.copy(array, index, room).ok()
    }
}

/// Bytes that are kept together, and where in the room.
struct Kept {
    at: u32,
    from: u32,
    until: u32,
}

/// What was gathered of some plaintext.
pub(super) struct Gathered {
    total: u32,
    /// Bytes that were seen.
    added: u32,
    /// Where all lies together, elsewhere.
    address: Option<u64>,
    /// Where the bytes of arrays are.
    room: u64,
    /// From where on bytes are missing.
    broken_at: u32,
}

impl Gathered {
    /// Returns nothing of a plaintext of some length.
    pub(super) fn of(total: u32) -> Self {
        Self { total, added: 0, address: None, room: 0, broken_at: total }
    }

    /// The rest cannot be told.
    pub(super) fn give_up(&mut self) {
        self.break_at(self.added);
    }

    fn break_at(&mut self, at: u32) {
        self.broken_at = self.broken_at.min(at);
    }

    fn kept(&self) -> [Kept; 2] {
        if self.total <= GATHERED_BYTES {
            return [Kept { at: 0, from: 0, until: self.total }, Kept { at: 0, from: 0, until: 0 }];
        }
        [
            Kept { at: 0, from: 0, until: BEGINNING_BYTES },
            Kept { at: BEGINNING_BYTES, from: self.total - END_BYTES, until: self.total },
        ]
    }

    /// Returns a mark that says where it is.
    pub(super) fn mark(&self) -> TlsMark {
        let end_bytes = u64::from(END_BYTES);
        let is_whole = self.broken_at == self.total;
        let (plaintext, together, end) = match self.address {
            Some(address) => {
                (address, self.total, address.saturating_add(u64::from(self.total)).saturating_sub(end_bytes))
            }
            None if self.total <= GATHERED_BYTES => {
                let end = self.room.saturating_add(u64::from(self.total)).saturating_sub(end_bytes);
                (self.room, self.broken_at, if is_whole { end } else { 0 })
            }
            None => {
                let end = self.room.saturating_add(u64::from(BEGINNING_BYTES));
                (self.room, self.broken_at.min(BEGINNING_BYTES), if is_whole { end } else { 0 })
            }
        };
        TlsMark { plaintext, end, length: self.total, together, ..TlsMark::default() }
    }
}
