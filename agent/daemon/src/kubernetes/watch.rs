//! The thread that follows the API server.

use std::collections::HashSet;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, future};
use kube::api::Api;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, PartialObjectMeta, Resource};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Config};
use tokio::sync::oneshot;

use super::Settings;
use super::kinds::Kind;
use super::objects::{NodeObject, PodObject, ServiceObject};
use super::table::Cluster;
use crate::health::{Counter, Ledger};

/// How often those that died long ago are forgotten.
const TIDY: Duration = Duration::from_secs(10);

/// Why nothing can be asked of the API server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file with the way to it is of no use.
    #[error("read the kubeconfig")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// The service account of this pod is of no use.
    #[error("use the service account of this pod")]
    Account(#[from] kube::config::InClusterError),
    /// The client cannot be made of it.
    #[error("prepare the client of the API server")]
    Client(#[from] kube::Error),
    /// There is no thread to be had.
    #[error("start the thread that follows the API server")]
    Start(#[from] std::io::Error),
}

/// Follows the API server until it is dropped.
#[derive(Debug)]
pub struct Watch {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to follow the API server. That it is away is no error.
    ///
    /// # Errors
    /// The way to it cannot be read, or there is no thread to be had.
    pub fn start(settings: Settings, ledger: &Ledger) -> Result<(Cluster, Self), Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let config = runtime.block_on(config(&settings))?;
        let client = {
            let _inside = runtime.enter();
            Client::try_from(config)?
        };
        let cluster = Cluster::new(settings);
        let counts = cluster.clone();
        ledger.gauge("remora_agent_kubernetes_pods", Vec::new(), move || counts.counts().0 as f64);
        let counts = cluster.clone();
        ledger.gauge("remora_agent_kubernetes_addresses", Vec::new(), move || counts.counts().2 as f64);
        let (stop, stopped) = oneshot::channel();
        let (followed, ledger) = (cluster.clone(), ledger.clone());
        let body = move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = follow_all(&client, &followed, &ledger) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("kubernetes".to_owned()).spawn(body)?;
        Ok((cluster, Self { stop: Some(stop), thread: Some(thread) }))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic was told by its own message.
            let _panicked = thread.join();
        }
    }
}

async fn config(settings: &Settings) -> Result<Config, Error> {
    Ok(match &settings.kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
        }
        None => Config::incluster()?,
    })
}

async fn follow_all(client: &Client, cluster: &Cluster, ledger: &Ledger) {
    let everything = || watcher::Config::default().any_semantic();
    let own = everything().fields(&format!("spec.nodeName={}", cluster.settings().node));
    let pods = erased::<k8s_openapi::api::core::v1::Pod>();
    let services = erased::<k8s_openapi::api::core::v1::Service>();
    let nodes = erased::<k8s_openapi::api::core::v1::Node>();
    let jobs = Api::<PartialObjectMeta<k8s_openapi::api::batch::v1::Job>>::all(client.clone());
    let slices = Api::<k8s_openapi::api::discovery::v1::EndpointSlice>::all(client.clone());
    future::join(
        future::join5(
            follow(watcher(Api::<PodObject>::all_with(client.clone(), &pods), own), cluster, ledger),
            follow(
                watcher(Api::<ServiceObject>::all_with(client.clone(), &services), everything()),
                cluster,
                ledger,
            ),
            follow(
                watcher(Api::<NodeObject>::all_with(client.clone(), &nodes), everything()),
                cluster,
                ledger,
            ),
            follow(watcher(slices, everything()), cluster, ledger),
            follow(watcher(jobs, everything()), cluster, ledger),
        ),
        tidy(cluster),
    )
    .await;
}

fn erased<K: Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

async fn tidy(cluster: &Cluster) {
    let mut tick = tokio::time::interval(TIDY);
    loop {
        tick.tick().await;
        cluster.change(|tables| tables.expire(Instant::now()));
    }
}

/// What is counted of one kind.
struct Counters {
    events: Counter,
    lists: Counter,
    failures: Counter,
}

/// Keeps the tables as the stream says, for ever.
async fn follow<K: Kind>(
    stream: impl futures_util::Stream<Item = watcher::Result<watcher::Event<K>>>,
    cluster: &Cluster,
    ledger: &Ledger,
) {
    let counter = |name| ledger.counter_with(name, vec![("kind", K::NAME.into())]);
    let counters = Counters {
        events: counter("remora_agent_kubernetes_events_total"),
        lists: counter("remora_agent_kubernetes_lists_total"),
        failures: counter("remora_agent_kubernetes_failures_total"),
    };
    let mut stream = std::pin::pin!(stream.default_backoff());
    let mut listed = HashSet::new();
    let mut is_first = true;
    let mut has_failed = false;
    while let Some(event) = stream.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                counters.failures.add(1);
                if !std::mem::replace(&mut has_failed, true) {
                    tracing::warn!(
                        kind = K::NAME,
                        error = &error as &dyn std::error::Error,
                        "the API server does not answer; what is known stays"
                    );
                }
                continue;
            }
        };
        if std::mem::take(&mut has_failed) {
            tracing::info!(kind = K::NAME, "the API server answers again");
        }
        counters.events.add(1);
        match event {
            watcher::Event::Init => {
                counters.lists.add(1);
                listed.clear();
            }
            watcher::Event::InitApply(object) => {
                listed.insert(object.key());
                // What the first list says was so before.
                apply(object, cluster, if is_first { 0 } else { now_ns() });
            }
            watcher::Event::InitDone => {
                is_first = false;
                let gone: Vec<_> =
                    K::keys(&cluster.read()).into_iter().filter(|key| !listed.contains(key)).collect();
                listed.clear();
                cluster.change(|tables| gone.iter().for_each(|key| K::remove(tables, key)));
            }
            watcher::Event::Apply(object) => apply(object, cluster, now_ns()),
            watcher::Event::Delete(object) => cluster.change(|tables| K::remove(tables, &object.key())),
        }
    }
}

fn apply<K: Kind>(object: K, cluster: &Cluster, now_ns: u64) {
    cluster.change(|tables| object.apply(tables, cluster.settings(), now_ns));
}

/// Returns `CLOCK_MONOTONIC`, the clock of all spans.
fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
