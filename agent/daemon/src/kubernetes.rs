//! What the cluster knows: which pod a container is of, who owns that, and who has an address.
//!
//! One thread follows the API server: the pods of the agent's own node, and of the whole cluster what names peers
//! (services, their endpoints, nodes) and the owners of jobs. One list and one watch a kind, with bookmarks; a watch
//! that has expired begins with a list again; what fails is tried again, each time later. Everybody else reads the
//! tables and never waits: while the API server is away they say what they said before.

mod access;
mod address;
mod kinds;
mod objects;
mod peers;
mod pod;
mod pods;
mod table;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

pub use access::{Access, denied};
pub use peers::{Peer, Target};
pub use pod::{Container, LEFT_ALONE, Owner, OwnerKind, Pod};
pub use table::{Cluster, Placement};
pub use watch::{Error, Watch};

/// How long a pod that was deleted is still known, for its last spans.
pub const LINGER: Duration = Duration::from_secs(300);

/// What is asked of the API server, and what is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How to reach the API server; by the service account of the agent's own pod if none.
    pub kubeconfig: Option<PathBuf>,
    /// Name of the node whose pods are followed.
    pub node: String,
    /// `k8s.cluster.name`.
    pub cluster_name: Option<String>,
    /// Labels of pods that become attributes; patterns know `*`.
    pub labels: Vec<String>,
    /// Annotations of pods, likewise.
    pub annotations: Vec<String>,
    /// Whether `app.kubernetes.io/*` labels name services.
    pub well_known_labels: bool,
}

/// Whether this is a pod, by a variable that every pod has.
#[must_use]
pub fn is_inside_cluster() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// Whether this is a pod with a service account.
#[must_use]
pub fn has_service_account() -> bool {
    const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    is_inside_cluster() && std::path::Path::new(TOKEN).exists()
}
