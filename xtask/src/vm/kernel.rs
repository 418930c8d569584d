//! Kernels of Debian, unpacked into the checkout's `target/`, each with a first file system that mounts the host's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::folder;
use crate::shell;

/// Where Debian keeps kernels of its stable and of its older releases.
const SOURCES: &str = "deb http://deb.debian.org/debian-security bullseye-security main\n\
                       deb http://deb.debian.org/debian-security bookworm-security main\n";
/// The modules through which the guest sees the host's files.
const MODULES: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];
/// Those with which the kernel encrypts TLS; some kernels have none.
const TLS_MODULES: [&str; 4] = ["tls", "gcm", "ctr", "ghash_generic"];
const INIT: &str = include_str!("init.sh");

/// A kernel that can be started.
pub(super) struct Kernel {
    pub(super) release: String,
    pub(super) image: PathBuf,
    pub(super) first_files: PathBuf,
}

/// Returns the newest kernel of a version, fetching it if it is not there.
pub(super) fn provide(version: &str) -> Result<Kernel> {
    let release = match fetched(version) {
        Some(release) => release,
        None => fetch(version)?,
    };
    let root = folder().join("kernels").join(&release);
    let first_files = folder().join(format!("{release}.img"));
    make_first_files(&root, &release, &first_files)?;
    Ok(Kernel { image: root.join("boot").join(format!("vmlinuz-{release}")), release, first_files })
}

fn fetched(version: &str) -> Option<String> {
    let names = fs::read_dir(folder().join("kernels")).ok()?.flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&format!("{version}."))).max()
}

/// A set of package lists of its own: the host's stays as it is.
fn apt(program: &str) -> Result<Command> {
    let apt = folder().join("apt");
    for part in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(part)).with_context(|| format!("create {}", apt.display()))?;
    }
    let sources = apt.join("sources.list");
    fs::write(&sources, SOURCES).with_context(|| format!("write {}", sources.display()))?;
    let mut command = shell::program(program);
    command.current_dir(&apt);
    for setting in [
        format!("Dir::Etc::sourcelist={}", sources.display()),
        "Dir::Etc::sourceparts=-".to_owned(),
        format!("Dir::State::lists={}", apt.join("lists").display()),
        format!("Dir::Cache={}", apt.join("cache").display()),
        "APT::Sandbox::User=root".to_owned(),
    ] {
        command.args(["-o", &setting]);
    }
    Ok(command)
}

fn fetch(version: &str) -> Result<String> {
    let hint = "it needs access to a Debian mirror";
    shell::run("update the list of kernels", hint, apt("apt-get")?.args(["-qq", "update"]))?;
    let pattern =
        format!("^linux-image-{}(\\.[0-9]+)*(-[0-9]+|\\+deb[0-9]+)-amd64$", version.replace('.', "\\."));
    let found = shell::output(apt("apt-cache")?.args(["search", "--names-only", &pattern]))?;
    let names = found.lines().filter_map(|line| line.split(' ').next());
    let newest = names
        .max_by_key(|name| numbers(name))
        .with_context(|| format!("Debian has no kernel {version} (searched for {pattern})"))?;
    let what = format!("fetch {newest}");
    shell::run(&what, hint, apt("apt-get")?.args(["-qq", "download", newest]))?;
    let apt_folder = folder().join("apt");
    let package = fs::read_dir(&apt_folder)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(newest)))
        .with_context(|| format!("{newest} is not in {}", apt_folder.display()))?;
    let release = newest.trim_start_matches("linux-image-").to_owned();
    let root = folder().join("kernels").join(&release);
    let unpacked = folder().join("kernels").join(format!("unpacking-{release}"));
    let _ = fs::remove_dir_all(&unpacked);
    fs::create_dir_all(&unpacked).with_context(|| format!("create {}", unpacked.display()))?;
    shell::run(
        "unpack it",
        "the package may be damaged",
        Command::new("dpkg").arg("-x").arg(&package).arg(&unpacked),
    )?;
    shell::run(
        "find what its modules need of each other",
        "it needs depmod",
        Command::new("/sbin/depmod").arg("-b").arg(&unpacked).arg(&release),
    )?;
    fs::rename(&unpacked, &root).with_context(|| format!("create {}", root.display()))?;
    fs::remove_file(&package).with_context(|| format!("remove {}", package.display()))?;
    Ok(release)
}

/// Returns the numbers in a name, by which versions are ordered.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|character: char| !character.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// Packs a shell, the modules and what is to be done with them.
fn make_first_files(root: &Path, release: &str, target: &Path) -> Result<()> {
    let folder = folder().join(format!("first-{release}"));
    let _ = fs::remove_dir_all(&folder);
    for part in ["bin", "mod", "proc", "sys", "dev", "lower", "upper", "new"] {
        fs::create_dir_all(folder.join(part))?;
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().map(Path::new).find(|path| path.exists());
    fs::copy(busybox.context("busybox is not installed")?, folder.join("bin/busybox"))?;
    let mut modules = Vec::new();
    for module in MODULES.into_iter().chain(TLS_MODULES) {
        let mut modprobe = Command::new("/sbin/modprobe");
        modprobe.arg("-d").arg(root).args(["-S", release, "--show-depends", module]);
        let needed = match shell::output(&mut modprobe) {
            Err(_) if TLS_MODULES.contains(&module) => continue,
            needed => needed?,
        };
        for line in needed.lines() {
            let Some(path) = line.strip_prefix("insmod ").map(str::trim) else { continue };
            if !modules.iter().any(|known| known == path) {
                modules.push(path.to_owned());
            }
        }
    }
    let mut list = String::new();
    for path in &modules {
        list.push_str(&unpack_module(Path::new(path), &folder.join("mod"))?);
        list.push('\n');
    }
    fs::write(folder.join("mod/list"), list)?;
    fs::write(folder.join("init"), INIT)?;
    let pack = format!(
        "chmod 755 init bin/busybox && find . -print0 | cpio -0 -o -H newc -R 0:0 --quiet | zstd -q -1 -f -o '{}'",
        target.display()
    );
    let status = Command::new("sh").args(["-c", &pack]).current_dir(&folder).status()?;
    if !status.success() {
        bail!("pack {}: {status}", target.display());
    }
    Ok(fs::remove_dir_all(&folder)?)
}

/// Copies a module, unpacked; returns its name.
fn unpack_module(path: &Path, target: &Path) -> Result<String> {
    let name = path.file_name().context("a module without a name")?.to_string_lossy().into_owned();
    let plain = name.trim_end_matches(".xz").to_owned();
    let bytes = if name == plain {
        fs::read(path)?
    } else {
        Command::new("xz").arg("-dc").arg(path).output().context("start xz")?.stdout
    };
    fs::write(target.join(&plain), bytes)?;
    Ok(plain)
}
