//! Functions of rustls that take plaintext, and that encrypt and decrypt records, in files that are not stripped.
//!
//! All are called through tables (`dyn PlaintextSink`, `dyn MessageEncrypter`), so that no compiler puts them into others,
//! whoever implements the cryptography (ring, AWS-LC). Their arguments are those of rustls 0.23; of another version nothing
//! fits, and nothing is told.

use object::{Object as _, ObjectSection as _, ReadRef};

use super::elf::offset_of;
use super::returns::Text;
use super::{Places, Purpose};
use crate::discover::tokio::symbols;

/// What each of the names has in it.
const MARK: &[u8] = b"rustls";
/// Tables of names beyond this size are not read.
const MAX_TABLE_BYTES: u64 = 256 << 20;

/// What a function does, and where it returns.
type Pair = (Purpose, Purpose);

/// Returns what there is in one file: nothing, if a part of it is missing.
pub(super) fn in_file<'a, R: ReadRef<'a>>(elf: &object::File<'a, R>) -> Places {
    find(elf).unwrap_or_default()
}

fn find<'a, R: ReadRef<'a>>(elf: &object::File<'a, R>) -> Option<Places> {
    let names = elf.section_by_name(".strtab").filter(|section| section.size() <= MAX_TABLE_BYTES)?;
    memchr::memmem::find(names.data().ok()?, MARK)?;
    let mut text = None;
    let mut places = Places::new();
    for symbol in symbols::of(elf)? {
        let Some((entered, returned)) = wanted(symbol.name) else { continue };
        let text = match &text {
            Some(text) => text,
            None => text.insert(Text::around(elf, symbol.address)?),
        };
        places.push((entered, offset_of(elf, symbol.address)?));
        for address in text.returns_within(symbol.address, symbol.length)? {
            places.push((returned, offset_of(elf, address)?));
        }
    }
    let has = |wanted| places.iter().any(|(purpose, _)| *purpose == wanted);
    let is_whole = has(Purpose::RustlsEncrypt) && has(Purpose::RustlsDecrypt) && has(Purpose::RustlsWrite);
    places.sort_unstable_by_key(|(_, offset)| *offset);
    places.dedup();
    is_whole.then_some(places)
}

/// Returns what is told at the function of a name, in either mangling.
fn wanted(name: &str) -> Option<Pair> {
    let name = name.split_once(".llvm.").map_or(name, |(name, _)| name);
    let path = match name.strip_prefix("_ZN") {
        // A hash is at the end.
        Some(legacy) => legacy.rsplit_once("17h")?.0,
        None => name.strip_prefix("_RNv")?,
    };
    let is = |implemented: &str, function: &str| {
        path.contains(implemented)
            && path.contains("rustls")
            && path
                .rsplit_once(function)
                .is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with(['B', 'C']))
    };
    let is_1_3 = path.contains("tls13");
    if is("PlaintextSink", "14write_vectored") {
        Some((Purpose::RustlsWriteVectored, Purpose::RustlsWritten))
    } else if is("PlaintextSink", "5write") {
        Some((Purpose::RustlsWrite, Purpose::RustlsWritten))
    } else if is("MessageEncrypter", "7encrypt") {
        let is_known = is_1_3 || path.contains("tls12");
        is_known.then_some((Purpose::RustlsEncrypt, Purpose::RustlsEncrypted))
    } else if is("MessageDecrypter", "7decrypt") {
        let decrypted = match is_1_3 {
            true => Purpose::RustlsDecrypted,
            false if !path.contains("tls12") => return None,
            false if path.contains("GcmMessageDecrypter") => Purpose::RustlsDecryptedGcm,
            false if path.contains("ChaCha20Poly1305") => Purpose::RustlsDecryptedChaCha,
            false => return None,
        };
        Some((Purpose::RustlsDecrypt, decrypted))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_known_in_both_manglings() {
        let check = |name: &str, expected: Option<Purpose>| {
            assert_eq!(wanted(name).map(|(entered, _)| entered), expected, "{name}");
        };
        check(
            "_ZN111_$LT$rustls..crypto..ring..tls13..Tls13MessageDecrypter$u20$as$u20$rustls..crypto..cipher..MessageDecrypter$GT$7decrypt17h46bf9f14993376faE",
            Some(Purpose::RustlsDecrypt),
        );
        check(
            "_ZN109_$LT$rustls..crypto..ring..tls12..GcmMessageEncrypter$u20$as$u20$rustls..crypto..cipher..MessageEncrypter$GT$7encrypt17h4db00a586105c107E",
            Some(Purpose::RustlsEncrypt),
        );
        check(
            "_RNvXs1_NtNtNtCs1_6rustls6crypto4ring5tls13NtB5_21Tls13MessageDecrypterNtNtBb_6cipher16MessageDecrypter7decrypt",
            Some(Purpose::RustlsDecrypt),
        );
        check(
            "_ZN99_$LT$rustls..conn..ConnectionCommon$LT$T$GT$$u20$as$u20$rustls..conn..connection..PlaintextSink$GT$14write_vectored17h7d2dde47ad4a0b37E",
            Some(Purpose::RustlsWriteVectored),
        );
        check(
            "_ZN99_$LT$rustls..conn..ConnectionCommon$LT$T$GT$$u20$as$u20$rustls..conn..connection..PlaintextSink$GT$5write17h036e36053562d1d7E",
            Some(Purpose::RustlsWrite),
        );
        check(
            "_ZN109_$LT$rustls..crypto..ring..tls12..GcmMessageEncrypter$u20$as$u20$rustls..crypto..cipher..MessageEncrypter$GT$21encrypted_payload_len17h228904cf8ce27fc6E",
            None,
        );
        check(
            "_ZN108_$LT$rustls..crypto..cipher..InvalidMessageDecrypter$u20$as$u20$rustls..crypto..cipher..MessageDecrypter$GT$7decrypt17h7ef5dae78fbafa16E.llvm.14284874378673846047",
            None,
        );
    }
}
