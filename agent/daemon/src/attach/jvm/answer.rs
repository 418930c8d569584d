//! What a JVM answers to `load`: whether it took the command, and what the library returned.

use super::error::Error;

/// Why the library itself refuses: `Agent_OnAttach` of the part.
const REASONS: [(i32, &str); 3] = [
    (100, "the JVM lacks an interface for tools"),
    (101, "the JVM does not define the classes that the part needs"),
    (102, "the JVM does not let classes be changed"),
];

/// What `Agent_OnAttach` returns where all was done but for JSSE.
const WITHOUT_TLS: i32 = 1;

/// What it returns while the JVM is starting.
const EARLY: i32 = 103;

/// What the library has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loaded {
    /// False where it was asked to tell what JSSE encrypts, and cannot.
    pub(super) tells_jsse: bool,
}

/// Reads an answer: `0`, and in a second line `return code: 0`, or `0` before JDK 9.
///
/// # Errors
/// The library is not loaded, or refuses; the JVM's own words, or the library's reason.
pub(super) fn read(answer: &str) -> Result<Loaded, Error> {
    let mut lines = answer.lines().map(str::trim);
    let is_taken = lines.next() == Some("0");
    let said: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    let last = said.last().map(|line| line.strip_prefix("return code:").unwrap_or(line).trim());
    let returned = last.and_then(|code| code.parse::<i32>().ok());
    match returned.filter(|_| is_taken) {
        Some(0) => Ok(Loaded { tells_jsse: true }),
        Some(WITHOUT_TLS) => Ok(Loaded { tells_jsse: false }),
        Some(EARLY) => Err(Error::Starting),
        Some(code) => {
            let reason = REASONS.iter().find(|(known, _)| *known == code);
            Err(Error::NotLoaded(
                reason.map_or_else(|| format!("code {code}"), |(_, text)| (*text).to_owned()),
            ))
        }
        None => Err(Error::NotLoaded(answer.trim().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_all_versions_are_read() {
        assert!(read("0\nreturn code: 0\n").is_ok());
        assert_eq!(read("0\n0\n").unwrap(), Loaded { tells_jsse: true });
        assert_eq!(read("0\nreturn code: 1\n").unwrap(), Loaded { tells_jsse: false });
        let refused = |answer: &str| read(answer).unwrap_err().to_string();
        assert!(refused("0\nreturn code: 102\n").ends_with("does not let classes be changed"));
        assert!(matches!(read("0\nreturn code: 103\n"), Err(Error::Starting)));
        assert!(refused("0\nreturn code: -1\n").ends_with("code -1"));
        let not_found = "0\n/tmp/x.so was not loaded.\n/tmp/x.so: failed to map segment\n";
        assert!(refused(not_found).contains("failed to map segment"));
        assert!(refused("100\nDynamic agent loading is not enabled\n").contains("not enabled"));
        assert!(refused("").ends_with("load the part: "));
    }
}
