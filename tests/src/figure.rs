//! One measured value.

use serde::Serialize;

/// A figure: the median of its rounds, and how far they lie apart.
#[derive(Debug, Serialize)]
struct Figure {
    /// Name under which the budget is found.
    name: String,
    /// `ns`, `%`, `core`, `MiB`, `1/s`, or empty for counts.
    unit: &'static str,
    /// Median of all rounds.
    value: f64,
    /// Smallest.
    min: f64,
    /// Largest.
    max: f64,
    /// Every round.
    rounds: Vec<f64>,
}

/// Prints the figure of these rounds; none for no rounds.
pub fn print(name: impl Into<String>, unit: &'static str, rounds: &[f64]) {
    let mut sorted = rounds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(&min), Some(&max), Some(&value)) =
        (sorted.first(), sorted.last(), sorted.get(sorted.len() / 2))
    else {
        return;
    };
    let figure = Figure { name: name.into(), unit, value, min, max, rounds: rounds.to_vec() };
    match serde_json::to_string(&figure) {
        Ok(line) => println!("{line}"),
        Err(error) => eprintln!("{error}"),
    }
}
