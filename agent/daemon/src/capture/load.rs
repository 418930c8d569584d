//! Loading, attaching, and the handle on what is attached.

use std::path::{Path, PathBuf};

use aya::maps::{Array, HashMap, MapData, PerCpuArray, RingBuf};
use aya::programs::{BtfTracePoint, Program, ProgramError, RawTracePoint, UProbe};
use aya::{Btf, Ebpf, EbpfLoader, VerifierLogLevel, include_bytes_aligned};
use aya_log::EbpfLogger;
use remora_abi::{Count, Loss, MAX_SEGMENTS, Offsets, PROCESS_IGNORE, PROCESS_OBSERVE, Settings, names};
use remora_engine::command::Command;
use rustix::io::Errno;

use super::datagrams::DatagramPorts;
use super::kernel_log::{self, KernelLog};
use super::locked_memory;
use super::observation::Observation;
use super::offsets::{self, OffsetError};
use super::policy::{Policies, ProcessMode};
use super::prober::{self, Object, Prober};
use super::ring::Ring;
use super::writing::Writing;

pub(super) static OBJECT: &[u8] = include_bytes_aligned!(env!("REMORA_BPF_OBJECT"));
static OBJECT_THAT_WRITES: &[u8] = include_bytes_aligned!(env!("REMORA_BPF_PROPAGATION_OBJECT"));

/// The tracepoints, each with a program of the same name; processes first, so that no socket call comes from a
/// process that was not told.
pub(super) const TRACEPOINTS: [&str; 6] = [
    "sched_process_fork",
    "sched_process_exec",
    "sched_process_exit",
    "inet_sock_set_state",
    "sys_exit",
    "sys_enter",
];

/// The programs on functions of runtimes, attached where discovery finds such functions.
const UPROBES: [&str; 45] = [
    "go_http_round_trip",
    "grpc_header_made",
    "grpc_header_written",
    "grpc_stream_served",
    "go_http2_served",
    "python_context_copied",
    "python_free_context",
    "python_queue_put",
    "python_queue_get",
    "python_queue_got",
    "uvloop_write",
    "node_turn",
    "node_message_sent",
    "node_message_received",
    "tokio_spawn",
    "tokio_wake",
    "tls_write",
    "tls_write_ex",
    "tls_write_ex2",
    "tls_sendfile",
    "tls_read",
    "tls_read_ex",
    "tls_set_fd",
    "tls_begin",
    "tls_handshake",
    "tls_returned",
    "tls_free",
    "tls_go_write",
    "tls_go_read",
    "tls_go_returned",
    "tls_go_handshake",
    "tls_go_handshaken",
    "bio_write",
    "bio_write_returned",
    "bio_read",
    "bio_read_returned",
    "rustls_write",
    "rustls_write_vectored",
    "rustls_written",
    "rustls_encrypt",
    "rustls_encrypted",
    "rustls_decrypt",
    "rustls_decrypted",
    "rustls_decrypted_gcm",
    "rustls_decrypted_chacha",
];

/// How many segments of a call are followed, where the verifier follows as many: that of Linux 6.1 and before gives up
/// long before that of 6.12.
const SEGMENTS: [u32; 3] = [MAX_SEGMENTS, 8, 4];

/// What the programs are to do.
#[derive(Clone, Copy, Debug)]
pub struct CaptureSettings {
    /// Bytes copied of each call at most, unless the engine wishes otherwise.
    pub capture_bytes: u32,
    /// Whether processes that no verdict names are observed.
    pub observes_by_default: bool,
    /// Ports of which datagrams are captured, at either end: DNS.
    pub datagram_ports: DatagramPorts,
    /// Whether a process that runs a new program loses its verdict until it is judged anew.
    pub exec_resets_verdict: bool,
    /// Whether processes tell when they map files with code, such as libraries.
    pub tells_mappings: bool,
}

/// Why nothing is captured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kernel types are missing.
    #[error(transparent)]
    Offsets(#[from] OffsetError),
    /// Kernel types cannot be used.
    #[error("read kernel types for the BPF programs: {source}")]
    Types {
        /// What went wrong.
        source: Box<aya::BtfError>,
    },
    /// The object was refused.
    #[error("load the BPF programs: {source} (run `remora check` to see what this kernel and user lack)")]
    Load {
        /// What went wrong.
        source: Box<aya::EbpfError>,
    },
    /// A program was refused.
    #[error(
        "{step} BPF program {program}: {source} (run `remora check` to see what this kernel and user lack)"
    )]
    Program {
        /// `load` or `attach`.
        step: &'static str,
        /// Its name, which is also its tracepoint's.
        program: &'static str,
        /// What went wrong.
        source: Box<aya::programs::ProgramError>,
    },
    /// A map is not as expected.
    #[error("open BPF map {map}: {source}")]
    Map {
        /// Its name.
        map: &'static str,
        /// What went wrong.
        source: Box<aya::maps::MapError>,
    },
    /// A cgroup cannot be opened.
    #[error("open cgroup {}: {source}", path.display())]
    Cgroup {
        /// Its folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The programs' log cannot be read.
    #[error("open the log of the BPF programs: {source}")]
    Log {
        /// What went wrong.
        source: Box<aya_log::Error>,
    },
    /// The object lacks a program or map: it does not belong to this daemon.
    #[error("the BPF object has no {name}: rebuild it with `cargo xtask build`")]
    Missing {
        /// What is missing.
        name: &'static str,
    },
}

impl Error {
    /// Returns whether the verifier gave up on a program that it did not find wrong.
    fn is_too_complex(&self) -> bool {
        let Error::Program { source, .. } = self else { return false };
        let ProgramError::LoadError { io_error, .. } = source.as_ref() else { return false };
        io_error.raw_os_error() == Some(Errno::TOOBIG.raw_os_error())
    }
}

/// The attached programs. Dropping it detaches them and frees all maps.
pub struct Capture {
    object: Object,
    ring: Ring,
    policies: Policies,
    log: EbpfLogger<KernelLog>,
    losses: PerCpuArray<MapData, u64>,
    counts: PerCpuArray<MapData, u64>,
    segments: u32,
    refused: Vec<&'static str>,
    writing: Option<Writing>,
}

impl Capture {
    /// Loads the programs that observe; nothing is attached yet.
    pub fn load(settings: CaptureSettings) -> Result<Self, Error> {
        Self::load_object(OBJECT, settings)
    }

    /// Loads the programs that write contexts beside those that observe. This needs `CAP_NET_ADMIN` too.
    pub fn load_for_writing(settings: CaptureSettings) -> Result<Self, Error> {
        let mut capture = Self::load_object(OBJECT_THAT_WRITES, settings)?;
        capture.writing = Some(Writing::load(&mut capture.object.lock())?);
        Ok(capture)
    }

    /// Returns the programs that write contexts, where they are loaded.
    pub fn writing(&mut self) -> Option<&mut Writing> {
        self.writing.as_mut()
    }

    /// Lets the processes of a cgroup write contexts, as far as they are selected.
    pub fn write_in(&mut self, cgroup: &Path) -> Result<(), Error> {
        let Some(writing) = &mut self.writing else {
            return Err(Error::Missing { name: names::PROPAGATION });
        };
        writing.attach(&mut self.object.lock(), cgroup)
    }

    /// Ends the writing of contexts, for good.
    pub fn stop_writing(&mut self) {
        if let Some(mut writing) = self.writing.take() {
            writing.stop(&mut self.object.lock());
        }
    }

    fn load_object(object: &[u8], settings: CaptureSettings) -> Result<Self, Error> {
        locked_memory::lift();
        let offsets = offsets::resolve()?;
        let [most, fewer @ ..] = SEGMENTS;
        let mut loaded = Self::load_following(most, object, settings, &offsets);
        for segments in fewer {
            if !loaded.as_ref().is_err_and(Error::is_too_complex) {
                break;
            }
            tracing::debug!(
                segments,
                "this kernel's verifier gives up: fewer segments of a call are followed"
            );
            loaded = Self::load_following(segments, object, settings, &offsets);
        }
        loaded
    }

    fn load_following(
        segments: u32,
        object: &[u8],
        settings: CaptureSettings,
        offsets: &Offsets,
    ) -> Result<Self, Error> {
        let mut ebpf = EbpfLoader::new()
            .override_global(names::OFFSETS, offsets, true)
            .override_global(names::SEGMENTS, &segments, true)
            // More would be gigabytes, made again and again until there is room for them.
            .verifier_log_level(VerifierLogLevel::STATS)
            .override_global(aya_log::LEVEL, &kernel_log::level(), true)
            .load(&prober::suited(object))
            .map_err(|source| Error::Load { source: Box::new(source) })?;
        let log = EbpfLogger::init_with_logger(&mut ebpf, KernelLog)
            .map_err(|source| Error::Log { source: Box::new(source) })?;
        let mut map = |name| ebpf.take_map(name).ok_or(Error::Missing { name });
        let processes = HashMap::try_from(map(names::PROCESSES)?).map_err(at(names::PROCESSES))?;
        let sockets = HashMap::try_from(map(names::SOCKET_POLICIES)?).map_err(at(names::SOCKET_POLICIES))?;
        let states = HashMap::try_from(map(names::SOCKETS)?).map_err(at(names::SOCKETS))?;
        let ring = RingBuf::try_from(map(names::EVENTS)?).map_err(at(names::EVENTS))?;
        let losses = PerCpuArray::try_from(map(names::LOSSES)?).map_err(at(names::LOSSES))?;
        let counts = PerCpuArray::try_from(map(names::COUNTS)?).map_err(at(names::COUNTS))?;
        let mut global = Array::try_from(map(names::SETTINGS)?).map_err(at(names::SETTINGS))?;
        global.set(0, &kernel_settings(settings), 0).map_err(at(names::SETTINGS))?;
        let types = Btf::from_sys_fs().map_err(|source| Error::Types { source: Box::new(source) })?;
        for tracepoint in TRACEPOINTS {
            load_program(&mut ebpf, tracepoint, &types)?;
        }
        let mut refused = Vec::new();
        for probe in UPROBES {
            // Without them parents or plaintext are missing; attaching them will say so.
            if let Err(error) = uprobe(&mut ebpf, probe)?.load() {
                tracing::warn!("what {probe} would tell is missing: {error}");
                refused.push(probe);
            }
        }
        Ok(Self {
            object: Object::new(ebpf),
            ring: Ring::new(ring),
            policies: Policies::new(processes, sockets, states, settings.capture_bytes),
            log,
            losses,
            counts,
            segments,
            refused,
            writing: None,
        })
    }

    /// Attaches the programs: from here on the host is observed.
    pub fn attach(&mut self) -> Result<(), Error> {
        for tracepoint in TRACEPOINTS {
            attach_program(&mut self.object.lock(), tracepoint)?;
        }
        Ok(())
    }

    /// Returns what attaches programs to functions, for another thread.
    #[must_use]
    pub fn prober(&self) -> Prober {
        Prober::new(self.object.clone())
    }

    /// Returns how many segments of a call are followed, if that is fewer than where the verifier follows all.
    pub fn fewer_segments(&self) -> Option<u32> {
        (self.segments < MAX_SEGMENTS).then_some(self.segments)
    }

    /// Returns the programs on functions that the kernel has refused.
    pub fn refused(&self) -> &[&'static str] {
        &self.refused
    }

    /// Hands what has happened to `sink`, at most `limit` records; returns how many there were.
    pub fn drain(&mut self, limit: usize, mut sink: impl FnMut(Observation)) -> usize {
        self.ring.drain(limit, &mut sink)
    }

    /// Passes on what the programs have logged: rare things, whose counts are among the losses.
    pub fn tell_log(&mut self) {
        self.log.flush();
    }

    /// Applies a wish of the engine.
    pub fn apply(&mut self, command: Command) {
        self.policies.apply(command);
    }

    /// Sets what is done with a process.
    pub fn set_process(&mut self, tgid: u32, mode: ProcessMode) {
        self.policies.set_process(tgid, mode);
    }

    /// Forgets what was set of a process that has ended.
    pub fn forget_process(&mut self, tgid: u32) {
        self.policies.forget_process(tgid);
    }

    /// Returns every loss so far, by the reason's label.
    pub fn losses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let kernel = Loss::ALL.map(|loss| (loss.label(), sum(&self.losses, loss as u32)));
        let own =
            [("record_undecodable", self.ring.undecodable()), ("policy_refused", self.policies.refused())];
        kernel.into_iter().chain(own)
    }

    /// Returns how many records were lost that told of tasks and gifts.
    pub fn lost_handovers(&self) -> u64 {
        sum(&self.losses, Loss::Handover as u32)
    }

    /// Returns every count so far, by its label.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Count::ALL.map(|count| (count.label(), sum(&self.counts, count as u32))).into_iter()
    }
}

fn kernel_settings(settings: CaptureSettings) -> Settings {
    Settings {
        capture_bytes: settings.capture_bytes,
        default_process_mode: if settings.observes_by_default { PROCESS_OBSERVE } else { PROCESS_IGNORE },
        exec_resets_policy: u8::from(settings.exec_resets_verdict),
        tells_mappings: u8::from(settings.tells_mappings),
        padding: 0,
        datagram_ports: settings.datagram_ports.of_programs(),
    }
}

/// System calls are hooked by BTF tracepoints, whose arguments are read without a helper; the others are raw ones.
fn load_program(ebpf: &mut Ebpf, tracepoint: &'static str, types: &Btf) -> Result<(), Error> {
    match program(ebpf, tracepoint)? {
        Program::BtfTracePoint(program) => program.load(tracepoint, types),
        other => <&mut RawTracePoint>::try_from(other).and_then(RawTracePoint::load),
    }
    .map_err(failed("load", tracepoint))
}

fn attach_program(ebpf: &mut Ebpf, tracepoint: &'static str) -> Result<(), Error> {
    match program(ebpf, tracepoint)? {
        Program::BtfTracePoint(program) => BtfTracePoint::attach(program).map(drop),
        other => {
            <&mut RawTracePoint>::try_from(other).and_then(|program| program.attach(tracepoint)).map(drop)
        }
    }
    .map_err(failed("attach", tracepoint))
}

pub(super) fn uprobe<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut UProbe, Error> {
    program(ebpf, name)?.try_into().map_err(failed("load", name))
}

pub(super) fn program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Program, Error> {
    ebpf.program_mut(name).ok_or(Error::Missing { name })
}

pub(super) fn failed(
    step: &'static str,
    program: &'static str,
) -> impl FnOnce(aya::programs::ProgramError) -> Error {
    move |source| Error::Program { step, program, source: Box::new(source) }
}

pub(super) fn at(map: &'static str) -> impl FnOnce(aya::maps::MapError) -> Error {
    move |source| Error::Map { map, source: Box::new(source) }
}

pub(super) fn sum(counters: &PerCpuArray<MapData, u64>, index: u32) -> u64 {
    counters.get(&index, 0).map_or(0, |values| values.iter().sum())
}
