//! What discovery says of a runtime, in the words of the capture.

use remora_engine::event::Scheduling;

use crate::attach::Platform;
use crate::capture::{ProcessMode, Tasks};
use crate::discover::{Probe, Process, Purpose, Runtime};

/// How a process is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct How {
    /// By the programs: how its tasks are told apart,
    tasks: Tasks,
    /// and whether its threads take units of work by token.
    has_tokens: bool,
    /// and whether it may get its work through a pipe.
    pub(super) reads_pipes: bool,
    /// By the engine.
    pub(super) scheduling: Scheduling,
}

impl How {
    /// Returns it in the words of the capture.
    pub(super) fn mode(self) -> ProcessMode {
        ProcessMode::Observe { tasks: self.tasks, has_tokens: self.has_tokens, reads_pipes: self.reads_pipes }
    }
}

/// Returns whether a process that was forked by another of its program gets jobs from it through a pipe: one of Celery's,
/// whose command line names it. What others read from pipes is nobody's job, and costs as much to tell.
pub(super) fn has_jobs(process: &Process) -> bool {
    process.arguments.iter().any(|argument| argument.contains("celery"))
}

/// Returns how a process is observed that has no part inside; `is_worker` says that it gets jobs from another of its
/// program.
pub(super) fn plain(runtime: &Runtime, probes: &[Probe], is_worker: bool) -> How {
    How {
        tasks: tasks(runtime),
        has_tokens: has_tokens(runtime),
        reads_pipes: is_worker && matches!(runtime, Runtime::Python { .. }),
        scheduling: scheduling(runtime, probes),
    }
}

/// Returns how a process is observed that has a part inside.
pub(super) fn with_part(platform: Platform) -> How {
    let how = |tasks, scheduling| How { tasks, has_tokens: true, reads_pipes: false, scheduling };
    match platform {
        Platform::Jvm => how(Tasks::None, Scheduling::Unproven),
        Platform::Node => how(Tasks::Libuv, Scheduling::TokenLoop),
    }
}

/// Returns whose parts a program may get.
pub(super) fn platform(runtime: &Runtime) -> Option<Platform> {
    match runtime {
        Runtime::Java => Some(Platform::Jvm),
        Runtime::Node => Some(Platform::Node),
        _ => None,
    }
}

/// Returns how the tasks of a program are told apart.
fn tasks(runtime: &Runtime) -> Tasks {
    match runtime {
        Runtime::Go { offsets: Some(offsets), .. } => {
            Tasks::Goroutines { goid: offsets.goid, parent_goid: offsets.parent_goid }
        }
        Runtime::Python { contexts: Some(contexts) } => {
            Tasks::Contexts { thread_state: contexts.thread_state, context: contexts.context }
        }
        Runtime::Tokio { offsets } => Tasks::Tokio { current_task: offsets.current_task },
        Runtime::Node => Tasks::Libuv,
        _ => Tasks::None,
    }
}

/// Returns whether the threads of a program take units of work whose numbers can be told.
fn has_tokens(runtime: &Runtime) -> bool {
    matches!(runtime, Runtime::Python { .. })
}

/// Returns how a program's threads serve requests. Without the probes that end Node's turns, they prove nothing.
fn scheduling(runtime: &Runtime, probes: &[Probe]) -> Scheduling {
    const NODE_TURNS: usize = 2;
    let turns = || probes.iter().filter(|probe| probe.purpose == Purpose::NodeTurn).count();
    match runtime {
        Runtime::Node if turns() < NODE_TURNS => Scheduling::Migrating,
        _ => runtime.scheduling(),
    }
}

/// Returns the program that runs where something is learned.
pub(super) fn program(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::GoRoundTrip => "go_http_round_trip",
        Purpose::GrpcHeaderMade => "grpc_header_made",
        Purpose::GrpcHeaderWritten => "grpc_header_written",
        Purpose::GrpcStreamServed => "grpc_stream_served",
        Purpose::GoHttp2Served => "go_http2_served",
        Purpose::PythonContextCopied => "python_context_copied",
        Purpose::PythonFreeContext => "python_free_context",
        Purpose::PythonQueuePut => "python_queue_put",
        Purpose::PythonQueueGet => "python_queue_get",
        Purpose::PythonQueueGot => "python_queue_got",
        Purpose::UvloopWrite => "uvloop_write",
        Purpose::NodeTurn => "node_turn",
        Purpose::NodeMessageSent => "node_message_sent",
        Purpose::NodeMessageReceived => "node_message_received",
        Purpose::TokioSpawn => "tokio_spawn",
        Purpose::TokioWake => "tokio_wake",
        Purpose::TlsWrite => "tls_write",
        Purpose::TlsWriteEx => "tls_write_ex",
        Purpose::TlsWriteEx2 => "tls_write_ex2",
        Purpose::TlsSendfile => "tls_sendfile",
        Purpose::TlsRead => "tls_read",
        Purpose::TlsReadEx => "tls_read_ex",
        Purpose::TlsSetFd => "tls_set_fd",
        Purpose::TlsBegin => "tls_begin",
        Purpose::TlsHandshake => "tls_handshake",
        Purpose::TlsReturned => "tls_returned",
        Purpose::TlsFree => "tls_free",
        Purpose::TlsGoWrite => "tls_go_write",
        Purpose::TlsGoRead => "tls_go_read",
        Purpose::TlsGoReturned => "tls_go_returned",
        Purpose::TlsGoHandshake => "tls_go_handshake",
        Purpose::TlsGoHandshaken => "tls_go_handshaken",
        Purpose::BioWrite => "bio_write",
        Purpose::BioWriteReturned => "bio_write_returned",
        Purpose::BioRead => "bio_read",
        Purpose::BioReadReturned => "bio_read_returned",
        Purpose::RustlsWrite => "rustls_write",
        Purpose::RustlsWriteVectored => "rustls_write_vectored",
        Purpose::RustlsWritten => "rustls_written",
        Purpose::RustlsEncrypt => "rustls_encrypt",
        Purpose::RustlsEncrypted => "rustls_encrypted",
        Purpose::RustlsDecrypt => "rustls_decrypt",
        Purpose::RustlsDecrypted => "rustls_decrypted",
        Purpose::RustlsDecryptedGcm => "rustls_decrypted_gcm",
        Purpose::RustlsDecryptedChaCha => "rustls_decrypted_chacha",
    }
}
