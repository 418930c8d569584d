//! `image`: OCI images of the two programs, of nothing but static binaries, without a container engine.
//!
//! The same checkout gives the same bytes: times are those of the commit, names are sorted.

mod cross;
mod oci;
mod sbom;
mod tar;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};

use crate::shell::{self, step};
use crate::{build, workspace};

#[derive(Args)]
pub(crate) struct Image {
    /// Architectures to build for; the agent knows amd64 only, and is left out where that is not among them
    #[arg(long = "arch", value_enum, value_delimiter = ',', default_value = "amd64,arm64")]
    architectures: Vec<Architecture>,
    /// What the images' names begin with, such as a registry's address
    #[arg(long, default_value = "localhost", value_name = "PREFIX")]
    prefix: String,
    /// Folder for the images [default: target/images]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Image {
    /// Returns those that this host runs, under the names that the manifests know.
    pub(crate) fn for_this_host() -> Self {
        Self { architectures: vec![Architecture::Amd64], prefix: "localhost".to_owned(), out: None }
    }
}

/// A processor architecture, by the name that images use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Architecture {
    Amd64,
    Arm64,
}

impl Architecture {
    fn name(self) -> &'static str {
        match self {
            Architecture::Amd64 => "amd64",
            Architecture::Arm64 => "arm64",
        }
    }
}

/// A program that gets an image.
struct Program {
    /// Of the package, the binary and the image.
    name: &'static str,
    title: &'static str,
    arguments: &'static [&'static str],
    /// User and group; none for root.
    user: Option<u32>,
    /// Folder that belongs to the user.
    data: Option<&'static str>,
    architectures: &'static [Architecture],
    /// Bytes that the binary, and the packed layer, may have at most.
    budget: usize,
}

const PROGRAMS: [Program; 2] = [
    Program {
        name: "remora",
        title: "Remora agent: traces unmodified services from the kernel",
        arguments: &["run"],
        // What it may do comes from capabilities, which only root has when a container starts.
        user: None,
        data: None,
        // The BPF programs read the registers of x86-64.
        architectures: &[Architecture::Amd64],
        budget: 25_000_000,
    },
    Program {
        name: "remora-bridge",
        title: "Remora bridge: takes OTLP, keeps traces, answers questions about them",
        arguments: &["serve", "--data", "/var/lib/remora-bridge"],
        user: Some(65_532),
        data: Some("/var/lib/remora-bridge"),
        architectures: &[Architecture::Amd64, Architecture::Arm64],
        budget: 25_000_000,
    },
];

pub(crate) fn run(image: &Image) -> Result<()> {
    let out = image.out.clone().unwrap_or_else(|| workspace::target().join("images"));
    fs::create_dir_all(&out).with_context(|| format!("make {}", out.display()))?;
    let mut wanted = image.architectures.clone();
    wanted.sort_unstable();
    wanted.dedup();
    build::embedded()?;
    for &architecture in &wanted {
        let programs = PROGRAMS.iter().filter(|program| program.architectures.contains(&architecture));
        cross::build(architecture, &programs.map(|program| program.name).collect::<Vec<_>>())?;
    }
    let origin = Origin::of_checkout()?;
    for program in &PROGRAMS {
        let built: Vec<_> =
            wanted.iter().copied().filter(|wanted| program.architectures.contains(wanted)).collect();
        if built.is_empty() {
            step(&format!("{} has no image: it exists for amd64 only", program.name));
            continue;
        }
        pack(program, &built, &origin, &image.prefix, &out)?;
    }
    Ok(())
}

/// From which sources an image is.
struct Origin {
    /// The commit's id, with `-dirty` behind it where the checkout differs.
    revision: String,
    /// The commit's time (RFC 3339).
    created: String,
}

impl Origin {
    fn of_checkout() -> Result<Self> {
        let git = |arguments: &[&str]| {
            shell::output(shell::program("git").args(arguments).env("TZ", "UTC"))
                .map(|text| text.trim().to_owned())
        };
        let is_dirty = !git(&["status", "--porcelain"])?.is_empty();
        let date = "--date=format-local:%Y-%m-%dT%H:%M:%SZ";
        Ok(Self {
            revision: git(&["rev-parse", "HEAD"])? + if is_dirty { "-dirty" } else { "" },
            created: git(&["show", "--no-patch", date, "--format=%cd", "HEAD"])?,
        })
    }
}

/// Writes a program's image and bills of materials.
fn pack(
    program: &Program,
    architectures: &[Architecture],
    origin: &Origin,
    prefix: &str,
    out: &std::path::Path,
) -> Result<()> {
    let mut layout = oci::Layout::default();
    for &architecture in architectures {
        let path = cross::binary(architecture, program.name);
        let binary = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        ensure!(is_static(&binary), "{} asks for a dynamic loader", path.display());
        let bill = sbom::of(program.name, cross::target(architecture), origin)?;
        fs::write(out.join(format!("{}.{}.cdx.json", program.name, architecture.name())), &bill)?;
        let unpacked = binary.len();
        let packed = layout.add(program, architecture, origin, &binary, &bill)?;
        step(&format!(
            "{} for {}: {:.1} MB, packed {:.1} MB (budget {} MB)",
            program.name,
            architecture.name(),
            unpacked as f64 / 1e6,
            packed as f64 / 1e6,
            program.budget / 1_000_000,
        ));
        ensure!(
            unpacked.max(packed) <= program.budget,
            "{} is larger than its budget of {} bytes",
            path.display(),
            program.budget
        );
    }
    let name = format!("{prefix}/{}:{}", program.name, env!("CARGO_PKG_VERSION"));
    let path = out.join(format!("{}.tar", program.name));
    fs::write(&path, layout.finish(&name)?).with_context(|| format!("write {}", path.display()))?;
    step(&format!("{name} is in {}", path.display()));
    Ok(())
}

/// Whether an executable (ELF64, little endian) names no dynamic loader: has no segment `PT_INTERP`.
fn is_static(elf: &[u8]) -> bool {
    let number = |at: usize, bytes: usize| {
        let field = elf.get(at..at.checked_add(bytes)?)?;
        Some(field.iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte)))
    };
    let segments = || {
        let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        (0..count).map(|index| number(table.checked_add(index * size)?, 4)).collect::<Option<Vec<_>>>()
    };
    elf.starts_with(b"\x7fELF\x02\x01") && segments().is_some_and(|kinds| !kinds.contains(&3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_not_static() {
        let this = fs::read("/proc/self/exe").unwrap();
        assert!(!is_static(&this), "tests are linked dynamically");
        assert!(!is_static(b""));
        assert!(!is_static(b"\x7fELF\x02\x01"));
        // A header with an empty table of segments.
        let mut none = b"\x7fELF\x02\x01".to_vec();
        none.resize(64, 0);
        assert!(is_static(&none));
    }
}
