//! Functions of Go programs, which their own table names.

use std::fs::File;

use object::{Architecture, Object as _, ReadRef};

use super::elf::offset_of;
use super::emulated::Convention;
use super::pclntab::{self, Extent};
use super::returns::Text;
use super::{Places, Purpose};
use crate::discover::bounded::Bounded;
use crate::discover::go::types::{Kind, Place, Types};

/// A function that tells something.
struct Function {
    name: &'static str,
    /// Where the function begins,
    entered: Option<Purpose>,
    /// and where it returns.
    returned: Option<Purpose>,
    /// What is read there. Go 1.18 to 1.27 have it so; of other versions, their types must say so.
    reads: &'static [Place],
}

impl Function {
    const fn entered(name: &'static str, purpose: Purpose) -> Self {
        Self { name, entered: Some(purpose), returned: None, reads: &[] }
    }

    const fn reading(self, reads: &'static [Place]) -> Self {
        Self { reads, ..self }
    }
}

/// How the socket of a client's connection is found.
const DESCRIPTOR: &[Place] = &[
    place(("net/http", "http.persistConn"), "conn", Kind::Interface, 80),
    place(("net", "net.netFD"), "pfd", Kind::Struct, 0),
    place(("internal/poll", "poll.FD"), "Sysfd", Kind::Int, 16),
];
/// How the number of a served stream is found.
const STREAM: &[Place] = &[
    place((HTTP2, "http2.responseWriter"), "rws", Kind::Pointer, 0),
    place((HTTP2, "http2.responseWriterState"), "stream", Kind::Pointer, 0),
    place((HTTP2, "http2.stream"), "id", Kind::Uint32, 8),
];
const HTTP2: &str = "net/http/internal/http2";

const fn place(
    structure: (&'static str, &'static str),
    field: &'static str,
    kind: Kind,
    offset: u64,
) -> Place {
    Place { structure, field: (field, kind), offset }
}

const FUNCTIONS: &[Function] = &[
    Function::entered("net/http.(*persistConn).roundTrip", Purpose::GoRoundTrip).reading(DESCRIPTOR),
    Function {
        name: "google.golang.org/grpc/internal/transport.(*http2Client).createHeaderFields",
        entered: None,
        returned: Some(Purpose::GrpcHeaderMade),
        reads: &[],
    },
    Function::entered(
        "google.golang.org/grpc/internal/transport.(*loopyWriter).writeHeader",
        Purpose::GrpcHeaderWritten,
    ),
    Function::entered("google.golang.org/grpc.(*Server).handleStream", Purpose::GrpcStreamServed),
    Function::entered("net/http.(*http2serverConn).runHandler", Purpose::GoHttp2Served),
    Function::entered("net/http/internal/http2.(*serverConn).runHandler", Purpose::GoHttp2Served)
        .reading(STREAM),
    Function::entered("golang.org/x/net/http2.(*serverConn).runHandler", Purpose::GoHttp2Served),
    Function {
        name: "crypto/tls.(*Conn).Write",
        entered: Some(Purpose::TlsGoWrite),
        returned: Some(Purpose::TlsGoReturned),
        reads: &[],
    },
    Function {
        name: "crypto/tls.(*Conn).Read",
        entered: Some(Purpose::TlsGoRead),
        returned: Some(Purpose::TlsGoReturned),
        reads: &[],
    },
    Function {
        name: "crypto/tls.(*Conn).clientHandshake",
        entered: Some(Purpose::TlsGoHandshake),
        returned: Some(Purpose::TlsGoHandshaken),
        reads: &[],
    },
    Function {
        name: "crypto/tls.(*Conn).serverHandshake",
        entered: Some(Purpose::TlsGoHandshake),
        returned: Some(Purpose::TlsGoHandshaken),
        reads: &[],
    },
];

/// Returns what there is in a Go program, of which only its types may tell how its structures are laid out.
pub(super) fn in_file(file: &File, is_told_by_types: bool) -> Places {
    let bounded = Bounded::new(file);
    let elf = object::File::parse(&bounded).ok().filter(|elf| elf.architecture() == Architecture::X86_64);
    let Some(elf) = elf else { return Places::new() };
    let types = is_told_by_types.then(|| Types::of(&elf));
    let is_as_known = |function: &&Function| {
        let types = types.as_ref().filter(|_| !function.reads.is_empty());
        types.is_none_or(|types| types.as_ref().is_some_and(|types| types.has(function.reads)))
    };
    let names: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
    let found = pclntab::extents(&elf, &names).unwrap_or_default();
    let found = FUNCTIONS.iter().zip(found).filter_map(|(function, extent)| Some((function, extent?)));
    let found = found.filter(|(function, _)| is_as_known(function));
    found.filter_map(|(function, extent)| places(&elf, function, extent)).flatten().collect()
}

/// Returns the places of one function: none of them, if not all can be told.
fn places<'a, R: ReadRef<'a>>(
    elf: &object::File<'a, R>,
    function: &Function,
    extent: Extent,
) -> Option<Places> {
    let Extent { address, length } = extent;
    let text = Text::of_function(text_of(elf, address, length)?, address)?;
    let returns = if function.returned.is_some() { text.returns(address)? } else { Vec::new() };
    text.spots(address, returns, Convention::Go).places(elf, function.entered, function.returned)
}

/// Reads one function. The segment that it lies in may be larger than what may be read.
fn text_of<'a, R: ReadRef<'a>>(elf: &object::File<'a, R>, address: u64, length: u64) -> Option<&'a [u8]> {
    let object::File::Elf64(file) = elf else { return None };
    file.data().read_bytes_at(offset_of(elf, address)?, length).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};

    use super::*;
    use crate::discover::probes::elf::{function_offsets, symbol_address};

    const PROGRAM: &str = r#"package main

import "net/http"

func main() {
	http.Get("https://127.0.0.1:1/")
	http.ListenAndServeTLS("127.0.0.1:0", "", "", nil)
}
"#;

    fn has(program: &str) -> bool {
        Command::new(program).arg("version").stderr(Stdio::null()).output().is_ok()
    }

    fn build(go: &Path, folder: &Path, name: &str, flags: &[&str]) -> PathBuf {
        fs::write(folder.join("main.go"), PROGRAM).unwrap();
        fs::write(folder.join("go.mod"), "module example.test/program\n\ngo 1.22\n").unwrap();
        let mut go = Command::new(go);
        go.args(["build", "-o", name]).args(flags).arg(".").current_dir(folder);
        go.envs([("CGO_ENABLED", "1"), ("GOFLAGS", "-mod=mod")]);
        let built = go.stdin(Stdio::null()).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        folder.join(name)
    }

    /// Without symbols, nothing but the program's own tables says where a linker of C has put the text.
    #[test]
    fn places_lie_in_their_functions_however_a_program_is_linked() {
        if !has("go") || !has("cc") {
            eprintln!("skipped: there is no Go, or no compiler of C");
            return;
        }
        let (go, folder) = (Path::new("go"), tempfile::tempdir().unwrap());
        for linked in [&[][..], &["-linkmode=external"]] {
            for mode in ["-buildmode=exe", "-buildmode=pie"] {
                let flags = |stripped: &str| format!("-ldflags={} {stripped}", linked.concat());
                let named = build(go, folder.path(), "named", &[mode, &flags("")]);
                let stripped = build(go, folder.path(), "stripped", &[mode, &flags("-s -w")]);
                let open = |path: &Path| File::open(path).unwrap();
                let places = in_file(&open(&stripped), false);
                assert_eq!(symbol_address(&open(&stripped), "runtime.text"), None);
                assert_eq!(places, in_file(&open(&named), false), "{linked:?} {mode}");
                for (name, purpose) in [
                    ("net/http.(*persistConn).roundTrip", Purpose::GoRoundTrip),
                    ("crypto/tls.(*Conn).Write", Purpose::TlsGoWrite),
                    ("crypto/tls.(*Conn).Read", Purpose::TlsGoRead),
                ] {
                    let begins = function_offsets(&open(&named), &[name])[0].unwrap();
                    let found = places.iter().find(|(found, _)| *found == purpose);
                    let distance = found.map(|(_, place)| place.wrapping_sub(begins));
                    assert!(distance.is_some_and(|distance| distance < 64), "{name}: {distance:?}");
                }
            }
        }
    }

    #[test]
    fn a_large_text_is_not_read_as_a_whole() {
        if !has("go") {
            eprintln!("skipped: there is no Go");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let program = build(Path::new("go"), folder.path(), "program", &["-ldflags=-s -w"]);
        let places = in_file(&File::open(&program).unwrap(), false);
        assert!(places.iter().any(|(purpose, _)| *purpose == Purpose::TlsGoHandshaken));
        // `p_filesz` of the segment that is executed. Holes cost nothing.
        let mut bytes = fs::read(&program).unwrap();
        let (headers, _) = bytes[64..].as_chunks_mut::<56>();
        let text = headers.iter_mut().find(|header| header[..5] == [1, 0, 0, 0, 5]).unwrap();
        text[32..40].copy_from_slice(&(200_u64 << 20).to_le_bytes());
        fs::write(&program, bytes).unwrap();
        File::options().write(true).open(&program).unwrap().set_len(1 << 30).unwrap();
        assert_eq!(in_file(&File::open(&program).unwrap(), false), places);
    }

    /// Returns what Go has downloaded of a minor version before.
    fn toolchain(minor: &str) -> Option<PathBuf> {
        let cache = Command::new("go").args(["env", "GOMODCACHE"]).output().ok()?.stdout;
        let folder = Path::new(str::from_utf8(&cache).ok()?.trim()).join("golang.org");
        let mut entries = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
        let found = entries.find(|path| path.to_string_lossy().contains(&format!("-{minor}.")))?;
        Some(found.join("bin/go")).filter(|go| go.is_file())
    }

    #[test]
    fn what_is_read_in_a_function_is_told_by_the_types_of_the_program() {
        let Some(go) = toolchain("go1.27") else {
            eprintln!("skipped: Go 1.27 was not downloaded");
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        for mode in ["-buildmode=exe", "-buildmode=pie"] {
            let program = build(&go, folder.path(), "program", &[mode, "-ldflags=-s -w"]);
            let by = |is_told_by_types| in_file(&File::open(&program).unwrap(), is_told_by_types);
            assert_eq!(by(true), by(false), "{mode}");
            let purposes =
                |places: Places| -> Vec<Purpose> { places.iter().map(|(purpose, _)| *purpose).collect() };
            let read = [Purpose::GoRoundTrip, Purpose::GoHttp2Served];
            assert!(read.iter().all(|purpose| purposes(by(true)).contains(purpose)), "{mode}");
            // `Sysfd` of `internal/poll.FD`, with its length before it.
            let mut bytes = fs::read(&program).unwrap();
            let name = memchr::memmem::find(&bytes, b"\x01\x05Sysfd").unwrap();
            bytes[name + 2] = b'X';
            fs::write(&program, bytes).unwrap();
            assert!(!purposes(by(true)).contains(&Purpose::GoRoundTrip), "{mode}");
            assert!(purposes(by(true)).contains(&Purpose::GoHttp2Served), "{mode}");
        }
    }
}
