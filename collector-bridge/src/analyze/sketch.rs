//! Latencies as an OpenTelemetry base-2 exponential histogram (OTel metrics data model, "ExponentialHistogram").
//!
//! Bucket `i` at scale `s` holds the values in `(b^i, b^(i+1)]` with `b = 2^(2^-s)`. A value's bucket is computed at
//! [`MAX_SCALE`] and shifted down, and the scale is the largest one at which at most [`MAX_BUCKETS`] buckets are in
//! use. Both depend on the set of values alone, so a sketch does not know in which order it was filled or merged.

/// The finest scale: 64 buckets per doubling, quantiles within 0.55 %.
pub const MAX_SCALE: u8 = 6;
/// Buckets in use at most; then pairs of neighbours are joined. At scale 5 (1.1 %) they still span a factor of 1,000
/// even if every single one is in use, and sparse data spans more.
pub const MAX_BUCKETS: usize = 320;

/// Durations in nanoseconds, mergeable in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatencySketch {
    pub(super) scale: u8,
    /// Values of 0 ns.
    pub(super) zeros: u64,
    /// (index, count) by rising index; no count is 0.
    pub(super) buckets: Vec<(i16, u64)>,
    pub(super) sum_ns: u64,
    pub(super) min_ns: u64,
    pub(super) max_ns: u64,
}

impl Default for LatencySketch {
    fn default() -> Self {
        Self { scale: MAX_SCALE, zeros: 0, buckets: Vec::new(), sum_ns: 0, min_ns: u64::MAX, max_ns: 0 }
    }
}

impl LatencySketch {
    /// Adds one duration.
    pub fn record(&mut self, duration_ns: u64) {
        self.sum_ns = self.sum_ns.saturating_add(duration_ns);
        self.min_ns = self.min_ns.min(duration_ns);
        self.max_ns = self.max_ns.max(duration_ns);
        if duration_ns == 0 {
            self.zeros = self.zeros.saturating_add(1);
            return;
        }
        let index = finest_index(duration_ns) >> (MAX_SCALE - self.scale);
        match self.buckets.binary_search_by_key(&index, |bucket| bucket.0) {
            Ok(at) => {
                if let Some(bucket) = self.buckets.get_mut(at) {
                    bucket.1 = bucket.1.saturating_add(1);
                }
            }
            Err(at) => {
                self.buckets.insert(at, (index, 1));
                self.coarsen_to_limit();
            }
        }
    }

    /// Adds all durations of another sketch.
    pub fn merge(&mut self, other: &Self) {
        self.zeros = self.zeros.saturating_add(other.zeros);
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        while self.scale > other.scale {
            self.halve();
        }
        let shift = other.scale - self.scale;
        let theirs = other.buckets.iter().map(|&(index, count)| (index >> shift, count));
        let mut all: Vec<(i16, u64)> = self.buckets.drain(..).chain(theirs).collect();
        all.sort_unstable_by_key(|bucket| bucket.0);
        self.buckets = join_equal(all);
        self.coarsen_to_limit();
    }

    /// Returns how many durations were added.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(self.zeros, |sum, bucket| sum.saturating_add(bucket.1))
    }

    /// Returns the exact sum of the durations, in nanoseconds; it stays at `u64::MAX` when it would overflow.
    #[must_use]
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// Returns the exact mean; none without durations.
    #[must_use]
    pub fn mean_ns(&self) -> Option<u64> {
        self.sum_ns.checked_div(self.count())
    }

    /// Returns the exact shortest duration; none without durations.
    #[must_use]
    pub fn min_ns(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.min_ns)
    }

    /// Returns the exact longest duration; none without durations.
    #[must_use]
    pub fn max_ns(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.max_ns)
    }

    /// Returns the duration at rank `ceil(q · count)` (at least 1) of the sorted durations, within
    /// [`relative_error`](Self::relative_error) and between the exact shortest and longest; none without durations.
    /// `q` is clamped to 0 to 1.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 1..=count, rounded"
    )]
    pub fn quantile_ns(&self, q: f64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = ((q.clamp(0.0, 1.0) * count as f64).ceil() as u64).clamp(1, count);
        let mut seen = self.zeros;
        if rank <= seen {
            return Some(0);
        }
        for &(index, bucket_count) in &self.buckets {
            seen = seen.saturating_add(bucket_count);
            if rank <= seen {
                return Some(self.middle_ns(index).clamp(self.min_ns, self.max_ns));
            }
        }
        Some(self.max_ns)
    }

    /// Returns the largest relative error of a quantile: `(b − 1) / (b + 1)`, 0.0054 at the finest scale. The
    /// rounding to whole nanoseconds comes on top.
    #[must_use]
    pub fn relative_error(&self) -> f64 {
        let base = bucket_base(self.scale);
        (base - 1.0) / (base + 1.0)
    }

    /// The value with the smallest relative distance to both bounds of a bucket: their harmonic mean.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounded, positive; `as` saturates"
    )]
    fn middle_ns(&self, index: i16) -> u64 {
        let base = bucket_base(self.scale);
        let lower = (f64::from(index) / f64::from(1_u32 << self.scale)).exp2();
        (2.0 * lower * base / (1.0 + base)).round() as u64
    }

    fn coarsen_to_limit(&mut self) {
        while self.buckets.len() > MAX_BUCKETS && self.scale > 0 {
            self.halve();
        }
    }

    /// Goes one scale down: buckets `2i` and `2i + 1` become bucket `i`.
    fn halve(&mut self) {
        self.scale -= 1;
        let halved = self.buckets.drain(..).map(|(index, count)| (index >> 1, count)).collect();
        self.buckets = join_equal(halved);
    }
}

fn bucket_base(scale: u8) -> f64 {
    (1.0 / f64::from(1_u32 << scale)).exp2()
}

/// Returns the bucket at [`MAX_SCALE`], −1 to 4095. Powers of two are the upper bounds of their buckets, so they are
/// taken from the bits; the logarithm of any other whole number is irrational.
#[expect(clippy::cast_possible_truncation, reason = "a 64-bit value's logarithm times 64 is at most 4096")]
fn finest_index(value: u64) -> i16 {
    let per_doubling = f64::from(1_u32 << MAX_SCALE);
    if value.is_power_of_two() {
        return (value.trailing_zeros() << MAX_SCALE) as i16 - 1;
    }
    ((value as f64).log2() * per_doubling).ceil() as i16 - 1
}

/// Joins neighbours of the same index.
fn join_equal(sorted: Vec<(i16, u64)>) -> Vec<(i16, u64)> {
    let mut joined: Vec<(i16, u64)> = Vec::with_capacity(sorted.len());
    for (index, count) in sorted {
        match joined.last_mut() {
            Some(last) if last.0 == index => last.1 = last.1.saturating_add(count),
            _ => joined.push((index, count)),
        }
    }
    joined
}

#[cfg(test)]
mod tests;
