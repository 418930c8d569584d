//! What the cluster says, from a real API server with a real etcd: 1,000 pods on 20 nodes that come and go.
//!
//! `cargo xtask test kubernetes` builds both and runs this.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say where")]

#[path = "kubernetes/control_plane.rs"]
mod control_plane;
#[path = "kubernetes/faker.rs"]
mod faker;

use std::time::{Duration, Instant};

use remora::health::Ledger;
use remora::kubernetes::{Cluster, Settings, Target, Watch};

use control_plane::ControlPlane;
use faker::{Faker, PODS};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs kube-apiserver and etcd, which `cargo xtask test kubernetes` builds"]
fn a_thousand_pods_come_and_go_and_none_is_taken_for_another() {
    let mut plane = ControlPlane::start();
    let faker = Faker::new(plane.admin());
    faker.prepare();
    let (before, ledger) = (memory(), Ledger::default());
    let settings = Settings {
        kubeconfig: Some(plane.kubeconfig()),
        node: faker::OWN_NODE.to_owned(),
        cluster_name: Some("test".to_owned()),
        labels: vec!["team".to_owned()],
        annotations: Vec::new(),
        well_known_labels: true,
    };
    let (cluster, watch) = Watch::start(settings, &ledger).unwrap();
    until("all pods of this node are known", || is_complete(&cluster, &faker));
    let filled = memory();

    let began = Instant::now();
    let asked = faker.churn(|| look(&cluster, &faker));
    let took = began.elapsed();
    assert!(asked > 1_000, "the tables were asked {asked} times only");
    until("the last pods are known", || is_complete(&cluster, &faker));
    check_details(&cluster, &faker);
    let churned = memory();

    plane.restart(|| {
        assert!(is_complete(&cluster, &faker), "what was known is known while the API server is away");
    });
    faker.replace_some();
    until("the pods of after the restart are known, and the others gone", || is_complete(&cluster, &faker));
    let lists = count(&ledger, "remora_agent_kubernetes_lists_total", "pod");
    assert!(lists >= 2, "the watch had expired: the pods are listed again");

    let requests = plane.requests_of("remora");
    println!("{PODS} pods replaced in {took:.1?}; placements and peers asked {asked} times, none wrong");
    println!(
        "memory: {} KiB for the tables, {} KiB more after the churn",
        filled.saturating_sub(before),
        churned.saturating_sub(filled)
    );
    println!("requests: {requests:?}");
    let all: u64 = requests.values().sum();
    assert!(all < 100, "one list and one watch a kind, and again after the restart: {requests:?}");
    assert!(churned.saturating_sub(before) < 64 << 10, "KiB: {before} {filled} {churned}");
    drop(watch);
}

/// Whether every pod of this node, and no other, is placed, and every address has its pod.
fn is_complete(cluster: &Cluster, faker: &Faker) -> bool {
    let living = faker.living();
    let own: Vec<_> = living.iter().filter(|pod| pod.node == faker::OWN_NODE).collect();
    let is_placed = own.iter().all(|pod| {
        cluster.placement(Some(&pod.container), None).is_some_and(|found| found.pod.uid == pod.uid)
    });
    let has_address = living.iter().all(|pod| {
        let peer = cluster.peer(pod.address, now_ns());
        peer.is_some_and(|peer| matches!(&peer.target, Target::Pod { pod: name, .. } if *name == pod.name))
    });
    is_placed && has_address && cluster.counts().0 == own.len()
}

/// Asks for everything; what is answered must be right. Returns how many answers there were.
fn look(cluster: &Cluster, faker: &Faker) -> u64 {
    let mut answers = 0;
    for pod in faker.all() {
        if let Some(found) = cluster.placement(Some(&pod.container), Some(&pod.uid)) {
            assert_eq!((&found.pod.uid, &found.pod.name), (&pod.uid, &pod.name));
            assert_eq!(pod.node, faker::OWN_NODE);
            answers += 1;
        }
    }
    for address in faker::addresses() {
        let asked = Instant::now();
        let Some(peer) = cluster.peer(address, now_ns()) else { continue };
        let Target::Pod { pod, .. } = &peer.target else { panic!("{address} is a pod's: {peer:?}") };
        assert!(faker.had(address, pod, asked), "{address} was not of {pod}");
        answers += 1;
    }
    answers
}

/// One pod in full.
fn check_details(cluster: &Cluster, faker: &Faker) {
    let living = faker.living();
    let pod = living.iter().find(|pod| pod.node == faker::OWN_NODE).unwrap();
    let found = cluster.placement(Some(&pod.container), Some(&pod.uid)).unwrap();
    assert_eq!(found.pod.namespace, "shop");
    assert_eq!(found.container.unwrap().name, "main");
    assert_eq!(found.service.as_deref(), Some(&*pod.service));
    let owners: Vec<_> = found.pod.owners.iter().map(|owner| owner.name.as_str()).collect();
    assert_eq!(owners, ["web-5d4f8c7b9", "web"]);
    assert_eq!(found.pod.labels.get("team").map(String::as_str), Some("red"));
    assert_eq!(cluster.peer(pod.address, now_ns()).unwrap().name(), pod.service);
    assert_eq!(cluster.named(&format!("{}.shop.svc", pod.service), None).unwrap().name(), pod.service);
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn count(ledger: &Ledger, name: &str, kind: &str) -> u64 {
    let samples = ledger.samples();
    let of_kind =
        |labels: &[(&str, std::borrow::Cow<'_, str>)]| labels.iter().any(|(_, value)| value == kind);
    let found = samples.iter().find(|sample| sample.name == name && of_kind(&sample.labels));
    found.map_or(0, |sample| sample.value as u64)
}

/// Returns the resident memory of this process in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}
