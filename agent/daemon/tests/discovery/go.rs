//! Go programs of every toolchain that is installed: version, and where a goroutine keeps its id, in a live process.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use remora::discover::{Runtime, Selection, look_at};

use crate::spawn::{Running, is_installed};

/// Prints the address of its `g`, its own id and its parent's, as the Go runtime tells them, and waits.
const PROGRAM: &str = r#"package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

func getg() uintptr

func main() {
	for i := 0; i < 3; i++ {
		done := make(chan bool)
		go func() { close(done) }()
		<-done
	}
	go func() {
		runtime.LockOSThread()
		stack := make([]byte, 4096)
		text := string(stack[:runtime.Stack(stack, false)])
		id := strings.Fields(text)[1]
		parent := "0"
		if at := strings.LastIndex(text, " in goroutine "); at >= 0 {
			parent = strings.Fields(text[at+len(" in goroutine "):])[0]
		}
		fmt.Println(getg(), id, parent)
		os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	select {}
}
"#;

/// `g` lies in thread-local storage on both machines.
const ASSEMBLY: &[(&str, &str)] = &[
    ("amd64", "TEXT \u{b7}getg(SB),4,$0-8\n\tMOVQ (TLS), AX\n\tMOVQ AX, ret+0(FP)\n\tRET\n"),
    ("arm64", "TEXT \u{b7}getg(SB),4,$0-8\n\tMOVD g, R0\n\tMOVD R0, ret+0(FP)\n\tRET\n"),
];

/// The first minor version whose types have a section of their own.
const WITH_TYPES: u32 = 27;

/// Returns the `go` in the path and those of other versions that it has downloaded before.
fn toolchains() -> Vec<PathBuf> {
    let cache = Command::new("go").args(["env", "GOMODCACHE"]).output().unwrap().stdout;
    let folder = PathBuf::from(String::from_utf8(cache).unwrap().trim()).join("golang.org");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let downloaded = entries.map(|entry| entry.path().join("bin/go")).filter(|path| path.is_file());
    [PathBuf::from("go")].into_iter().chain(downloaded).collect()
}

fn build(go: &Path, folder: &Path, flags: &[&str]) -> PathBuf {
    fs::write(folder.join("main.go"), PROGRAM).unwrap();
    fs::write(folder.join("go.mod"), "module example.test/program\n\ngo 1.18\n").unwrap();
    for (machine, text) in ASSEMBLY {
        fs::write(folder.join(format!("g_{machine}.s")), text).unwrap();
    }
    let mut command = Command::new(go);
    command.args(["build", "-o", "program"]).args(flags).arg(".").current_dir(folder);
    command.envs([("GOTOOLCHAIN", "local"), ("CGO_ENABLED", "0"), ("GOFLAGS", "-mod=mod")]);
    let built = command.stdin(Stdio::null()).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    folder.join("program")
}

fn version(go: &Path) -> String {
    let mut command = Command::new(go);
    let printed = command.args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local").output().unwrap().stdout;
    String::from_utf8(printed).unwrap().trim().to_owned()
}

fn read_u64(pid: u32, address: u64) -> u64 {
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut bytes = [0; 8];
    memory.read_exact_at(&mut bytes, address).unwrap();
    u64::from_ne_bytes(bytes)
}

#[test]
fn goroutine_ids_of_live_programs_are_where_the_table_says() {
    if !is_installed("go", "version") {
        return;
    }
    for go in toolchains() {
        let folder = tempfile::tempdir().unwrap();
        let program = build(&go, folder.path(), &[]);
        let mut running = Running::start(&mut Command::new(program));
        let line = running.line();
        let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        let [g, id, parent] = numbers[..] else { panic!("{line:?}") };
        let (process, _) = look_at(running.pid(), &Selection::default()).unwrap();
        let Runtime::Go { version: found, offsets } = &process.runtime else {
            panic!("{:?}", process.runtime)
        };
        assert_eq!(*found, version(&go));
        let offsets = offsets.unwrap_or_else(|| panic!("{found} is not in the table"));
        assert_eq!(read_u64(running.pid(), g + u64::from(offsets.goid)), id, "goid of {found}");
        assert_eq!(offsets.parent_goid == 0, parent == 0, "{found}");
        if parent != 0 {
            let stored = read_u64(running.pid(), g + u64::from(offsets.parent_goid));
            assert_eq!(stored, parent, "parentGoid of {found}");
        }
    }
}

fn minor(version: &str) -> u32 {
    version.split('.').nth(1).and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Has a program say that a version built it that no table knows yet.
fn date_forward(program: &Path, version: &str) {
    let mut bytes = fs::read(program).unwrap();
    let information = position(&bytes, b"\xff Go buildinf:");
    let at = information + position(&bytes[information..], version.as_bytes());
    bytes[at + "go1.".len()] = b'9';
    fs::write(program, bytes).unwrap();
}

fn position(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|found| found == wanted).unwrap()
}

#[test]
fn a_version_that_no_table_knows_is_read_by_its_types_or_left_alone() {
    if !is_installed("go", "version") {
        return;
    }
    for go in toolchains().into_iter().filter(|go| minor(&version(go)) >= WITH_TYPES) {
        let version = version(&go);
        for flags in [&[][..], &["-ldflags=-s -w"], &["-buildmode=pie", "-ldflags=-s -w"]] {
            let folder = tempfile::tempdir().unwrap();
            let program = build(&go, folder.path(), flags);
            date_forward(&program, &version);
            let mut running = Running::start(&mut Command::new(&program));
            let line = running.line();
            let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
            let [g, id, parent] = numbers[..] else { panic!("{line:?}") };
            let (process, _) = look_at(running.pid(), &Selection::default()).unwrap();
            let Runtime::Go { version: found, offsets: Some(offsets) } = &process.runtime else {
                panic!("{version} {flags:?}: {:?}", process.runtime)
            };
            assert!(found.starts_with("go1.9") && offsets.is_from_types, "{found} {offsets:?}");
            assert_eq!(read_u64(running.pid(), g + u64::from(offsets.goid)), id, "goid of {version}");
            let stored = read_u64(running.pid(), g + u64::from(offsets.parent_goid));
            assert_eq!(stored, parent, "parentGoid of {version}");

            let mut bytes = fs::read(&program).unwrap();
            let name = position(&bytes, b"\x00\x04goid");
            bytes[name + 2] = b'G';
            let other = folder.path().join("other");
            fs::write(&other, bytes).unwrap();
            fs::set_permissions(&other, fs::metadata(&program).unwrap().permissions()).unwrap();
            let mut running = Running::start(&mut Command::new(&other));
            running.line();
            let (process, _) = look_at(running.pid(), &Selection::default()).unwrap();
            assert!(matches!(process.runtime, Runtime::Go { offsets: None, .. }), "{:?}", process.runtime);
        }
    }
}

#[test]
fn stripped_and_deleted_programs_are_known_too() {
    if !is_installed("go", "version") {
        return;
    }
    for flags in
        [&["-ldflags=-s -w"][..], &["-buildmode=pie", "-ldflags=-s -w"], &["-trimpath", "-buildvcs=false"]]
    {
        let folder = tempfile::tempdir().unwrap();
        let program = build(Path::new("go"), folder.path(), flags);
        let mut running = Running::start(&mut Command::new(&program));
        running.line();
        fs::remove_file(&program).unwrap();
        let (process, _) = look_at(running.pid(), &Selection::default()).unwrap();
        let Runtime::Go { version: found, offsets } = &process.runtime else {
            panic!("{flags:?}: {:?}", process.runtime)
        };
        assert_eq!(*found, version(Path::new("go")));
        assert!(offsets.is_some());
        assert_eq!((process.service_name.as_str(), process.executable), ("program", Some(program)));
    }
}

#[test]
fn a_program_without_section_headers_is_known_too() {
    if !is_installed("go", "version") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = build(Path::new("go"), folder.path(), &["-ldflags=-s -w"]);
    let mut bytes = fs::read(&program).unwrap();
    // e_shoff, then e_shentsize, e_shnum and e_shstrndx of a 64-bit ELF header.
    bytes[0x28..0x30].fill(0);
    bytes[0x3a..0x40].fill(0);
    fs::write(&program, bytes).unwrap();
    let mut running = Running::start(&mut Command::new(&program));
    running.line();
    let (process, _) = look_at(running.pid(), &Selection::default()).unwrap();
    assert!(matches!(process.runtime, Runtime::Go { .. }), "{:?}", process.runtime);
}
