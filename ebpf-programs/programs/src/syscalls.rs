//! The two hooks on system calls, and which call means what.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use remora_abi::{DIRECTION_EGRESS, DIRECTION_INGRESS, ROLE_ACCEPTED};

use crate::arch::{Registers, number};
use crate::runtime::tokens;
use crate::socket::call::memory;
use crate::socket::find::find;
use crate::socket::transfer::{Memory, observed_process};
use crate::socket::{close, open, transfer};
use crate::{process, read, thread};

/// `MSG_PEEK` and `MSG_TRUNC` of `include/linux/socket.h`.
const PEEK: u64 = 0x02;
const TRUNCATE: u64 = 0x20;
/// `MSG_OOB` and `MSG_ERRQUEUE`: what is read is not of the stream.
const OUT_OF_BAND: u64 = 0x01;
const ERROR_QUEUE: u64 = 0x2000;

/// Descriptors for which only an event loop waits at once: a server that serves one connection after the other waits for
/// new ones and for a word of its master, and a client for its own connection and a way to be woken.
const LOOP_DESCRIPTORS: u64 = 3;
/// 64-bit words of an `fd_set` that are looked at: the first 256 descriptors.
const DESCRIPTOR_WORDS: usize = 4;

/// What is to be done at the entry of a call.
enum Entry {
    Transfer { descriptor: u64, direction: u8, memory: Memory },
    Splice,
    Close,
    Wait { descriptors: u64 },
    Nothing,
}

/// `sys_enter(struct pt_regs *regs, long id)`
#[btf_tracepoint(function = "sys_enter")]
pub(crate) fn sys_enter(context: BtfTracePointContext) -> i32 {
    let call = context.arg::<u64>(1) as i64;
    if !is_entry_of_interest(call) {
        return 0;
    }
    let registers = Registers::of(context.arg(0));
    if registers.is_32_bit() {
        return 0;
    }
    // Each in a program of its own, so that the stack of the one is not below that of the other.
    if call == number::KILL {
        tokens::marked(registers)
    } else {
        enter(call, registers)
    }
    0
}

#[inline(never)]
fn enter(call: i64, registers: &Registers) {
    match entry(call, registers) {
        Entry::Transfer { descriptor, direction, memory } => {
            transfer::enter(registers, descriptor, direction, memory);
        }
        Entry::Splice => enter_splice(registers),
        Entry::Close => {
            close::handle_close(registers.first(), read::now_ns());
        }
        Entry::Wait { descriptors } => count_turn(descriptors),
        Entry::Nothing => {}
    }
}

/// `sys_exit(struct pt_regs *regs, long ret)`
#[btf_tracepoint(function = "sys_exit")]
pub(crate) fn sys_exit(context: BtfTracePointContext) -> i32 {
    let registers = Registers::of(context.arg(0));
    let call = registers.number();
    let result = context.arg::<u64>(1) as i64;
    let is_of_exit_only = matches!(call, number::ACCEPT | number::ACCEPT4 | number::MMAP);
    if !is_exit_of_interest(call) && !is_of_exit_only || registers.is_32_bit() {
        return 0;
    }
    match call {
        number::ACCEPT | number::ACCEPT4 => exit_accept(result),
        number::MMAP => exit_map(registers, result),
        _ => transfer::exit(result),
    }
    0
}

#[inline(always)]
fn is_entry_of_interest(call: i64) -> bool {
    is_exit_of_interest(call)
        || matches!(
            call,
            number::CLOSE
                | number::KILL
                | number::POLL
                | number::PPOLL
                | number::SELECT
                | number::PSELECT6
                | number::EPOLL_WAIT
                | number::EPOLL_PWAIT
                | number::EPOLL_PWAIT2
                | number::IO_URING_ENTER
        )
}

#[inline(always)]
fn is_exit_of_interest(call: i64) -> bool {
    matches!(
        call,
        number::READ
            | number::WRITE
            | number::READV
            | number::WRITEV
            | number::SENDFILE
            | number::CONNECT
            | number::SENDTO
            | number::RECVFROM
            | number::SENDMSG
            | number::RECVMSG
            | number::SPLICE
            | number::RECVMMSG
            | number::SENDMMSG
    )
}

#[inline(always)]
fn entry(call: i64, registers: &Registers) -> Entry {
    let (direction, kind, elements, flags) = match call {
        number::READ => (DIRECTION_INGRESS, memory::BUFFER, 1, 0),
        number::RECVFROM => (DIRECTION_INGRESS, memory::BUFFER, 1, registers.fourth()),
        number::READV => (DIRECTION_INGRESS, memory::VECTOR, registers.third(), 0),
        number::RECVMSG => (DIRECTION_INGRESS, memory::MESSAGE, 1, registers.third()),
        number::RECVMMSG => (DIRECTION_INGRESS, memory::MESSAGES, registers.third(), registers.fourth()),
        number::WRITE | number::SENDTO => (DIRECTION_EGRESS, memory::BUFFER, 1, 0),
        number::WRITEV => (DIRECTION_EGRESS, memory::VECTOR, registers.third(), 0),
        number::SENDMSG => (DIRECTION_EGRESS, memory::MESSAGE, 1, 0),
        number::SENDMMSG => (DIRECTION_EGRESS, memory::MESSAGES, registers.third(), 0),
        number::SENDFILE => (DIRECTION_EGRESS, memory::NONE, 0, 0),
        number::CONNECT => (DIRECTION_EGRESS, memory::CONNECT, 0, 0),
        number::SPLICE => return Entry::Splice,
        number::CLOSE => return Entry::Close,
        number::EPOLL_WAIT | number::EPOLL_PWAIT | number::EPOLL_PWAIT2 => {
            return Entry::Wait { descriptors: registers.third() };
        }
        number::IO_URING_ENTER => return Entry::Wait { descriptors: LOOP_DESCRIPTORS },
        number::POLL | number::PPOLL if registers.second() >= LOOP_DESCRIPTORS => {
            return Entry::Wait { descriptors: LOOP_DESCRIPTORS };
        }
        number::SELECT | number::PSELECT6 if is_of_loop(registers) => {
            return Entry::Wait { descriptors: LOOP_DESCRIPTORS };
        }
        _ => return Entry::Nothing,
    };
    let is_empty_buffer = kind == memory::BUFFER && registers.third() == 0;
    // Several messages whose bytes are thrown away show as missing positions.
    let is_truncated_batch = kind == memory::MESSAGES && flags & TRUNCATE != 0;
    if flags & (PEEK | OUT_OF_BAND | ERROR_QUEUE) != 0 || is_empty_buffer || is_truncated_batch {
        return Entry::Nothing;
    }
    let kind = if flags & TRUNCATE != 0 { memory::NONE } else { kind };
    let is_of_socket = !matches!(call, number::READ | number::READV | number::WRITE | number::WRITEV);
    // As `struct sockaddr`.
    let name = if matches!(call, number::SENDTO | number::RECVFROM) { registers.fifth() } else { 0 };
    let memory = Memory { kind, address: registers.second(), elements: elements as u32, is_of_socket, name };
    Entry::Transfer { descriptor: registers.first(), direction, memory }
}

/// `mmap(addr, length, prot, flags, fd, offset)`: tells of a file that was mapped and may be executed. The call must have
/// ended: who looks because of it must find the file.
#[inline(always)]
fn exit_map(registers: &Registers, result: i64) {
    const PROT_EXEC: u64 = 0x4;
    const MAP_ANONYMOUS: u64 = 0x20;
    let maps_code = registers.third() & PROT_EXEC != 0 && registers.fourth() & MAP_ANONYMOUS == 0;
    if maps_code && result >= 0 {
        process::tell_mapped();
    }
}

/// `select(nfds, readfds, …)`: returns whether as many descriptors are waited for as an event loop does, among the low
/// numbers, where its own descriptors are.
#[inline(always)]
fn is_of_loop(registers: &Registers) -> bool {
    let words = read::user::<[u64; DESCRIPTOR_WORDS]>(registers.second()).unwrap_or_default();
    // Without branches, of which the verifier would follow every sequence.
    words.iter().map(|word| u64::from(word.count_ones())).sum::<u64>() >= LOOP_DESCRIPTORS
}

/// `splice(fd_in, off_in, fd_out, …)`: one of the two is a pipe, the other may be a socket.
#[inline(always)]
fn enter_splice(registers: &Registers) {
    let memory = Memory { kind: memory::NONE, address: 0, elements: 0, name: 0, is_of_socket: false };
    let is_output = find(registers.third()).is_some();
    let (descriptor, direction) = if is_output {
        (registers.third(), DIRECTION_EGRESS)
    } else {
        (registers.first(), DIRECTION_INGRESS)
    };
    transfer::enter(registers, descriptor, direction, memory);
}

#[inline(always)]
fn exit_accept(result: i64) {
    if result < 0 || observed_process().is_none() {
        return;
    }
    let Some(found) = find(result as u64) else { return };
    let now_ns = read::now_ns();
    open::announce(found.sock, found.inode, found.family, ROLE_ACCEPTED, now_ns);
}

/// Python asks `epoll_wait` for as many events as descriptors are watched: with few it waits for its own connection. Others
/// ask for any number.
#[inline(always)]
fn count_turn(descriptors: u64) {
    let Some(process) = observed_process() else { return };
    if process.has_tokens != 0 && descriptors < LOOP_DESCRIPTORS {
        return;
    }
    if let Some(thread) = thread::this() {
        thread.turn = thread.turn.wrapping_add(1);
    }
}
