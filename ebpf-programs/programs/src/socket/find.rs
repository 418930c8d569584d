//! From a file descriptor of the running process to its `struct sock`.

use core::num::NonZero;

use remora_abi::{
    DATAGRAM_PORTS, FAMILY_DATAGRAM, FAMILY_INET, FAMILY_INET6, FAMILY_UNIX, SOCKET_FILE_OFFSET,
    SOCKET_SK_OFFSET, SOCKET_TYPE_OFFSET,
};

use crate::maps::{SETTINGS, SOCKETS, offsets};
use crate::read;

/// `SOCK_STREAM` and `SOCK_DGRAM` of `include/linux/net.h`.
const STREAM: u16 = 1;
const DATAGRAM: u16 = 2;
/// `IPPROTO_TCP` and `IPPROTO_UDP`.
const TCP: u16 = 6;
const UDP: u16 = 17;

/// `S_IFMT` and `S_IFIFO` of `include/uapi/linux/stat.h`.
const FILE_TYPE: u16 = 0o170_000;
const FIFO: u16 = 0o010_000;

/// A socket that is observed.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    /// Address of the `struct sock`.
    pub(crate) sock: u64,
    /// Address of the `struct file`.
    pub(crate) file: u64,
    /// Number of the socket's inode.
    pub(crate) inode: u32,
    /// `FAMILY_*`, for datagrams with that bit.
    pub(crate) family: u8,
}

/// The beginning of `struct socket`.
#[repr(C)]
#[derive(Clone, Copy)]
struct SocketHead {
    state: u32,
    kind: u16,
    padding: u16,
    flags: u64,
    file: u64,
    sock: u64,
}

const _: () = assert!(core::mem::offset_of!(SocketHead, kind) == SOCKET_TYPE_OFFSET as usize);
const _: () = assert!(core::mem::offset_of!(SocketHead, file) == SOCKET_FILE_OFFSET as usize);
const _: () = assert!(core::mem::offset_of!(SocketHead, sock) == SOCKET_SK_OFFSET as usize);

/// Returns the TCP or Unix stream socket behind a descriptor; none for any other file.
///
/// What a file's private data are is told by whether they name the file in turn, as a `struct socket` does.
#[inline(always)]
pub(crate) fn find(descriptor: u64) -> Option<Found> {
    found(descriptor, false, || 0)
}

/// Returns what [`find`] returns, or the UDP socket behind a descriptor if one of its ports is observed, or was before,
/// or the `target` port of what is sent now.
#[inline(always)]
pub(crate) fn find_any(descriptor: u64, target: impl FnOnce() -> u16) -> Option<Found> {
    found(descriptor, true, target)
}

#[inline(always)]
fn found(descriptor: u64, takes_datagrams: bool, target: impl FnOnce() -> u16) -> Option<Found> {
    let offsets = offsets();
    let file = file(descriptor as u32)?;
    let socket = read::pointer(file, offsets.file_private_data)?;
    let head = read::kernel::<SocketHead>(socket, 0)?;
    if head.file != file.get() || head.sock == 0 {
        return None;
    }
    let inode = read::kernel::<u64>(socket, offsets.socket_inode_number)? as u32;
    let family = if head.kind == STREAM {
        family(head.sock)?
    } else if takes_datagrams && head.kind == DATAGRAM {
        datagram_family(head.sock, inode, target)?
    } else {
        return None;
    };
    Some(Found { sock: head.sock, file: file.get(), inode, family })
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

/// Returns the family of a UDP socket that is connected or bound to a port which is observed, or sends to one, now or
/// before.
#[inline(always)]
fn datagram_family(sock: u64, inode: u32, target: impl FnOnce() -> u16) -> Option<u8> {
    let offsets = offsets();
    let ports = SETTINGS.get(0)?.datagram_ports;
    let peer = u16::from_be(read::kernel::<u16>(sock, offsets.sock_dport)?);
    let local = read::kernel::<u16>(sock, offsets.sock_num)?;
    let is_named = distance(ports, peer) == 0 || distance(ports, local) == 0;
    if !is_named && !is_known(sock, inode) && distance(ports, target()) != 0 {
        return None;
    }
    let family = read::kernel::<u16>(sock, offsets.sock_family)?;
    let is_udp = read::kernel::<u16>(sock, offsets.sock_protocol)? == UDP;
    let is_inet = family == u16::from(FAMILY_INET) || family == u16::from(FAMILY_INET6);
    (is_udp && is_inet).then_some(family as u8 | FAMILY_DATAGRAM)
}

#[inline(always)]
fn is_known(sock: u64, inode: u32) -> bool {
    // SAFETY: the pointer is that of a map entry.
    SOCKETS.get_ptr(&sock).is_some_and(|state| unsafe { (*state).inode } == inode)
}

/// Returns whether a socket for datagrams is bound to a port that is observed.
#[inline(always)]
pub(crate) fn is_bound_to_observed(port: u16) -> bool {
    SETTINGS.get(0).is_some_and(|settings| distance(settings.datagram_ports, port) == 0)
}

/// Returns 0 where a port is among others: without branches, of which the verifier would follow every sequence.
#[inline(always)]
fn distance(ports: [u16; DATAGRAM_PORTS], port: u16) -> u64 {
    const { assert!(DATAGRAM_PORTS as u32 * u16::BITS <= u64::BITS) };
    ports.into_iter().map(|known| u64::from(known ^ port)).product()
}

/// Returns the address of the `struct pipe_inode_info` behind a descriptor; none for any other file.
#[inline(always)]
pub(crate) fn pipe(descriptor: u64) -> Option<u64> {
    let offsets = offsets();
    let file = file(descriptor as u32)?;
    let inode = read::pointer(file, offsets.file_inode)?;
    let mode = read::kernel::<u16>(inode, offsets.inode_mode)?;
    if mode & FILE_TYPE != FIFO {
        return None;
    }
    read::pointer(file, offsets.file_private_data).map(NonZero::get)
}

/// Returns the address of the `struct file` behind a descriptor (`files_lookup_fd_raw`).
#[inline(always)]
fn file(descriptor: u32) -> Option<NonZero<u64>> {
    let (length, array) = descriptors()?;
    if descriptor >= length {
        return None;
    }
    read::pointer(array + u64::from(descriptor) * 8, 0)
}

/// Returns length and address of the running thread's array of files.
#[inline(always)]
fn descriptors() -> Option<(u32, u64)> {
    let offsets = offsets();
    if offsets.has_typed_task != 0 {
        let files = read::typed::<u64>(read::typed_task(), offsets.task_files);
        let table = read::typed::<u64>(files, offsets.files_fdt);
        let length = read::typed::<u32>(table, offsets.fdtable_max_fds);
        return Some((length, read::typed(table, offsets.fdtable_fd)));
    }
    let files = read::pointer(read::task(), offsets.task_files)?;
    let table = read::pointer(files, offsets.files_fdt)?;
    Some((read::kernel(table, offsets.fdtable_max_fds)?, read::kernel(table, offsets.fdtable_fd)?))
}
