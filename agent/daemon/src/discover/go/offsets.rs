//! Where `runtime.g` keeps `goid` and `parentGoid`, by version, on 64-bit machines.
//!
//! The table was read from the DWARF of programs that each toolchain built (`GOTOOLCHAIN=go1.N.P go build`), first
//! and last patch of each minor version alike; `tests/discovery/go.rs` reads it again for the toolchains that are
//! installed. Of a version that is not here, nothing is guessed: a wrong id would make wrong parents.

use crate::discover::GoOffsets;

/// First and last minor version, and the offsets. `parentGoid` exists since 1.21.
const TABLE: &[(u32, u32, GoOffsets)] = &[
    (18, 20, at(152, 0)),
    (21, 22, at(152, 272)),
    (23, 24, at(160, 280)),
    (25, 25, at(152, 272)),
    (26, 27, at(152, 280)),
];

const fn at(goid: u16, parent_goid: u16) -> GoOffsets {
    GoOffsets { goid, parent_goid, is_from_types: false }
}

/// Returns the offsets for a `runtime.Version()`.
pub(super) fn of(version: &str) -> Option<GoOffsets> {
    let minor = minor(version)?;
    let line = TABLE.iter().find(|(first, last, _)| (*first..=*last).contains(&minor));
    line.map(|&(_, _, offsets)| offsets)
}

/// Reads `go1.22.3`, `go1.22rc1`, `go1.22.3 X:loopvar` or `go1.22-custom`. A `devel` version lies between two
/// releases and has the layout of either.
fn minor(version: &str) -> Option<u32> {
    let digits: String = version.strip_prefix("go1.")?.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_they_are_written() {
        let table = [
            ("go1.18", Some(18)),
            ("go1.22.3", Some(22)),
            ("go1.22rc1", Some(22)),
            ("go1.26.1 X:nodwarf5", Some(26)),
            ("go1.24.4-vendor", Some(24)),
            ("devel go1.25-0a1b2c3 Mon Jan 1", None),
            ("go2.0", None),
            ("", None),
            ("go1.", None),
            ("go1.99999999999999999999", None),
        ];
        for (version, expected) in table {
            assert_eq!(minor(version), expected, "{version}");
        }
    }

    #[test]
    fn unknown_versions_have_no_offsets() {
        assert_eq!(of("go1.17.13"), None);
        assert_eq!(of("go1.99"), None);
        assert_eq!(of("go1.20.14"), Some(at(152, 0)));
        assert_eq!(of("go1.24.0"), Some(at(160, 280)));
    }
}
