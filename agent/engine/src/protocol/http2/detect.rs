//! Whether bytes are frames of HTTP/2, and whose.

use super::align::{self, Standing};
use super::frame::{HEADER_BYTES, Header, Kind, PREFACE};
use crate::protocol::{DETECTION_BUDGET_BYTES, Detection, Side};

/// Judges the beginning of a connection's bytes in one direction, or of one that is met midway.
///
/// A client of a new connection sends the preface. The server's first frame could be anybody's; who is the client of an
/// older connection is told by the first pseudo-header field that comes by.
pub(super) fn detect(bytes: &[u8]) -> Detection {
    let shown = bytes.len().min(PREFACE.len());
    if bytes.get(..shown) == PREFACE.get(..shown) {
        return if shown == PREFACE.len() { Detection::Yes(Side::Client) } else { Detection::Unsure };
    }
    let Some(first) = Header::read(bytes) else {
        return if may_begin(bytes) { Detection::Unsure } else { Detection::No };
    };
    // A server begins with its settings.
    let is_old = first.kind != Kind::Settings;
    match align::follow(bytes, |_| Standing::Possible) {
        Some(chain) if chain.is_proven() => match chain.side {
            Some(side) => Detection::Yes(side),
            None => undecided(bytes),
        },
        Some(_) if is_old || bytes.len() < HEADER_BYTES + first.length => undecided(bytes),
        _ => Detection::No,
    }
}

fn undecided(bytes: &[u8]) -> Detection {
    if bytes.len() < DETECTION_BUDGET_BYTES { Detection::Unsure } else { Detection::No }
}

/// Whether what is too short for a header may begin one.
fn may_begin(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(|&byte| byte == 0)
        && bytes.get(3).is_none_or(|&kind| kind <= 0x9)
        && bytes.get(5).is_none_or(|&byte| byte < 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Detection) {
        assert_eq!(detect(bytes), expected, "{}", bytes.escape_ascii());
    }

    #[test]
    fn the_preface_is_a_client() {
        check(PREFACE, Detection::Yes(Side::Client));
        for end in 0..PREFACE.len() {
            check(&PREFACE[..end], Detection::Unsure);
        }
        check(b"PRI * HTTP/1.1\r\n", Detection::No);
    }

    #[test]
    fn settings_may_be_anybodys() {
        let settings = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64";
        for end in 0..=settings.len() {
            check(&settings[..end], Detection::Unsure);
        }
        check(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x77\x03\x00\x00\x00\x64", Detection::No);
        let response = [&settings[..], b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88"].concat();
        check(&response, Detection::Yes(Side::Server));
    }

    #[test]
    fn pseudo_header_fields_tell_the_side() {
        check(b"\x00\x00\x04\x01\x05\x00\x00\x00\x05\x83\x86\xc2\xc1", Detection::Yes(Side::Client));
        check(b"\x00\x00\x04\x01\x04\x00\x00\x00\x05\x88\x5f\xc2\xc1", Detection::No);
        check(b"\x00\x00\x03\x01\x04\x00\x00\x00\x05\x88\xc2\xc1", Detection::Yes(Side::Server));
        check(b"\x00\x00\x03\x01\x05\x00\x00\x00\x05\xc3\xc2\xc1", Detection::Unsure);
    }

    #[test]
    fn others_are_refused_at_once() {
        for other in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"*1\r\n$4\r\nPING\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
            b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
            b"\x00\x00\x00\x25\x00\x03\x00\x0c\x00",
            b"\x4a\x00\x00\x00\x0a8.0",
            b"\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        ] {
            check(other, Detection::No);
        }
    }
}
