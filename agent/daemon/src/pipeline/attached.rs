//! The places that are probed, each once, for as long as the file around them stays what it is.
//!
//! A breakpoint belongs to a place in a file, whatever bytes are there. So a file that is written to loses its probes at
//! once, by a thread that the kernel tells of it: the program in it may be another one when it is started again.

use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use foldhash::{HashMap, HashSet};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;

use super::runtime::program;
use crate::capture::{Attachment, Prober};
use crate::discover::{FileIdentity, Probe, Purpose};
use crate::health::{Counter, Ledger};

/// Places that are probed at most. Each takes a descriptor.
const MAX_PROBES: usize = 4096;
/// Places that cannot be probed and are remembered, so that it is said once.
const MAX_REFUSED: usize = 4096;
/// How often the thread that waits for changes looks whether it is still needed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Room for events: each is 16 bytes, without a name.
const EVENT_BYTES: usize = 4096;

type Place = (FileIdentity, Purpose, u64);

/// The places that are probed.
pub(super) struct Attached {
    prober: Prober,
    files: Arc<Mutex<Files>>,
    refused_places: HashSet<Place>,
    refused: Counter,
}

/// The files that are probed.
#[derive(Default)]
struct Files {
    by_watch: HashMap<i32, Probed>,
    watches: HashMap<FileIdentity, i32>,
    places: usize,
    /// Where the kernel tells of changes; none where it cannot.
    changes: Option<Arc<OwnedFd>>,
}

/// What is probed in one file.
struct Probed {
    file: FileIdentity,
    attachments: HashMap<(Purpose, u64), Attachment>,
}

impl Files {
    fn forget(&mut self, watch: i32) {
        let Some(probed) = self.by_watch.remove(&watch) else { return };
        self.watches.remove(&probed.file);
        self.places -= probed.attachments.len();
    }
}

impl Attached {
    /// Returns none; what cannot be attached will be counted.
    pub(super) fn new(prober: Prober, ledger: &Ledger) -> Self {
        let files = Arc::new(Mutex::new(Files::default()));
        match inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK) {
            Ok(changes) => {
                let changes = Arc::new(changes);
                lock(&files).changes = Some(Arc::clone(&changes));
                let files = Arc::downgrade(&files);
                thread::spawn(move || follow(&changes, &files));
            }
            Err(error) => tracing::warn!(
                "parents and plaintext are missing that probes would tell: the kernel does not tell when files change: {error}"
            ),
        }
        let counted = Arc::downgrade(&files);
        ledger.gauge("remora_agent_probes", Vec::new(), move || {
            counted.upgrade().map_or(0, |files| lock(&files).places) as f64
        });
        Self {
            prober,
            files,
            refused_places: HashSet::default(),
            refused: ledger.counter("remora_agent_probes_refused_total"),
        }
    }

    /// Returns whether a probe is attached, after trying to. Without it, what it would have told is missing.
    pub(super) fn attach(&mut self, probe: &Probe) -> bool {
        let mut files = lock(&self.files);
        let known = files.watches.get(&probe.file).and_then(|watch| files.by_watch.get(watch));
        if known.is_some_and(|known| known.attachments.contains_key(&(probe.purpose, probe.offset))) {
            return true;
        }
        let place = (probe.file, probe.purpose, probe.offset);
        if self.refused_places.contains(&place) {
            return false;
        }
        match attach(&self.prober, &mut files, probe) {
            Ok(is_attached) => is_attached,
            Err(error) => {
                drop(files);
                self.refused.add(1);
                if self.refused_places.len() >= MAX_REFUSED {
                    self.refused_places.clear();
                }
                self.refused_places.insert(place);
                let what = if probe.purpose.is_of_tls() { "plaintext is" } else { "parents are" };
                tracing::warn!("{what} missing that a probe in {} would tell: {error}", probe.path.display());
                false
            }
        }
    }
}

/// Attaches a probe to the file that was searched for it, and to no other; returns false where that is gone.
fn attach(prober: &Prober, files: &mut Files, probe: &Probe) -> Result<bool, String> {
    let Some(changes) = files.changes.clone() else { return Ok(false) };
    if files.places >= MAX_PROBES {
        return Err(format!("{MAX_PROBES} places are probed already"));
    }
    // The process through which the file was found may run another program by now.
    let Ok(opened) = File::open(&probe.path) else { return Ok(false) };
    let path = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
    let watch = inotify::add_watch(changes.as_fd(), &path, inotify::WatchFlags::MODIFY)
        .map_err(|error| format!("be told when it changes: {error}"))?;
    // From here on no change is missed.
    if FileIdentity::of(&opened) != Some(probe.file) {
        if !files.by_watch.contains_key(&watch) {
            let _ = inotify::remove_watch(changes.as_fd(), watch);
        }
        return Ok(false);
    }
    let attachment =
        prober.attach(program(probe.purpose), &path, probe.offset).map_err(|error| error.to_string())?;
    let probed = files
        .by_watch
        .entry(watch)
        .or_insert_with(|| Probed { file: probe.file, attachments: HashMap::default() });
    probed.attachments.insert((probe.purpose, probe.offset), attachment);
    files.watches.insert(probe.file, watch);
    files.places += 1;
    Ok(true)
}

/// Detaches the probes of files that are written to, or gone, until nobody wants to know.
fn follow(changes: &OwnedFd, files: &Weak<Mutex<Files>>) {
    let mut room = [MaybeUninit::uninit(); EVENT_BYTES];
    let look_every = rustix::time::Timespec { tv_sec: LOOK_EVERY.as_secs().cast_signed(), tv_nsec: 0 };
    while let Some(files) = files.upgrade() {
        let mut reader = inotify::Reader::new(changes, &mut room);
        while let Ok(event) = reader.next() {
            lock(&files).forget(event.wd());
        }
        drop(files);
        let _ = poll(&mut [PollFd::new(changes, PollFlags::IN)], Some(&look_every));
    }
}

/// What a thread that panicked left is whole: it is changed by single steps.
fn lock(files: &Mutex<Files>) -> MutexGuard<'_, Files> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}
