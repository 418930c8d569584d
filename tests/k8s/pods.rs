//! The shop's pods by the API server's own words, for comparison with what spans say.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::wait;

use crate::node::Node;

/// One line for each state of each pod.
const COLUMNS: &str = r#"jsonpath={.metadata.name} {.metadata.uid} {.metadata.labels.app} {.status.podIP} {.status.containerStatuses[0].containerID}{"\n"}"#;

/// A pod that runs, or has run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) app: String,
    pub(crate) address: String,
    pub(crate) container: String,
}

/// All pods that run from now on.
pub(crate) struct Pods {
    _watch: Running,
    told: PathBuf,
    _scratch: Scratch,
}

impl Pods {
    pub(crate) fn watch(node: &Node) -> Result<Self> {
        let scratch = Scratch::new("pods")?;
        let told = scratch.path().join("pods");
        let mut command = node.kubectl_command();
        command.args(["-n", "shop", "get", "pods", "--watch", "--output", COLUMNS]);
        let watch = Running::start_printing_to("pods", &scratch, File::create(&told)?, &mut command)?;
        let pods = Self { _watch: watch, told, _scratch: scratch };
        let is_told = || Ok((!pods.all()?.is_empty()).then_some(()));
        wait::until("the watch tells of pods", Duration::from_secs(20), is_told)?;
        Ok(pods)
    }

    /// Returns those that had an address and a container, by name.
    pub(crate) fn all(&self) -> Result<BTreeMap<String, Pod>> {
        let text = fs::read_to_string(&self.told).context("read what was told")?;
        let pods = text.lines().filter_map(|line| {
            let [name, uid, app, address, container] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
            let [name, uid, app, address] = [name, uid, app, address].map(str::to_owned);
            let container = container.strip_prefix("containerd://")?.to_owned();
            (!address.is_empty()).then(|| (name.clone(), Pod { name, uid, app, address, container }))
        });
        Ok(pods.collect())
    }
}
