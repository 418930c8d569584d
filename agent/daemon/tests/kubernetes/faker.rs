//! Nodes, services and pods that nobody runs, and the truth about them.

use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kube::Client;
use serde_json::{Value, json};
use tokio::runtime::Handle;

/// Pods that live at once.
pub(crate) const PODS: usize = 1_000;
/// The node whose pods are followed.
pub(crate) const OWN_NODE: &str = "node-0";
const NODES: usize = 20;
const SERVICES: usize = 20;
/// Requests under way.
const WORKERS: usize = 8;
/// How long an address is nobody's before it is given again. Real networks go through their whole range first.
const QUARANTINE: Duration = Duration::from_secs(2);

/// A pod that exists or existed.
#[derive(Clone, Debug)]
pub(crate) struct Fake {
    pub(crate) uid: String,
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) service: String,
    pub(crate) container: String,
    pub(crate) address: IpAddr,
    made: Instant,
    has_ended: bool,
}

pub(crate) struct Faker {
    client: Client,
    runtime: Handle,
    /// By slot, the present pod last.
    pods: Mutex<Vec<Vec<Fake>>>,
    made: AtomicUsize,
}

impl Faker {
    pub(crate) fn new((client, runtime): (Client, Handle)) -> Self {
        Self { client, runtime, pods: Mutex::new(vec![Vec::new(); PODS]), made: AtomicUsize::default() }
    }

    /// Makes everything that is there at the beginning.
    pub(crate) fn prepare(&self) {
        self.runtime.block_on(async {
            self.let_remora_read().await;
            self.post("/api/v1/namespaces", json!({"kind": "Namespace", "metadata": {"name": "shop"}})).await;
            for node in 0..NODES {
                let name = format!("node-{node}");
                self.post("/api/v1/nodes", json!({"kind": "Node", "metadata": {"name": name}})).await;
                let address = json!([{"type": "InternalIP", "address": format!("192.168.7.{}", node + 1)}]);
                self.patch(
                    &format!("/api/v1/nodes/{name}/status"),
                    json!({"status": {"addresses": address}}),
                )
                .await;
            }
            for service in 0..SERVICES {
                let name = format!("svc-{service}");
                let spec = json!({"ports": [{"port": 80}]});
                let path = "/api/v1/namespaces/shop/services";
                self.post(path, json!({"kind": "Service", "metadata": {"name": name}, "spec": spec})).await;
            }
            self.for_each_slot(|slot| self.create(slot)).await;
            for service in 0..SERVICES {
                self.write_slice(service, true).await;
            }
        });
    }

    /// Replaces every pod once while `look` is called again and again; returns the sum of what that gives.
    pub(crate) fn churn(&self, mut look: impl FnMut() -> u64) -> u64 {
        let mut sum = 0;
        std::thread::scope(|scope| {
            let work = scope.spawn(|| {
                self.runtime.block_on(async {
                    // Slots of one service follow each other: its slice is written when they are done.
                    for service in 0..SERVICES {
                        self.replace(slots_of(service)).await;
                        self.write_slice(service, false).await;
                    }
                });
            });
            while !work.is_finished() {
                sum += look();
            }
            work.join().unwrap();
        });
        sum
    }

    /// Replaces the pods of one service.
    pub(crate) fn replace_some(&self) {
        self.runtime.block_on(async {
            self.replace(slots_of(0)).await;
            self.write_slice(0, false).await;
        });
    }

    /// Returns every pod that ever was.
    pub(crate) fn all(&self) -> Vec<Fake> {
        self.pods.lock().unwrap().iter().flatten().cloned().collect()
    }

    /// Returns the pods that are there.
    pub(crate) fn living(&self) -> Vec<Fake> {
        self.pods
            .lock()
            .unwrap()
            .iter()
            .filter_map(|slot| slot.last())
            .filter(|pod| !pod.has_ended)
            .cloned()
            .collect()
    }

    /// Returns whether an address was a pod's, or had last been.
    pub(crate) fn had(&self, address: IpAddr, name: &str, at: Instant) -> bool {
        let pods = self.pods.lock().unwrap();
        let mut holders = pods.iter().flatten().filter(|pod| pod.address == address && pod.made <= at);
        holders.next_back().is_some_and(|pod| pod.name == name)
    }

    async fn replace(&self, slots: Vec<usize>) {
        let ended = join_all(slots.chunks(slots.len().div_ceil(WORKERS)).map(|slots| async move {
            for &slot in slots {
                self.delete(slot).await;
            }
        }));
        ended.await;
        self.write_slice(slots[0] % SERVICES, false).await;
        tokio::time::sleep(QUARANTINE).await;
        for slot in slots {
            self.create(slot).await;
        }
    }

    async fn for_each_slot<F: Future<Output = ()>>(&self, work: impl Fn(usize) -> F + Copy) {
        join_all((0..WORKERS).map(|worker| async move {
            for slot in (worker..PODS).step_by(WORKERS) {
                work(slot).await;
            }
        }))
        .await;
    }

    async fn create(&self, slot: usize) {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let (name, node) = (format!("web-{number}"), format!("node-{}", slot / SERVICES % NODES));
        let (address, container) = (address(slot), format!("{number:064x}"));
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4f8c7b9", "uid": "r", "controller": true});
        let pod = json!({
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"team": "red", "pod-template-hash": "5d4f8c7b9"}, "ownerReferences": [owner]},
            "spec": {"nodeName": node, "containers": [{"name": "main", "image": "registry:5000/web:1.2"}]},
        });
        let made = Instant::now();
        let answer = self.post("/api/v1/namespaces/shop/pods", pod).await;
        let fake = Fake {
            uid: answer["metadata"]["uid"].as_str().unwrap().to_owned(),
            name: name.clone(),
            node,
            service: format!("svc-{}", slot % SERVICES),
            container: container.clone(),
            address,
            made,
            has_ended: false,
        };
        // The truth comes first: nobody can know it before.
        self.pods.lock().unwrap()[slot].push(fake);
        let status = json!({"status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "containerStatuses": [{"name": "main", "image": "web", "imageID": "", "ready": true, "restartCount": 0,
                "containerID": format!("containerd://{container}")}],
        }});
        self.patch(&format!("/api/v1/namespaces/shop/pods/{name}/status"), status).await;
    }

    async fn delete(&self, slot: usize) {
        let name = self.pods.lock().unwrap()[slot].last().unwrap().name.clone();
        let path = format!("/api/v1/namespaces/shop/pods/{name}");
        self.send(http::Method::DELETE, &path, json!({"gracePeriodSeconds": 0})).await;
        self.pods.lock().unwrap()[slot].last_mut().unwrap().has_ended = true;
    }

    async fn write_slice(&self, service: usize, is_new: bool) {
        let name = format!("svc-{service}");
        let endpoints: Vec<Value> = self
            .living()
            .iter()
            .filter(|pod| pod.service == name)
            .map(|pod| {
                json!({"addresses": [pod.address], "nodeName": pod.node, "conditions": {"ready": true},
                "targetRef": {"kind": "Pod", "namespace": "shop", "name": pod.name, "uid": pod.uid}})
            })
            .collect();
        let slice = json!({
            "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "addressType": "IPv4", "endpoints": endpoints,
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        });
        let path = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";
        if is_new {
            self.post(path, slice).await;
        } else {
            self.patch(&format!("{path}/{name}"), json!({"endpoints": endpoints})).await;
        }
    }

    /// What the agent needs, and nothing else.
    async fn let_remora_read(&self) {
        let rule = |group: &str, resources: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": ["list", "watch"]});
        let rules = [
            rule("", &["pods", "services", "nodes"]),
            rule("discovery.k8s.io", &["endpointslices"]),
            rule("batch", &["jobs"]),
        ];
        let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
        self.post(path, json!({"kind": "ClusterRole", "metadata": {"name": "remora"}, "rules": rules})).await;
        let group = "rbac.authorization.k8s.io";
        self.post(
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            json!({
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "remora"},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "remora"},
                "subjects": [{"apiGroup": group, "kind": "User", "name": "remora"}],
            }),
        )
        .await;
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.send(http::Method::POST, path, body).await
    }

    async fn patch(&self, path: &str, body: Value) -> Value {
        self.send(http::Method::PATCH, path, body).await
    }

    async fn send(&self, method: http::Method, path: &str, body: Value) -> Value {
        let kind =
            if method == http::Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let request = http::Request::builder().method(method).uri(path).header("content-type", kind);
        let request = request.body(body.to_string().into_bytes()).unwrap();
        self.client.request(request).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

/// Returns every address that pods have.
pub(crate) fn addresses() -> impl Iterator<Item = IpAddr> {
    (0..PODS).map(address)
}

fn address(slot: usize) -> IpAddr {
    IpAddr::from([10, 244, u8::try_from(slot / 250).unwrap(), u8::try_from(slot % 250 + 1).unwrap()])
}

fn slots_of(service: usize) -> Vec<usize> {
    (service..PODS).step_by(SERVICES).collect()
}
