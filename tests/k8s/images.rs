//! Images of programs of this host: each with the libraries that its loader asks for, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use remora_tests::scratch::Scratch;
use remora_tests::{locate, tools};
use serde_json::{Value, json};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image that is being made.
pub(crate) struct Image {
    name: String,
    /// What it runs unless a pod says otherwise.
    command: Vec<String>,
    scratch: Scratch,
}

impl Image {
    pub(crate) fn new(name: &str, command: &[&str]) -> Result<Self> {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let image = Self { name: name.to_owned(), command, scratch: Scratch::new("image")? };
        fs::create_dir_all(image.root().join("tmp"))?;
        Ok(image)
    }

    /// Adds a program under a path of the image, and its libraries, where the host has them.
    pub(crate) fn program(self, path: &Path, target: &str) -> Result<Self> {
        let text = tools::printed(Command::new("ldd").arg(path)).unwrap_or_default();
        let libraries: BTreeSet<_> = text.split_whitespace().filter(|word| word.starts_with('/')).collect();
        libraries.into_iter().try_for_each(|library| self.copy(Path::new(library), library))?;
        self.copy(path, target)?;
        Ok(self)
    }

    /// Adds a folder, where the host has it, with all that is in it.
    pub(crate) fn folder(self, path: &str) -> Result<Self> {
        self.copy(Path::new(path), path)?;
        Ok(self)
    }

    /// Packs it and returns the archive.
    pub(crate) fn pack(self, archives: &Scratch) -> Result<PathBuf> {
        let blobs = self.layout().join("blobs/sha256");
        fs::create_dir_all(&blobs)?;
        let layer = self.scratch.path().join("layer.tar");
        tar(&layer, &self.root())?;
        let layer = self.keep(LAYER, &layer)?;
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "config": { "Env": ["PATH=/usr/sbin:/usr/bin"], "Cmd": self.command },
            "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
        });
        let config = self.keep_json(CONFIG, &config)?;
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
        let mut manifest = self.keep_json(MANIFEST, &manifest)?;
        manifest["annotations"] = json!({ "io.containerd.image.name": self.name });
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest] });
        fs::write(self.layout().join("index.json"), index.to_string())?;
        fs::write(self.layout().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let archive = archives.path().join(self.name.replace(['/', ':'], "-")).with_extension("tar");
        tar(&archive, &self.layout())?;
        Ok(archive)
    }

    /// Copies a file, or what a link leads to, or a folder.
    fn copy(&self, path: &Path, target: &str) -> Result<()> {
        let target = self.root().join(target.trim_start_matches('/'));
        let parent = target.parent().context("a root")?;
        fs::create_dir_all(parent)?;
        let mut command = Command::new("cp");
        let is_folder = path.is_dir();
        command.args(if is_folder {
            ["--recursive", "--no-target-directory"]
        } else {
            ["--dereference", "--"]
        });
        tools::printed(command.arg(path).arg(&target)).map(drop)
    }

    fn keep_json(&self, media_type: &str, value: &Value) -> Result<Value> {
        self.keep(media_type, &self.scratch.write("blob.json", value.to_string())?)
    }

    /// Moves a file among the blobs and returns its descriptor.
    fn keep(&self, media_type: &str, file: &Path) -> Result<Value> {
        let printed = tools::printed(Command::new("sha256sum").arg(file))?;
        let digest = printed.split_whitespace().next().context("no digest")?;
        let size = fs::metadata(file)?.len();
        fs::rename(file, self.layout().join("blobs/sha256").join(digest))?;
        Ok(json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size }))
    }

    fn root(&self) -> PathBuf {
        self.scratch.path().join("root")
    }

    fn layout(&self) -> PathBuf {
        self.scratch.path().join("layout")
    }
}

fn tar(archive: &Path, folder: &Path) -> Result<()> {
    let mut command = Command::new("tar");
    command.args(["--create", "--owner=0", "--group=0", "--file"]).arg(archive);
    tools::printed(command.arg("--directory").arg(folder).arg(".")).map(drop)
}

/// Returns the archives of everything that the cluster runs but Remora: the pause container, and the shop's services.
pub(crate) fn of_services(archives: &Scratch) -> Result<Vec<PathBuf>> {
    // The distribution's own, whose folders are few.
    let python = "/usr/bin/python3";
    let library = ["-c", "import sysconfig; print(sysconfig.get_path('stdlib'), end='')"];
    let library = tools::printed(Command::new(python).args(library))?;
    let items = locate::testenv().join("bin/items");
    let images = [
        Image::new("localhost/pause:1", &["sleep", "infinity"])?
            .program(Path::new("/usr/bin/sleep"), "/usr/bin/sleep")?,
        Image::new("localhost/gateway:1", &[])?.program(&locate::program("nginx")?, "/usr/sbin/nginx")?,
        Image::new("localhost/orders:1", &[])?.program(&items, "/usr/bin/items")?,
        Image::new("localhost/stock:1", &[])?.program(Path::new(python), python)?.folder(&library)?,
    ];
    images.into_iter().map(|image| image.pack(archives)).collect()
}
