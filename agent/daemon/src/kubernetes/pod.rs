//! What is known of one pod.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::objects::{ContainerSpec, ContainerStatus, PodObject};
use super::{Settings, address};

/// Annotations with this prefix name attributes of the resource.
const RESOURCE_PREFIX: &str = "resource.opentelemetry.io/";
/// The annotation that says `"false"` where processes of a pod must not be observed.
pub const LEFT_ALONE: &str = "remora.dev/trace";
/// The annotation of a static pod's mirror by which its control group is named.
const STATIC_UID: &str = "kubernetes.io/config.hash";
/// Labels that name the service.
const NAME_LABELS: [&str; 2] = ["app.kubernetes.io/instance", "app.kubernetes.io/name"];
const VERSION_LABEL: &str = "app.kubernetes.io/version";
/// What the deployment controller appends to its name for a replica set's, after a dash.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// Attributes that annotations may name.
const MAX_RESOURCE_ATTRIBUTES: usize = 64;

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.uid`.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The node it runs on.
    pub node: Option<String>,
    /// Who it belongs to, nearest first. The cron job of a job is not among them (see [`super::Placement`]).
    pub owners: Vec<Owner>,
    /// All containers that it has or had a moment ago.
    pub containers: Vec<Container>,
    /// Labels that are told, by name.
    pub labels: BTreeMap<String, String>,
    /// All that it has.
    pub own_labels: BTreeMap<String, String>,
    /// Whether its processes must not be observed ([`LEFT_ALONE`]).
    pub is_left_alone: bool,
    /// Annotations that are told, by name.
    pub annotations: BTreeMap<String, String>,
    /// Attributes that annotations (`resource.opentelemetry.io/*`) set.
    pub attributes: BTreeMap<String, String>,
    /// `service.name` by well-known labels.
    pub service_name: Option<String>,
    /// `service.version`, likewise.
    pub service_version: Option<String>,
    /// Name of its control group where that is not the uid.
    pub(super) static_uid: Option<String>,
    /// Addresses that are its own.
    pub(super) addresses: Vec<IpAddr>,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name in the pod.
    pub name: String,
    /// Its image, as the pod names it.
    pub image: String,
    /// How often it was started again.
    pub restarts: i64,
    /// Its identifiers at the runtime, without `containerd://`: the present one and the one before.
    pub ids: Vec<String>,
}

/// Who a pod belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// What it is.
    pub kind: OwnerKind,
    /// Its name.
    pub name: String,
    /// Its uid, where that is known.
    pub uid: Option<String>,
}

/// What a pod may belong to and the conventions have a name for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerKind {
    /// `apps/ReplicaSet`.
    ReplicaSet,
    /// `apps/Deployment`.
    Deployment,
    /// `apps/StatefulSet`.
    StatefulSet,
    /// `apps/DaemonSet`.
    DaemonSet,
    /// `batch/Job`.
    Job,
    /// `batch/CronJob`.
    CronJob,
}

impl OwnerKind {
    /// Returns what the conventions call its name and its uid.
    #[must_use]
    pub fn keys(self) -> (&'static str, &'static str) {
        match self {
            Self::ReplicaSet => ("k8s.replicaset.name", "k8s.replicaset.uid"),
            Self::Deployment => ("k8s.deployment.name", "k8s.deployment.uid"),
            Self::StatefulSet => ("k8s.statefulset.name", "k8s.statefulset.uid"),
            Self::DaemonSet => ("k8s.daemonset.name", "k8s.daemonset.uid"),
            Self::Job => ("k8s.job.name", "k8s.job.uid"),
            Self::CronJob => ("k8s.cronjob.name", "k8s.cronjob.uid"),
        }
    }

    fn of(group: &str, kind: &str) -> Option<Self> {
        match (group, kind) {
            ("apps", "ReplicaSet") => Some(Self::ReplicaSet),
            ("apps", "StatefulSet") => Some(Self::StatefulSet),
            ("apps", "DaemonSet") => Some(Self::DaemonSet),
            ("batch", "Job") => Some(Self::Job),
            _ => None,
        }
    }
}

impl Pod {
    /// Returns what is told of a pod; none of one without uid.
    pub(super) fn of(object: PodObject, settings: &Settings) -> Option<Self> {
        let PodObject { metadata, spec, status, .. } = object;
        let status = status.unwrap_or_default();
        let labels = metadata.labels.unwrap_or_default();
        let annotations = metadata.annotations.unwrap_or_default();
        let is_over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let has_addresses = !is_over && !spec.host_network;
        let references = metadata.owner_references.unwrap_or_default();
        let owner = references.iter().find(|reference| reference.controller == Some(true));
        let owner = owner.and_then(|reference| {
            let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
            let kind = OwnerKind::of(group, &reference.kind)?;
            Some(Owner { kind, name: reference.name.clone(), uid: Some(reference.uid.clone()) })
        });
        let label = |name: &str| labels.get(name).filter(|value| !value.is_empty());
        let well_known = |names: &[&str]| {
            names.iter().find_map(|name| label(name)).filter(|_| settings.well_known_labels).cloned()
        };
        let deployment = owner.as_ref().and_then(|owner| deployment(owner, label(TEMPLATE_HASH)?));
        let statuses =
            [status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses];
        Some(Self {
            uid: metadata.uid?,
            name: metadata.name.unwrap_or_default(),
            namespace: metadata.namespace.unwrap_or_default(),
            node: spec.node_name,
            owners: owner.into_iter().chain(deployment).collect(),
            containers: containers(
                spec.containers.into_iter().chain(spec.init_containers),
                &statuses.concat(),
            ),
            attributes: resource_attributes(&annotations),
            service_name: well_known(&NAME_LABELS),
            service_version: well_known(&[VERSION_LABEL]),
            static_uid: annotations.get(STATIC_UID).cloned(),
            addresses: if has_addresses {
                status.pod_ips.iter().filter_map(|ip| address::parse(&ip.ip)).collect()
            } else {
                Vec::new()
            },
            is_left_alone: annotations.get(LEFT_ALONE).is_some_and(|value| value == "false"),
            labels: allowed(labels.clone(), &settings.labels),
            own_labels: labels,
            annotations: allowed(annotations, &settings.annotations),
        })
    }

    /// Returns the container with this identifier or, where the pod has only one, that.
    pub(super) fn container(&self, id: Option<&str>) -> Option<&Container> {
        let by_id =
            self.containers.iter().find(|container| container.ids.iter().any(|own| Some(&**own) == id));
        match self.containers.as_slice() {
            [only] => by_id.or(Some(only)),
            _ => by_id,
        }
    }

    /// Returns every name by which processes may refer to it.
    pub(super) fn uids(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.uid).chain(&self.static_uid)
    }
}

/// A replica set of the deployment controller is called after it and its pods' label; one that somebody else made has no
/// such label, or another name.
fn deployment(owner: &Owner, hash: &str) -> Option<Owner> {
    let name = owner.name.strip_suffix(hash)?.strip_suffix('-')?;
    let is_one = owner.kind == OwnerKind::ReplicaSet && !name.is_empty();
    is_one.then(|| Owner { kind: OwnerKind::Deployment, name: name.to_owned(), uid: None })
}

fn containers(specs: impl Iterator<Item = ContainerSpec>, statuses: &[ContainerStatus]) -> Vec<Container> {
    let mut containers: Vec<Container> = specs
        .map(|spec| Container {
            name: spec.name,
            image: spec.image.unwrap_or_default(),
            ..Container::default()
        })
        .collect();
    for status in statuses {
        let place = containers.iter().position(|container| container.name == status.name);
        let place = place.unwrap_or_else(|| {
            containers.push(Container { name: status.name.clone(), ..Container::default() });
            containers.len() - 1
        });
        let Some(container) = containers.get_mut(place) else { continue };
        if container.image.is_empty() {
            container.image.clone_from(&status.image);
        }
        container.restarts = status.restart_count;
        let before = status.last_state.terminated.as_ref().and_then(|state| state.container_id.as_ref());
        container.ids = status.container_id.iter().chain(before).filter_map(|id| runtime_id(id)).collect();
    }
    containers
}

/// `containerd://ID`, `cri-o://ID`, `docker://ID`.
fn runtime_id(text: &str) -> Option<String> {
    let (_, id) = text.split_once("://")?;
    (!id.is_empty()).then(|| id.to_owned())
}

fn resource_attributes(annotations: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let named =
        annotations.iter().filter_map(|(key, value)| Some((key.strip_prefix(RESOURCE_PREFIX)?, value)));
    named
        .filter(|(key, value)| !key.is_empty() && !value.is_empty())
        .take(MAX_RESOURCE_ATTRIBUTES)
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .collect()
}

fn allowed(mut all: BTreeMap<String, String>, patterns: &[String]) -> BTreeMap<String, String> {
    all.retain(|key, _| patterns.iter().any(|pattern| is_match(pattern, key)));
    all
}

/// Whether a pattern with at most one `*` fits.
fn is_match(pattern: &str, key: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == key,
        Some((start, end)) => key.strip_prefix(start).is_some_and(|rest| rest.ends_with(end)),
    }
}

#[cfg(test)]
mod tests;
