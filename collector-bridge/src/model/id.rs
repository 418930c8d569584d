//! Ids of traces and spans (W3C Trace Context, section 3.2.2).

use std::fmt;
use std::str::FromStr;

/// Why a text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// It has another number of hex digits.
    #[error("expected {expected} hex digits, found {found} characters")]
    Length {
        /// Digits of such an id.
        expected: usize,
        /// Characters in the text.
        found: usize,
    },
    /// It holds something else than hex digits.
    #[error("not a hex digit at position {position}")]
    Digit {
        /// Offset of the first wrong character, in bytes.
        position: usize,
    },
    /// All digits are zero, which the specification forbids.
    #[error("all digits are zero")]
    Zero,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// Returns the id in these bytes; none if the length is wrong or all are zero.
            #[must_use]
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                let bytes: [u8; $bytes] = bytes.try_into().ok()?;
                (bytes != [0; $bytes]).then_some(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; $bytes * 2];
                for (digits, byte) in text.chunks_exact_mut(2).zip(self.0) {
                    digits.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
                }
                f.write_str(std::str::from_utf8(&text).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            /// Returns the id that a text of hex digits (either case, full length) stands for.
            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; $bytes];
                parse_hex(text.as_bytes(), &mut bytes)?;
                Self::from_bytes(&bytes).ok_or(IdError::Zero)
            }
        }
    };
}

id! {
    /// Identifier of a trace; never all zero.
    TraceId, 16
}
id! {
    /// Identifier of a span; never all zero.
    SpanId, 8
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

fn parse_hex(text: &[u8], bytes: &mut [u8]) -> Result<(), IdError> {
    let expected = bytes.len() * 2;
    if text.len() != expected {
        return Err(IdError::Length { expected, found: text.len() });
    }
    for (index, (digits, byte)) in text.as_chunks::<2>().0.iter().zip(bytes).enumerate() {
        let mut value = 0;
        for (offset, digit) in digits.iter().enumerate() {
            let Some(nibble) = (*digit as char).to_digit(16) else {
                return Err(IdError::Digit { position: index * 2 + offset });
            };
            value = value * 16 + nibble as u8;
        }
        *byte = value;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_in_either_case() {
        let id: TraceId = "0AF7651916cd43dd8448eb211c80319c".parse().unwrap();
        assert_eq!(id.to_string(), "0af7651916cd43dd8448eb211c80319c");
    }

    #[test]
    fn wrong_texts_say_why() {
        let check = |text: &str, error| assert_eq!(text.parse::<SpanId>(), Err(error), "{text}");
        check("00f067aa0ba902", IdError::Length { expected: 16, found: 14 });
        check("00f067aa0ba902g7", IdError::Digit { position: 14 });
        check("0000000000000000", IdError::Zero);
        check("00f067aa0ba902é", IdError::Digit { position: 14 });
    }
}
