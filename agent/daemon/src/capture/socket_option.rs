//! Socket options that the safe wrappers do not offer.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Sets an option whose value is an `int`.
///
/// # Errors
/// What `setsockopt` says.
pub fn set(socket: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    let length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes at the address of a value that lives until the call returns.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns how many of `calls` with `MSG_ZEROCOPY` the kernel has told to be done with their memory, waiting for it up
/// to a second.
///
/// # Errors
/// What `recvmsg` says.
pub fn zero_copy_calls(socket: BorrowedFd<'_>, calls: u32) -> io::Result<u32> {
    let mut told = 0;
    for _ in 0..1000 {
        match told_range(socket) {
            Ok((first, last)) => told += last.wrapping_sub(first).wrapping_add(1),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && told < calls => {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(told)
}

/// Returns the first and the last call that a message of the error queue is about (`ee_info` and `ee_data` of
/// `struct sock_extended_err`).
fn told_range(socket: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    let mut control = [0_u64; 32];
    // SAFETY: all fields may be zero.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_control = control.as_mut_ptr().cast();
    // Its type is that of the C library: musl has another one than glibc.
    message.msg_controllen = size_of_val(&control) as _;
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: the message names memory that lives until the call returns, and no buffer.
    let result = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // A header of 16 bytes, then errno, origin, type, code and padding in 8, then info and data.
    let numbers = control.get(3).copied().unwrap_or_default();
    Ok((numbers as u32, (numbers >> 32) as u32))
}
