//! Where in its files a program gives away who works for whom: functions of runtimes that the capture probes.

pub(super) mod data;
mod elf;
mod emulated;
mod go_functions;
mod pclntab;
mod python;
mod returns;
mod rustls;
pub(super) mod tls;

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use procfs::process::{MMapPath, MemoryMap, Process};

use super::identity::FileIdentity;
use super::process::Runtime;
use super::tokio;
pub(super) use elf::offset_of;

/// Files whose places are remembered; beyond it the memory starts over.
const MAX_FILES: usize = 4096;

/// What is learned at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// For which goroutine `net/http` sends a request.
    GoRoundTrip,
    /// For which goroutine grpc-go has made the header of a call.
    GrpcHeaderMade,
    /// Into which stream a header goes.
    GrpcHeaderWritten,
    /// Which goroutine serves which stream.
    GrpcStreamServed,
    /// Likewise, in `net/http`.
    GoHttp2Served,
    /// Which Python context a task's context was copied from.
    PythonContextCopied,
    /// Where a Python's context ends.
    PythonFreeContext,
    /// For whom a work item is put into a Python's queue.
    PythonQueuePut,
    /// Where a Python's thread looks for work.
    PythonQueueGet,
    /// Where it has got some.
    PythonQueueGot,
    /// For which Python task uvloop queues what it writes later.
    UvloopWrite,
    /// Where Node turns from what was read to timers and immediates.
    NodeTurn,
    /// For whom a message is sent to another thread of a Node,
    NodeMessageSent,
    /// and where it is received.
    NodeMessageReceived,
    /// For whom a new task of tokio works.
    TokioSpawn,
    /// Which task of tokio wakes which.
    TokioWake,
    /// What a TLS library takes for encryption, by the arguments of `SSL_write`,
    TlsWrite,
    /// of `SSL_write_ex`,
    TlsWriteEx,
    /// and of `SSL_write_ex2`.
    TlsWriteEx2,
    /// What it sends of a file, by the arguments of `SSL_sendfile`.
    TlsSendfile,
    /// What it gives after decryption, by the arguments of `SSL_read`,
    TlsRead,
    /// and of `SSL_read_ex`.
    TlsReadEx,
    /// Which socket a TLS object is given,
    TlsSetFd,
    /// that it begins,
    TlsBegin,
    /// and which socket it uses before it moves anything.
    TlsHandshake,
    /// Where any of these returns.
    TlsReturned,
    /// Where a TLS object ends.
    TlsFree,
    /// What Go's `crypto/tls` takes for encryption,
    TlsGoWrite,
    /// what it gives after decryption,
    TlsGoRead,
    /// where either returns,
    TlsGoReturned,
    /// which socket a connection of it has,
    TlsGoHandshake,
    /// and where that is known.
    TlsGoHandshaken,
    /// Ciphertext that goes into memory, or to a socket.
    BioWrite,
    /// Where it has gone there.
    BioWriteReturned,
    /// Where ciphertext is to be read to, from memory.
    BioRead,
    /// Where it has been read.
    BioReadReturned,
    /// What rustls takes for encryption, as a slice,
    RustlsWrite,
    /// as several,
    RustlsWriteVectored,
    /// where either returns,
    RustlsWritten,
    /// where it encrypts a record,
    RustlsEncrypt,
    /// where that is done,
    RustlsEncrypted,
    /// where it decrypts one,
    RustlsDecrypt,
    /// and where that is done, in TLS 1.3,
    RustlsDecrypted,
    /// in TLS 1.2 with GCM,
    RustlsDecryptedGcm,
    /// and with ChaCha20.
    RustlsDecryptedChaCha,
}

impl Purpose {
    /// Returns whether it is about messages between the threads of a Node.
    #[must_use]
    pub fn is_of_messages(self) -> bool {
        matches!(self, Purpose::NodeMessageSent | Purpose::NodeMessageReceived)
    }

    /// Returns whether it is about plaintext, rather than about who works for whom.
    #[must_use]
    pub fn is_of_tls(self) -> bool {
        matches!(
            self,
            Purpose::TlsWrite
                | Purpose::TlsWriteEx
                | Purpose::TlsWriteEx2
                | Purpose::TlsSendfile
                | Purpose::TlsRead
                | Purpose::TlsReadEx
                | Purpose::TlsSetFd
                | Purpose::TlsBegin
                | Purpose::TlsHandshake
                | Purpose::TlsReturned
                | Purpose::TlsFree
                | Purpose::TlsGoWrite
                | Purpose::TlsGoRead
                | Purpose::TlsGoReturned
                | Purpose::TlsGoHandshake
                | Purpose::TlsGoHandshaken
                | Purpose::BioWrite
                | Purpose::BioWriteReturned
                | Purpose::BioRead
                | Purpose::BioReadReturned
                | Purpose::RustlsWrite
                | Purpose::RustlsWriteVectored
                | Purpose::RustlsWritten
                | Purpose::RustlsEncrypt
                | Purpose::RustlsEncrypted
                | Purpose::RustlsDecrypt
                | Purpose::RustlsDecrypted
                | Purpose::RustlsDecryptedGcm
                | Purpose::RustlsDecryptedChaCha
        )
    }
}

/// A place in a file, which all processes share that map it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What for.
    pub purpose: Purpose,
    /// A path to the file that leads there from this process's root.
    pub path: PathBuf,
    /// The file.
    pub file: FileIdentity,
    /// Offset of the instruction: a function's first, or one by which it returns.
    pub offset: u64,
}

/// Looks for places, in each file once.
#[derive(Debug, Default)]
pub(super) struct Probes(HashMap<FileIdentity, Places>);

/// What is learned at which offsets of a file.
pub(super) type Places = Vec<(Purpose, u64)>;

impl Probes {
    /// Returns the places that matter in the files of a process, as far as it has mapped them yet.
    pub(super) fn of(&mut self, tgid: u32, runtime: &Runtime) -> Vec<Probe> {
        let executable = PathBuf::from(format!("/proc/{tgid}/exe"));
        match runtime {
            Runtime::Go { offsets: Some(offsets), .. } => {
                self.in_file(executable, |file| go_functions::in_file(file, offsets.is_from_types))
            }
            Runtime::Tokio { .. } => self.in_file(executable, tokio::functions),
            Runtime::Node => self.in_file(executable, |file| in_symbols(file, NODE_FUNCTIONS)),
            Runtime::Python { .. } => {
                let mut places = self.in_file(executable, python::in_file);
                let maps = mapped(tgid);
                for name in PYTHON_LIBRARIES {
                    if let Some(path) = library(tgid, &maps, name) {
                        places.extend(self.in_file(path, python::in_file));
                    }
                }
                if let Some(path) = library(tgid, &maps, "uvloop/loop.") {
                    places.extend(self.in_file(path, |file| in_symbols(file, UVLOOP_FUNCTIONS)));
                }
                places
            }
            _ => Vec::new(),
        }
    }

    fn in_file(&mut self, path: PathBuf, find: impl FnOnce(&File) -> Places) -> Vec<Probe> {
        let Ok(opened) = File::open(&path) else { return Vec::new() };
        let Some(file) = FileIdentity::of(&opened) else { return Vec::new() };
        if self.0.len() >= MAX_FILES {
            self.0.clear();
        }
        let places = self.0.entry(file).or_insert_with(|| find(&opened));
        let probe = |&(purpose, offset): &_| Probe { purpose, path: path.clone(), file, offset };
        places.iter().map(probe).collect()
    }
}

type Functions = &'static [(&'static str, Purpose)];

/// Beginnings of the names of Python's libraries; what they hold may be in the executable instead.
const PYTHON_LIBRARIES: [&str; 2] = ["libpython", "_queue."];
const UVLOOP_FUNCTIONS: Functions =
    &[("__pyx_f_6uvloop_4loop_8UVStream__initiate_write", Purpose::UvloopWrite)];
const NODE_FUNCTIONS: Functions = &[
    ("_ZN4node11Environment9RunTimersEP10uv_timer_s", Purpose::NodeTurn),
    ("_ZN4node11Environment14CheckImmediateEP10uv_check_s", Purpose::NodeTurn),
    (
        "_ZN4node6worker7Message9SerializeEPNS_11EnvironmentEN2v85LocalINS4_7ContextEEENS5_INS4_5ValueEEE\
         RKNS_16MaybeStackBufferIS9_Lm8EEENS5_INS4_6ObjectEEE",
        Purpose::NodeMessageSent,
    ),
    (
        "_ZN4node6worker7Message11DeserializeEPNS_11EnvironmentEN2v85LocalINS4_7ContextEEEPNS5_INS4_5ValueEEE",
        Purpose::NodeMessageReceived,
    ),
];

fn in_symbols(file: &File, functions: Functions) -> Places {
    let names: Vec<&str> = functions.iter().map(|(name, _)| *name).collect();
    let offsets = elf::function_offsets(file, &names);
    functions.iter().zip(offsets).filter_map(|((_, purpose), offset)| Some((*purpose, offset?))).collect()
}

/// Returns the path by which a library can be opened that a process has mapped, by the beginning of its file's name,
/// maybe with its folder's name before it.
fn library(tgid: u32, maps: &[MemoryMap], name: &str) -> Option<PathBuf> {
    let is_library = |map: &&MemoryMap| match &map.pathname {
        MMapPath::Path(path) => path
            .to_string_lossy()
            .rsplit_once(&format!("/{name}"))
            .is_some_and(|(_, rest)| !rest.contains('/')),
        _ => false,
    };
    let (start, end) = maps.iter().find(is_library)?.address;
    Some(PathBuf::from(format!("/proc/{tgid}/map_files/{start:x}-{end:x}")))
}

/// Returns what a process has mapped; nothing where it is gone.
fn mapped(tgid: u32) -> Vec<MemoryMap> {
    let process = i32::try_from(tgid).ok().and_then(|tgid| Process::new(tgid).ok());
    process.and_then(|process| process.maps().ok()).map(|maps| maps.0).unwrap_or_default()
}

/// Returns the address at which a process has a symbol of a Python's executable or library.
pub(super) fn python_symbol(tgid: u32, name: &str) -> Option<u64> {
    let executable = PathBuf::from(format!("/proc/{tgid}/exe"));
    let candidates = [Some(executable), library(tgid, &mapped(tgid), "libpython")];
    candidates.into_iter().flatten().find_map(|path| {
        let file = File::open(path).ok()?;
        let address = elf::symbol_address(&file, name)?;
        let metadata = file.metadata().ok()?;
        Some(address.wrapping_add(load_bias(tgid, metadata.ino(), &file)?))
    })
}

/// Symbols of executables, each looked up once in each file.
#[derive(Debug, Default)]
pub struct Symbols(HashMap<(FileIdentity, &'static str), Option<u64>>);

impl Symbols {
    /// Returns the address at which a process has a symbol of its executable.
    pub fn address(&mut self, tgid: u32, name: &'static str) -> Option<u64> {
        let file = File::open(format!("/proc/{tgid}/exe")).ok()?;
        let metadata = file.metadata().ok()?;
        if self.0.len() >= MAX_FILES {
            self.0.clear();
        }
        let place = (FileIdentity::of(&file)?, name);
        let address = *self.0.entry(place).or_insert_with(|| elf::symbol_address(&file, name));
        Some(address?.wrapping_add(load_bias(tgid, metadata.ino(), &file)?))
    }
}

/// Returns what a process adds to the addresses in a file that it has mapped.
fn load_bias(tgid: u32, inode: u64, file: &File) -> Option<u64> {
    let maps = mapped(tgid);
    let first = maps.iter().filter(|map| map.inode == inode).min_by_key(|map| map.address.0)?;
    Some(first.address.0.wrapping_sub(elf::first_address(file)?).wrapping_sub(first.offset))
}
