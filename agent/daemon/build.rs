//! Finds the BPF objects and the library for JVMs, which `cargo xtask build` makes: cargo cannot build for two targets at
//! once, nor a library for others in the midst of a program.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../..");
    find("REMORA_BPF_OBJECT", &root.join("target/bpf/remora.bpf.o"));
    find("REMORA_BPF_PROPAGATION_OBJECT", &root.join("target/bpf/remora-propagation.bpf.o"));
    find("REMORA_JVM_PART", &root.join("target/attached/libremora_jvm_part.so"));
}

fn find(variable: &str, default: &Path) {
    println!("cargo::rerun-if-env-changed={variable}");
    let object = env::var_os(variable).map_or_else(|| default.to_owned(), PathBuf::from);
    println!("cargo::rerun-if-changed={}", object.display());
    match fs::canonicalize(&object) {
        Ok(path) => println!("cargo::rustc-env={variable}={}", path.display()),
        Err(error) => {
            println!(
                "cargo::error={} is missing ({error}): run `cargo xtask build` once, which builds it and \
                 then this crate",
                object.display()
            );
        }
    }
}
