//! Who has an address, and who is meant by a name.
//!
//! An address is reused as soon as a pod is gone. So each claim on one has a beginning, before which it says nothing, and
//! where two pods claim one address nobody has it.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    /// The namespace; none of nodes.
    pub namespace: Option<String>,
    /// What it is.
    pub target: Target,
}

/// What has an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// A service, by its own address or name.
    Service {
        /// Its name.
        service: String,
    },
    /// A pod.
    Pod {
        /// Its name.
        pod: String,
        /// The service that it is an endpoint of, if it is one of one.
        service: Option<String>,
        /// Who it belongs to, where that is known.
        workload: Option<String>,
    },
    /// A node, and whatever uses the node's network.
    Node {
        /// Its name.
        node: String,
    },
}

impl Peer {
    /// Returns the name for people: of the service if there is one, else of the workload, the pod or the node.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.target {
            Target::Service { service } | Target::Pod { service: Some(service), .. } => service,
            Target::Pod { workload: Some(workload), .. } => workload,
            Target::Pod { pod, .. } => pod,
            Target::Node { node } => node,
        }
    }
}

/// What is known of a service besides its addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Service {
    /// Whether it has an address of its own.
    pub(super) has_address: bool,
    /// The name that it stands for outside of the cluster.
    pub(super) external_name: Option<String>,
}

/// All claims.
#[derive(Debug, Default)]
pub(super) struct Peers {
    by_address: HashMap<IpAddr, Vec<Claim>>,
    sources: HashMap<String, Vec<IpAddr>>,
    /// By namespace and name.
    services: HashMap<(String, String), Service>,
    /// From the name outside of the cluster to the services that stand for it.
    by_external_name: HashMap<String, BTreeSet<(String, String)>>,
}

#[derive(Clone, Debug)]
struct Claim {
    /// The object that says so.
    source: Arc<str>,
    since_ns: u64,
    peer: Arc<Peer>,
}

impl Peers {
    /// Takes everything that one object says of addresses, in place of what it said before.
    pub(super) fn claim(&mut self, source: &str, claims: Vec<(IpAddr, Peer)>, now_ns: u64) {
        let old = self.take(source);
        if claims.is_empty() {
            return;
        }
        let name: Arc<str> = source.into();
        self.sources.insert(source.to_owned(), claims.iter().map(|&(address, _)| address).collect());
        for (address, peer) in claims {
            let others = self.by_address.entry(address).or_default();
            // What was known before, from this object or another one, stays known since then.
            let own = old.iter().filter(|(at, _)| *at == address).map(|(_, claim)| claim);
            let known = own.chain(others.iter()).filter(|claim| is_same(&claim.peer, &peer));
            let since_ns = known.map(|claim| claim.since_ns).min().unwrap_or(now_ns);
            others.push(Claim { source: name.clone(), since_ns, peer: Arc::new(peer) });
        }
    }

    /// An object is gone.
    pub(super) fn unclaim(&mut self, source: &str) {
        self.take(source);
    }

    fn take(&mut self, source: &str) -> Vec<(IpAddr, Claim)> {
        let mut taken = Vec::new();
        for address in self.sources.remove(source).unwrap_or_default() {
            let Some(claims) = self.by_address.get_mut(&address) else { continue };
            taken.extend(
                claims.extract_if(.., |claim| &*claim.source == source).map(|claim| (address, claim)),
            );
            if claims.is_empty() {
                self.by_address.remove(&address);
            }
        }
        taken
    }

    /// Takes a service by its name.
    pub(super) fn insert_service(&mut self, key: (String, String), service: Service) {
        self.remove_service(&key);
        if let Some(name) = &service.external_name {
            self.by_external_name.entry(name.to_lowercase()).or_default().insert(key.clone());
        }
        self.services.insert(key, service);
    }

    /// A service is gone.
    pub(super) fn remove_service(&mut self, key: &(String, String)) {
        let Some(Service { external_name: Some(name), .. }) = self.services.remove(key) else { return };
        let name = name.to_lowercase();
        if let Some(keys) = self.by_external_name.get_mut(&name) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_external_name.remove(&name);
            }
        }
    }

    /// Returns who had an address when something began; nobody where that is doubtful.
    pub(super) fn at(&self, address: IpAddr, began_ns: u64) -> Option<Peer> {
        let claims = self.by_address.get(&address.to_canonical())?;
        let node = claims.iter().find(|claim| matches!(claim.peer.target, Target::Node { .. }));
        if let Some(node) = node {
            return (node.since_ns <= began_ns).then(|| (*node.peer).clone());
        }
        let holders: BTreeSet<_> = claims.iter().map(|claim| holder(&claim.peer)).collect();
        let is_old = claims.iter().any(|claim| claim.since_ns <= began_ns);
        if holders.len() != 1 || !is_old {
            return None;
        }
        let known = claims.iter().filter(|claim| claim.since_ns <= began_ns).map(|claim| &*claim.peer);
        let Target::Pod { pod, .. } = &known.clone().next()?.target else {
            return known.clone().next().cloned();
        };
        let namespace = known.clone().next()?.namespace.clone();
        let of_pod = |peer: &Peer| match &peer.target {
            Target::Pod { service, workload, .. } => (service.clone(), workload.clone()),
            Target::Service { .. } | Target::Node { .. } => (None, None),
        };
        let services: BTreeSet<String> = known.clone().filter_map(|peer| of_pod(peer).0).collect();
        let service = self.only(namespace.as_deref().unwrap_or_default(), services);
        let workload = known.clone().find_map(|peer| of_pod(peer).1);
        Some(Peer { namespace, target: Target::Pod { pod: pod.clone(), service, workload } })
    }

    /// A pod behind several services is meant by the one with an address, if one alone has one.
    pub(super) fn only(&self, namespace: &str, mut services: BTreeSet<String>) -> Option<String> {
        if services.len() > 1 {
            services.retain(|name| {
                let service = self.services.get(&(namespace.to_owned(), name.clone()));
                service.is_some_and(|service| service.has_address)
            });
        }
        services.pop_first().filter(|_| services.is_empty())
    }

    /// Returns the service that a host name means, to a pod of `namespace`: `cart`, `cart.shop`, `cart.shop.svc`,
    /// `web-0.cart.shop.svc.cluster.local`, or what a service stands for outside of the cluster.
    pub(super) fn named(&self, host: &str, namespace: Option<&str>) -> Option<Peer> {
        let host = host.trim_end_matches('.').to_lowercase();
        let labels: Vec<&str> = host.split('.').collect();
        let inside = match labels.iter().position(|label| *label == "svc") {
            // Before the service there may be a pod's host name.
            Some(place @ (2 | 3)) => Some((*labels.get(place - 1)?, *labels.get(place - 2)?)),
            Some(_) => None,
            None => match labels.as_slice() {
                [service] => Some((namespace?, *service)),
                [service, namespace] => Some((*namespace, *service)),
                _ => None,
            },
        };
        let key = inside.map(|(namespace, service)| (namespace.to_owned(), service.to_owned()));
        let (namespace, service) = match key.filter(|key| self.services.contains_key(key)) {
            Some(key) => key,
            None => match self.by_external_name.get(&host)?.iter().collect::<Vec<_>>().as_slice() {
                [only] => (*only).clone(),
                _ => return None,
            },
        };
        Some(Peer { namespace: Some(namespace), target: Target::Service { service } })
    }

    /// Returns all services, by namespace and name.
    pub(super) fn services(&self) -> impl Iterator<Item = &(String, String)> {
        self.services.keys()
    }

    /// Returns the keys of all objects of a kind that claim something.
    pub(super) fn sources(&self, kind: &str) -> Vec<String> {
        let of_kind = self.sources.keys().filter_map(|source| source.strip_prefix(kind)?.strip_prefix(':'));
        of_kind.map(str::to_owned).collect()
    }

    /// Returns how many addresses have somebody.
    pub(super) fn count(&self) -> usize {
        self.by_address.len()
    }
}

/// Whether two claims are of one holder for the same service.
fn is_same(one: &Peer, other: &Peer) -> bool {
    holder(one) == holder(other)
}

/// What cannot have an address together with another.
fn holder(peer: &Peer) -> (Option<&str>, u8, &str) {
    let (kind, name) = match &peer.target {
        Target::Service { service } => (0, service),
        Target::Pod { pod, .. } => (1, pod),
        Target::Node { node } => (2, node),
    };
    (peer.namespace.as_deref(), kind, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 244, 0, last])
    }

    fn pod(name: &str, service: Option<&str>) -> Peer {
        let service = service.map(str::to_owned);
        let target = Target::Pod { pod: name.to_owned(), service, workload: None };
        Peer { namespace: Some("shop".to_owned()), target }
    }

    fn name(peers: &Peers, last: u8, began_ns: u64) -> Option<String> {
        peers.at(address(last), began_ns).map(|peer| peer.name().to_owned())
    }

    #[test]
    fn a_pod_is_called_after_its_service() {
        let mut peers = Peers::default();
        peers.claim("slice/1", vec![(address(1), pod("cart-x", Some("cart")))], 0);
        assert_eq!(name(&peers, 1, 5).as_deref(), Some("cart"));
        assert_eq!(peers.at("::ffff:10.244.0.1".parse().unwrap(), 5).unwrap().name(), "cart");
        peers.unclaim("slice/1");
        assert_eq!(name(&peers, 1, 5), None);
        assert!(peers.by_address.is_empty() && peers.sources.is_empty());
    }

    #[test]
    fn an_address_is_nobodys_before_it_was_claimed_and_while_two_claim_it() {
        let mut peers = Peers::default();
        peers.claim("slice/1", vec![(address(1), pod("old", Some("cart")))], 0);
        peers.claim("slice/2", vec![(address(1), pod("new", Some("pay")))], 100);
        assert_eq!(name(&peers, 1, 200), None);
        peers.claim("slice/1", Vec::new(), 150);
        assert_eq!(name(&peers, 1, 99), None, "the call began before the new pod had the address");
        assert_eq!(name(&peers, 1, 100).as_deref(), Some("pay"));
    }

    #[test]
    fn what_was_known_stays_known_since_then() {
        let mut peers = Peers::default();
        peers.claim("slice/1", vec![(address(1), pod("a", Some("cart")))], 5);
        peers.claim("slice/1", vec![(address(1), pod("a", Some("cart"))), (address(2), pod("b", None))], 50);
        assert_eq!(name(&peers, 1, 5).as_deref(), Some("cart"));
        assert_eq!(name(&peers, 2, 49), None);
        assert_eq!(name(&peers, 2, 50).as_deref(), Some("b"));
    }

    #[test]
    fn of_two_services_the_one_with_an_address_is_meant() {
        let mut peers = Peers::default();
        let key = |name: &str| ("shop".to_owned(), name.to_owned());
        peers.insert_service(key("db"), Service { has_address: true, external_name: None });
        peers.insert_service(key("db-headless"), Service::default());
        peers.claim("slice/1", vec![(address(1), pod("db-0", Some("db")))], 0);
        peers.claim("slice/2", vec![(address(1), pod("db-0", Some("db-headless")))], 0);
        assert_eq!(name(&peers, 1, 1).as_deref(), Some("db"));
        peers.insert_service(key("db-headless"), Service { has_address: true, external_name: None });
        assert_eq!(name(&peers, 1, 1).as_deref(), Some("db-0"), "two could be meant: the pod is certain");
    }

    #[test]
    fn names_are_those_of_known_services_only() {
        let mut peers = Peers::default();
        let key = |name: &str| ("shop".to_owned(), name.to_owned());
        peers.insert_service(key("cart"), Service::default());
        let external = Service { external_name: Some("db.example.com".to_owned()), ..Service::default() };
        peers.insert_service(key("db"), external);
        let of = |host: &str, namespace| peers.named(host, namespace).map(|peer| peer.name().to_owned());
        for host in
            ["cart", "cart.shop", "CART.shop.svc", "cart.shop.svc.cluster.local.", "a-0.cart.shop.svc"]
        {
            assert_eq!(of(host, Some("shop")).as_deref(), Some("cart"), "{host}");
        }
        assert_eq!(of("db.example.com", None).as_deref(), Some("db"));
        for host in ["pay", "cart.pay", "cart.shop.example.com", "x.example.com", "", ".", "svc", "a.svc"] {
            assert_eq!(of(host, Some("shop")), None, "{host}");
        }
        assert_eq!(of("cart", Some("other")), None);
        assert_eq!(of("cart", None), None);
    }
}
