//! The start: lock, manifest, segments, log, threads.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, RwLock, mpsc};
use std::thread::{Builder, JoinHandle};

use super::aliases::Aliases;
use super::budget::Budget;
use super::caches::Caches;
use super::counters::StoreCounters;
use super::error::StoreError;
use super::live::{Generation, LiveBatch};
use super::manifest::Manifest;
use super::repeats::Repeats;
use super::sealer::Sealer;
use super::segment::{self, Segment};
use super::settings::StoreSettings;
use super::view::View;
use super::wal::{self, Logged, Wal};
use super::writer::{Command, MAX_WAITING, SealCommand, SealJob, Writer};
use super::{DecodeRequest, Inner};

pub(super) fn open(settings: StoreSettings, decode: &DecodeRequest<'_>) -> Result<Inner, StoreError> {
    let data_dir = settings.data_dir.clone();
    let (wal_dir, segments_dir) = (data_dir.join("wal"), data_dir.join("segments"));
    for dir in [&data_dir, &wal_dir, &segments_dir] {
        fs::create_dir_all(dir).map_err(StoreError::io("create", dir))?;
    }
    let lock = lock(&data_dir)?;
    refuse_without_manifest(&data_dir, &wal_dir, &segments_dir)?;
    let mut manifest = Manifest::open(&data_dir)?;
    let wal_through = manifest.wal_through();
    let segments: Result<Vec<_>, _> =
        manifest.segments().map(|meta| Segment::open(&segments_dir, meta.clone()).map(Arc::new)).collect();
    let segments = segments?;
    // Only here is anything changed: the segments that the manifest knows are there.
    segment::remove_strangers(&segments_dir, &manifest)?;
    manifest.begin()?;
    wal::remove_through(&wal_dir, wal_through)?;
    let age_ns = u64::try_from(settings.retention_age.as_nanos()).unwrap_or(u64::MAX);
    let oldest_unix_ns = super::unix_now_ns().saturating_sub(age_ns);
    let aliases = Arc::new(Aliases::open(&data_dir, settings.max_aliases, oldest_unix_ns)?);
    let view = Arc::new(View::new(Generation::new(), Arc::clone(&aliases)));
    view.replace(None, &[], segments);
    let counters = Arc::new(StoreCounters::default());
    let budget = Arc::new(Budget::new(settings.live_limit_bytes));
    let is_closing = Arc::new(AtomicBool::new(false));
    let release: Arc<dyn Fn(usize) + Send + Sync> = {
        let budget = Arc::clone(&budget);
        Arc::new(move |bytes| budget.release(bytes))
    };
    let (commands, receiver) = tokio::sync::mpsc::channel(MAX_WAITING);
    let asker = commands.downgrade();
    let sealer = Sealer {
        settings: settings.clone(),
        wal_dir: wal_dir.clone(),
        segments_dir,
        manifest: Arc::new(Mutex::new(manifest)),
        view: Arc::clone(&view),
        aliases: Arc::clone(&aliases),
        counters: Arc::clone(&counters),
        release: Arc::clone(&release),
        ask_for_cut: Box::new(move || {
            // A full queue means that the writer is busy, and it looks at the limits after each group.
            asker.upgrade().map(|commands| commands.try_send(Command::Cut { done: None }));
        }),
        is_closing: Arc::clone(&is_closing),
    };
    // The replay may need the space, and what is too old need not be read.
    if let Err(error) = sealer.retire(super::unix_now_ns()) {
        tracing::warn!(%error, "old segments were not removed");
    }
    let mut replay = Replay {
        wal_dir: &wal_dir,
        settings: &settings,
        decode,
        view: &view,
        budget: &budget,
        counters: &counters,
        repeats: Repeats::default(),
    };
    let (seals, jobs) = mpsc::channel();
    let last = replay.run(wal_through, &sealer, &seals)?;
    let repeats = replay.repeats;
    let writer = Writer {
        repeats,
        wal: Wal::after(&wal_dir, last),
        view: Arc::clone(&view),
        counters: Arc::clone(&counters),
        seals,
        // Half of the limit at most: the other half takes spans while a segment is written.
        seal_bytes: settings.seal_bytes.min(settings.live_limit_bytes / 2),
        seal_spans: settings.seal_spans,
        release,
    };
    let threads = vec![
        spawn("store-writer", move || writer.run(receiver)),
        spawn("store-sealer", move || {
            sealer.run(jobs);
            drop(lock);
        }),
    ];
    let threads = threads
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .map_err(StoreError::io("start threads for", &data_dir))?;
    Ok(Inner {
        view,
        aliases,
        caches: Caches::default(),
        budget,
        counters,
        commands: RwLock::new(Some(commands)),
        threads: Mutex::new(threads),
        is_closing,
        wal_dir,
    })
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(body)
}

/// Takes the directory for this process; the kernel gives it back when the process ends, however it ends.
fn lock(data_dir: &Path) -> Result<File, StoreError> {
    let path = data_dir.join("lock");
    let file = File::create(&path).map_err(StoreError::io("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: data_dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(StoreError::io("lock", &path)(error)),
    }
}

/// Refuses a directory that was used and has lost its manifest: nobody knows which of its segments count.
fn refuse_without_manifest(data_dir: &Path, wal_dir: &Path, segments_dir: &Path) -> Result<(), StoreError> {
    let path = Manifest::path(data_dir);
    if path.try_exists().map_err(StoreError::io("stat", &path))? {
        return Ok(());
    }
    let segments = segment::ids(segments_dir)?.len();
    if segments > 0 {
        let what = format!("the file is missing, but there are {segments} segments");
        return Err(StoreError::damaged(&path, what));
    }
    // A log that is whole is enough, but its first file goes when a segment covers it.
    match wal::files(wal_dir)?.first() {
        Some(first) if *first > 1 => {
            let what = format!("the file is missing, but the log begins with file {first}");
            Err(StoreError::damaged(&path, what))
        }
        _ => Ok(()),
    }
}

struct Replay<'a> {
    wal_dir: &'a Path,
    settings: &'a StoreSettings,
    decode: &'a DecodeRequest<'a>,
    view: &'a View,
    budget: &'a Budget,
    counters: &'a StoreCounters,
    repeats: Repeats,
}

impl Replay<'_> {
    /// Reads the log behind `wal_through` into the current generation, and seals on the way what would be too much; what
    /// cannot be sealed stays live, and the sealer's thread tries again. Returns the number of the last file.
    fn run(
        &mut self,
        wal_through: u64,
        sealer: &Sealer,
        later: &Sender<SealCommand>,
    ) -> Result<u64, StoreError> {
        let mut is_full = false;
        let mut last = wal_through.max(wal::newest_damaged(self.wal_dir)?);
        let files = wal::files(self.wal_dir)?;
        for sequence in files.iter().copied() {
            let is_newest = files.last() == Some(&sequence);
            let found = wal::replay(self.wal_dir, sequence, is_newest, |logged| self.take(&logged))?;
            StoreCounters::add(&self.counters.wal_damaged_bytes, found.damaged_bytes);
            StoreCounters::add(&self.counters.wal_unreadable_requests, found.unreadable_requests);
            last = last.max(sequence);
            let (current, requests) = (self.view.current(), found.requests);
            tracing::info!(file = sequence, requests, live_spans = current.span_count(), "log was read back");
            if current.memory_bytes() >= self.settings.seal_bytes {
                let job = SealJob { generation: self.view.cut(), wal_through: sequence };
                // In the order of the log: a segment says that the files before its own are covered as well.
                if !is_full && let Err(error) = sealer.seal(&job) {
                    StoreCounters::add(&self.counters.seal_failures, 1);
                    tracing::warn!(%error, "segment was not written, its spans stay live and in the log");
                    is_full = true;
                }
                if is_full {
                    // The other end is held by the caller.
                    let _ = later.send(SealCommand::Seal(job));
                }
            }
        }
        Ok(last)
    }

    fn take(&mut self, logged: &Logged) -> Result<(), String> {
        let Logged { arrived_unix_ns, key, request } = logged;
        // A request that was refused, because the disk did not take all of it, may be in the log all the same.
        if self.repeats.contains(*key, *arrived_unix_ns) {
            StoreCounters::add(&self.counters.repeated_requests, 1);
            return Ok(());
        }
        let batch = LiveBatch::new((self.decode)(request)?, *arrived_unix_ns);
        self.repeats.remember(*key, *arrived_unix_ns);
        StoreCounters::add(&self.counters.replayed_spans, batch.len() as u64);
        self.budget.force(batch.memory_bytes);
        self.view.current().push(batch);
        Ok(())
    }
}
