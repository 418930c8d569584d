//! What is said of the host in every resource.

use std::fs;

/// The host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// `host.name`.
    pub name: String,
    /// `host.id`: the machine id; none where the host has none.
    pub id: Option<String>,
    /// `host.arch`.
    pub architecture: &'static str,
    /// `os.type` is always `linux`; this is `os.version`, the kernel's release.
    pub kernel: String,
}

impl Host {
    /// Returns what this host says of itself.
    #[must_use]
    pub fn this() -> Self {
        let names = rustix::system::uname();
        let text = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
        Self {
            name: text(names.nodename()),
            id: machine_id(),
            architecture: architecture(std::env::consts::ARCH),
            kernel: text(names.release()),
        }
    }
}

/// The files that the conventions name, in their order (`host.id`, non-privileged machine id lookup); before them the
/// host's own, for agents in containers that see the host's processes.
fn machine_id() -> Option<String> {
    let texts = ["/proc/1/root/etc/machine-id", "/etc/machine-id", "/var/lib/dbus/machine-id"]
        .into_iter()
        .filter_map(|path| fs::read_to_string(path).ok());
    texts.map(|text| text.trim().to_owned()).find(|id| !id.is_empty() && id != "uninitialized")
}

fn architecture(rust: &'static str) -> &'static str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
