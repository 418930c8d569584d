//! One measured value, as `cargo xtask bench` reads it.

/// Prints the median of some rounds, and how far they lie apart; nothing for no rounds.
pub(crate) fn print(name: &str, unit: &str, rounds: &[f64]) {
    let mut sorted = rounds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(min), Some(max), Some(value)) = (sorted.first(), sorted.last(), sorted.get(sorted.len() / 2))
    else {
        return;
    };
    println!(
        "{{\"name\":\"{name}\",\"unit\":\"{unit}\",\"value\":{value},\"min\":{min},\"max\":{max},\"rounds\":{rounds:?}}}"
    );
}
