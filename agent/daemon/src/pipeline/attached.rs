//! The places that are probed, each once, for as long as somebody maps the file around them and it stays what it is.
//!
//! A breakpoint belongs to a place in a file, whatever bytes are there. So a file that is written to loses its probes at
//! once, by a thread that the kernel tells of it: the program in it may be another one when it is started again. And a
//! probe holds the file and the mount on which it was found, so that a file which nobody has mapped any more loses them too.

mod delay;
mod users;

use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashSet};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;

use super::runtime::program;
use crate::capture::{Attachment, Prober, detach};
use crate::discover::{FileIdentity, Probe, ProbeAttacher, ProbeUser, Purpose};
use crate::health::{Counter, Ledger, ProbedFile};
use delay::Delay;
use users::Users;

/// Places that are probed at most. On kernels before 6.6, each takes a descriptor.
const MAX_PROBES: usize = 32_768;
/// Places that cannot be probed and are remembered, so that it is said once.
const MAX_REFUSED: usize = 4096;
/// How often the thread that waits for changes looks whether it is still needed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Room for events: each is 16 bytes, without a name.
const EVENT_BYTES: usize = 4096;

type Place = (FileIdentity, Purpose, u64);

fn place(probe: &Probe) -> Place {
    (probe.file, probe.purpose, probe.offset)
}

/// Returns whether one link can have both probes.
fn is_alike(left: &Probe, right: &Probe) -> bool {
    (left.file, left.purpose) == (right.file, right.purpose)
}

/// The places that are probed.
pub(super) struct Attached {
    prober: Prober,
    files: Arc<Mutex<Files>>,
    users: Users,
    refused_places: HashSet<Place>,
    refused: Counter,
    delay: Delay,
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
    /// Where it was found first.
    path: PathBuf,
    places: HashSet<(Purpose, u64)>,
    attachments: Vec<Attachment>,
}

impl Files {
    /// Forgets what is probed under a watch, and returns what is still attached.
    fn forget(&mut self, watch: i32) -> Vec<Attachment> {
        let Some(probed) = self.by_watch.remove(&watch) else { return Vec::new() };
        self.watches.remove(&probed.file);
        self.places -= probed.places.len();
        probed.attachments
    }

    /// Returns what is probed in a file.
    fn probed(&self, file: &FileIdentity) -> Option<ProbedFile> {
        let probed = self.by_watch.get(self.watches.get(file)?)?;
        let plaintext = probed.places.iter().filter(|(purpose, _)| purpose.is_of_tls()).count();
        Some(ProbedFile {
            path: probed.path.display().to_string(),
            plaintext_places: plaintext,
            parent_places: probed.places.len() - plaintext,
        })
    }

    fn is_attached(&self, probe: &Probe) -> bool {
        let known = self.watches.get(&probe.file).and_then(|watch| self.by_watch.get(watch));
        known.is_some_and(|known| known.places.contains(&(probe.purpose, probe.offset)))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        detach(self.by_watch.drain().flat_map(|(_, probed)| probed.attachments).collect());
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
            users: Users::default(),
            refused_places: HashSet::default(),
            refused: ledger.counter("remora_agent_probes_refused_total"),
            delay: Delay::new(ledger),
        }
    }

    /// Attaches probes in one file for one purpose, and says what was refused.
    fn attach_in_file(&mut self, files: &mut Files, probes: &[&Probe]) {
        let Some(first) = probes.first() else { return };
        let offsets: Vec<u64> = probes.iter().map(|probe| probe.offset).collect();
        let Err(error) = attach(&self.prober, files, first, &offsets) else { return };
        if probes.len() > 1 {
            // One of them may be to blame.
            for probe in probes {
                self.attach_in_file(files, &[probe]);
            }
            return;
        }
        self.refused.add(1);
        if self.refused_places.len() >= MAX_REFUSED {
            self.refused_places.clear();
        }
        self.refused_places.insert(place(first));
        let what = if first.purpose.is_of_tls() { "plaintext is" } else { "parents are" };
        tracing::warn!("{what} missing that a probe in {} would tell: {error}", first.path.display());
    }
}

impl ProbeAttacher for Attached {
    fn attach(&mut self, user: ProbeUser, probes: Vec<Probe>, since_ns: Option<u64>) -> Vec<Probe> {
        let shared = Arc::clone(&self.files);
        let mut files = lock(&shared);
        let mut groups: Vec<Vec<&Probe>> = Vec::new();
        for probe in &probes {
            self.users.add(user, probe.file);
            if files.is_attached(probe) || self.refused_places.contains(&place(probe)) {
                continue;
            }
            match groups.iter_mut().find(|group| is_alike(group[0], probe)) {
                Some(group) => group.push(probe),
                None => groups.push(vec![probe]),
            }
        }
        for group in &groups {
            self.attach_in_file(&mut files, group);
        }
        if let Some(since_ns) = since_ns.filter(|_| !groups.is_empty()) {
            self.delay.note(super::now_ns().saturating_sub(since_ns));
        }
        probes.into_iter().filter(|probe| files.is_attached(probe)).collect()
    }

    fn fork(&mut self, parent: u32, child: u32) {
        self.users.fork(parent, child);
    }

    fn leave(&mut self, tgid: u32) {
        self.users.leave(tgid, Instant::now());
    }

    fn probed(&self, tgid: u32) -> Vec<ProbedFile> {
        let files = lock(&self.files);
        let mut probed: Vec<ProbedFile> =
            self.users.files(tgid).filter_map(|file| files.probed(file)).collect();
        probed.sort_unstable_by(|left, right| left.path.cmp(&right.path));
        probed
    }

    fn tidy(&mut self) {
        let unused = self.users.take_unused(Instant::now());
        if unused.is_empty() {
            return;
        }
        let mut files = lock(&self.files);
        let mut attachments = Vec::new();
        for file in unused {
            if let Some(watch) = files.watches.get(&file).copied() {
                attachments.extend(files.forget(watch));
                if let Some(changes) = &files.changes {
                    // Where the file is gone, so is the watch.
                    let _ = inotify::remove_watch(changes.as_fd(), watch);
                }
            }
        }
        detach(attachments);
    }
}

/// Attaches a program to places of the file that was searched for them, and of no other; does nothing where that is gone.
fn attach(prober: &Prober, files: &mut Files, probe: &Probe, offsets: &[u64]) -> Result<(), String> {
    let Some(changes) = files.changes.clone() else { return Ok(()) };
    if files.places + offsets.len() > MAX_PROBES {
        return Err(format!("{MAX_PROBES} places are probed already"));
    }
    // The process through which the file was found may run another program by now.
    let Ok(opened) = File::open(&probe.path) else { return Ok(()) };
    let path = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
    let watch = inotify::add_watch(changes.as_fd(), &path, inotify::WatchFlags::MODIFY)
        .map_err(|error| format!("be told when it changes: {error}"))?;
    // From here on no change is missed.
    if FileIdentity::of(&opened) != Some(probe.file) {
        if !files.by_watch.contains_key(&watch) {
            let _ = inotify::remove_watch(changes.as_fd(), watch);
        }
        return Ok(());
    }
    let attachment = prober
        .attach(program(probe.purpose), Path::new(&path), offsets)
        .map_err(|error| error.to_string())?;
    let probed = files.by_watch.entry(watch).or_insert_with(|| Probed {
        file: probe.file,
        path: std::fs::read_link(&probe.path).unwrap_or_else(|_| probe.path.clone()),
        places: HashSet::default(),
        attachments: Vec::new(),
    });
    probed.places.extend(offsets.iter().map(|offset| (probe.purpose, *offset)));
    probed.attachments.push(attachment);
    files.watches.insert(probe.file, watch);
    files.places += offsets.len();
    Ok(())
}

/// Detaches the probes of files that are written to, or gone, until nobody wants to know.
fn follow(changes: &OwnedFd, files: &Weak<Mutex<Files>>) {
    let mut room = [MaybeUninit::uninit(); EVENT_BYTES];
    let look_every = rustix::time::Timespec { tv_sec: LOOK_EVERY.as_secs().cast_signed(), tv_nsec: 0 };
    while let Some(files) = files.upgrade() {
        let mut reader = inotify::Reader::new(changes, &mut room);
        while let Ok(event) = reader.next() {
            let mut files = lock(&files);
            detach(files.forget(event.wd()));
        }
        drop(files);
        let _ = poll(&mut [PollFd::new(changes, PollFlags::IN)], Some(&look_every));
    }
}

/// What a thread that panicked left is whole: it is changed by single steps.
fn lock(files: &Mutex<Files>) -> MutexGuard<'_, Files> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}
