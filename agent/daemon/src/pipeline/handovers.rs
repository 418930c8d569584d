//! Records that tell who works for whom, and were lost: what is known of such may be out of date.

/// The count of lost records at the last look.
#[derive(Debug, Default)]
pub(super) struct LostHandovers {
    count: u64,
    looked_at_ns: u64,
}

impl LostHandovers {
    /// Looks at the count; returns since when records may be missing, if it has risen. What is missing by now went missing
    /// after the last look.
    pub(super) fn look(&mut self, count: u64, now_ns: u64) -> Option<u64> {
        let since_ns = self.looked_at_ns;
        self.looked_at_ns = now_ns;
        (std::mem::replace(&mut self.count, count) != count).then_some(since_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_went_missing_after_the_last_look() {
        let mut lost = LostHandovers::default();
        assert_eq!(lost.look(0, 10), None);
        assert_eq!(lost.look(0, 20), None);
        assert_eq!(lost.look(3, 30), Some(20));
        assert_eq!(lost.look(3, 40), None);
    }
}
