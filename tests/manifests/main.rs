//! The manifests for Kubernetes: they fit its schemas, and the programs take what stands in them.

mod monitoring;
mod rendered;
mod settings;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use rendered::{Rendered, strings};

const OVERLAYS: [&str; 6] = [
    "base",
    "overlays/single-node",
    "overlays/production",
    "overlays/otlp",
    "overlays/openshift",
    "overlays/privileged",
];

#[test]
#[ignore = "needs `cargo xtask test`, which installs kubectl and the schemas"]
fn everything_fits_the_schemas() {
    for overlay in OVERLAYS {
        let rendered = Rendered::of(overlay).unwrap();
        let unknown: &[&str] =
            if overlay == "overlays/openshift" { &["SecurityContextConstraints"] } else { &[] };
        assert_eq!(rendered.unknown, unknown, "{overlay}");
        assert!(rendered.objects.len() > 5, "{overlay}: {}", rendered.objects.len());
    }
}

#[test]
#[ignore = "needs `cargo xtask test`, which installs kubectl and the schemas"]
fn the_agent_has_the_capabilities_that_check_names() {
    let named: BTreeSet<String> =
        remora::commands::capabilities().map(|name| name.trim_start_matches("CAP_").to_owned()).collect();
    for overlay in OVERLAYS.into_iter().filter(|overlay| !overlay.ends_with("privileged")) {
        let rendered = Rendered::of(overlay).unwrap();
        let pod = rendered.pod("DaemonSet", "remora-agent").unwrap();
        let security = &pod["containers"][0]["securityContext"];
        assert_eq!(strings(&security["capabilities"]["add"]), named, "{overlay}");
        assert_eq!(security["capabilities"]["drop"], json!(["ALL"]), "{overlay}");
        assert_eq!(security["privileged"], Value::Null, "{overlay}");
        assert_eq!(pod["hostPID"], true, "{overlay}");
    }
    let openshift = Rendered::of("overlays/openshift").unwrap();
    let constraints = openshift.object("SecurityContextConstraints", "remora-agent").unwrap();
    assert_eq!(strings(&constraints["allowedCapabilities"]), named);
}

#[test]
#[ignore = "needs `cargo xtask test`, which installs kubectl and the schemas"]
fn the_agent_may_read_what_names_pods_and_nothing_else() {
    let rendered = Rendered::of("base").unwrap();
    let role = rendered.object("ClusterRole", "remora-agent").unwrap();
    let mut resources = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        assert_eq!(rule["verbs"], json!(["list", "watch"]));
        resources.extend(strings(&rule["resources"]));
    }
    let expected = ["endpointslices", "jobs", "nodes", "pods", "services"];
    assert_eq!(resources, expected.map(str::to_owned).into());
}

#[test]
#[ignore = "needs `cargo xtask test`, which installs kubectl and the schemas"]
fn the_bridge_may_do_nothing_that_is_special() {
    for overlay in OVERLAYS.into_iter().filter(|overlay| !overlay.ends_with("otlp")) {
        let rendered = Rendered::of(overlay).unwrap();
        let pod = rendered.pod("StatefulSet", "remora-bridge").unwrap();
        let security = &pod["containers"][0]["securityContext"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{overlay}");
        assert_eq!(security["capabilities"], json!({ "drop": ["ALL"] }), "{overlay}");
        assert_eq!(security["readOnlyRootFilesystem"], true, "{overlay}");
        assert_eq!(security["allowPrivilegeEscalation"], false, "{overlay}");
        assert_eq!(pod["automountServiceAccountToken"], false, "{overlay}");
    }
}

#[test]
#[ignore = "needs `cargo xtask test`, which installs kubectl and the schemas"]
fn images_are_those_that_are_built() {
    let version = env!("CARGO_PKG_VERSION");
    for overlay in OVERLAYS {
        let rendered = Rendered::of(overlay).unwrap();
        for pod in rendered.pods() {
            let image = pod["containers"][0]["image"].as_str().unwrap();
            let name = image.rsplit('/').next().unwrap();
            let is_built =
                ["remora", "remora-bridge"].iter().any(|built| name == format!("{built}:{version}"));
            assert!(is_built, "{overlay}: {image}");
        }
    }
}
