//! Sizes of maps and records. Each limit says what happens when it is reached.

/// Bytes of the event ring. A full ring refuses the record and counts [`Loss::RingFull`](crate::Loss::RingFull).
pub const RING_BYTES: u32 = 8 << 20;

/// Sockets with kernel-side state. The map evicts the least recently used socket, which is then announced anew.
pub const MAX_SOCKETS: u32 = 65_536;

/// Sockets that user space has an opinion about. A full map means that a socket stays at the default policy.
pub const MAX_SOCKET_POLICIES: u32 = 65_536;

/// Processes with a policy. Processes without one follow [`Settings::default_process_mode`](crate::Settings).
pub const MAX_PROCESSES: u32 = 32_768;

/// Living threads that have used a socket or waited for events. A full map loses the call and counts
/// [`Loss::ThreadMapFull`](crate::Loss::ThreadMapFull).
pub const MAX_THREADS: u32 = 32_768;

/// `iovec` segments that one call's capture follows. Bytes in later segments show up as a gap.
pub const MAX_SEGMENTS: u32 = 64;

/// Largest number of bytes one record carries.
pub const MAX_CAPTURE: u32 = 65_536;

/// Bytes that a connection has moved in a direction while it is young: of its calls [`YOUNG_CAPTURE_FACTOR`] times as
/// much is copied, because user space has not yet had the time to ask for it. Tables of header fields and what
/// statements are called by are agreed on there. More than usual is copied only while less than a quarter of the ring
/// waits for user space, whoever asks for it.
pub const YOUNG_BYTES: u64 = 64 << 10;

/// How many times as much is copied of the calls of a young connection, up to [`MAX_CAPTURE`].
pub const YOUNG_CAPTURE_FACTOR: u32 = 16;

/// Segments of at most this length are copied whatever else the call moved: they are what frames the rest (the end of
/// a chunked body, say). Of longer ones that are cut, as many bytes are copied from their end.
pub const FRAME_BYTES: u32 = 184;

/// Bytes of a read from a pipe that a record carries. What names a job stands at its beginning.
pub const PIPE_BYTES: usize = 512;

/// Bytes of ciphertext that a record carries: a record's header, and what nobody else has encrypted.
pub const FINGERPRINT_BYTES: usize = 64;

/// Pieces of ciphertext that are told of one object in one direction. The first join it to its socket; the others are for
/// sockets that are observed from later on.
pub const MAX_FINGERPRINTS: u8 = 16;

/// Threads and goroutines within a call into a TLS library, those that wait for bytes included. The map evicts the call that
/// began first, whose bytes are missing then.
pub const MAX_TLS_CALLS: u32 = 65_536;

/// Objects of TLS libraries. The map evicts the one that was used least recently, which then counts its bytes anew.
pub const MAX_TLS_OBJECTS: u32 = 65_536;

/// Messages between the threads of a Node whose sender works for somebody. The map evicts the one that was sent first, which
/// is nobody's then.
pub const MAX_THREAD_MESSAGES: u32 = 16_384;

/// Bytes of the command line that an exec record carries.
pub const MAX_ARGUMENTS: usize = 512;

/// Bytes of a Unix socket path (`sockaddr_un::sun_path`).
pub const MAX_UNIX_PATH: usize = 108;
