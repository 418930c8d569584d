//! Which TLS libraries a file has in it, by what is written there: names of source files that errors and panics tell of, which
//! are there in stripped files too, and versions.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use memchr::memmem;

/// Bytes that are read at once, and kept of those before: no text is longer.
const BLOCK_BYTES: usize = 1 << 20;
const OVERLAP_BYTES: usize = 256;
/// Longest version that is believed.
const MAX_VERSION_BYTES: usize = 24;

/// A library by its text.
struct Mark {
    library: &'static str,
    text: &'static [u8],
    /// Whether the version follows.
    has_version: bool,
}

const fn mark(library: &'static str, text: &'static [u8], has_version: bool) -> Mark {
    Mark { library, text, has_version }
}

const MARKS: &[Mark] = &[
    mark(OPENSSL, b"ssl/ssl_lib.c\0", false),
    mark(BORINGSSL, b"ssl/ssl_lib.cc\0", false),
    mark(AWS_LC, b"aws-lc/ssl/ssl_lib.cc\0", false),
    mark("rustls", b"/rustls-", true),
    mark("GnuTLS", b"GnuTLS ", true),
    mark("Mbed TLS", b"Mbed TLS ", true),
    mark(OPENSSL_VERSION, b"OpenSSL ", true),
];
const OPENSSL: &str = "OpenSSL";
const BORINGSSL: &str = "BoringSSL";
const AWS_LC: &str = "AWS-LC";
/// What libcrypto and programs that were built with OpenSSL say.
const OPENSSL_VERSION: &str = "version of OpenSSL";

/// A library in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Library {
    pub(super) name: &'static str,
    pub(super) version: Option<String>,
}

/// What is written in a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) libraries: Vec<Library>,
    /// A version of OpenSSL, which may be another file's.
    pub(super) openssl: Option<String>,
}

/// Reads a file from end to end, in blocks.
pub(super) fn of(path: &Path) -> io::Result<Contents> {
    let mut file = File::open(path)?;
    let mut found = [const { None::<Option<String>> }; MARKS.len()];
    let mut block = vec![0; OVERLAP_BYTES + BLOCK_BYTES];
    let mut kept = 0;
    loop {
        let read = file.read(&mut block[kept..])?;
        let bytes = &block[..kept + read];
        if read == 0 {
            break;
        }
        for (mark, found) in MARKS.iter().zip(&mut found) {
            look(bytes, mark, found);
        }
        let from = bytes.len().saturating_sub(OVERLAP_BYTES);
        kept = bytes.len() - from;
        block.copy_within(from..from + kept, 0);
    }
    Ok(contents(found))
}

/// Looks for one library, until its version is known.
fn look(bytes: &[u8], mark: &Mark, found: &mut Option<Option<String>>) {
    if matches!(found, Some(Some(_))) || (found.is_some() && !mark.has_version) {
        return;
    }
    for at in memmem::find_iter(bytes, mark.text) {
        let version = bytes.get(at + mark.text.len()..).and_then(version);
        if !mark.has_version || version.is_some() {
            *found = Some(version.filter(|_| mark.has_version));
            return;
        }
    }
}

/// Returns the version that bytes begin with: two numbers at least.
fn version(bytes: &[u8]) -> Option<String> {
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let version: Vec<u8> = bytes.iter().take(MAX_VERSION_BYTES).take_while(is_part).copied().collect();
    let is_sound = version.first().is_some_and(u8::is_ascii_digit) && version.contains(&b'.');
    String::from_utf8(version).ok().filter(|_| is_sound)
}

fn contents(found: [Option<Option<String>>; MARKS.len()]) -> Contents {
    let mut contents = Contents::default();
    for (mark, version) in MARKS.iter().zip(found) {
        match version {
            Some(version) if mark.library == OPENSSL_VERSION => contents.openssl = version,
            Some(version) => contents.libraries.push(Library { name: mark.library, version }),
            None => {}
        }
    }
    // AWS-LC has grown from BoringSSL, and its files have the same names.
    if contents.libraries.iter().any(|library| library.name == AWS_LC) {
        contents.libraries.retain(|library| library.name != BORINGSSL);
    }
    for library in contents.libraries.iter_mut().filter(|library| library.name == OPENSSL) {
        library.version.clone_from(&contents.openssl);
    }
    contents
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn check(bytes: &[u8], expected: &[(&str, Option<&str>)]) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let found = of(file.path()).unwrap().libraries;
        let found: Vec<_> = found.iter().map(|library| (library.name, library.version.as_deref())).collect();
        assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(80)]));
    }

    #[test]
    fn libraries_are_known_by_what_is_written_in_them() {
        check(b"OpenSSL 3.0.19 27 Jan 2026\0../ssl/ssl_lib.c\0", &[("OpenSSL", Some("3.0.19"))]);
        check(b"OpenSSL 3.0.19 27 Jan 2026\0", &[]);
        check(b"third_party/boringssl/ssl/ssl_lib.cc\0", &[("BoringSSL", None)]);
        check(b"x/aws-lc/ssl/ssl_lib.cc\0", &[("AWS-LC", None)]);
        check(b"x/tokio-rustls-0.26.6/src x/rustls-0.23.46/src/a.rs", &[("rustls", Some("0.23.46"))]);
        check(b"x/rustls-native-certs-0.8/src", &[]);
        check(b"GnuTLS 3.7.9\0", &[("GnuTLS", Some("3.7.9"))]);
    }

    #[test]
    fn what_lies_across_two_blocks_is_found() {
        for at in [BLOCK_BYTES - 5, BLOCK_BYTES + OVERLAP_BYTES - 5, 2 * BLOCK_BYTES] {
            let mut bytes = vec![0; at];
            bytes.extend(b"/rustls-0.23.4/src");
            bytes.extend([0; 1000]);
            check(&bytes, &[("rustls", Some("0.23.4"))]);
        }
    }
}
