//! What the kernel hands to the programs that write contexts: sockets, segments, and the bytes of a call.

use core::ffi::c_void;
use core::mem::MaybeUninit;

use aya_ebpf::bindings::_bindgen_ty_35::BPF_WRITE_HDR_TCP_CURRENT_MSS;
use aya_ebpf::helpers::generated::{
    bpf_load_hdr_opt, bpf_msg_pull_data, bpf_probe_read_kernel, bpf_reserve_hdr_opt, bpf_skc_to_tcp_sock,
    bpf_store_hdr_opt,
};
use aya_ebpf::maps::SockHash;
use aya_ebpf::programs::{SkMsgContext, SockOpsContext};

use super::kernel;

/// `BPF_ANY`: an address that is in the map already belonged to a socket whose end was missed.
const NEW_OR_OLD: u64 = 0;
/// Offsets in a message that the programs look at.
const OFFSETS: u32 = 0x1fff;
/// Offset of the header length in a TCP header, and of its flags.
const HEADER_LENGTH_AT: usize = 12;
const FLAGS_AT: usize = 13;

/// Returns the address of the `struct sock` that something happened to.
#[inline(always)]
pub(crate) fn socket_of_operations(context: &SockOpsContext) -> Option<u64> {
    // SAFETY: the context is valid while the program runs.
    let operations = unsafe { &*context.ops };
    // SAFETY: the field is the socket for every operation.
    let sock = unsafe { operations.__bindgen_anon_2.sk };
    if sock.is_null() {
        return None;
    }
    // SAFETY: the pointer is not null, and the kernel's own.
    let sock = unsafe { bpf_skc_to_tcp_sock(sock.cast()) };
    address(sock as u64)
}

/// Returns the address of the `struct sock` that a call writes to.
#[inline(always)]
pub(crate) fn socket_of_message(context: &SkMsgContext) -> Option<u64> {
    // SAFETY: the context is valid while the program runs.
    let message = unsafe { &*context.msg };
    // SAFETY: the field is the socket of every message.
    let sock = unsafe { message.__bindgen_anon_3.sk };
    if sock.is_null() {
        return None;
    }
    // SAFETY: the pointer is not null, and the kernel's own.
    let sock = unsafe { bpf_skc_to_tcp_sock(sock.cast()) };
    address(sock as u64)
}

/// Returns a pointer as a number that the verifier knows nothing about: it lets typed pointers be neither compared nor
/// stored everywhere.
#[inline(always)]
fn address(pointer: u64) -> Option<u64> {
    if pointer == 0 {
        return None;
    }
    kernel::<u64>((&raw const pointer) as u64, 0)
}

/// Returns how many segments with data came in and went out.
#[inline(always)]
pub(crate) fn segments_with_data(context: &SockOpsContext) -> (u32, u32) {
    // SAFETY: the context is valid while the program runs.
    let received = unsafe { (*context.ops).data_segs_in };
    // SAFETY: as above.
    let sent = unsafe { (*context.ops).data_segs_out };
    (received, sent)
}

/// Puts the socket that something happened to into a socket map, under its address.
#[inline(always)]
pub(crate) fn enter_socket_map(
    map: &SockHash<u64>,
    context: &SockOpsContext,
    mut sock: u64,
) -> Result<(), i32> {
    // SAFETY: the context is valid while the program runs, and nobody else holds a reference to it.
    map.update(&mut sock, unsafe { &mut *context.ops }, NEW_OR_OLD)
}

/// Returns the length of the payload of the segment that came in, and its flags.
#[inline(always)]
pub(crate) fn incoming_segment(context: &SockOpsContext) -> Option<(u32, u32)> {
    // SAFETY: the context is valid while the program runs.
    let operations = unsafe { &*context.ops };
    // SAFETY: the field is the segment's beginning for this operation.
    let start = unsafe { operations.__bindgen_anon_3.skb_data } as usize;
    // SAFETY: the field is the segment's end for this operation.
    let end = unsafe { operations.__bindgen_anon_4.skb_data_end } as usize;
    if start + FLAGS_AT + 1 > end {
        return None;
    }
    // SAFETY: the byte is before the end.
    let header = u32::from(unsafe { *((start + HEADER_LENGTH_AT) as *const u8) } >> 4) * 4;
    // SAFETY: as above.
    let flags = u32::from(unsafe { *((start + FLAGS_AT) as *const u8) });
    Some((operations.skb_len.saturating_sub(header), flags))
}

/// Returns whether the room for options is asked for to learn how many bytes a segment may hold, not for a segment.
#[inline(always)]
pub(crate) fn is_measuring(context: &SockOpsContext) -> bool {
    context.arg(0) == BPF_WRITE_HDR_TCP_CURRENT_MSS
}

/// Returns the length of the payload of the segment that is about to be built.
#[inline(always)]
pub(crate) fn outgoing_bytes(context: &SockOpsContext) -> u32 {
    // SAFETY: the context is valid while the program runs.
    unsafe { (*context.ops).skb_len }
}

/// Asks for room in the header of the segment that is about to be built.
#[inline(always)]
pub(crate) fn reserve_option(context: &SockOpsContext, length: u32) -> Result<(), i64> {
    // SAFETY: the context is valid while the program runs; the helper checks the length.
    match unsafe { bpf_reserve_hdr_opt(context.ops, length, 0) } {
        0 => Ok(()),
        error => Err(error),
    }
}

/// Writes an option into the room that was asked for.
#[inline(always)]
pub(crate) fn store_option<const N: usize>(context: &SockOpsContext, option: &[u8; N]) -> Result<(), i64> {
    // SAFETY: the context is valid while the program runs; the helper reads no more than the option's bytes.
    match unsafe { bpf_store_hdr_opt(context.ops, option.as_ptr().cast(), N as u32, 0) } {
        0 => Ok(()),
        error => Err(error),
    }
}

/// Looks for an option in the segment that came in, by its first bytes (kind, their number, experiment), and completes it;
/// returns its length.
#[inline(always)]
pub(crate) fn load_option<const N: usize>(
    context: &SockOpsContext,
    option: &mut [u8; N],
) -> Result<u32, i64> {
    // SAFETY: the context is valid while the program runs; the helper writes no more than the option's bytes.
    match unsafe { bpf_load_hdr_opt(context.ops, option.as_mut_ptr().cast(), N as u32, 0) } {
        length if length >= 0 => Ok(length as u32),
        error => Err(error),
    }
}

/// Makes the bytes from `start` to `end` of a message those that a [`View`] shows.
#[inline(always)]
pub(crate) fn pull(context: &SkMsgContext, start: u32, end: u32) -> Result<(), i64> {
    // SAFETY: the helper checks the range; views are made anew after each call.
    match unsafe { bpf_msg_pull_data(context.msg, start, end, 0) } {
        0 => Ok(()),
        error => Err(error),
    }
}

/// The bytes of a message that lie at one place in memory.
pub(crate) struct View {
    start: usize,
    end: usize,
}

/// So many bytes in a row, all of which are there.
pub(crate) struct Window<const N: usize>(usize);

impl View {
    /// Returns what can be seen of a message.
    #[inline(always)]
    pub(crate) fn of(context: &SkMsgContext) -> Self {
        Self { start: context.data(), end: context.data_end() }
    }

    /// Returns the bytes from here on, if there are enough.
    #[inline(always)]
    pub(crate) fn window<const N: usize>(&self, at: u32) -> Option<Window<N>> {
        let start = core::hint::black_box(self.start + (at & OFFSETS) as usize);
        if start + N > self.end { None } else { Some(Window(start)) }
    }

    /// Returns the words from here on, little-endian, where what lies behind the last byte is whatever is in that memory:
    /// one call, and no bound that the verifier would have to follow.
    #[inline(always)]
    pub(crate) fn words<const N: usize>(&self, at: u32) -> [u32; N] {
        let start = core::hint::black_box(self.start + (at & OFFSETS) as usize);
        let mut words = MaybeUninit::<[u32; N]>::uninit();
        let source = start as *const c_void;
        // SAFETY: the destination is `N` words on the stack; the helper checks the source, and writes zeros where it cannot
        // be read.
        unsafe { bpf_probe_read_kernel(words.as_mut_ptr().cast(), size_of::<[u32; N]>() as u32, source) };
        // SAFETY: the helper has written all bytes.
        unsafe { words.assume_init() }
    }

    /// Returns a byte.
    #[inline(always)]
    pub(crate) fn byte(&self, at: u32) -> Option<u8> {
        let address = core::hint::black_box(self.start + (at & OFFSETS) as usize);
        if address + 1 > self.end {
            return None;
        }
        // SAFETY: the byte is before the end.
        Some(unsafe { *(address as *const u8) })
    }

    /// Writes from here on; returns whether there was room.
    #[inline(always)]
    pub(crate) fn write<const N: usize>(&self, at: u32, bytes: &[u8; N]) -> bool {
        let start = core::hint::black_box(self.start + (at & OFFSETS) as usize);
        if start + N > self.end {
            return false;
        }
        for (index, byte) in bytes.iter().enumerate() {
            // SAFETY: the byte is before the end.
            unsafe { ((start + index) as *mut u8).write_volatile(*byte) };
        }
        true
    }
}

impl<const N: usize> Window<N> {
    /// Returns a byte.
    #[inline(always)]
    pub(crate) fn byte(&self, at: usize) -> u8 {
        // SAFETY: the callers' offsets are constants that lie within the window, which the verifier checks.
        unsafe { *((self.0 + at) as *const u8) }
    }

    /// Returns four bytes as a little-endian number.
    #[inline(always)]
    pub(crate) fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes([self.byte(at), self.byte(at + 1), self.byte(at + 2), self.byte(at + 3)])
    }

    /// Returns eight bytes as a little-endian number.
    #[inline(always)]
    pub(crate) fn long(&self, at: usize) -> u64 {
        u64::from(self.word(at + 4)) << 32 | u64::from(self.word(at))
    }
}

/// How far a request was read, in a map: values that the verifier does not know let it see that all steps are alike.
pub(crate) struct Scan<'a>(pub(crate) &'a mut [u32; 4]);

impl Scan<'_> {
    #[inline(always)]
    pub(crate) fn load(&self) -> [u32; 4] {
        let values = &raw const *self.0;
        // SAFETY: the pointer is that of a field of a map entry.
        unsafe { values.read_volatile() }
    }

    #[inline(always)]
    pub(crate) fn store(&mut self, values: [u32; 4]) {
        let place = &raw mut *self.0;
        // SAFETY: as above.
        unsafe { place.write_volatile(values) };
    }
}
