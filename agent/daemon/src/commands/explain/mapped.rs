//! TLS libraries of a process: what they encrypt is not seen.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;

use crate::discover::{Process, Runtime};

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
}

/// Returns what the process could encrypt with.
pub(super) fn tls(process: &Process) -> Vec<Tls> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", process.tgid)).unwrap_or_default();
    let mut found = libraries(&maps);
    let built_in = match &process.runtime {
        Runtime::Go { .. } => Some("crypto/tls, part of the Go program if it uses it"),
        Runtime::Node => Some("OpenSSL, part of the node executable"),
        Runtime::Java => Some("JSSE, inside the Java virtual machine"),
        _ => None,
    };
    found.extend(built_in.map(|what| Tls { what: what.to_owned(), path: None }));
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
    by_path.into_iter().map(|(path, what)| Tls { what, path: Some(path) }).collect()
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
