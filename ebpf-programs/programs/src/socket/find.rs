//! From a file descriptor of the running process to its `struct sock`.

use core::num::NonZero;

use remora_abi::{FAMILY_INET, FAMILY_INET6, FAMILY_UNIX};

use crate::maps::offsets;
use crate::read;

/// `S_IFMT` and `S_IFSOCK` of `include/uapi/linux/stat.h`.
const FILE_TYPE_MASK: u16 = 0o170_000;
const FILE_TYPE_SOCKET: u16 = 0o140_000;
/// `SOCK_STREAM` of `include/linux/net.h`.
const STREAM: u16 = 1;
/// `IPPROTO_TCP`.
const TCP: u16 = 6;

/// A stream socket of a family that is observed.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    /// Address of the `struct sock`.
    pub(crate) sock: u64,
    /// Address of the `struct file`.
    pub(crate) file: u64,
    /// Number of the socket's inode.
    pub(crate) inode: u32,
    /// `FAMILY_*`.
    pub(crate) family: u8,
}

/// Returns the TCP or Unix stream socket behind a descriptor; none for any other file.
#[inline(always)]
pub(crate) fn find(descriptor: u64) -> Option<Found> {
    let offsets = offsets();
    let file = file(descriptor as u32)?;
    let inode = read::pointer(file, offsets.file_inode)?;
    if read::kernel::<u16>(inode, offsets.inode_mode)? & FILE_TYPE_MASK != FILE_TYPE_SOCKET {
        return None;
    }
    let socket = read::pointer(file, offsets.file_private_data)?;
    if read::kernel::<u16>(socket, offsets.socket_type)? != STREAM {
        return None;
    }
    let sock = read::pointer(socket, offsets.socket_sk)?.get();
    let family = family(sock)?;
    let number = read::kernel::<u64>(inode, offsets.inode_ino)?;
    Some(Found { sock, file: file.get(), inode: number as u32, family })
}

/// Returns the family of a `struct sock` if it is observed.
#[inline(always)]
pub(crate) fn family(sock: u64) -> Option<u8> {
    let offsets = offsets();
    let family = read::kernel::<u16>(sock, offsets.sock_family)?;
    if family == u16::from(FAMILY_UNIX) {
        return Some(FAMILY_UNIX);
    }
    let is_inet = family == u16::from(FAMILY_INET) || family == u16::from(FAMILY_INET6);
    if is_inet && read::kernel::<u16>(sock, offsets.sock_protocol)? == TCP {
        return Some(family as u8);
    }
    None
}

/// Returns the address of the `struct file` behind a descriptor (`files_lookup_fd_raw`).
#[inline(always)]
fn file(descriptor: u32) -> Option<NonZero<u64>> {
    let offsets = offsets();
    let task = read::task();
    let files = read::pointer(task, offsets.task_files)?;
    let table = read::pointer(files, offsets.files_fdt)?;
    if descriptor >= read::kernel::<u32>(table, offsets.fdtable_max_fds)? {
        return None;
    }
    let array = read::pointer(table, offsets.fdtable_fd)?;
    read::pointer(array.get() + u64::from(descriptor) * 8, 0)
}
