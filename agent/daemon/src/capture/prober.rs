//! Attaching programs to functions of files, beside the reading of the ring.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use aya::Ebpf;
use aya::programs::uprobe::{UProbeAttachLocation, UProbeLink, UProbeScope};
use aya::sys::{UProbeMultiFeature, is_uprobe_multi_supported};

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

    /// Has a program run wherever an instruction at one of `offsets` in a file is executed, by whichever process, as long
    /// as the returned value lives.
    ///
    /// # Errors
    /// The object has no such program, or the kernel refuses it or one of the places; then none is probed.
    pub fn attach(&self, program: &'static str, path: &Path, offsets: &[u64]) -> Result<Attachment, Error> {
        let mut ebpf = self.0.lock();
        let points = offsets.iter().map(|offset| UProbeAttachLocation::AbsoluteOffset(*offset));
        let probe = uprobe(&mut ebpf, program)?;
        let link = probe.attach(points, path, UProbeScope::AllProcesses);
        let link = link.and_then(|link| probe.take_link(link)).map_err(failed("attach", program))?;
        Ok(Attachment { _link: link })
    }
}

/// A program at some places of a file. Dropping it takes the program away, for which the kernel waits until no process can
/// be in it any more, some 40 ms.
#[derive(Debug)]
pub struct Attachment {
    _link: UProbeLink,
}

/// Threads that wait for the kernel at once.
const MAX_WAITING: usize = 64;

/// Takes programs away, many at once: where there are links for many places, the kernel lets several wait for the same.
pub fn detach(attachments: Vec<Attachment>) {
    let threads = attachments.len().min(MAX_WAITING);
    let attachments = Mutex::new(attachments);
    let next = || attachments.lock().unwrap_or_else(PoisonError::into_inner).pop();
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| while next().is_some() {});
        }
        while next().is_some() {}
    });
}

/// The section of programs that are attached to many places by one link, and what it is called for kernels that have no
/// such links. Both are of one length, and the name ends with the first zero.
const MULTI: &[u8] = b"uprobe.multi\0";
const SINGLE: &[u8] = b"uprobe\0multi\0";

/// Returns the object with programs that this kernel attaches: to many places by one link from Linux 6.6 on.
pub(super) fn suited(object: &[u8]) -> Cow<'_, [u8]> {
    if links_hold_many() { Cow::Borrowed(object) } else { Cow::Owned(single(object)) }
}

/// Returns whether one link can have many probes.
pub fn links_hold_many() -> bool {
    is_uprobe_multi_supported(UProbeMultiFeature::LinkCreation).unwrap_or_else(|error| {
        tracing::debug!("whether one link can have many probes is not known: {error}");
        false
    })
}

fn single(object: &[u8]) -> Vec<u8> {
    let mut single = object.to_vec();
    for place in memchr::memmem::find_iter(object, MULTI) {
        single[place..place + MULTI.len()].copy_from_slice(SINGLE);
    }
    single
}

#[cfg(test)]
mod tests {
    use object::{Object as _, ObjectSection as _};

    use super::*;
    use crate::capture::load::OBJECT;

    fn programs(object: &[u8], section: &str) -> usize {
        let file = object::File::parse(object).unwrap();
        file.sections().filter(|found| found.name() == Ok(section)).count()
    }

    #[test]
    fn older_kernels_get_programs_for_single_places() {
        let single = single(OBJECT);
        assert_eq!(single.len(), OBJECT.len());
        assert_eq!((programs(OBJECT, "uprobe.multi"), programs(OBJECT, "uprobe")), (1, 0));
        assert_eq!((programs(&single, "uprobe.multi"), programs(&single, "uprobe")), (0, 1));
    }
}
