//! Offsets of kernel struct fields, read from the kernel's BTF by user space and set as one global at load.

/// Byte offsets of the fields on the programs' paths. A name is `struct_field`.
///
/// Rust's BPF back end emits no CO-RE relocations, so that user space resolves the fields and the programs add
/// these numbers to pointers.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// `task_struct.files`
    pub task_files: u32,
    /// `task_struct.mm`
    pub task_mm: u32,
    /// `task_struct.real_parent`
    pub task_real_parent: u32,
    /// `task_struct.tgid`
    pub task_tgid: u32,
    /// `task_struct.pid`
    pub task_pid: u32,
    /// `task_struct.signal`
    pub task_signal: u32,
    /// `signal_struct.live`
    pub signal_live: u32,
    /// `mm_struct.arg_start`
    pub mm_arg_start: u32,
    /// `mm_struct.arg_end`
    pub mm_arg_end: u32,
    /// `files_struct.fdt`
    pub files_fdt: u32,
    /// `fdtable.max_fds`
    pub fdtable_max_fds: u32,
    /// `fdtable.fd`
    pub fdtable_fd: u32,
    /// `file.private_data`
    pub file_private_data: u32,
    /// `socket_alloc.vfs_inode` and in it `inode.i_ino`, from the beginning of `struct socket`
    pub socket_inode_number: u32,
    /// `sock.sk_socket`
    pub sock_socket: u32,
    /// `sock_common.skc_family`
    pub sock_family: u32,
    /// `sock_common.skc_state`
    pub sock_state: u32,
    /// `sock_common.skc_daddr`
    pub sock_daddr: u32,
    /// `sock_common.skc_rcv_saddr`
    pub sock_rcv_saddr: u32,
    /// `sock_common.skc_v6_daddr`
    pub sock_v6_daddr: u32,
    /// `sock_common.skc_v6_rcv_saddr`
    pub sock_v6_rcv_saddr: u32,
    /// `sock_common.skc_dport`, network byte order
    pub sock_dport: u32,
    /// `sock_common.skc_num`, host byte order
    pub sock_num: u32,
    /// `sock.sk_protocol`
    pub sock_protocol: u32,
    /// `tcp_sock.write_seq`
    pub tcp_write_seq: u32,
    /// `tcp_sock.copied_seq`
    pub tcp_copied_seq: u32,
    /// `tcp_sock.bytes_received`
    pub tcp_bytes_received: u32,
    /// `tcp_sock.bytes_acked`
    pub tcp_bytes_acked: u32,
    /// `tcp_sock.snd_una`
    pub tcp_snd_una: u32,
    /// `tcp_sock.snd_nxt`
    pub tcp_snd_nxt: u32,
    /// `tcp_sock.rcv_nxt`
    pub tcp_rcv_nxt: u32,
    /// `tcp_sock.mss_cache`
    pub tcp_mss_cache: u32,
    /// `inet_connection_sock.icsk_ulp_ops`: what MPTCP and TLS in the kernel put between a socket and TCP
    pub inet_ulp_ops: u32,
    /// `inet_connection_sock.icsk_ack.pingpong`: whether what comes in is acknowledged late
    pub inet_ack_pingpong: u32,
    /// `sock.sk_err`
    pub sock_err: u32,
    /// `sock_common.skc_flags`
    pub sock_flags: u32,
    /// The bit of the field above that `SO_ZEROCOPY` sets
    pub sock_zero_copy: u32,
    /// `file.f_flags`
    pub file_flags: u32,
    /// `file.f_inode`
    pub file_inode: u32,
    /// `inode.i_mode`
    pub inode_mode: u32,
    /// `unix_sock.peer`
    pub unix_peer: u32,
    /// `unix_sock.addr`
    pub unix_addr: u32,
    /// `unix_address.len`
    pub unix_address_len: u32,
    /// `unix_address.name`
    pub unix_address_name: u32,
    /// `file.f_count`, or `file.f_ref` from Linux 6.13: references to an open file
    pub file_count: u32,
    /// What the field above holds for the last reference: 1, or 0 from Linux 6.13 (`FILE_REF_ONEREF`)
    pub file_count_last: u32,
    /// 1 where the helper `bpf_get_current_task_btf` exists (Linux 5.11)
    pub has_typed_task: u32,
    /// `task_struct.thread` and in it `thread_struct.fsbase`
    pub task_thread_pointer: u32,
}

/// Offsets in `struct socket` that all supported kernels agree on, so that its head is read at once; user space makes
/// sure of them.
pub const SOCKET_TYPE_OFFSET: u32 = 4;
/// `socket.file`
pub const SOCKET_FILE_OFFSET: u32 = 16;
/// `socket.sk`
pub const SOCKET_SK_OFFSET: u32 = 24;

impl Offsets {
    /// What the object holds until user space has set the real offsets.
    pub const ZERO: Self = Self {
        task_files: 0,
        task_mm: 0,
        task_real_parent: 0,
        task_tgid: 0,
        task_pid: 0,
        task_signal: 0,
        signal_live: 0,
        mm_arg_start: 0,
        mm_arg_end: 0,
        files_fdt: 0,
        fdtable_max_fds: 0,
        fdtable_fd: 0,
        file_private_data: 0,
        socket_inode_number: 0,
        sock_socket: 0,
        sock_family: 0,
        sock_state: 0,
        sock_daddr: 0,
        sock_rcv_saddr: 0,
        sock_v6_daddr: 0,
        sock_v6_rcv_saddr: 0,
        sock_dport: 0,
        sock_num: 0,
        sock_protocol: 0,
        tcp_write_seq: 0,
        tcp_copied_seq: 0,
        tcp_bytes_received: 0,
        tcp_bytes_acked: 0,
        tcp_snd_una: 0,
        tcp_snd_nxt: 0,
        tcp_rcv_nxt: 0,
        tcp_mss_cache: 0,
        inet_ulp_ops: 0,
        inet_ack_pingpong: 0,
        sock_err: 0,
        sock_flags: 0,
        sock_zero_copy: 0,
        file_flags: 0,
        file_inode: 0,
        inode_mode: 0,
        unix_peer: 0,
        unix_addr: 0,
        unix_address_len: 0,
        unix_address_name: 0,
        file_count: 0,
        file_count_last: 0,
        has_typed_task: 0,
        task_thread_pointer: 0,
    };
}

const _: () = assert!(size_of::<Offsets>() == 4 * 48);
