//! Finds the BPF object, which `cargo xtask build` makes: cargo cannot build for two targets at once.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-env-changed=REMORA_BPF_OBJECT");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../..");
    let object =
        env::var_os("REMORA_BPF_OBJECT").map_or_else(|| root.join("target/bpf/remora.bpf.o"), PathBuf::from);
    println!("cargo::rerun-if-changed={}", object.display());
    match fs::canonicalize(&object) {
        Ok(path) => println!("cargo::rustc-env=REMORA_BPF_OBJECT={}", path.display()),
        Err(error) => {
            println!(
                "cargo::error=the BPF object {} is missing ({error}): run `cargo xtask build` once, which builds it and \
                 then this crate",
                object.display()
            );
        }
    }
}
