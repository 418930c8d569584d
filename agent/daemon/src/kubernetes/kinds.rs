//! What each kind of object says, and where that is kept.

use std::fmt::Debug;
use std::net::IpAddr;
use std::time::Instant;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::PartialObjectMeta;
use kube::core::metadata::ObjectMeta;

use super::objects::{NodeObject, PodObject, ServiceObject};
use super::peers::{Peer, Service, Target};
use super::pod::{Owner, OwnerKind, Pod};
use super::table::Tables;
use super::{Settings, address};

/// The label by which a slice says whose endpoints it has.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A kind of object that is followed.
pub(super) trait Kind: Clone + Debug + Send + 'static {
    /// For people and counters.
    const NAME: &'static str;

    /// Returns what tells it apart from others of its kind.
    fn key(&self) -> String;

    /// Takes its present state.
    fn apply(self, tables: &mut Tables, settings: &Settings, now_ns: u64);

    /// It is gone.
    fn remove(tables: &mut Tables, key: &str);

    /// Returns all that are known.
    fn keys(tables: &Tables) -> Vec<String>;
}

impl Kind for PodObject {
    const NAME: &'static str = "pod";

    fn key(&self) -> String {
        self.metadata.uid.clone().unwrap_or_default()
    }

    fn apply(self, tables: &mut Tables, settings: &Settings, now_ns: u64) {
        let Some(pod) = Pod::of(self, settings).and_then(|pod| tables.pods.insert(pod)) else { return };
        let target = || Target::Pod { pod: pod.name.clone(), service: None, workload: workload(&pod) };
        let peer =
            |&address: &IpAddr| (address, Peer { namespace: Some(pod.namespace.clone()), target: target() });
        tables.peers.claim(&source(Self::NAME, &pod.uid), pod.addresses.iter().map(peer).collect(), now_ns);
    }

    fn remove(tables: &mut Tables, key: &str) {
        tables.pods.end(key, Instant::now());
        tables.peers.unclaim(&source(Self::NAME, key));
    }

    fn keys(tables: &Tables) -> Vec<String> {
        tables.pods.living().cloned().collect()
    }
}

impl Kind for ServiceObject {
    const NAME: &'static str = "service";

    fn key(&self) -> String {
        joined(&self.metadata)
    }

    fn apply(self, tables: &mut Tables, _: &Settings, now_ns: u64) {
        let (key, (namespace, service)) = (self.key(), names(self.metadata));
        let addresses = self.spec.cluster_ips.iter().chain(&self.spec.external_ips);
        let addresses: Vec<IpAddr> = addresses.filter_map(|text| address::parse(text)).collect();
        let external_name = self.spec.external_name.filter(|name| !name.is_empty());
        let known = Service { has_address: !addresses.is_empty(), external_name };
        let peer =
            Peer { namespace: Some(namespace.clone()), target: Target::Service { service: service.clone() } };
        tables.peers.insert_service((namespace, service), known);
        let claims = addresses.into_iter().map(|address| (address, peer.clone())).collect();
        tables.peers.claim(&source(Self::NAME, &key), claims, now_ns);
    }

    fn remove(tables: &mut Tables, key: &str) {
        if let Some((namespace, name)) = key.split_once('/') {
            tables.peers.remove_service(&(namespace.to_owned(), name.to_owned()));
        }
        tables.peers.unclaim(&source(Self::NAME, key));
    }

    fn keys(tables: &Tables) -> Vec<String> {
        tables.peers.services().map(|(namespace, name)| format!("{namespace}/{name}")).collect()
    }
}

impl Kind for NodeObject {
    const NAME: &'static str = "node";

    fn key(&self) -> String {
        joined(&self.metadata)
    }

    fn apply(self, tables: &mut Tables, _: &Settings, now_ns: u64) {
        let (key, (_, node)) = (self.key(), names(self.metadata));
        let addresses = self.status.into_iter().flat_map(|status| status.addresses);
        let peer = Peer { namespace: None, target: Target::Node { node } };
        let claims = addresses.filter_map(|each| Some((address::parse(&each.address)?, peer.clone())));
        tables.peers.claim(&source(Self::NAME, &key), claims.collect(), now_ns);
    }

    fn remove(tables: &mut Tables, key: &str) {
        tables.peers.unclaim(&source(Self::NAME, key));
    }

    fn keys(tables: &Tables) -> Vec<String> {
        tables.peers.sources(Self::NAME)
    }
}

impl Kind for EndpointSlice {
    const NAME: &'static str = "endpointslice";

    fn key(&self) -> String {
        joined(&self.metadata)
    }

    fn apply(self, tables: &mut Tables, settings: &Settings, now_ns: u64) {
        let key = self.key();
        Self::remove_services(tables, &key);
        let service = self.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME)).cloned();
        let (namespace, _) = names(self.metadata);
        let mut claims = Vec::new();
        for endpoint in self.endpoints {
            let reference = endpoint.target_ref.filter(|reference| reference.kind.as_deref() == Some("Pod"));
            let pod = reference.and_then(|reference| reference.name);
            if let (Some(pod), Some(service)) = (&pod, &service)
                && endpoint.node_name.as_ref() == Some(&settings.node)
            {
                let of_pod = tables.services.entry((namespace.clone(), pod.clone())).or_default();
                of_pod.push((key.clone(), service.clone()));
            }
            let target = match (pod, &service) {
                (Some(pod), service) => Target::Pod { pod, service: service.clone(), workload: None },
                (None, Some(service)) => Target::Service { service: service.clone() },
                (None, None) => continue,
            };
            let peer = Peer { namespace: Some(namespace.clone()), target };
            let addresses = endpoint.addresses.iter().filter_map(|text| address::parse(text));
            claims.extend(addresses.map(|address| (address, peer.clone())));
        }
        tables.peers.claim(&source(Self::NAME, &key), claims, now_ns);
    }

    fn remove(tables: &mut Tables, key: &str) {
        Self::remove_services(tables, key);
        tables.peers.unclaim(&source(Self::NAME, key));
    }

    fn keys(tables: &Tables) -> Vec<String> {
        tables.peers.sources(Self::NAME)
    }
}

trait Services {
    /// Forgets what a slice said of the pods of this node.
    fn remove_services(tables: &mut Tables, key: &str);
}

impl Services for EndpointSlice {
    fn remove_services(tables: &mut Tables, key: &str) {
        tables.services.retain(|_, services| {
            services.retain(|(slice, _)| slice != key);
            !services.is_empty()
        });
    }
}

impl Kind for PartialObjectMeta<Job> {
    const NAME: &'static str = "job";

    fn key(&self) -> String {
        self.metadata.uid.clone().unwrap_or_default()
    }

    fn apply(self, tables: &mut Tables, _: &Settings, _: u64) {
        let key = self.key();
        let owners = self.metadata.owner_references.unwrap_or_default();
        let is_cron_job = |kind: &str, version: &str| kind == "CronJob" && version.starts_with("batch/");
        let owner = owners.into_iter().find(|owner| is_cron_job(&owner.kind, &owner.api_version));
        if let Some(owner) = owner {
            let owner = Owner { kind: OwnerKind::CronJob, name: owner.name, uid: Some(owner.uid) };
            tables.cron_jobs.insert(key, (owner, None));
        }
    }

    fn remove(tables: &mut Tables, key: &str) {
        if let Some((_, deleted)) = tables.cron_jobs.get_mut(key) {
            deleted.get_or_insert_with(Instant::now);
        }
    }

    fn keys(tables: &Tables) -> Vec<String> {
        let living = tables.cron_jobs.iter().filter(|(_, (_, deleted))| deleted.is_none());
        living.map(|(key, _)| key.clone()).collect()
    }
}

/// The outermost owner, which people know by name.
fn workload(pod: &Pod) -> Option<String> {
    pod.owners.last().map(|owner| owner.name.clone())
}

fn source(kind: &str, key: &str) -> String {
    format!("{kind}:{key}")
}

fn joined(metadata: &ObjectMeta) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}", text(&metadata.namespace), text(&metadata.name))
}

fn names(metadata: ObjectMeta) -> (String, String) {
    (metadata.namespace.unwrap_or_default(), metadata.name.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::table::Cluster;
    use super::*;

    fn cluster() -> Cluster {
        let settings = Settings {
            kubeconfig: None,
            node: "n1".to_owned(),
            cluster_name: None,
            labels: Vec::new(),
            annotations: Vec::new(),
            well_known_labels: true,
        };
        let cluster = Cluster::new(settings);
        let metadata = |name: &str| json!({"namespace": "shop", "name": name, "uid": name});
        cluster.learn::<ServiceObject>(
            json!({"metadata": metadata("cart"), "spec": {"clusterIPs": ["10.96.0.9"]}}),
        );
        cluster
            .learn::<ServiceObject>(json!({"metadata": metadata("all"), "spec": {"clusterIPs": ["None"]}}));
        cluster.learn::<NodeObject>(json!({"metadata": {"name": "n1"}, "spec": {},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.168.7.1"}, {"type": "Hostname", "address": "n1"}]}}));
        for service in ["cart", "all"] {
            cluster.learn::<EndpointSlice>(json!({
                "addressType": "IPv4",
                "metadata": {"namespace": "shop", "name": format!("{service}-x"), "labels": {SERVICE_NAME: service}},
                "endpoints": [
                    {"addresses": ["10.244.0.7"], "nodeName": "n1", "targetRef": {"kind": "Pod", "namespace": "shop", "name": "cart-1"}},
                    {"addresses": ["192.168.7.1"], "nodeName": "n1", "targetRef": {"kind": "Pod", "namespace": "shop", "name": "host-1"}},
                ],
            }));
        }
        cluster
    }

    fn peer(cluster: &Cluster, address: &str) -> Option<String> {
        cluster.peer(address.parse().unwrap(), 1).map(|peer| peer.name().to_owned())
    }

    #[test]
    fn addresses_have_names() {
        let cluster = cluster();
        assert_eq!(peer(&cluster, "10.96.0.9").as_deref(), Some("cart"));
        assert_eq!(peer(&cluster, "10.244.0.7").as_deref(), Some("cart"));
        assert_eq!(
            peer(&cluster, "192.168.7.1").as_deref(),
            Some("n1"),
            "pods on the host's network share it"
        );
        assert_eq!(peer(&cluster, "10.96.0.10"), None);
    }

    #[test]
    fn what_is_gone_is_nowhere() {
        let cluster = cluster();
        cluster.change(|tables| {
            EndpointSlice::remove(tables, "shop/cart-x");
            EndpointSlice::remove(tables, "shop/all-x");
            ServiceObject::remove(tables, "shop/cart");
            NodeObject::remove(tables, "/n1");
        });
        assert_eq!(cluster.counts(), (0, 0, 0));
        assert_eq!(cluster.named("cart.shop.svc", None), None);
        assert!(cluster.read().services.is_empty());
    }

    #[test]
    fn a_job_has_its_cron_job_for_a_while_after_its_end() {
        let cluster = cluster();
        let owner = |kind: &str, group: &str, uid: &str| json!([{"kind": kind, "apiVersion": group, "name": "nightly", "uid": uid, "controller": true}]);
        cluster.learn::<PartialObjectMeta<Job>>(json!({"metadata": {"name": "nightly-1", "uid": "j",
            "ownerReferences": owner("CronJob", "batch/v1", "c")}}));
        cluster.learn::<PodObject>(json!({"metadata": {"name": "p", "uid": "u", "namespace": "shop",
            "ownerReferences": owner("Job", "batch/v1", "j")}, "spec": {"nodeName": "n1"}}));
        let cron_job = || cluster.placement(None, Some("u")).unwrap().cron_job.map(|owner| owner.name);
        assert_eq!(cron_job().as_deref(), Some("nightly"));
        cluster.change(|tables| PartialObjectMeta::<Job>::remove(tables, "j"));
        assert_eq!(cron_job().as_deref(), Some("nightly"));
        cluster.change(|tables| tables.expire(Instant::now() + super::super::LINGER));
        assert_eq!(cron_job(), None);
    }

    #[test]
    fn a_pod_is_waited_for_once() {
        use std::time::Duration;
        let (cluster, now) = (cluster(), Instant::now());
        assert!(!cluster.awaits(Some("c"), None, now), "it is in no pod");
        assert!(cluster.awaits(None, Some("u"), now));
        assert!(cluster.awaits(None, Some("u"), now + Duration::from_secs(2)));
        assert!(!cluster.awaits(None, Some("u"), now + Duration::from_secs(4)));
        cluster.learn::<PodObject>(json!({"metadata": {"name": "p", "uid": "u"}, "spec": {}}));
        assert!(!cluster.awaits(None, Some("u"), now));
    }
}
