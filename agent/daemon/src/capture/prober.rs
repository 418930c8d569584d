//! Attaching programs to functions of files, beside the reading of the ring.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aya::Ebpf;
use aya::programs::uprobe::{UProbeAttachLocation, UProbeLink, UProbeScope};

use super::Error;
use super::load::{failed, uprobe};

/// The loaded object. After the start, only the one who attaches probes needs it, and who ends the writing of contexts.
#[derive(Clone)]
pub(super) struct Object(Arc<Mutex<Ebpf>>);

impl Object {
    pub(super) fn new(ebpf: Ebpf) -> Self {
        Self(Arc::new(Mutex::new(ebpf)))
    }

    /// Returns the object when nobody else uses it. What a thread that panicked left of it is whole: it is changed by
    /// system calls only.
    pub(super) fn lock(&self) -> MutexGuard<'_, Ebpf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Attaches programs to functions. The kernel takes its time for that: it changes the text of every process that has
/// mapped the file.
pub struct Prober(Object);

impl Prober {
    pub(super) fn new(object: Object) -> Self {
        Self(object)
    }

    /// Has a program run wherever the function at `offset` in a file is called, by whichever process, as long as the
    /// returned value lives.
    ///
    /// # Errors
    /// The object has no such program, or the kernel refuses it or the place.
    pub fn attach(&self, program: &'static str, path: &Path, offset: u64) -> Result<Attachment, Error> {
        let mut ebpf = self.0.lock();
        let point = UProbeAttachLocation::AbsoluteOffset(offset);
        let probe = uprobe(&mut ebpf, program)?;
        let link = probe.attach([point], path, UProbeScope::AllProcesses);
        let link = link.and_then(|link| probe.take_link(link)).map_err(failed("attach", program))?;
        Ok(Attachment { _link: link })
    }
}

/// A program at a function. Dropping it takes the program away.
#[derive(Debug)]
pub struct Attachment {
    _link: UProbeLink,
}
