//! Functions of TLS libraries that take and give plaintext.
//!
//! They are found by name among dynamic symbols and, where there are any, those of the linker, so that libraries that are
//! part of others are found too. A function counts only if it is known where it returns. Where it may also return elsewhere,
//! some of its calls are not told.

use std::fs::File;

use object::elf::PF_X;
use object::{Object as _, ObjectSegment as _, ReadRef, SegmentFlags};

use super::elf::{addresses_in, offset_of};
use super::emulated::Convention;
use super::returns::Text;
use super::{Places, Purpose, rustls};
use crate::discover::bounded::Bounded;

/// A function, what its entry tells, and its return.
struct Function {
    name: &'static str,
    entered: Purpose,
    returned: Option<Purpose>,
}

const fn function(name: &'static str, entered: Purpose, returned: Option<Purpose>) -> Function {
    Function { name, entered, returned }
}

const RETURNED: Option<Purpose> = Some(Purpose::TlsReturned);

/// OpenSSL from 1.0.2 to 4, BoringSSL, GnuTLS.
const FUNCTIONS: &[Function] = &[
    function("SSL_read", Purpose::TlsRead, RETURNED),
    function("SSL_write", Purpose::TlsWrite, RETURNED),
    function("SSL_read_ex", Purpose::TlsReadEx, RETURNED),
    function("SSL_write_ex", Purpose::TlsWriteEx, RETURNED),
    function("SSL_write_ex2", Purpose::TlsWriteEx2, RETURNED),
    // Data before the handshake is over (RFC 8446, 2.3): the arguments are the same.
    function("SSL_read_early_data", Purpose::TlsReadEx, RETURNED),
    function("SSL_write_early_data", Purpose::TlsWriteEx, RETURNED),
    function("SSL_sendfile", Purpose::TlsSendfile, RETURNED),
    function("SSL_set_fd", Purpose::TlsSetFd, None),
    function("SSL_set_bio", Purpose::TlsBegin, None),
    function("SSL_set_accept_state", Purpose::TlsBegin, None),
    function("SSL_set_connect_state", Purpose::TlsBegin, None),
    function("SSL_do_handshake", Purpose::TlsHandshake, RETURNED),
    function("SSL_free", Purpose::TlsFree, None),
    function("gnutls_record_recv", Purpose::TlsRead, RETURNED),
    function("gnutls_record_send", Purpose::TlsWrite, RETURNED),
    function("gnutls_record_send2", Purpose::TlsWrite, RETURNED),
    function("gnutls_handshake", Purpose::TlsHandshake, RETURNED),
    function("gnutls_deinit", Purpose::TlsFree, None),
    function("BIO_write", Purpose::BioWrite, Some(Purpose::BioWriteReturned)),
    function("BIO_read", Purpose::BioRead, Some(Purpose::BioReadReturned)),
];

/// Where OpenSSL 1.0.2 returns instead: its functions for plaintext end by jumps to these. It has no `SSL_read_ex`, and no
/// later version ends so.
const BEHIND: [&str; 2] = ["ssl3_read", "ssl3_write_bytes"];
const SINCE_1_1_1: &str = "SSL_read_ex";

/// Returns what there is in one file.
pub(in crate::discover) fn in_file(file: &File) -> Places {
    let bounded = Bounded::new(file);
    let Ok(elf) = object::File::parse(&bounded) else { return Places::new() };
    let mut places = by_name(&elf);
    places.extend(rustls::in_file(&elf));
    places
}

/// Returns the places of functions with names that never change.
fn by_name<'a, R: ReadRef<'a>>(elf: &object::File<'a, R>) -> Places {
    let names: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
    let addresses = addresses_in(elf, &names);
    let Some(first) = addresses.iter().flatten().next() else { return Places::new() };
    let Some(text) = Text::around(elf, *first) else { return Places::new() };
    let mut places = Places::new();
    for (function, address) in FUNCTIONS.iter().zip(addresses.iter().copied()) {
        let found = address.and_then(|address| places_of(elf, &text, function, address));
        places.extend(found.unwrap_or_default());
    }
    let is_older = !FUNCTIONS
        .iter()
        .zip(&addresses)
        .any(|(function, address)| function.name == SINCE_1_1_1 && address.is_some());
    if is_older {
        places.extend(behind(elf, &text));
    }
    // Functions share instructions at their ends.
    places.sort_unstable_by_key(|(_, offset)| *offset);
    places.dedup();
    places
}

/// Returns the places of one function: none of them, if not all can be told.
fn places_of<'a, R: ReadRef<'a>>(
    elf: &object::File<'a, R>,
    text: &Text<'_>,
    function: &Function,
    address: u64,
) -> Option<Places> {
    if !is_code(elf, address) {
        return None;
    }
    let returns = match function.returned {
        None => Vec::new(),
        // A handshake moves nothing: where its end might be missed, it is better not to see its beginning.
        Some(_) if function.entered == Purpose::TlsHandshake => text.all_returns(address)?,
        Some(_) => text.returns(address)?,
    };
    text.spots(address, returns, Convention::C).places(elf, Some(function.entered), function.returned)
}

/// Returns the places at which OpenSSL 1.0.2 returns. The stack is there what it was at the entry.
fn behind<'a, R: ReadRef<'a>>(elf: &object::File<'a, R>, text: &Text<'_>) -> Places {
    let addresses = addresses_in(elf, &BEHIND).into_iter().flatten();
    let returns =
        addresses.filter(|address| is_code(elf, *address)).filter_map(|address| text.returns(address));
    let offsets = returns.flatten().filter_map(|address| offset_of(elf, address));
    offsets.map(|offset| (Purpose::TlsReturned, offset)).collect()
}

/// Returns whether what is at an address may be executed: programs that load a library themselves have variables of the same
/// names.
fn is_code<'a, R: ReadRef<'a>>(elf: &object::File<'a, R>, address: u64) -> bool {
    elf.segments().any(|segment| {
        let is_executed =
            matches!(segment.flags(), SegmentFlags::Elf { p_flags, .. } if p_flags.contains(PF_X));
        is_executed && address.checked_sub(segment.address()).is_some_and(|inside| inside < segment.size())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how often each purpose is found in an installed library, if there is one.
    fn count(library: &str, purpose: Purpose) -> Option<usize> {
        let path = ["/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64"]
            .map(|folder| format!("{folder}/{library}"))
            .into_iter()
            .find(|path| std::path::Path::new(path).exists())?;
        let places = in_file(&File::open(path).unwrap());
        Some(places.iter().filter(|(found, _)| *found == purpose).count())
    }

    #[test]
    fn the_functions_of_an_installed_openssl_are_found() {
        let Some(entries) = count("libssl.so.3", Purpose::TlsRead) else {
            eprintln!("skipped: there is no libssl.so.3");
            return;
        };
        assert_eq!(entries, 1);
        for (purpose, entries) in [
            (Purpose::TlsWrite, 1),
            (Purpose::TlsReadEx, 2),
            (Purpose::TlsWriteEx, 2),
            (Purpose::TlsSendfile, 1),
            (Purpose::TlsBegin, 3),
            (Purpose::TlsFree, 1),
        ] {
            assert_eq!(count("libssl.so.3", purpose), Some(entries), "{purpose:?}");
        }
        assert!(count("libssl.so.3", Purpose::TlsReturned).unwrap() >= 4);
        assert_eq!(count("libcrypto.so.3", Purpose::BioRead), Some(1));
    }

    /// This program exports over TLS, by rustls.
    #[test]
    fn the_functions_of_rustls_are_found_in_this_program() {
        let places = in_file(&File::open("/proc/self/exe").unwrap());
        for purpose in [
            Purpose::RustlsWrite,
            Purpose::RustlsWriteVectored,
            Purpose::RustlsWritten,
            Purpose::RustlsEncrypt,
            Purpose::RustlsEncrypted,
            Purpose::RustlsDecrypt,
            Purpose::RustlsDecrypted,
        ] {
            assert!(places.iter().any(|(found, _)| *found == purpose), "{purpose:?}");
        }
    }

    #[test]
    fn files_without_such_functions_have_no_places() {
        assert_eq!(in_file(&File::open("/bin/sh").unwrap()), Places::new());
        assert_eq!(in_file(&File::open("/proc/self/maps").unwrap()), Places::new());
    }
}
