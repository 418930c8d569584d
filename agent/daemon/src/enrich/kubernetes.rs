//! What the cluster says of a process and of its peers, by the semantic conventions.

use std::net::IpAddr;

use remora_engine::semconv::{self, Attributes, Key, Value};
use remora_engine::span::{Span, SpanKind};

use crate::discover::{NameSource, Process};
use crate::kubernetes::{Cluster, OwnerKind, Peer, Placement, Target};

/// Adds what is known of where a process runs. `set` keeps the first value of a key.
pub(super) fn describe(cluster: &Cluster, placement: Option<&Placement>, mut set: impl FnMut(Key, Value)) {
    let settings = cluster.settings();
    let node = placement.and_then(|placement| placement.pod.node.clone());
    let mut text = |key: Key, value: String| {
        if !value.is_empty() {
            set(key, Value::from(value));
        }
    };
    if let Some(name) = &settings.cluster_name {
        text("k8s.cluster.name".into(), name.clone());
    }
    text("k8s.node.name".into(), node.unwrap_or_else(|| settings.node.clone()));
    let Some(placement) = placement else { return };
    let pod = &placement.pod;
    for (key, value) in &pod.attributes {
        text(key.clone().into(), value.clone());
    }
    text("service.namespace".into(), pod.namespace.clone());
    if let Some(version) = version(placement) {
        text("service.version".into(), version);
    }
    text("k8s.namespace.name".into(), pod.namespace.clone());
    text("k8s.pod.name".into(), pod.name.clone());
    text("k8s.pod.uid".into(), pod.uid.clone());
    for owner in pod.owners.iter().chain(&placement.cron_job) {
        let (name, uid) = owner.kind.keys();
        text(name.into(), owner.name.clone());
        text(uid.into(), owner.uid.clone().unwrap_or_default());
    }
    if let Some(service) = &placement.service {
        text("k8s.service.name".into(), service.clone());
    }
    for (key, value) in &pod.labels {
        text(format!("k8s.pod.label.{key}").into(), value.clone());
    }
    for (key, value) in &pod.annotations {
        text(format!("k8s.pod.annotation.{key}").into(), value.clone());
    }
    if let Some(container) = &placement.container {
        let (name, tag) = image(&container.image);
        text("k8s.container.name".into(), container.name.clone());
        text("container.image.name".into(), name.to_owned());
        set("k8s.container.restart_count".into(), Value::Int(container.restarts));
        if let Some(tag) = tag {
            set("container.image.tags".into(), Value::Texts(vec![tag.to_owned()]));
        }
    }
}

/// Returns what the cluster calls a service, unless the program has a name that somebody gave it for telemetry.
pub(super) fn service_name<'a>(process: &Process, placement: &'a Placement) -> Option<&'a str> {
    let is_given = matches!(
        process.service_name_source,
        NameSource::EnvironmentName | NameSource::EnvironmentAttributes | NameSource::Argument
    );
    if is_given {
        return None;
    }
    let pod = &placement.pod;
    let annotated = pod.attributes.get("service.name").or(pod.service_name.as_ref());
    let owners = || pod.owners.iter().chain(&placement.cron_job);
    let owned = |kind| owners().find(|owner| owner.kind == kind).map(|owner| &owner.name);
    let by_owner = || {
        use OwnerKind::{CronJob, DaemonSet, Deployment, Job, ReplicaSet, StatefulSet};
        [Deployment, ReplicaSet, StatefulSet, DaemonSet, CronJob, Job].into_iter().find_map(owned)
    };
    Some(annotated.or_else(by_owner).unwrap_or(&pod.name))
}

/// A label, else the tag or the digest of the image.
fn version(placement: &Placement) -> Option<String> {
    if let Some(version) = &placement.pod.service_version {
        return Some(version.clone());
    }
    let image = &placement.container.as_ref()?.image;
    let (_, tag) = self::image(image);
    let digest = image.split_once('@').map(|(_, digest)| digest);
    tag.or(digest).map(str::to_owned)
}

/// Returns an image's name and its tag: the last colon may be that of a port.
fn image(reference: &str) -> (&str, Option<&str>) {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    }
}

/// Adds who is at the other end of a call.
pub(super) fn name_peer(cluster: &Cluster, namespace: Option<&str>, span: &mut Span) {
    if !matches!(span.kind, SpanKind::Client | SpanKind::Producer) {
        return;
    }
    let by_address =
        |key: &Key| cluster.peer(text(&span.attributes, key)?.parse::<IpAddr>().ok()?, span.started_at_ns);
    let named = || cluster.named(text(&span.attributes, &semconv::SERVER_ADDRESS)?, namespace);
    let found = by_address(&semconv::NETWORK_PEER_ADDRESS).or_else(|| by_address(&semconv::SERVER_ADDRESS));
    // A name is more than the address of whatever stands before the service.
    let is_certain = found.as_ref().is_some_and(|peer| !matches!(peer.target, Target::Node { .. }));
    let Some(peer) = (if is_certain { found } else { named().or(found) }) else { return };
    add(&mut span.attributes, &peer);
}

fn add(attributes: &mut Attributes, peer: &Peer) {
    let mut set =
        |key: &'static str, value: &str| attributes.push((key.into(), Value::from(value.to_owned())));
    set("service.peer.name", peer.name());
    if let Some(namespace) = &peer.namespace {
        set("service.peer.namespace", namespace);
    }
    match &peer.target {
        Target::Service { service } => set("remora.peer.k8s.service.name", service),
        Target::Node { node } => set("remora.peer.k8s.node.name", node),
        Target::Pod { pod, service, .. } => {
            set("remora.peer.k8s.pod.name", pod);
            if let Some(service) = service {
                set("remora.peer.k8s.service.name", service);
            }
        }
    }
}

fn text<'a>(attributes: &'a Attributes, key: &Key) -> Option<&'a str> {
    attributes.iter().find_map(|(name, value)| match value {
        Value::Text(text) if name == key => Some(text.as_ref()),
        _ => None,
    })
}
