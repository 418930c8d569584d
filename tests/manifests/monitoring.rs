//! The dashboard and the alert rules ask for metrics that the programs serve.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use remora_tests::remora::Remora;
use remora_tests::servers::Nginx;
use remora_tests::{locate, tools, wait};
use serde_json::Value;

/// Samples that are only there once a connection was not understood; what serves them names them in one place.
const ONLY_SOMETIMES: (&str, &str) =
    ("remora_agent_tls_unseen_connections", "agent/daemon/src/pipeline/unseen.rs");

/// Returns the names of the programs' metrics in a text.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words.filter(|word| word.starts_with("remora_agent_") || word.starts_with("remora_bridge_")).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(locate::root().join(path)).expect("a file of the manifests")
}

#[test]
#[ignore = "needs root and `cargo xtask build`"]
fn every_metric_that_is_asked_for_is_served() {
    let nginx = Nginx::files(&[("hello.txt", b"hello")]).unwrap();
    let running = Remora::start().unwrap();
    // Exchanges are counted by protocol, once there are some.
    wait::until("an exchange is counted", Duration::from_secs(60), || {
        tools::curl(&[&format!("http://{}/hello.txt", nginx.address())])?;
        Ok(running.metrics()?.contains("remora_agent_exchanges_total{").then_some(()))
    })
    .unwrap();
    let bridge = tools::curl(&[&format!("http://{}/metrics", running.bridge().address())]).unwrap();
    let served = running.metrics().unwrap() + &bridge;
    let (sometimes, source) = ONLY_SOMETIMES;
    assert!(read(source).contains(&format!("\"{sometimes}\"")), "{source} has no {sometimes}");
    let mut served = named(&served);
    served.insert(sometimes);
    for path in ["k8s-manifests/monitoring/dashboard.json", "k8s-manifests/monitoring/alerts.yaml"] {
        let text = read(path);
        let asked = named(&text);
        let missing: Vec<_> = asked.difference(&served).collect();
        assert!(asked.len() > 5 && missing.is_empty(), "{path}: {missing:?} of {}", asked.len());
    }
}

#[test]
fn panels_of_the_dashboard_do_not_overlap() {
    let dashboard: Value = serde_json::from_str(&read("k8s-manifests/monitoring/dashboard.json")).unwrap();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let side = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for y in side("y")..side("y") + side("h") {
            for x in side("x")..side("x") + side("w") {
                assert!(x < 24 && taken.insert((x, y)), "{} lies over another", panel["title"]);
            }
        }
    }
}
