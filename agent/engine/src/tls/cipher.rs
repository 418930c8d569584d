//! Cipher suites: their names (the registry of IANA), and by how much a record is longer than its plaintext.

use super::version;

/// Suites that are in use.
const NAMES: &[(u16, &str)] = &[
    (0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA"),
    (0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA"),
    (0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256"),
    (0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384"),
    (0x009e, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0x009f, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0x1301, "TLS_AES_128_GCM_SHA256"),
    (0x1302, "TLS_AES_256_GCM_SHA384"),
    (0x1303, "TLS_CHACHA20_POLY1305_SHA256"),
    (0xc009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
    (0xc00a, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    (0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    (0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    (0xc023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
    (0xc024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"),
    (0xc027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0xc028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
    (0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    (0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    (0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0xccaa, "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
];
/// Tag, and in TLS 1.3 the true type (RFC 8446, 5.2); in TLS 1.2 with GCM the part of the nonce that is sent (RFC 5288).
const TAG_BYTES: u16 = 16;
const KIND_BYTES: u16 = 1;
const NONCE_BYTES: u16 = 8;

/// Returns the name of a suite.
pub(super) fn name(cipher: u16) -> Option<&'static str> {
    NAMES.iter().find(|(code, _)| *code == cipher).map(|(_, name)| *name)
}

/// Returns by how many bytes a record is longer than its plaintext, where that is always as many.
pub(super) fn overhead(version: u16, cipher: u16) -> Option<u16> {
    if version == version::TLS_1_3 {
        return Some(TAG_BYTES + KIND_BYTES);
    }
    let name = name(cipher).filter(|_| version == version::TLS_1_2)?;
    if name.contains("_GCM_") {
        Some(TAG_BYTES + NONCE_BYTES)
    } else {
        name.contains("_CHACHA20_").then_some(TAG_BYTES)
    }
}

/// Returns the bytes of `Finished` in TLS 1.3 (RFC 8446, 4.4.4): by the hash of the suite.
pub(super) fn finished_bytes(cipher: u16) -> u16 {
    let hash = if name(cipher).is_some_and(|name| name.ends_with("SHA384")) { 48 } else { 32 };
    4 + hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_exact_has_an_overhead() {
        assert_eq!(overhead(version::TLS_1_3, 0x1301), Some(17));
        assert_eq!(overhead(version::TLS_1_2, 0xc02f), Some(24));
        assert_eq!(overhead(version::TLS_1_2, 0xcca8), Some(16));
        assert_eq!(overhead(version::TLS_1_2, 0xc013), None);
        assert_eq!(overhead(0x0301, 0xc02f), None);
    }
}
