//! Ends the writing of contexts where the connections that write fare worse than those that do not.
//!
//! One of some connections is left alone, so that what befalls a server befalls both kinds.

use std::fmt;

/// Connections of either kind that there must be before they are compared.
const MIN_ENDED: u64 = 32;
/// How many times as often as the others, and by how much of all, the connections that write may fail.
const MAX_RATIO: f64 = 3.0;
const MAX_EXCESS: f64 = 0.02;

/// One of so many connections is left alone.
pub const CONTROL: u8 = 32;

/// How connections fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ends {
    /// All of them.
    ended: u64,
    /// Those that fared ill.
    failed: u64,
}

impl Ends {
    fn rate(self) -> f64 {
        self.failed as f64 / self.ended.max(1) as f64
    }
}

/// What can become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It was reset or timed out.
    Failed,
    /// Its first segment was lost.
    Delayed,
}

/// Connections that wrote a context fare worse than others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tripped {
    fate: Fate,
    writing: Ends,
    control: Ends,
}

impl fmt::Display for Tripped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fate, writing, control } = self;
        let what = match fate {
            Fate::Failed => "were reset or timed out",
            Fate::Delayed => "lost their first segment",
        };
        write!(
            formatter,
            "{} of {} connections that wrote a context {what}, but only {} of {} others",
            writing.failed, writing.ended, control.failed, control.ended
        )
    }
}

/// Returns why the writing has to end, from the programs' counts since they were loaded.
#[must_use]
pub fn judge(counts: &[(&'static str, u64)]) -> Option<Tripped> {
    let count = |label| counts.iter().find(|(name, _)| *name == label).map_or(0, |(_, count)| *count);
    let ends = |ended, failed: &[_]| Ends {
        ended: count(ended),
        failed: failed.iter().map(|label| count(*label)).sum(),
    };
    compare(
        Fate::Failed,
        ends("ended", &["reset", "timed_out"]),
        ends("control_ended", &["control_reset", "control_timed_out"]),
    )
    .or_else(|| {
        let watched = ends("option_watched", &["option_watched_lost"]);
        compare(Fate::Delayed, ends("option", &["option_lost"]), watched)
    })
}

fn compare(fate: Fate, writing: Ends, control: Ends) -> Option<Tripped> {
    if writing.ended < MIN_ENDED || control.ended < MIN_ENDED {
        return None;
    }
    let limit = (control.rate() * MAX_RATIO).max(control.rate() + MAX_EXCESS);
    (writing.rate() > limit).then_some(Tripped { fate, writing, control })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ended: u64, reset: u64, control_ended: u64, control_reset: u64) -> bool {
        let counts = [
            ("ended", ended),
            ("reset", reset),
            ("control_ended", control_ended),
            ("control_reset", control_reset),
        ];
        judge(&counts).is_some()
    }

    #[test]
    fn only_what_others_do_not_suffer_ends_it() {
        assert!(check(1000, 100, 40, 0));
        assert!(!check(1000, 100, 40, 4), "a server that resets everybody");
        assert!(!check(1000, 15, 40, 0), "a few");
        assert!(!check(1000, 1000, 31, 0), "too few to compare with");
        assert!(check(1000, 1000, 40, 10));
    }

    #[test]
    fn the_reason_has_both_counts() {
        let counts = [("ended", 100), ("reset", 40), ("timed_out", 2), ("control_ended", 50)];
        assert_eq!(
            judge(&counts).unwrap().to_string(),
            "42 of 100 connections that wrote a context were reset or timed out, but only 0 of 50 others"
        );
    }

    #[test]
    fn lost_first_segments_end_it_too() {
        let counts = |lost, watched_lost| {
            [
                ("option", 500),
                ("option_lost", lost),
                ("option_watched", 40),
                ("option_watched_lost", watched_lost),
            ]
        };
        assert_eq!(
            judge(&counts(20, 0)).unwrap().to_string(),
            "20 of 500 connections that wrote a context lost their first segment, but only 0 of 40 others"
        );
        assert_eq!(judge(&counts(20, 1)), None, "a way that loses segments of all kinds");
    }
}
