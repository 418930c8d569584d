//! Streams of HTTP/2 in Go. grpc-go (1.40 to 1.85): one goroutine writes a connection for all who call, another one reads it for all who serve.
//!
//! In `net/http`, the goroutine that has accepted a connection starts the one that reads it, and those that serve.
//!
//! Who calls makes the fields of a header; the writer gets the same slice. So its address is the unit of work.

use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;
use remora_abi::{KIND_STREAM_SERVED, KIND_STREAM_WRITTEN, ProcessPolicy, TASKS_GO};

use super::task;
use crate::arch::Registers;
use crate::read;
use crate::runtime::tokens;
use crate::socket::transfer::observed_process;

/// `serverSide`, in the first field of `transport.loopyWriter`.
const SERVER_SIDE: u64 = 1;
/// Offset of `id` in `transport.ServerStream` where that embeds a `Stream` (from grpc-go 1.78).
const EMBEDDED_ID: u64 = 108;
/// Offset of `id` in `http2stream`, behind a pointer (since Go 1.6).
const HTTP2_ID: u64 = 8;
/// Streams have 31 bits (RFC 9113, 5.1.1). What is larger is an address.
const MAX_STREAM: u64 = 0x7fff_ffff;

#[inline(always)]
fn goroutines() -> Option<ProcessPolicy> {
    observed_process().filter(|process| process.tasks == TASKS_GO)
}

/// `func (t *http2Client) createHeaderFields(ctx context.Context, callHdr *CallHdr) ([]hpack.HeaderField, error)`, where
/// it returns.
#[uprobe(multi)]
pub(crate) fn grpc_header_made(context: ProbeContext) -> u32 {
    let Some(process) = goroutines() else { return 0 };
    let registers = Registers::of(context.regs.cast());
    let fields = registers.go_first();
    if fields != 0 {
        tokens::give(fields, registers, &process);
    }
    0
}

/// `func (l *loopyWriter) writeHeader(streamID uint32, endStream bool, hf []hpack.HeaderField, onWrite func()) error`
#[uprobe(multi)]
pub(crate) fn grpc_header_written(context: ProbeContext) -> u32 {
    let Some(process) = goroutines() else { return 0 };
    let registers = Registers::of(context.regs.cast());
    if read::user::<u64>(registers.go_first()) != Some(SERVER_SIDE) {
        let (fields, number) = (registers.go_fourth(), registers.go_second() as u32);
        tokens::tell(KIND_STREAM_WRITTEN, fields, number, task(registers, &process));
    }
    0
}

/// `func (s *Server) handleStream(t transport.ServerTransport, stream *transport.ServerStream)`
#[uprobe(multi)]
pub(crate) fn grpc_stream_served(context: ProbeContext) -> u32 {
    let Some(process) = goroutines() else { return 0 };
    let registers = Registers::of(context.regs.cast());
    if let Some(number) = number(registers.go_fourth()) {
        tokens::tell(KIND_STREAM_SERVED, 0, number, task(registers, &process));
    }
    0
}

/// `func (sc *serverConn) runHandler(rw *responseWriter, req *Request, handler func(ResponseWriter, *Request))` of `net/http`
/// and `golang.org/x/net/http2`, in the goroutine that serves the stream.
#[uprobe(multi)]
pub(crate) fn go_http2_served(context: ProbeContext) -> u32 {
    let Some(process) = goroutines() else { return 0 };
    let registers = Registers::of(context.regs.cast());
    if let Some(number) = number_of_writer(registers.go_second()) {
        tokens::tell(KIND_STREAM_SERVED, 0, number, task(registers, &process));
    }
    0
}

/// Returns the number of the stream that a `responseWriter` answers: `rws` is its first field, `stream` the first one of that.
#[inline(always)]
fn number_of_writer(writer: u64) -> Option<u32> {
    let state = read::user::<u64>(writer)?;
    let stream = read::user::<u64>(state)?;
    read::user::<u32>(stream + HTTP2_ID).filter(|&id| is_number(u64::from(id)))
}

/// Returns the number of a stream of the server, which begins with it (up to 1.68), with a pointer to it (up to 1.77), or
/// with an interface, whose first word points to a pointer.
#[inline(always)]
fn number(stream: u64) -> Option<u32> {
    let first = read::user::<u64>(stream)?;
    if is_number(first) {
        return Some(first as u32);
    }
    let pointed = read::user::<u64>(first)?;
    if is_number(pointed) {
        return Some(pointed as u32);
    }
    read::user::<u32>(stream + EMBEDDED_ID).filter(|&id| is_number(u64::from(id)))
}

/// Streams that clients open have odd numbers.
#[inline(always)]
fn is_number(word: u64) -> bool {
    word <= MAX_STREAM && word & 1 == 1
}
