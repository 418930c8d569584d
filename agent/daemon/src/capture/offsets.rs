//! Offsets of kernel struct fields, from the running kernel's BTF.

use std::fs;
use std::path::Path;

use btf_rs::{Btf, BtfType, Member, Struct, Type};
use remora_abi::{Offsets, SOCKET_FILE_OFFSET, SOCKET_SK_OFFSET, SOCKET_TYPE_OFFSET};

/// Where the kernel publishes its types.
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Why an offset is not known.
#[derive(Debug, thiserror::Error)]
pub enum OffsetError {
    /// The kernel publishes no types.
    #[error(
        "read kernel types from {path}: the kernel needs CONFIG_DEBUG_INFO_BTF=y (Debian, Ubuntu, RHEL and most \
         others have it from Linux 5.10 on)"
    )]
    NoBtf {
        /// The file.
        path: String,
        /// What went wrong.
        #[source]
        source: btf_rs::Error,
    },
    /// A struct or field is missing.
    #[error("kernel types have no field {field} in struct {structure}")]
    NoField {
        /// The struct.
        structure: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A field that has been at one place in all kernels so far is at another.
    #[error(
        "field {field} of struct {structure} has moved in this kernel: please report it with the output of `uname -r`"
    )]
    Moved {
        /// The struct.
        structure: &'static str,
        /// The field.
        field: &'static str,
    },
}

/// Returns the offsets of the running kernel. Takes some 0.3 s.
pub fn resolve() -> Result<Offsets, OffsetError> {
    resolve_from(Path::new(VMLINUX))
}

fn resolve_from(path: &Path) -> Result<Offsets, OffsetError> {
    // In one piece: from a file it would ask where it stands for each type.
    let btf = fs::read(path)
        .map_err(btf_rs::Error::from)
        .and_then(|types| Btf::from_bytes(&types))
        .map_err(|source| OffsetError::NoBtf { path: path.display().to_string(), source })?;
    let at = |structure, field| find(&btf, structure, field);
    let (file_count, file_count_last) = match at("file", "f_count") {
        Ok(offset) => (offset, 1),
        // `file_ref_t` counts from 0 (`FILE_REF_ONEREF`).
        Err(_) => (at("file", "f_ref")?, 0),
    };
    for (field, expected) in
        [("type", SOCKET_TYPE_OFFSET), ("file", SOCKET_FILE_OFFSET), ("sk", SOCKET_SK_OFFSET)]
    {
        if at("socket", field)? != expected {
            return Err(OffsetError::Moved { structure: "socket", field });
        }
    }
    Ok(Offsets {
        task_files: at("task_struct", "files")?,
        task_mm: at("task_struct", "mm")?,
        task_real_parent: at("task_struct", "real_parent")?,
        task_tgid: at("task_struct", "tgid")?,
        task_pid: at("task_struct", "pid")?,
        task_signal: at("task_struct", "signal")?,
        signal_live: at("signal_struct", "live")?,
        mm_arg_start: at("mm_struct", "arg_start")?,
        mm_arg_end: at("mm_struct", "arg_end")?,
        files_fdt: at("files_struct", "fdt")?,
        fdtable_max_fds: at("fdtable", "max_fds")?,
        fdtable_fd: at("fdtable", "fd")?,
        file_private_data: at("file", "private_data")?,
        socket_inode_number: at("socket_alloc", "vfs_inode")? + at("inode", "i_ino")?,
        sock_socket: at("sock", "sk_socket")?,
        sock_family: at("sock_common", "skc_family")?,
        sock_state: at("sock_common", "skc_state")?,
        sock_daddr: at("sock_common", "skc_daddr")?,
        sock_rcv_saddr: at("sock_common", "skc_rcv_saddr")?,
        sock_v6_daddr: at("sock_common", "skc_v6_daddr")?,
        sock_v6_rcv_saddr: at("sock_common", "skc_v6_rcv_saddr")?,
        sock_dport: at("sock_common", "skc_dport")?,
        sock_num: at("sock_common", "skc_num")?,
        sock_protocol: at("sock", "sk_protocol")?,
        tcp_write_seq: at("tcp_sock", "write_seq")?,
        tcp_copied_seq: at("tcp_sock", "copied_seq")?,
        tcp_bytes_received: at("tcp_sock", "bytes_received")?,
        tcp_bytes_acked: at("tcp_sock", "bytes_acked")?,
        tcp_snd_una: at("tcp_sock", "snd_una")?,
        tcp_snd_nxt: at("tcp_sock", "snd_nxt")?,
        tcp_rcv_nxt: at("tcp_sock", "rcv_nxt")?,
        tcp_mss_cache: at("tcp_sock", "mss_cache")?,
        inet_ulp_ops: at("inet_connection_sock", "icsk_ulp_ops")?,
        inet_ack_pingpong: find_inner(&btf, "inet_connection_sock", "icsk_ack", "pingpong")?,
        sock_err: at("sock", "sk_err")?,
        sock_flags: at("sock_common", "skc_flags")?,
        sock_zero_copy: enumerator(&btf, "sock_flags", "SOCK_ZEROCOPY")?,
        file_flags: at("file", "f_flags")?,
        file_inode: at("file", "f_inode")?,
        inode_mode: at("inode", "i_mode")?,
        unix_peer: at("unix_sock", "peer")?,
        unix_addr: at("unix_sock", "addr")?,
        unix_address_len: at("unix_address", "len")?,
        unix_address_name: at("unix_address", "name")?,
        file_count,
        file_count_last,
        has_typed_task: u32::from(
            btf.resolve_types_by_name("bpf_get_current_task_btf").is_ok_and(|types| !types.is_empty()),
        ),
        task_thread_pointer: at("task_struct", "thread")? + at("thread_struct", "fsbase")?,
    })
}

fn find(btf: &Btf, structure: &'static str, field: &'static str) -> Result<u32, OffsetError> {
    let types = btf.resolve_types_by_name(structure).unwrap_or_default();
    types
        .iter()
        .find_map(|candidate| match candidate {
            Type::Struct(found) => bit_offset(btf, found, field),
            _ => None,
        })
        .map(|bits| bits / 8)
        .ok_or(OffsetError::NoField { structure, field })
}

/// Returns the offset of a field of a field that is a struct.
fn find_inner(
    btf: &Btf,
    structure: &'static str,
    field: &'static str,
    inner: &'static str,
) -> Result<u32, OffsetError> {
    let types = btf.resolve_types_by_name(structure).unwrap_or_default();
    let bits = types.iter().find_map(|candidate| {
        let Type::Struct(outer) = candidate else { return None };
        let named = |member: &&Member| btf.resolve_name(*member).is_ok_and(|name| name == field);
        let member = outer.members.iter().find(named)?;
        match btf.resolve_type_by_id(member.get_type_id()?).ok()? {
            Type::Struct(found) => Some(member.bit_offset() + bit_offset(btf, &found, inner)?),
            _ => None,
        }
    });
    bits.map(|bits| bits / 8).ok_or(OffsetError::NoField { structure, field: inner })
}

/// Returns the value of an enumerator.
fn enumerator(btf: &Btf, structure: &'static str, field: &'static str) -> Result<u32, OffsetError> {
    let types = btf.resolve_types_by_name(structure).unwrap_or_default();
    let enumeration = types.iter().find_map(|found| match found {
        Type::Enum(found) => Some(found),
        _ => None,
    });
    let mut values = enumeration.into_iter().flat_map(|found| &found.members);
    let named = values.find(|value| btf.resolve_name(*value).is_ok_and(|name| name == field));
    named.map(|value| value.val()).ok_or(OffsetError::NoField { structure, field })
}

/// Looks for the field, also in structs and unions without a name.
fn bit_offset(btf: &Btf, structure: &Struct, field: &str) -> Option<u32> {
    structure.members.iter().find_map(|member| {
        let name = btf.resolve_name(member).unwrap_or_default();
        if name == field {
            return Some(member.bit_offset());
        }
        if !name.is_empty() {
            return None;
        }
        match btf.resolve_type_by_id(member.get_type_id()?).ok()? {
            Type::Struct(inner) | Type::Union(inner) => {
                Some(member.bit_offset() + bit_offset(btf, &inner, field)?)
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_kernel_has_all_fields() {
        if !Path::new(VMLINUX).exists() {
            eprintln!("skipped: {VMLINUX} is missing");
            return;
        }
        let offsets = resolve().unwrap();
        assert_ne!(offsets.task_files, offsets.task_mm);
        assert_eq!(offsets.sock_dport % 2, 0);
        assert!(offsets.tcp_write_seq > offsets.sock_socket, "tcp_sock begins with a sock");
        assert_eq!(
            offsets.sock_rcv_saddr,
            offsets.sock_daddr + 4,
            "inet_sock lays the addresses side by side"
        );
    }

    #[test]
    fn missing_file_is_named() {
        let error = resolve_from(Path::new("/nonexistent/btf")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/btf"), "{error}");
    }
}
