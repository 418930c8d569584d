//! TLS libraries of a process: which, how they were found, what joins their plaintext to sockets, and why some is not seen.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use super::contents::{self, Library};
use crate::discover::{self, Process, Runtime, TlsFunctions};

/// Parts of file names of TLS libraries that are known by nothing else, and what each is.
const LIBRARIES: &[(&str, &str)] =
    &[("libnss3", "NSS"), ("libwolfssl", "wolfSSL"), ("libs2n", "s2n"), ("libmbedtls", "Mbed TLS")];
/// How programs are called that have TLS in Erlang.
const ERLANG: &str = "beam.smp";

/// A way in which the process may encrypt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Tls {
    /// The library.
    pub library: String,
    /// Its version, where that is written in it.
    pub version: Option<String>,
    /// The file that it is in; none where it is no native code.
    pub path: Option<String>,
    /// How it was found.
    pub found_by: String,
    /// Whether its plaintext is seen.
    pub is_seen: bool,
    /// What joins its plaintext to sockets, or why it is not seen.
    pub because: String,
}

impl Tls {
    /// Returns what it is called, for people.
    pub(super) fn what(&self) -> String {
        let Self { library, version, path, found_by, because, .. } = self;
        let version = version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        let path = path.as_ref().map(|path| format!(" ({path})")).unwrap_or_default();
        format!("{library}{version}{path}, found by {found_by}: {because}")
    }
}

/// Returns what the process could encrypt with, or does.
pub(super) fn tls(process: &Process) -> Vec<Tls> {
    let functions = discover::tls_files(process);
    let mut found = Vec::new();
    let mut openssl = None;
    for (path, opened) in executed(process.tgid) {
        let contents = contents::of(&opened).unwrap_or_default();
        openssl = openssl.or(contents.openssl);
        let functions = functions.iter().find(|(file, _)| *file == path).map(|(_, functions)| *functions);
        found.extend(in_file(&path.display().to_string(), contents.libraries, functions, &process.runtime));
    }
    // libssl leaves the version to libcrypto.
    for tls in found.iter_mut().filter(|tls| tls.library == "OpenSSL" && tls.version.is_none()) {
        tls.version.clone_from(&openssl);
    }
    found.extend(managed(process, &found));
    found
}

/// Returns the files that a process executes, each with a path by which it can be opened.
fn executed(tgid: u32) -> BTreeMap<PathBuf, PathBuf> {
    let maps = fs::read_to_string(format!("/proc/{tgid}/maps")).unwrap_or_default();
    let file = |line: &str| {
        let (range, rest) = line.split_once(' ')?;
        let is_executed = rest.get(2..3) == Some("x");
        let path = line.find('/').and_then(|at| line.get(at..)).filter(|_| is_executed)?;
        // The kernel writes no leading zeros there.
        let range = range.split('-').map(|end| end.trim_start_matches('0')).collect::<Vec<_>>().join("-");
        Some((PathBuf::from(path), PathBuf::from(format!("/proc/{tgid}/map_files/{range}"))))
    };
    maps.lines().filter_map(file).collect()
}

/// Returns the libraries in one file.
fn in_file(
    path: &str,
    mut libraries: Vec<Library>,
    functions: Option<TlsFunctions>,
    runtime: &Runtime,
) -> Vec<Tls> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let by_name = LIBRARIES.iter().find(|(part, _)| name.starts_with(part));
    if let Some((_, library)) = by_name.filter(|_| libraries.is_empty()) {
        libraries.push(Library { name: library, version: None });
    }
    let is_of = |library: &Library| match functions {
        Some(TlsFunctions::OpenSsl) => library.name != "rustls",
        Some(TlsFunctions::Rustls) => library.name == "rustls",
        Some(TlsFunctions::Go) | None => false,
    };
    let unnamed = functions.filter(|_| !libraries.iter().any(is_of)).map(|functions| {
        let (library, version) = match (functions, runtime) {
            (TlsFunctions::Go, Runtime::Go { version, .. }) => ("crypto/tls", Some(version.clone())),
            (TlsFunctions::Go, _) => ("crypto/tls", None),
            (TlsFunctions::Rustls, _) => ("rustls", None),
            (TlsFunctions::OpenSsl, _) => ("a library with the functions of OpenSSL or GnuTLS", None),
        };
        seen(library, version, path, functions)
    });
    let named = libraries.iter().map(|library| match functions.filter(|_| is_of(library)) {
        Some(functions) => seen(library.name, library.version.clone(), path, functions),
        None => unseen(library, path),
    });
    named.chain(unnamed).collect()
}

fn seen(library: &str, version: Option<String>, path: &str, functions: TlsFunctions) -> Tls {
    let (found_by, because) = match functions {
        TlsFunctions::OpenSsl => (
            "its symbols",
            "plaintext at its functions, joined by the socket that they use, or by the records that they put into memory",
        ),
        TlsFunctions::Go => (
            "the program's table of functions",
            "plaintext at its functions, joined by the socket that they use",
        ),
        TlsFunctions::Rustls => (
            "its symbols",
            "plaintext where it encrypts and decrypts, joined by its records, found again on the wire",
        ),
    };
    let (library, path) = (library.to_owned(), Some(path.to_owned()));
    Tls { library, version, path, found_by: found_by.to_owned(), is_seen: true, because: because.to_owned() }
}

fn unseen(library: &Library, path: &str) -> Tls {
    let because = match (library.name, library.version.as_deref()) {
        ("rustls", Some(version)) if !version.starts_with("0.23.") => {
            "only of rustls 0.23 it is known how its functions are called"
        }
        ("OpenSSL" | "BoringSSL" | "AWS-LC" | "rustls" | "GnuTLS", _) => {
            "the file is stripped: nothing tells where its functions are"
        }
        _ => "its functions are not known",
    };
    Tls {
        library: library.name.to_owned(),
        version: library.version.clone(),
        path: Some(path.to_owned()),
        found_by: "what is written in the file".to_owned(),
        is_seen: false,
        because: because.to_owned(),
    }
}

/// Returns TLS that is no native code.
fn managed(process: &Process, found: &[Tls]) -> Option<Tls> {
    let is_erlang =
        process.executable.as_ref().is_some_and(|path| path.file_name().is_some_and(|name| name == ERLANG));
    let (library, version, found_by, because) = match &process.runtime {
        Runtime::Java => (
            "JSSE",
            None,
            "the runtime",
            "it encrypts within the Java virtual machine, in no native function",
        ),
        Runtime::Go { version, offsets } if !found.iter().any(|tls| tls.library == "crypto/tls") => (
            "crypto/tls, if the program has it",
            Some(version.clone()),
            "the runtime",
            match offsets {
                Some(_) => "its functions are not in the program's table",
                None => "it is not known where this version keeps the ids of goroutines",
            },
        ),
        _ if is_erlang => (
            "ssl of Erlang/OTP",
            None,
            "the runtime",
            "it makes records in Erlang, and calls native code for single ciphers only",
        ),
        _ => return None,
    };
    let (library, found_by, because) = (library.to_owned(), found_by.to_owned(), because.to_owned());
    Some(Tls { library, version, path: None, found_by, is_seen: false, because })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(name: &'static str, version: Option<&str>) -> Library {
        Library { name, version: version.map(str::to_owned) }
    }

    fn check(libraries: Vec<Library>, functions: Option<TlsFunctions>, expected: &[(&str, bool)]) {
        let found = in_file("/opt/x", libraries, functions, &Runtime::Native);
        let found: Vec<_> = found.iter().map(|tls| (tls.library.as_str(), tls.is_seen)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_library_is_seen_where_its_functions_are() {
        check(vec![library("OpenSSL", None)], Some(TlsFunctions::OpenSsl), &[("OpenSSL", true)]);
        check(vec![library("BoringSSL", None)], None, &[("BoringSSL", false)]);
        check(
            vec![library("AWS-LC", None), library("rustls", Some("0.23.4"))],
            Some(TlsFunctions::Rustls),
            &[("AWS-LC", false), ("rustls", true)],
        );
        check(Vec::new(), Some(TlsFunctions::Go), &[("crypto/tls", true)]);
        check(Vec::new(), None, &[]);
    }

    #[test]
    fn why_a_library_is_not_seen_is_said() {
        let old = unseen(&library("rustls", Some("0.21.7")), "/opt/x").what();
        assert!(old.starts_with("rustls 0.21.7 (/opt/x), found by") && old.contains("only of rustls 0.23"));
        let stripped = unseen(&library("BoringSSL", None), "/opt/x").what();
        assert!(
            stripped.ends_with("the file is stripped: nothing tells where its functions are"),
            "{stripped}"
        );
    }

    #[test]
    fn files_are_those_that_are_executed() {
        let files = executed(std::process::id());
        let own = std::env::current_exe().unwrap();
        assert!(files.contains_key(&own), "{files:?}");
        assert!(files.values().all(|opened| opened.starts_with("/proc")));
    }
}
