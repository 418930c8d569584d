//! TLS libraries of a process, and whether what they encrypt is seen.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;

use crate::discover::{self, Process, Runtime};

/// Parts of file names of TLS libraries, and what each is.
const LIBRARIES: &[(&str, &str)] = &[
    ("libssl", "OpenSSL or BoringSSL"),
    ("libgnutls", "GnuTLS"),
    ("libnss3", "NSS"),
    ("libnspr4", "NSS"),
    ("libmbedtls", "Mbed TLS"),
    ("libwolfssl", "wolfSSL"),
    ("libs2n", "s2n"),
    ("netty_tcnative", "BoringSSL in netty-tcnative"),
    ("libconscrypt", "BoringSSL in Conscrypt"),
    ("cygrpc", "BoringSSL in grpcio"),
];

/// A way in which the process may encrypt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Tls {
    /// The library, for people.
    pub what: String,
    /// Where it is mapped from; none where it is part of the program.
    pub path: Option<String>,
    /// Whether its plaintext is seen.
    pub is_seen: bool,
}

/// Returns what the process could encrypt with, or does.
pub(super) fn tls(process: &Process) -> Vec<Tls> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", process.tgid)).unwrap_or_default();
    let mut found = libraries(&maps);
    let seen: Vec<String> =
        discover::tls_files(process).iter().map(|path| path.display().to_string()).collect();
    for tls in &mut found {
        tls.is_seen = tls.path.as_ref().is_some_and(|path| seen.contains(path));
    }
    let is_found = |path: &String| found.iter().any(|tls| tls.path.as_ref() == Some(path));
    let built_in: Vec<_> = seen.iter().filter(|path| !is_found(path)).cloned().collect();
    let is_part = !built_in.is_empty();
    let what = match &process.runtime {
        Runtime::Go { .. } => "crypto/tls, part of the Go program",
        Runtime::Node => "OpenSSL, part of the node executable",
        _ => "a TLS library that is part of another file",
    };
    found.extend(built_in.into_iter().map(|path| Tls {
        what: format!("{what} ({path})"),
        path: Some(path),
        is_seen: true,
    }));
    let unseen = match &process.runtime {
        Runtime::Go { .. } if !is_part => {
            Some("crypto/tls, where the Go program has it: its functions are not found")
        }
        Runtime::Node if !is_part => Some("OpenSSL in the node executable: its functions are not found"),
        Runtime::Java => Some(
            "JSSE, inside the Java virtual machine: a part inside tells what it encrypts ('remora run --attach jvm')",
        ),
        _ => None,
    };
    found.extend(unseen.map(|what| Tls { what: what.to_owned(), path: None, is_seen: false }));
    found
}

fn libraries(maps: &str) -> Vec<Tls> {
    let mut by_path = BTreeMap::new();
    for path in maps.lines().filter_map(|line| line.find('/').and_then(|at| line.get(at..))) {
        let name = path.rsplit('/').next().unwrap_or(path);
        if let Some((_, library)) = LIBRARIES.iter().find(|(part, _)| name.contains(part)) {
            by_path.insert(path.to_owned(), format!("{library} ({path})"));
        }
    }
    by_path.into_iter().map(|(path, what)| Tls { what, path: Some(path), is_seen: false }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_library_is_named_once() {
        let maps = "7f00-7f01 r--p 00000000 fe:00 1 /usr/lib/libssl.so.3\n\
                    7f01-7f02 r-xp 00001000 fe:00 1 /usr/lib/libssl.so.3\n\
                    7f02-7f03 r-xp 00000000 fe:00 2 /usr/lib/libc.so.6\n\
                    7f03-7f04 r-xp 00000000 fe:00 3 /tmp/libnetty_tcnative_linux.so (deleted)\n\
                    7f04-7f05 rw-p 00000000 00:00 0 [heap]\n";
        let names: Vec<_> = libraries(maps).into_iter().map(|tls| tls.what).collect();
        let expected = [
            "BoringSSL in netty-tcnative (/tmp/libnetty_tcnative_linux.so (deleted))",
            "OpenSSL or BoringSSL (/usr/lib/libssl.so.3)",
        ];
        assert_eq!(names, expected);
    }
}
