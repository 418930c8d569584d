//! The limit of locked memory, against which kernels before 5.11 count maps.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Releases that count so and have what the programs need.
const COUNTING: [&str; 3] = ["5.8.", "5.9.", "5.10."];

/// Returns whether the running kernel counts maps against the limit.
pub fn is_counted() -> bool {
    counts(&rustix::system::uname().release().to_string_lossy())
}

fn counts(release: &str) -> bool {
    COUNTING.iter().any(|prefix| release.starts_with(prefix))
}

/// Takes the limit away where it counts, which needs `CAP_SYS_RESOURCE`.
pub fn lift() {
    if !is_counted() {
        return;
    }
    if let Err(error) = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None }) {
        tracing::debug!("the limit of locked memory stays: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_count_maps_until_5_11() {
        assert!(counts("5.10.0-46-amd64"));
        assert!(!counts("5.11.0"));
        assert!(!counts("6.1.0-56-amd64"));
    }
}
