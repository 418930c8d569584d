//! An image as the OCI Image Layout has it (image-spec 1.1), in one archive.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::tar::Tar;
use super::{Architecture, Origin, Program};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Blobs by their digests, and what is known of them.
#[derive(Default)]
pub(super) struct Layout {
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: Vec<Value>,
}

impl Layout {
    /// Adds the image for an architecture. Returns the size of its packed layer.
    pub(super) fn add(
        &mut self,
        program: &Program,
        architecture: Architecture,
        origin: &Origin,
        binary: &[u8],
        bill: &[u8],
    ) -> Result<usize> {
        let layer = layer(program, binary, bill)?;
        let packed = gzip(&layer)?;
        let size = packed.len();
        let labels = labels(program, origin);
        let config = config(program, architecture, origin, &labels, &sha256(&layer));
        let config = self.blob(CONFIG, serde_json::to_vec(&config)?);
        let layer = self.blob(LAYER, packed);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer], "annotations": labels,
        });
        let mut manifest = self.blob(MANIFEST, serde_json::to_vec(&manifest)?);
        manifest["platform"] = json!({ "architecture": architecture.name(), "os": "linux" });
        self.manifests.push(manifest);
        Ok(size)
    }

    /// Returns the archive of an image with this name.
    pub(super) fn finish(mut self, name: &str) -> Result<Vec<u8>> {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": self.manifests });
        let mut image = self.blob(INDEX, serde_json::to_vec(&index)?);
        let tag = name.rsplit_once(':').map_or(name, |(_, tag)| tag);
        // The first is the specification's, which holds the tag only; the second is what containerd reads.
        image["annotations"] =
            json!({ "org.opencontainers.image.ref.name": tag, "io.containerd.image.name": name });
        let top = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [image] });
        let mut tar = Tar::default();
        tar.folder("blobs", 0)?;
        tar.folder("blobs/sha256", 0)?;
        for (digest, blob) in &self.blobs {
            tar.file(&format!("blobs/sha256/{digest}"), 0o644, blob)?;
        }
        tar.file("index.json", 0o644, &serde_json::to_vec(&top)?)?;
        tar.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(tar.finish())
    }

    /// Keeps a blob and returns its descriptor.
    fn blob(&mut self, media_type: &str, content: Vec<u8>) -> Value {
        let digest = sha256(&content);
        let descriptor = json!({
            "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": content.len(),
        });
        self.blobs.insert(digest, content);
        descriptor
    }
}

fn layer(program: &Program, binary: &[u8], bill: &[u8]) -> Result<Vec<u8>> {
    let mut tar = Tar::default();
    for folder in ["usr", "usr/bin", "usr/share", "usr/share/sbom"] {
        tar.folder(folder, 0)?;
    }
    tar.file(&format!("usr/bin/{}", program.name), 0o755, binary)?;
    tar.file(&format!("usr/share/sbom/{}.cdx.json", program.name), 0o644, bill)?;
    if let Some(data) = program.data {
        tar.folder("var", 0)?;
        tar.folder("var/lib", 0)?;
        tar.folder(data.trim_start_matches('/'), program.user.unwrap_or_default())?;
    }
    Ok(tar.finish())
}

fn config(
    program: &Program,
    architecture: Architecture,
    origin: &Origin,
    labels: &Value,
    diff_id: &str,
) -> Value {
    let mut config = json!({
        "Entrypoint": [format!("/usr/bin/{}", program.name)],
        "Cmd": program.arguments,
        "Env": ["PATH=/usr/bin"],
        "WorkingDir": "/",
        "Labels": labels,
    });
    if let Some(user) = program.user {
        config["User"] = format!("{user}:{user}").into();
    }
    json!({
        "architecture": architecture.name(),
        "os": "linux",
        "created": origin.created,
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{diff_id}")] },
        "history": [{ "created": origin.created, "created_by": "cargo xtask image" }],
    })
}

/// The keys that image-spec defines beforehand.
fn labels(program: &Program, origin: &Origin) -> Value {
    json!({
        "org.opencontainers.image.title": program.name,
        "org.opencontainers.image.description": program.title,
        "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
        "org.opencontainers.image.revision": origin.revision,
        "org.opencontainers.image.created": origin.created,
        "org.opencontainers.image.licenses": "Apache-2.0",
    })
}

/// Packs without a time or a name.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::super::PROGRAMS;
    use super::*;

    fn image() -> Vec<u8> {
        let origin = Origin { revision: "abc".to_owned(), created: "2026-01-01T00:00:00Z".to_owned() };
        let mut layout = Layout::default();
        let bridge = &PROGRAMS[1];
        for architecture in [Architecture::Amd64, Architecture::Arm64] {
            layout.add(bridge, architecture, &origin, architecture.name().as_bytes(), b"{}").unwrap();
        }
        layout.finish("localhost/remora-bridge:1.2.3").unwrap()
    }

    /// Returns the files of an archive by their names.
    fn files(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let (mut files, mut at) = (BTreeMap::new(), 0);
        while tar[at] != 0 {
            let text = |from: usize, to: usize| {
                let field = &tar[at + from..at + to];
                let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
                String::from_utf8(field[..end].to_vec()).unwrap()
            };
            let size = usize::from_str_radix(&text(124, 136), 8).unwrap();
            files.insert(text(0, 100), tar[at + 512..at + 512 + size].to_vec());
            at += 512 + size.next_multiple_of(512);
        }
        files
    }

    #[test]
    fn every_descriptor_leads_to_its_blob() {
        let files = files(&image());
        let follow = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap().trim_start_matches("sha256:");
            let blob = &files[&format!("blobs/sha256/{digest}")];
            assert_eq!(
                (descriptor["size"].as_u64(), sha256(blob).as_str()),
                (Some(blob.len() as u64), digest)
            );
            blob.clone()
        };
        let parsed = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).unwrap();
        let top: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let name = &top["manifests"][0]["annotations"]["io.containerd.image.name"];
        assert_eq!(name, "localhost/remora-bridge:1.2.3");
        let index = parsed(follow(&top["manifests"][0]));
        let manifests = index["manifests"].as_array().unwrap();
        let platforms: Vec<_> = manifests.iter().map(|one| &one["platform"]["architecture"]).collect();
        assert_eq!(platforms, ["amd64", "arm64"]);
        for descriptor in manifests {
            let manifest = parsed(follow(descriptor));
            let config = parsed(follow(&manifest["config"]));
            assert_eq!(config["config"]["User"], "65532:65532");
            let mut layer = Vec::new();
            let packed = follow(&manifest["layers"][0]);
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*packed), &mut layer).unwrap();
            assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", sha256(&layer)));
            let program = &self::files(&layer)["usr/bin/remora-bridge"];
            assert_eq!(program, config["architecture"].as_str().unwrap().as_bytes());
        }
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        assert_eq!(image(), image());
    }
}
