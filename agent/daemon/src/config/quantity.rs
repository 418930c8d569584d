//! Numbers with units.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// Why a text is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}")]
pub struct QuantityError {
    text: String,
    what: &'static str,
}

/// A number of bytes: `256MiB`, `1GB`, `4096`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteCount(pub u64);

/// A length of time: `10s`, `500ms`, `2m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(pub Duration);

impl FromStr for ByteCount {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let units = [
            ("", 1),
            ("B", 1),
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("TiB", 1 << 40),
            ("kB", 1_000),
            ("KB", 1_000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
            ("TB", 1_000_000_000_000),
        ];
        let what = "size: write a number and a unit, such as 256MiB";
        scale(text, &units).map(Self).ok_or_else(|| QuantityError { text: text.to_owned(), what })
    }
}

impl FromStr for Period {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
        let what = "duration: write a number and a unit, such as 10s or 500ms";
        let milliseconds = scale(text, &units).map(Duration::from_millis);
        milliseconds.map(Self).ok_or_else(|| QuantityError { text: text.to_owned(), what })
    }
}

fn scale(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

impl<'de> Deserialize<'de> for ByteCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = ByteCount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"256MiB\" or a number of bytes")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<ByteCount, E> {
                u64::try_from(number).map(ByteCount).map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteCount, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Bytes)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations() {
        let bytes = |text: &str| text.parse::<ByteCount>().ok().map(|size| size.0);
        assert_eq!(bytes("4096"), Some(4096));
        assert_eq!(bytes("256MiB"), Some(256 << 20));
        assert_eq!(bytes("1 GB"), Some(1_000_000_000));
        for broken in ["", "MiB", "-1", "1.5GiB", "1XB", "99999999999TiB"] {
            assert_eq!(bytes(broken), None, "{broken}");
        }
        let time = |text: &str| text.parse::<Period>().ok().map(|time| time.0);
        assert_eq!(time("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(time("2m"), Some(Duration::from_secs(120)));
        assert_eq!(time("10"), None);
        let error = "10".parse::<Period>().unwrap_err().to_string();
        assert_eq!(error, "\"10\" is no duration: write a number and a unit, such as 10s or 500ms");
    }
}
