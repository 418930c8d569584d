use remora_engine::event::ConnectionId;
use remora_engine::semconv::Value;
use remora_engine::span::{SpanId, SpanKind, Status, TraceId};

use super::*;
use crate::discover::{Environment, Instance, Runtime};

fn span(tgid: u32) -> Span {
    Span {
        trace_id: TraceId([1; 16]),
        span_id: SpanId([2; 8]),
        parent: None,
        trace_state: String::new(),
        flags: 1,
        kind: SpanKind::Server,
        name: "GET /".to_owned(),
        started_at_ns: 1_000,
        ended_at_ns: 1_500,
        attributes: Vec::new(),
        status: Status::Unset,
        links: Vec::new(),
        protocol: "http",
        tgid,
        tid: tgid,
        connection: ConnectionId { sock: 1, inode: 1 },
    }
}

fn cart() -> Process {
    Process {
        tgid: 42,
        parent: 7,
        comm: "python3".to_owned(),
        executable: Some("/usr/bin/python3.11".into()),
        arguments: vec!["python3".to_owned(), "cart.py".to_owned(), "--password=x".to_owned()],
        service_name: "cart".to_owned(),
        environment: Environment::parse(
            b"OTEL_RESOURCE_ATTRIBUTES=service.namespace=shop,host.name=mine,service.name=x",
        ),
        container_id: Some("c0ffee".to_owned()),
        runtime: Runtime::Python { contexts: None },
        instance: Instance { tgid: 40, started_at_ticks: 99 },
        ..Process::default()
    }
}

fn enricher(processes: &Processes) -> Enricher {
    Enricher::new(processes.clone(), ClockAnchor::fixed(1_700_000_000_000_000_000), &Ledger::default())
}

#[test]
fn a_span_gets_its_process_and_the_calendar() {
    let processes = Processes::default();
    processes.insert(cart());
    let enriched = enricher(&processes).enrich(span(42));
    assert_eq!(enriched.started_at_unix_ns, 1_700_000_000_000_001_000);
    assert_eq!(enriched.ended_at_unix_ns, 1_700_000_000_000_001_500);
    let resource = &enriched.resource;
    assert_eq!(resource.service_name, "cart");
    let expected = [
        ("service.name", "cart"),
        ("service.namespace", "shop"),
        ("host.name", "mine"),
        ("container.id", "c0ffee"),
        ("process.executable.name", "python3.11"),
        ("process.command", "python3"),
        ("process.runtime.name", "python"),
        ("os.type", "linux"),
        ("telemetry.sdk.name", "remora"),
    ];
    for (key, value) in expected {
        assert_eq!(resource.text(key), Some(value), "{key}");
    }
    assert!(resource.attributes.contains(&("process.pid".into(), Value::Int(42))));
    let secret = resource.attributes.iter().any(|(_, value)| format!("{value:?}").contains("password"));
    assert!(!secret, "arguments must not leave the host");
    let mut keys: Vec<_> = resource.attributes.iter().map(|(key, _)| key.clone()).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), resource.attributes.len(), "a key is there twice");
}

#[test]
fn forked_workers_are_one_instance_and_others_are_not() {
    let host = Host::this();
    let id = |process: &Process| {
        Resource::of_process(process, &host).text("service.instance.id").unwrap().to_owned()
    };
    let worker = Process { tgid: 43, ..cart() };
    let restarted = Process { instance: Instance { tgid: 40, started_at_ticks: 100 }, ..cart() };
    assert_eq!(id(&cart()), id(&worker));
    assert_ne!(id(&cart()), id(&restarted));
}

#[test]
fn a_late_span_keeps_its_resource_and_a_reused_id_gets_a_new_one() {
    let processes = Processes::default();
    processes.insert(cart());
    let mut enricher = enricher(&processes);
    let first = enricher.enrich(span(42)).resource;
    processes.end(42, std::time::Instant::now());
    processes.expire(std::time::Instant::now() + crate::discover::LINGER);
    assert!(Arc::ptr_eq(&first, &enricher.enrich(span(42)).resource));
    processes.insert(Process { service_name: "other".to_owned(), ..cart() });
    assert_eq!(enricher.enrich(span(42)).resource.service_name, "other");
}

#[test]
fn an_unknown_process_is_counted_and_learnt_later() {
    let (processes, ledger) = (Processes::default(), Ledger::default());
    let mut enricher = Enricher::new(processes.clone(), ClockAnchor::measure(), &ledger);
    assert_eq!(enricher.enrich(span(42)).resource.service_name, "unknown_service");
    processes.insert(cart());
    assert_eq!(enricher.enrich(span(42)).resource.service_name, "cart");
    assert_eq!(ledger.counter("remora_agent_spans_of_unknown_processes_total").get(), 1);
}

fn in_pod(source: crate::discover::NameSource) -> (Process, Cluster) {
    let settings = crate::kubernetes::Settings {
        kubeconfig: None,
        node: "n1".to_owned(),
        cluster_name: Some("east".to_owned()),
        labels: Vec::new(),
        annotations: Vec::new(),
        well_known_labels: true,
    };
    let pod = serde_json::json!({
        "metadata": {
            "name": "web-5d4f8c7b9-x", "namespace": "shop-2", "uid": "u",
            "labels": {"pod-template-hash": "5d4f8c7b9"},
            "annotations": {"resource.opentelemetry.io/deployment.environment.name": "live"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4f8c7b9", "uid": "r", "controller": true}],
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "main", "image": "registry:5000/shop/web:1.2"}]},
        "status": {"containerStatuses": [{"name": "main", "image": "", "containerID": "containerd://c0ffee"}],
            "podIPs": [{"ip": "10.244.0.7"}]},
    });
    (Process { service_name_source: source, ..cart() }, Cluster::knowing(settings, vec![pod]))
}

#[test]
fn a_process_in_a_pod_is_called_after_its_workload() {
    let (process, cluster) = in_pod(crate::discover::NameSource::Application);
    let processes = Processes::default();
    processes.insert(process);
    let mut enricher = enricher(&processes).with_cluster(Some(cluster), &Ledger::default());
    assert_eq!(enricher.host.name, "n1", "not what the agent's own pod is called");
    let mut call = Span { kind: SpanKind::Client, ..span(42) };
    call.attributes.push(("network.peer.address".into(), Value::from("10.244.0.7")));
    let enriched = enricher.enrich(call);
    let resource = &enriched.resource;
    let expected = [
        ("service.name", "web"),
        // Its environment says so.
        ("service.namespace", "shop"),
        ("service.version", "1.2"),
        ("deployment.environment.name", "live"),
        ("k8s.cluster.name", "east"),
        ("k8s.node.name", "n1"),
        ("k8s.namespace.name", "shop-2"),
        ("k8s.pod.name", "web-5d4f8c7b9-x"),
        ("k8s.pod.uid", "u"),
        ("k8s.replicaset.name", "web-5d4f8c7b9"),
        ("k8s.deployment.name", "web"),
        ("k8s.container.name", "main"),
        ("container.image.name", "registry:5000/shop/web"),
    ];
    for (key, value) in expected {
        assert_eq!(resource.text(key), Some(value), "{key}");
    }
    let peer =
        |key: &str| enriched.span.attributes.iter().find(|(name, _)| name == key).map(|(_, value)| value);
    assert_eq!(peer("service.peer.name"), Some(&Value::from("web")));
    assert_eq!(peer("service.peer.namespace"), Some(&Value::from("shop-2")));
    assert_eq!(peer("remora.peer.k8s.pod.name"), Some(&Value::from("web-5d4f8c7b9-x")));
}

#[test]
fn a_name_that_was_given_for_telemetry_wins_over_the_cluster() {
    let (process, cluster) = in_pod(crate::discover::NameSource::EnvironmentName);
    let processes = Processes::default();
    processes.insert(process);
    let mut enricher = enricher(&processes).with_cluster(Some(cluster), &Ledger::default());
    assert_eq!(enricher.enrich(span(42)).resource.service_name, "cart");
}

#[test]
fn spans_of_unknown_pods_are_counted() {
    let (process, cluster) = in_pod(crate::discover::NameSource::Application);
    let (processes, ledger) = (Processes::default(), Ledger::default());
    let unknown = Process { container_id: None, pod_uid: Some("other".to_owned()), ..process };
    processes.insert(unknown);
    let mut enricher = enricher(&processes).with_cluster(Some(cluster), &ledger);
    for _ in 0..3 {
        assert_eq!(enricher.enrich(span(42)).resource.service_name, "cart");
    }
    assert_eq!(ledger.counter("remora_agent_spans_of_unknown_pods_total").get(), 3);
}
