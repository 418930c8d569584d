//! Every map, and what happens when it is full (see `remora_abi`'s limits).

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use remora_abi::{
    COUNT_KINDS, Count, LOSS_REASONS, Loss, MAX_PROCESSES, MAX_SEGMENTS, MAX_SOCKET_POLICIES, MAX_SOCKETS,
    MAX_THREAD_MESSAGES, MAX_THREADS, MAX_TLS_CALLS, MAX_TLS_OBJECTS, Offsets, ProcessPolicy, RING_BYTES,
    Settings, SocketPolicy, SocketState,
};

#[cfg(feature = "propagation")]
use aya_ebpf::maps::SockHash;
#[cfg(feature = "propagation")]
use remora_abi::{
    Doubt, MAX_DOUBTED, MAX_EARLY_READERS, MAX_SERVERS, MAX_WRITERS, PropagationSettings, ServerAddress,
    WRITE_KINDS, Writer,
};

use crate::thread::Thread;
use crate::tls::{TlsCall, TlsKey, TlsObject};

#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

#[map]
pub(crate) static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(LOSS_REASONS, 0);

#[map]
pub(crate) static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNT_KINDS, 0);

#[map]
pub(crate) static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);

/// Written by user space.
#[map]
pub(crate) static SOCKET_POLICIES: HashMap<u64, SocketPolicy> =
    HashMap::with_max_entries(MAX_SOCKET_POLICIES, 0);

#[map]
pub(crate) static SOCKETS: LruHashMap<u64, SocketState> = LruHashMap::with_max_entries(MAX_SOCKETS, 0);

/// Written by user space; the programs copy entries to children and remove those of ended processes.
#[map]
pub(crate) static PROCESSES: HashMap<u32, ProcessPolicy> = HashMap::with_max_entries(MAX_PROCESSES, 0);

/// Written by the threads themselves; removed when they end.
#[map]
pub(crate) static THREADS: HashMap<u64, Thread> = HashMap::with_max_entries(MAX_THREADS, 0);

/// The unit of work for which a message of a Node is sent to another thread, by process and address. Every message that is
/// sent later from there takes its place.
#[map]
pub(crate) static THREAD_MESSAGES: LruHashMap<[u64; 2], u64> =
    LruHashMap::with_max_entries(MAX_THREAD_MESSAGES, 0);

/// By thread; removed when the call returns.
#[map]
pub(crate) static TLS_CALLS: LruHashMap<u64, TlsCall> = LruHashMap::with_max_entries(MAX_TLS_CALLS, 0);

/// Removed when the object is freed. Nothing tells when one of Go is: another socket shows that its address is another's.
#[map]
pub(crate) static TLS_OBJECTS: LruHashMap<TlsKey, TlsObject> =
    LruHashMap::with_max_entries(MAX_TLS_OBJECTS, 0);

/// Written by user space.
#[cfg(feature = "propagation")]
#[map]
pub(crate) static PROPAGATION: Array<PropagationSettings> = Array::with_max_entries(1, 0);

/// Written by user space.
#[cfg(feature = "propagation")]
#[map]
pub(crate) static SERVERS: LruHashMap<ServerAddress, u64> = LruHashMap::with_max_entries(MAX_SERVERS, 0);

#[cfg(feature = "propagation")]
#[map]
pub(crate) static WRITERS: LruHashMap<u64, Writer> = LruHashMap::with_max_entries(MAX_WRITERS, 0);

#[cfg(feature = "propagation")]
#[map]
pub(crate) static EARLY_READERS: LruHashMap<u32, u64> = LruHashMap::with_max_entries(MAX_EARLY_READERS, 0);

#[cfg(feature = "propagation")]
#[map]
pub(crate) static DOUBTED: LruHashMap<ServerAddress, Doubt> = LruHashMap::with_max_entries(MAX_DOUBTED, 0);

/// Sockets by their address. A socket that has no room is not enrolled.
#[cfg(feature = "propagation")]
#[map]
pub(crate) static WRITER_SOCKETS: SockHash<u64> = SockHash::with_max_entries(MAX_WRITERS, 0);

#[cfg(feature = "propagation")]
#[map]
pub(crate) static WRITES: PerCpuArray<u64> = PerCpuArray::with_max_entries(WRITE_KINDS, 0);

/// Takes a socket out of the socket map.
#[cfg(feature = "propagation")]
#[inline(always)]
pub(crate) fn leave_socket_map(sock: u64) {
    use aya_ebpf::helpers::bpf_map_delete_elem;

    // SAFETY: the map is one of this object's, and the key is one of its keys' size; the helper only reads the key.
    unsafe {
        bpf_map_delete_elem((&raw const WRITER_SOCKETS).cast_mut().cast(), (&raw const sock).cast());
    }
}

/// Set by user space at load.
#[unsafe(no_mangle)]
static OFFSETS: Offsets = Offsets::ZERO;

/// Returns the offsets of the running kernel's struct fields.
#[inline(always)]
pub(crate) fn offsets() -> &'static Offsets {
    // The address is hidden from the optimiser, which would otherwise use the zeros it sees in the initialiser.
    let offsets = core::hint::black_box(&raw const OFFSETS);
    // SAFETY: the pointer is that of a static.
    unsafe { &*offsets }
}

/// Set by user space at load: what the verifier of the running kernel can follow.
#[unsafe(no_mangle)]
static SEGMENTS: u32 = MAX_SEGMENTS;

/// Returns how many segments of a call are followed.
#[inline(always)]
pub(crate) fn segments() -> u32 {
    let segments = core::hint::black_box(&raw const SEGMENTS);
    // SAFETY: the pointer is that of a static.
    unsafe { *segments }
}

/// Adds one to a loss counter.
#[inline(always)]
pub(crate) fn lose(reason: Loss) {
    add(&LOSSES, reason as u32, 1);
}

/// Adds to a counter.
#[inline(always)]
pub(crate) fn count(kind: Count, amount: u64) {
    add(&COUNTS, kind as u32, amount);
}

#[inline(always)]
pub(crate) fn add(counters: &PerCpuArray<u64>, index: u32, amount: u64) {
    if let Some(counter) = counters.get_ptr_mut(index) {
        // SAFETY: the entry belongs to this CPU, and these programs are not preempted by each other on it.
        unsafe { *counter += amount };
    }
}
