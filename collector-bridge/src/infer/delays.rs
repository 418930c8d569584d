//! How long something usually takes: a histogram over the logarithm of time, with what is believed before anything was
//! seen.

use std::sync::LazyLock;

/// Buckets for each doubling of the delay.
const PER_OCTAVE: u32 = 4;
/// Delays below 2^10 ns (a microsecond) share the first bucket.
const LOWEST_OCTAVE: u32 = 10;
/// Delays from 2^36 ns (69 s) on share the last bucket.
const HIGHEST_OCTAVE: u32 = 36;
/// Buckets in all.
const BUCKETS: usize = ((HIGHEST_OCTAVE - LOWEST_OCTAVE) * PER_OCTAVE) as usize + 1;

/// What is believed beforehand counts as much as so many observations.
const PRIOR_WEIGHT: f64 = 2.0;
/// Without observations, the density of a delay d falls with d to this power: shorter is likelier, but an eighth of
/// the delay is not eight times as likely.
const PRIOR_POWER: f64 = 0.7;
/// Shares of an observation that fall into its own bucket and into either neighbour.
const OWN_SHARE: f64 = 0.5;
const NEIGHBOUR_SHARE: f64 = 0.25;

static SHAPE: LazyLock<Shape> = LazyLock::new(Shape::new);

/// What is the same for all histograms.
struct Shape {
    /// 1 / width of each bucket, per nanosecond.
    per_width: [f64; BUCKETS],
    /// What is believed beforehand of each bucket; the sum is 1.
    prior: [f64; BUCKETS],
}

impl Shape {
    fn new() -> Self {
        let bound = |bucket: usize| match bucket {
            0 => 0.0,
            _ => 2_f64.powf(f64::from(LOWEST_OCTAVE) + (bucket - 1) as f64 / f64::from(PER_OCTAVE)),
        };
        let width: [f64; BUCKETS] = std::array::from_fn(|bucket| bound(bucket + 1) - bound(bucket));
        let mass = width.map(|width| width.powf(1.0 - PRIOR_POWER));
        let whole: f64 = mass.iter().sum();
        Self { per_width: width.map(|width| 1.0 / width), prior: mass.map(|mass| mass / whole) }
    }
}

/// Place of a delay in a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket(usize);

impl Bucket {
    /// Returns the bucket of a delay in nanoseconds.
    pub(super) fn of(delay_ns: u64) -> Self {
        let Some(octave) = delay_ns.checked_ilog2().filter(|octave| *octave >= LOWEST_OCTAVE) else {
            return Self(0);
        };
        // The two bits below the highest one part an octave in four, of equal width; good enough for a logarithm.
        let part = (delay_ns >> (octave - 2)) & 3;
        let bucket = 1 + (octave - LOWEST_OCTAVE) as usize * PER_OCTAVE as usize + part as usize;
        Self(bucket.min(BUCKETS - 1))
    }
}

/// Delays that were seen.
#[derive(Clone, Debug)]
pub(super) struct Delays {
    seen: u32,
    counts: [u32; BUCKETS],
}

impl Delays {
    /// Returns those before anything was seen.
    pub(super) fn new() -> Self {
        Self { seen: 0, counts: [0; BUCKETS] }
    }

    /// Returns how many were seen.
    pub(super) fn seen(&self) -> u32 {
        self.seen
    }

    pub(super) fn add(&mut self, Bucket(bucket): Bucket) {
        self.seen += 1;
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
    }

    /// Takes back what was added.
    pub(super) fn remove(&mut self, Bucket(bucket): Bucket) {
        self.seen = self.seen.saturating_sub(1);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.saturating_sub(1);
        }
    }

    /// Returns how likely the next delay is in that bucket, per nanosecond; as if one of those seen were not.
    pub(super) fn density(&self, Bucket(bucket): Bucket, without: Option<Bucket>) -> f64 {
        let count = |place: Option<usize>| {
            let seen = place.and_then(|place| self.counts.get(place)).copied().unwrap_or(0);
            let is_without = place.is_some() && place == without.map(|Bucket(without)| without);
            f64::from(seen.saturating_sub(u32::from(is_without)))
        };
        let beside = count(bucket.checked_sub(1)) + count(bucket.checked_add(1));
        let smooth = OWN_SHARE * count(Some(bucket)) + NEIGHBOUR_SHARE * beside;
        density(smooth, f64::from(self.seen.saturating_sub(u32::from(without.is_some()))), bucket)
    }
}

/// Returns [`Delays::density`] where nothing was seen.
pub(super) fn prior_density(Bucket(bucket): Bucket) -> f64 {
    density(0.0, 0.0, bucket)
}

fn density(count: f64, seen: f64, bucket: usize) -> f64 {
    let shape = &*SHAPE;
    let prior = shape.prior.get(bucket).copied().unwrap_or_default();
    let per_width = shape.per_width.get(bucket).copied().unwrap_or_default();
    (count + PRIOR_WEIGHT * prior) / (seen + PRIOR_WEIGHT) * per_width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_grow_with_the_delay() {
        let mut last = 0;
        for shift in 0..64 {
            for part in 0..4 {
                let delay_ns = (1_u64 << shift) + (1_u64 << shift) / 4 * part;
                let Bucket(bucket) = Bucket::of(delay_ns);
                assert!(bucket >= last && bucket < BUCKETS, "{delay_ns}");
                last = bucket;
            }
        }
        assert_eq!((Bucket::of(0), Bucket::of(1023)), (Bucket(0), Bucket(0)));
        assert_eq!((Bucket::of(1024), Bucket::of(u64::MAX)), (Bucket(1), Bucket(BUCKETS - 1)));
    }

    #[test]
    fn what_is_believed_beforehand_is_a_distribution() {
        let whole: f64 = SHAPE.prior.iter().sum();
        assert!((whole - 1.0).abs() < 1e-9, "{whole}");
        let (short, long) = (Bucket::of(1_000_000), Bucket::of(64_000_000));
        let ratio = prior_density(short) / prior_density(long);
        // 64 to the power of 0.7.
        assert!((15.0..23.0).contains(&ratio), "{ratio}");
    }

    #[test]
    fn what_was_seen_outweighs_what_was_believed_and_can_be_taken_back() {
        let mut delays = Delays::new();
        let (usual, unusual) = (Bucket::of(3_000_000), Bucket::of(40_000_000));
        (0..50).for_each(|_| delays.add(usual));
        assert!(delays.density(usual, None) > 1000.0 * delays.density(unusual, None));
        (1..50).for_each(|_| delays.remove(usual));
        assert_eq!((delays.seen(), delays.density(usual, Some(usual))), (1, prior_density(usual)));
        delays.remove(usual);
        assert_eq!((delays.seen(), delays.density(usual, None)), (0, prior_density(usual)));
    }
}
