//! What any parser would cost: to look at each byte once, and to allocate as much, as often. It is measured in the same
//! rounds, so that what the machine does besides slows both.

use std::hint::black_box;
use std::time::Duration;

use crate::allocations::Allocations;
use crate::clock::Clock;

/// Least time of a round.
const ROUND: Duration = Duration::from_millis(50);

/// Returns the nanoseconds for each of `messages` that `bytes` hold, where all of them allocate as much.
pub(crate) fn round(bytes: &[u8], messages: u64, allocated: Allocations) -> f64 {
    let share = |total: u64| usize::try_from(total.div_ceil(messages)).expect("little");
    let (length, count) = (share(bytes.len() as u64), share(allocated.count));
    let size = usize::try_from(allocated.bytes / allocated.count.max(1)).expect("little");
    let (began, mut told) = (Clock::now(), 0u64);
    while began.elapsed() < ROUND {
        for message in bytes.chunks(length) {
            black_box(message.iter().fold(0, |all, byte| all ^ byte));
            (0..count).for_each(|_| drop(black_box(Vec::<u8>::with_capacity(size))));
            told += 1;
        }
    }
    began.elapsed().as_secs_f64() * 1e9 / told as f64
}
