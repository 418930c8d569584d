//! The tables that everybody reads and one thread writes.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use super::peers::{Peer, Peers};
use super::pod::{Container, Owner, OwnerKind, Pod};
use super::pods::Pods;
use super::{LINGER, Settings};

/// How long the spans of a pod wait that the API server has not told of yet.
const PATIENCE: Duration = Duration::from_secs(3);
/// Pods that are waited for; spans of others are sent at once.
const MAX_AWAITED: usize = 1024;

/// What is known of the cluster. Clones are handles to the same tables.
#[derive(Clone, Debug)]
pub struct Cluster(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: Settings,
    tables: RwLock<Tables>,
    /// Grows whenever a placement may have changed.
    generation: AtomicU64,
    /// Since when pods are waited for that nobody has told of.
    awaited: Mutex<HashMap<String, Instant>>,
}

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) pods: Pods,
    pub(super) peers: Peers,
    /// The cron job of a job, by the job's uid, and when the job was deleted.
    pub(super) cron_jobs: HashMap<String, (Owner, Option<Instant>)>,
    /// Services of the pods of this node, by namespace and name of the pod, with the slice that says so.
    pub(super) services: HashMap<(String, String), Vec<(String, String)>>,
}

impl Tables {
    /// Forgets what was deleted long ago.
    pub(super) fn expire(&mut self, now: Instant) {
        self.pods.expire(now);
        let is_over = |since: Instant| now.saturating_duration_since(since) >= LINGER;
        self.cron_jobs.retain(|_, (_, deleted)| !deleted.is_some_and(is_over));
    }
}

/// Where a process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Its pod.
    pub pod: Arc<Pod>,
    /// Its container, where that is certain.
    pub container: Option<Container>,
    /// The cron job that made the pod's job.
    pub cron_job: Option<Owner>,
    /// The service that the pod is an endpoint of, if it is one of one.
    pub service: Option<String>,
}

impl Cluster {
    /// Returns tables of which nothing is known yet.
    #[must_use]
    pub(super) fn new(settings: Settings) -> Self {
        Self(Arc::new(Shared {
            settings,
            tables: RwLock::default(),
            generation: AtomicU64::default(),
            awaited: Mutex::default(),
        }))
    }

    /// Returns tables that know these pods.
    #[cfg(test)]
    pub(crate) fn knowing(settings: Settings, pods: Vec<serde_json::Value>) -> Self {
        let cluster = Self::new(settings);
        for pod in pods {
            cluster.learn::<super::objects::PodObject>(pod);
        }
        cluster
    }

    /// Takes one object as the API server sends it.
    #[cfg(test)]
    pub(super) fn learn<K: super::kinds::Kind + serde::de::DeserializeOwned>(
        &self,
        object: serde_json::Value,
    ) {
        let object: K = serde_json::from_value(object).expect("it is one of its kind");
        self.change(|tables| object.apply(tables, self.settings(), 0));
    }

    /// Returns what was asked for.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Returns a number that is another one whenever a placement may have changed.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// Returns where a process runs, by the identifier of its container and by the uid in its control group.
    #[must_use]
    pub fn placement(&self, container_id: Option<&str>, pod_uid: Option<&str>) -> Option<Placement> {
        let tables = self.read();
        let pod = tables.pods.find(container_id, pod_uid)?.clone();
        let job = pod.owners.iter().find(|owner| owner.kind == OwnerKind::Job);
        let cron_job =
            job.and_then(|job| tables.cron_jobs.get(job.uid.as_ref()?)).map(|(owner, _)| owner.clone());
        let services = tables.services.get(&(pod.namespace.clone(), pod.name.clone()));
        let services: BTreeSet<String> =
            services.into_iter().flatten().map(|(_, name)| name.clone()).collect();
        let service = tables.peers.only(&pod.namespace, services);
        Some(Placement { container: pod.container(container_id).cloned(), cron_job, service, pod })
    }

    /// Returns the pod of a process, by the identifier of its container and by the uid in its control group.
    #[must_use]
    pub fn pod(&self, container_id: Option<&str>, pod_uid: Option<&str>) -> Option<Arc<Pod>> {
        self.read().pods.find(container_id, pod_uid).cloned()
    }

    /// Returns whether a process is in a pod that will probably be known in a moment.
    #[must_use]
    pub fn awaits(&self, container_id: Option<&str>, pod_uid: Option<&str>, now: Instant) -> bool {
        let Some(uid) = pod_uid else { return false };
        if self.read().pods.find(container_id, pod_uid).is_some() {
            return false;
        }
        let mut awaited = self.0.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&since) = awaited.get(uid) {
            return now.saturating_duration_since(since) < PATIENCE;
        }
        if awaited.len() >= MAX_AWAITED {
            awaited.retain(|_, &mut since| now.saturating_duration_since(since) < PATIENCE);
        }
        let has_room = awaited.len() < MAX_AWAITED;
        if has_room {
            awaited.insert(uid.to_owned(), now);
        }
        has_room
    }

    /// Returns who had an address when something began (`CLOCK_MONOTONIC`).
    #[must_use]
    pub fn peer(&self, address: IpAddr, began_ns: u64) -> Option<Peer> {
        self.read().peers.at(address, began_ns)
    }

    /// Returns the service that a host name means to a process in `namespace`.
    #[must_use]
    pub fn named(&self, host: &str, namespace: Option<&str>) -> Option<Peer> {
        self.read().peers.named(host, namespace)
    }

    /// Returns how many pods of this node are living, how many only remembered, and how many addresses have names.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let tables = self.read();
        let (living, dead) = tables.pods.counts();
        (living, dead, tables.peers.count())
    }

    /// Changes the tables.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Tables) -> T) -> T {
        let result = change(&mut self.write());
        self.0.generation.fetch_add(1, Ordering::Release);
        result
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.0.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.0.tables.write().unwrap_or_else(PoisonError::into_inner)
    }
}
