//! Bounded reads of kernel and user memory, and of the clock.

#[cfg(feature = "propagation")]
mod socket;
#[cfg(feature = "propagation")]
pub(crate) use socket::{
    Scan, View, Window, enter_socket_map, incoming_segment, is_measuring, load_option, outgoing_bytes, pull,
    reserve_option, segments_with_data, socket_of_message, socket_of_operations, store_option,
};

use core::num::NonZero;

use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_probe_read_kernel, bpf_probe_read_user};
use aya_ebpf::helpers::{bpf_get_current_task, bpf_ktime_get_ns};

use crate::emit::GATHERED_ROOM;

/// Returns `CLOCK_MONOTONIC` in nanoseconds.
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// Returns the address of the running thread's `struct task_struct`.
#[inline(always)]
pub(crate) fn task() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_task() }
}

/// Returns the address of the running thread's `struct task_struct`, of which the verifier knows the type.
#[inline(always)]
pub(crate) fn typed_task() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_task_btf() as u64 }
}

/// Reads a `T` at `base + offset`, where `base` came from [`typed_task`] or was read by this function: no call, since
/// the verifier knows the struct and lets a load that faults give 0.
#[inline(always)]
pub(crate) fn typed<T: Copy>(base: u64, offset: u32) -> T {
    let source = (base + u64::from(offset)) as *const T;
    // SAFETY: the verifier accepts the load only where `base` is the address of a struct that has a field of this size
    // at the offset, or null, and handles faults.
    unsafe { source.read_volatile() }
}

/// Reads a `T` at `base + offset` in kernel memory.
#[inline(always)]
pub(crate) fn kernel<T: Copy>(base: impl Into<u64>, offset: u32) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    let source = (base.into() + u64::from(offset)) as *const core::ffi::c_void;
    // SAFETY: the destination is `size_of::<T>()` bytes on the stack; the helper checks the source.
    let result = unsafe { bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, source) };
    if result != 0 {
        return None;
    }
    // SAFETY: the helper has written all bytes, and every bit pattern is valid for the integers and integer
    // structs that `T` is used with.
    Some(unsafe { value.assume_init() })
}

/// Reads a pointer that is not null.
///
/// The niche keeps the option in one register: the optimiser may copy the unset half of two, which the verifier
/// refuses.
#[inline(always)]
pub(crate) fn pointer(base: impl Into<u64>, offset: u32) -> Option<NonZero<u64>> {
    NonZero::new(kernel::<u64>(base, offset).unwrap_or(0))
}

/// Reads a `T` at `address` in the memory of the running process.
#[inline(always)]
pub(crate) fn user<T: Copy>(address: u64) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    let source = address as *const core::ffi::c_void;
    // SAFETY: as in `kernel`.
    let result = unsafe { bpf_probe_read_user(value.as_mut_ptr().cast(), size_of::<T>() as u32, source) };
    if result != 0 {
        return None;
    }
    // SAFETY: as in `kernel`.
    Some(unsafe { value.assume_init() })
}

/// Copies `length` bytes (1 to `N`) of the running process's memory into `destination`.
#[inline(always)]
pub(crate) fn user_bytes<const N: usize>(destination: &mut [u8; N], length: u32, address: u64) -> bool {
    let length = bounded::<N>(length);
    let source = address as *const core::ffi::c_void;
    // SAFETY: `length` is at most `N`, the size of the destination; the helper checks the source.
    unsafe { bpf_probe_read_user(destination.as_mut_ptr().cast(), length, source) == 0 }
}

/// Reads two numbers at `address` in the memory of the running process; the second is beyond all lengths where they cannot
/// be read.
#[inline(always)]
pub(crate) fn user_or_ones(address: u64) -> [u64; 2] {
    let mut values = [0u64; 2];
    let source = address as *const core::ffi::c_void;
    // SAFETY: the destination is of that size; the helper checks the source.
    let result = unsafe { bpf_probe_read_user(values.as_mut_ptr().cast(), 16, source) };
    // No branch: 0, or an error, which is negative.
    [values[0], values[1] | result as u64]
}

/// Copies `length` bytes of the running process's memory to the place `at` of `destination`.
///
/// What is too large is cut by masks rather than compared: `at` is at most 1023 and `length` at most 255.
#[inline(always)]
pub(crate) fn user_bytes_at(
    destination: &mut [u8; GATHERED_ROOM],
    at: u32,
    length: u32,
    address: u64,
) -> bool {
    const { assert!(GATHERED_ROOM >= 1023 + 255) };
    let at = core::hint::black_box(at) & 1023;
    let length = core::hint::black_box(length) & 255;
    let source = address as *const core::ffi::c_void;
    // SAFETY: the masks keep it within the destination.
    let place = unsafe { destination.as_mut_ptr().add(at as usize) };
    // SAFETY: `length` bytes behind `at` are within the destination; the helper checks the source.
    unsafe { bpf_probe_read_user(place.cast(), length, source) == 0 }
}

/// Copies `length` bytes (1 to `N`) of kernel memory into `destination`.
#[inline(always)]
pub(crate) fn kernel_bytes<const N: usize>(destination: &mut [u8; N], length: u32, address: u64) -> bool {
    let length = bounded::<N>(length);
    let source = address as *const core::ffi::c_void;
    // SAFETY: as in `user_bytes`.
    unsafe { bpf_probe_read_kernel(destination.as_mut_ptr().cast(), length, source) == 0 }
}

/// Returns `length` limited to `N`, in a form in which the verifier still sees the limit.
#[inline(always)]
fn bounded<const N: usize>(length: u32) -> u32 {
    // The optimiser may otherwise compare one copy of the value and pass another to the helper.
    let length = core::hint::black_box(length);
    if length > N as u32 { N as u32 } else { length }
}
