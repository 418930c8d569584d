use serde_json::{Value, json};

use super::*;

fn settings() -> Settings {
    Settings {
        kubeconfig: None,
        node: "n1".to_owned(),
        cluster_name: None,
        labels: vec!["team".to_owned(), "example.com/*".to_owned()],
        annotations: vec!["*".to_owned()],
        well_known_labels: true,
    }
}

/// As `kubectl get pod -o json` prints one of a Deployment, less what nobody reads.
fn web() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "web-5d4f8c7b9-x2x9k",
            "namespace": "shop",
            "uid": "12345678-1234-1234-1234-123456789abc",
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": {
                "app.kubernetes.io/name": "web",
                "app.kubernetes.io/version": "7",
                "example.com/tier": "front",
                "pod-template-hash": "5d4f8c7b9",
                "team": "red",
                "other": "x"
            },
            "annotations": {"resource.opentelemetry.io/deployment.environment.name": "live"},
            "managedFields": [{"manager": "kubelet", "operation": "Update", "apiVersion": "v1"}],
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4f8c7b9",
                "uid": "9f", "controller": true, "blockOwnerDeletion": true
            }]
        },
        "spec": {
            "nodeName": "n1",
            "containers": [
                {"name": "main", "image": "registry:5000/web:1.2"},
                {"name": "sidecar", "image": "proxy@sha256:00"}
            ],
            "initContainers": [{"name": "init", "image": "init"}]
        },
        "status": {
            "phase": "Running",
            "podIP": "10.244.0.7",
            "podIPs": [{"ip": "10.244.0.7"}, {"ip": "fd00::7"}],
            "containerStatuses": [
                {"name": "main", "containerID": "containerd://aa", "image": "web", "imageID": "x",
                 "ready": true, "restartCount": 2, "state": {"running": {}},
                 "lastState": {"terminated": {"containerID": "containerd://a0", "exitCode": 1}}},
                {"name": "sidecar", "image": "proxy", "imageID": "", "ready": false, "restartCount": 0}
            ],
            "initContainerStatuses": [
                {"name": "init", "containerID": "cri-o://cc", "image": "i", "imageID": "", "ready": true, "restartCount": 0}
            ],
            "ephemeralContainerStatuses": [
                {"name": "debug", "containerID": "docker://dd", "image": "busybox", "imageID": "", "ready": false, "restartCount": 0}
            ]
        }
    })
}

fn of(object: Value) -> Pod {
    Pod::of(serde_json::from_value(object).unwrap(), &settings()).unwrap()
}

#[test]
fn a_pod_of_a_deployment() {
    let pod = of(web());
    assert_eq!(
        (&*pod.namespace, &*pod.name, pod.node.as_deref()),
        ("shop", "web-5d4f8c7b9-x2x9k", Some("n1"))
    );
    let owners: Vec<_> =
        pod.owners.iter().map(|owner| (owner.kind, &*owner.name, owner.uid.as_deref())).collect();
    assert_eq!(
        owners,
        [(OwnerKind::ReplicaSet, "web-5d4f8c7b9", Some("9f")), (OwnerKind::Deployment, "web", None)]
    );
    let containers: Vec<_> = pod.containers.iter().map(|each| (&*each.name, each.ids.join(" "))).collect();
    let id = |text: &str| text.to_owned();
    assert_eq!(
        containers,
        [("main", id("aa a0")), ("sidecar", id("")), ("init", id("cc")), ("debug", id("dd"))]
    );
    assert_eq!(pod.container(Some("a0")).unwrap().restarts, 2);
    assert_eq!(pod.container(Some("unknown")), None);
    assert_eq!(pod.labels.keys().collect::<Vec<_>>(), ["example.com/tier", "team"]);
    assert_eq!(pod.attributes.get("deployment.environment.name").map(String::as_str), Some("live"));
    assert_eq!((pod.service_name.as_deref(), pod.service_version.as_deref()), (Some("web"), Some("7")));
    assert_eq!(pod.addresses, ["10.244.0.7".parse::<IpAddr>().unwrap(), "fd00::7".parse().unwrap()]);
}

#[test]
fn a_replica_set_without_the_controllers_name_has_no_deployment() {
    for (label, value) in
        [("pod-template-hash", "other"), ("pod-template-hash", ""), ("another", "5d4f8c7b9")]
    {
        let mut object = web();
        object["metadata"]["labels"] = json!({label: value});
        assert_eq!(of(object).owners.len(), 1, "{label}={value}");
    }
    let mut object = web();
    object["metadata"]["ownerReferences"][0]["apiVersion"] = json!("example.com/v1");
    assert_eq!(of(object).owners, []);
}

#[test]
fn addresses_that_are_shared_or_given_back_are_not_its_own() {
    let mut host = web();
    host["spec"]["hostNetwork"] = json!(true);
    assert!(of(host).addresses.is_empty());
    let mut ended = web();
    ended["status"]["phase"] = json!("Succeeded");
    assert!(of(ended).addresses.is_empty());
}

#[test]
fn a_static_pod_is_found_by_its_hash() {
    let mut object = web();
    object["metadata"]["annotations"]["kubernetes.io/config.hash"] = json!("0f");
    assert_eq!(of(object).uids().collect::<Vec<_>>(), ["12345678-1234-1234-1234-123456789abc", "0f"]);
}

#[test]
fn a_pod_of_which_little_is_said() {
    let pod = of(json!({"metadata": {"name": "a", "uid": "u"}, "spec": {"containers": [{"name": "only"}]}}));
    assert_eq!(pod.container(None).unwrap().name, "only");
    let without_uid = json!({"metadata": {}, "spec": {}});
    assert!(Pod::of(serde_json::from_value(without_uid).unwrap(), &settings()).is_none());
}
