use super::*;
use proptest::prelude::*;

fn sketch_of(values: &[u64]) -> LatencySketch {
    let mut sketch = LatencySketch::default();
    for &value in values {
        sketch.record(value);
    }
    sketch
}

fn merged(parts: &[LatencySketch]) -> LatencySketch {
    let mut sum = LatencySketch::default();
    for part in parts {
        sum.merge(part);
    }
    sum
}

/// The same rank that the sketch states: `ceil(q · n)`, at least the first.
fn exact_quantile(values: &[u64], q: f64) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = ((q * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len());
    sorted[rank - 1]
}

fn check_quantiles(values: &[u64]) {
    let sketch = sketch_of(values);
    for q in [0.0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0] {
        let exact = exact_quantile(values, q) as f64;
        let estimate = sketch.quantile_ns(q).unwrap() as f64;
        let allowed = exact * sketch.relative_error() + 1.0;
        assert!((estimate - exact).abs() <= allowed, "q {q}: exact {exact}, estimate {estimate}");
    }
}

/// From nothing to centuries, evenly over the magnitudes.
fn any_duration() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(u64::MAX),
        (0_u32..64, any::<u64>()).prop_map(|(bits, noise)| (1_u64 << bits) | (noise & ((1 << bits) - 1))),
        1_000_u64..2_000_000_000,
    ]
}

#[test]
fn empty_has_no_quantiles() {
    let sketch = LatencySketch::default();
    assert_eq!(
        (sketch.count(), sketch.quantile_ns(0.5), sketch.mean_ns(), sketch.max_ns()),
        (0, None, None, None)
    );
}

#[test]
fn powers_of_two_are_upper_bounds_of_their_buckets() {
    for exponent in 0..63_u32 {
        let power = 1_u64 << exponent;
        assert_eq!(i32::from(finest_index(power)), (exponent as i32) * 64 - 1, "{power}");
        if (8..40).contains(&exponent) {
            assert_eq!(finest_index(power + 1), finest_index(power) + 1, "{power} + 1");
        }
    }
    assert!(finest_index(u64::MAX) >= finest_index(1 << 63));
}

#[test]
fn indices_rise_with_the_values() {
    let mut last = i16::MIN;
    for value in (1..200_000).chain((0..64).map(|bits| u64::MAX >> (63 - bits)).skip(18)) {
        let index = finest_index(value);
        assert!(index >= last, "{value}");
        last = index;
    }
}

#[test]
fn one_value_is_exact() {
    for value in [0, 1, 2, 3, 999, 1_000_000, 123_456_789_012, u64::MAX] {
        let sketch = sketch_of(&[value]);
        assert_eq!(sketch.quantile_ns(0.5), Some(value));
        assert_eq!((sketch.min_ns(), sketch.max_ns(), sketch.sum_ns()), (Some(value), Some(value), value));
    }
}

#[test]
fn the_stated_error_at_the_finest_scale_is_little_more_than_half_a_percent() {
    assert!((LatencySketch::default().relative_error() - 0.005_415).abs() < 1e-6);
}

#[test]
fn a_web_service_stays_at_about_one_percent() {
    // 50 µs to 1 s in 20,000 values, each bucket in use.
    let values: Vec<u64> =
        (0..20_000).map(|n| (50_000.0 * (f64::from(n) / 20_000.0 * 14.3).exp2()) as u64).collect();
    let sketch = sketch_of(&values);
    assert!(sketch.buckets.len() <= MAX_BUCKETS);
    assert!(sketch.scale >= 4, "scale {}", sketch.scale);
    check_quantiles(&values);
}

#[test]
fn every_magnitude_at_once_stays_within_the_limit() {
    let values: Vec<u64> = (0..64_u32)
        .flat_map(|bits| (0..64_u64).map(move |part| (1_u64 << bits) + ((1_u64 << bits) / 64) * part))
        .collect();
    let sketch = sketch_of(&values);
    assert!(sketch.buckets.len() <= MAX_BUCKETS);
    assert_eq!(sketch.count(), values.len() as u64);
    check_quantiles(&values);
}

proptest! {
    #[test]
    fn quantiles_keep_the_stated_error(values in prop::collection::vec(any_duration(), 1..600)) {
        check_quantiles(&values);
    }

    #[test]
    fn merging_is_the_same_as_recording_all_in_any_split(
        values in prop::collection::vec((any_duration(), 0_usize..4), 0..1500)
    ) {
        let all: Vec<u64> = values.iter().map(|value| value.0).collect();
        let parts: Vec<LatencySketch> = (0..4)
            .map(|part| sketch_of(&values.iter().filter(|v| v.1 == part).map(|v| v.0).collect::<Vec<_>>()))
            .collect();
        prop_assert_eq!(merged(&parts), sketch_of(&all));
    }

    #[test]
    fn merging_is_commutative_and_associative(
        a in prop::collection::vec(any_duration(), 0..500),
        b in prop::collection::vec(any_duration(), 0..500),
        c in prop::collection::vec(any_duration(), 0..500),
    ) {
        let (a, b, c) = (sketch_of(&a), sketch_of(&b), sketch_of(&c));
        prop_assert_eq!(merged(&[a.clone(), b.clone()]), merged(&[b.clone(), a.clone()]));
        let left = merged(&[merged(&[a.clone(), b.clone()]), c.clone()]);
        let right = merged(&[a, merged(&[b, c])]);
        prop_assert_eq!(left, right);
    }
}
