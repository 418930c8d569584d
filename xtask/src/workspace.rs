//! Where things are in the checkout.

use std::path::{Path, PathBuf};

/// Returns the root of the checkout.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Returns the folder of everything that is built, whatever `CARGO_TARGET_DIR` says: the commands must find it again.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// Returns the folder of the tools that the build needs.
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}

/// Returns the path of the BPF object that the agent embeds.
pub(crate) fn bpf_object() -> PathBuf {
    target().join("bpf").join("remora.bpf.o")
}

/// Returns the path of the BPF object that writes contexts too, which the agent embeds beside the other.
pub(crate) fn bpf_propagation_object() -> PathBuf {
    target().join("bpf").join("remora-propagation.bpf.o")
}
