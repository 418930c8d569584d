//! The resource of a process, by the semantic conventions.

use std::borrow::Cow;

use remora_engine::semconv::{Attributes, Key, Value};

use super::host::Host;
use super::{kubernetes, uuid};
use crate::discover::{Process, Runtime};
use crate::kubernetes::{Cluster, Placement};

/// The agent's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who a span belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// `service.name`, which is among the attributes too.
    pub service_name: String,
    /// Every attribute, each key once.
    pub attributes: Attributes,
}

impl Resource {
    /// Returns the resource of a process. What its own environment says wins over what was found.
    #[must_use]
    pub fn of_process(process: &Process, host: &Host) -> Self {
        Self::made(process, host, &process.service_name, |_| {})
    }

    /// Returns the resource of a process on a node of a cluster: what its own environment says wins over what its pod
    /// says, and that over what was found.
    #[must_use]
    pub fn in_cluster(
        process: &Process,
        host: &Host,
        cluster: &Cluster,
        placement: Option<&Placement>,
    ) -> Self {
        let by_pod = placement.and_then(|placement| kubernetes::service_name(process, placement));
        let name = by_pod.unwrap_or(&process.service_name);
        Self::made(process, host, name, |attributes| {
            kubernetes::describe(cluster, placement, |key, value| attributes.set(key, value));
        })
    }

    fn made(process: &Process, host: &Host, name: &str, by_cluster: impl FnOnce(&mut Builder)) -> Self {
        let mut attributes = Builder::default();
        attributes.text("service.name", name);
        for (key, value) in &process.environment.attributes {
            attributes.text(key.clone(), value);
        }
        by_cluster(&mut attributes);
        attributes.text("service.instance.id", &instance_id(process, host));
        attributes.int("process.pid", process.tgid.into());
        attributes.int_if("process.vpid", process.namespace_pid.map(i64::from));
        attributes
            .int_if("process.parent_pid", Some(i64::from(process.parent)).filter(|&parent| parent != 0));
        let executable = process.executable.as_ref();
        let file = executable.and_then(|path| path.file_name()).map(|name| name.to_string_lossy());
        attributes.text_if("process.executable.name", file);
        attributes.text_if("process.executable.path", executable.map(|path| path.to_string_lossy()));
        // Only the first word: arguments carry secrets.
        attributes.text_if("process.command", process.arguments.first().map(Cow::from));
        if !matches!(process.runtime, Runtime::Native | Runtime::Nginx | Runtime::Proxy | Runtime::Unknown) {
            attributes.text("process.runtime.name", process.runtime.label());
        }
        if let Runtime::Go { version, .. } = &process.runtime {
            attributes.text("process.runtime.version", version);
        }
        attributes.text_if("container.id", process.container_id.as_deref().map(Cow::from));
        attributes.text_if("process.linux.cgroup", process.cgroup.as_deref().map(Cow::from));
        attributes.host(host);
        Self { service_name: name.to_owned(), attributes: attributes.0 }
    }

    /// Returns the resource of a process of which only the id is known.
    #[must_use]
    pub fn unknown(tgid: u32, host: &Host) -> Self {
        let mut attributes = Builder::default();
        attributes.text("service.name", "unknown_service");
        attributes.int("process.pid", tgid.into());
        attributes.host(host);
        Self { service_name: "unknown_service".to_owned(), attributes: attributes.0 }
    }

    /// Returns the text of an attribute.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.attributes.iter().find_map(|(name, value)| match value {
            Value::Text(text) if name == key => Some(text.as_ref()),
            _ => None,
        })
    }
}

/// A process is told apart on its host by its id and its start; hosts by their machine id.
fn instance_id(process: &Process, host: &Host) -> String {
    let instance = process.instance;
    let host = host.id.as_deref().unwrap_or(&host.name);
    uuid::of_name(&format!("{host}/{}/{}", instance.tgid, instance.started_at_ticks))
}

/// Attributes of which the first of a key stays.
#[derive(Default)]
struct Builder(Attributes);

impl Builder {
    fn set(&mut self, key: impl Into<Key>, value: Value) {
        let key = key.into();
        if !self.0.iter().any(|(name, _)| *name == key) {
            self.0.push((key, value));
        }
    }

    fn text(&mut self, key: impl Into<Key>, value: &str) {
        self.set(key, Value::Text(value.to_owned().into()));
    }

    fn text_if(&mut self, key: &'static str, value: Option<Cow<'_, str>>) {
        if let Some(value) = value {
            self.text(key, &value);
        }
    }

    fn int(&mut self, key: &'static str, value: i64) {
        self.set(key, Value::Int(value));
    }

    fn int_if(&mut self, key: &'static str, value: Option<i64>) {
        if let Some(value) = value {
            self.int(key, value);
        }
    }

    fn host(&mut self, host: &Host) {
        self.text("host.name", &host.name);
        self.text_if("host.id", host.id.as_deref().map(Cow::from));
        self.text("host.arch", host.architecture);
        self.text("os.type", "linux");
        self.text("os.version", &host.kernel);
        self.text("telemetry.sdk.name", "remora");
        self.text("telemetry.sdk.language", "rust");
        self.text("telemetry.sdk.version", VERSION);
        self.text("telemetry.distro.name", "remora");
        self.text("telemetry.distro.version", VERSION);
    }
}
