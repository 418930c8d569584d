//! What kustomize makes of a folder.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context as _, Result};
use remora_tests::{locate, tools};
use serde::Deserialize;
use serde_json::Value;

/// The oldest version of Kubernetes that has every field in use, and the newest that is known.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];

#[derive(Deserialize)]
pub(crate) struct Rendered {
    pub(crate) objects: Vec<Value>,
    /// Kinds that Kubernetes itself does not have.
    pub(crate) unknown: Vec<String>,
}

impl Rendered {
    /// Renders a folder below `k8s-manifests`; fails where an object does not fit a schema.
    pub(crate) fn of(folder: &str) -> Result<Self> {
        let environment = locate::testenv().join("manifests");
        let mut command = Command::new(environment.join("python/bin/python"));
        command.arg(locate::apps().join("manifests/render.py"));
        command.arg(environment.join("kubectl/kubectl"));
        command.arg(locate::root().join("k8s-manifests").join(folder)).args(VERSIONS);
        serde_json::from_str(&tools::printed(&mut command)?).with_context(|| format!("render {folder}"))
    }

    /// Returns the object of this kind and name.
    pub(crate) fn object(&self, kind: &str, name: &str) -> Result<&Value> {
        let is_it = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
        self.objects.iter().find(is_it).with_context(|| format!("no {kind} {name}"))
    }

    /// Returns what the pods of a workload are made from.
    pub(crate) fn pod(&self, kind: &str, name: &str) -> Result<&Value> {
        Ok(&self.object(kind, name)?["spec"]["template"]["spec"])
    }

    pub(crate) fn pods(&self) -> impl Iterator<Item = &Value> {
        let pods = self.objects.iter().map(|object| &object["spec"]["template"]["spec"]);
        pods.filter(|pod| pod.is_object())
    }

    /// Returns the text that a ConfigMap which a pod mounts has under a name.
    pub(crate) fn config(&self, pod: &Value, key: &str) -> Result<&str> {
        let volumes = pod["volumes"].as_array().context("no volumes")?;
        let name = volumes.iter().find_map(|volume| volume["configMap"]["name"].as_str());
        let map = self.object("ConfigMap", name.context("no ConfigMap is mounted")?)?;
        map["data"][key].as_str().with_context(|| format!("no {key}"))
    }
}

/// Returns the strings of a list.
pub(crate) fn strings(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}
