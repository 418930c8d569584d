//! Go: the goroutine, and for whom `net/http` writes a request.

mod grpc;

use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;
use remora_abi::{DATA_GOROUTINE, ProcessPolicy, TASKS_GO};

use super::{Task, claim};
use crate::arch::Registers;
use crate::read;
use crate::socket::find::find;
use crate::socket::transfer::observed_process;

/// Offset of `conn`, an interface, in `net/http.persistConn` (Go 1.17 to 1.27).
const PERSIST_CONN_CONN: u64 = 80;
/// Offset of `pfd.Sysfd` in `net.netFD` (Go 1.9 to 1.27).
const NET_FD_SYSFD: u64 = 16;

/// Returns the goroutine, if the register holds the one whose stack is in use.
#[inline(always)]
pub(super) fn task(registers: &Registers, process: &ProcessPolicy) -> Task {
    let goroutine = registers.goroutine();
    let Some([low, high]) = read::user::<[u64; 2]>(goroutine) else { return Task::UNKNOWN };
    if registers.stack() < low || registers.stack() > high {
        return Task::UNKNOWN;
    }
    let id = read::user(goroutine + u64::from(process.first_offset)).unwrap_or(0);
    let parent = if process.second_offset == 0 {
        0
    } else {
        read::user(goroutine + u64::from(process.second_offset)).unwrap_or(0)
    };
    Task { flags: u64::from(DATA_GOROUTINE), id, parent }
}

/// `func (pc *persistConn) roundTrip(req *transportRequest) (resp *Response, err error)`: the request will be written by
/// the connection's own goroutine.
#[uprobe(multi)]
pub(crate) fn go_http_round_trip(context: ProbeContext) -> u32 {
    let Some(process) = observed_process() else { return 0 };
    if process.tasks != TASKS_GO {
        return 0;
    }
    let registers = Registers::of(context.regs.cast());
    if let Some(descriptor) = descriptor(registers.go_first()) {
        claim(descriptor, task(registers, &process));
    }
    0
}

/// Returns the descriptor of the `net.TCPConn` in the interface, or of that in the interface with which its struct
/// begins (`tls.Conn`, and what else wraps a connection).
#[inline(always)]
fn descriptor(persist_conn: u64) -> Option<u64> {
    let connection = read::user::<u64>(persist_conn + PERSIST_CONN_CONN + 8)?;
    if let Some(descriptor) = descriptor_of_tcp_conn(connection) {
        return Some(descriptor);
    }
    descriptor_of_tcp_conn(read::user::<u64>(connection + 8)?)
}

#[inline(always)]
fn descriptor_of_tcp_conn(connection: u64) -> Option<u64> {
    let net_fd = read::user::<u64>(connection)?;
    let descriptor = read::user::<u64>(net_fd + NET_FD_SYSFD)?;
    find(descriptor).map(|_| descriptor)
}
