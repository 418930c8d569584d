//! Where the handshake lies among a client's records of application data (RFC 8446, 4.4.4): what is behind it is the
//! application's, and so is what it dared to send before, if the server took that (0-RTT).

use super::hello::Hello;
use super::writes::PADDING_BYTES;

/// Records of a client's handshake that are encrypted, each of one message: certificate, its proof, and `Finished`.
const MAX_RECORDS: u64 = 3;
/// Records of early data that may arrive after the server's hello where it does not take them.
const MAX_LATE: u64 = 16;
/// `EndOfEarlyData` (RFC 8446, 4.5), which only follows what the server took.
const END_OF_EARLY_DATA_BYTES: u16 = 4;

/// An alert (RFC 8446, 6): that nothing more is said, or what went wrong.
const ALERT_BYTES: u16 = 2;

/// What is known of the handshake of one direction.
#[derive(Debug, Default)]
pub(super) struct Handshake {
    offers_early: bool,
    /// Records before the server's hello.
    early: u64,
    /// Records before the one that ends early data.
    early_end: Option<u64>,
    /// Records up to `Finished`.
    finished: Option<u64>,
    /// How much padding `Finished` had.
    padding: u16,
    /// Records that may be an alert, and others behind `Finished`.
    alerts: u64,
    others: u64,
}

impl Handshake {
    /// Notes what the client has said.
    pub(super) fn offer(&mut self, hello: &Hello) {
        self.offers_early = hello.offers_early;
    }

    /// Notes that the server has answered, after so many records of the client.
    pub(super) fn answer(&mut self, records: u64) {
        self.early = if self.offers_early { records } else { 0 };
    }

    /// Takes in a record behind the server's hello, by the bytes of its plaintext. Returns its padding if it is `Finished`,
    /// which has as many bytes.
    pub(super) fn record(&mut self, index: u64, plaintext: u16, finished_bytes: u16) -> Option<u16> {
        if plaintext == ALERT_BYTES + self.padding {
            self.alerts += 1;
        } else if self.finished.is_some() {
            self.others += 1;
        }
        if self.finished.is_some() {
            return None;
        }
        if self.offers_early && plaintext == END_OF_EARLY_DATA_BYTES {
            self.early_end = Some(index);
            return None;
        }
        let padding = plaintext.checked_sub(finished_bytes)?;
        let (first, most) = match self.early_end {
            Some(end) => (end + 1, MAX_RECORDS),
            None => (self.early, if self.offers_early { MAX_LATE } else { MAX_RECORDS }),
        };
        let is_finished = [0, PADDING_BYTES].contains(&padding) && (first..first + most).contains(&index);
        self.finished = is_finished.then_some(index + 1);
        self.padding = if is_finished { padding } else { 0 };
        is_finished.then_some(padding)
    }

    /// Records may be missing.
    pub(super) fn lose(&mut self) {
        self.others += 1;
    }

    /// Returns whether the client has said nothing but its handshake, and perhaps an alert. What has the length of one counts
    /// as one.
    pub(super) fn is_silent(&self) -> bool {
        let is_over = self.finished.is_some() || self.alerts > 0;
        is_over && !self.offers_early && self.others == 0 && self.alerts <= 1
    }

    /// Returns the records up to `Finished`, once that was seen.
    pub(super) fn finished(&self) -> Option<u64> {
        self.finished
    }

    /// Returns whether what is sent now may be early data.
    pub(super) fn is_early(&self) -> bool {
        self.offers_early && self.finished.is_none()
    }

    /// Returns how many records the server has not taken, once that is known.
    pub(super) fn refused(&self) -> Option<u64> {
        self.finished.filter(|_| self.early_end.is_none() && self.early > 0).map(|_| self.early)
    }

    /// Returns the records before the handshake, and those up to its end; `least` are of it anyway.
    pub(super) fn bounds(&self, least: u64) -> (u64, u64) {
        let before = self.early_end.unwrap_or(0);
        let open = if self.offers_early { self.early_end.map_or(0, |end| end + 1) } else { least };
        (before, self.finished.unwrap_or(open))
    }

    /// Returns the index of the first record of the application; `least` are of the handshake.
    pub(super) fn first(&self, least: u64) -> u64 {
        let (before, until) = self.bounds(least);
        if before > 0 { 0 } else { until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINISHED: u16 = 36;

    fn offering(offers_early: bool, early: u64) -> Handshake {
        let mut handshake = Handshake::default();
        handshake.offer(&Hello { is_client: true, offers_early, ..Hello::default() });
        handshake.answer(early);
        handshake
    }

    #[test]
    fn it_ends_with_finished() {
        let mut handshake = offering(false, 0);
        assert_eq!((handshake.is_early(), handshake.bounds(1)), (false, (0, 1)));
        assert_eq!(handshake.record(0, 700, FINISHED), None);
        assert_eq!(handshake.record(1, FINISHED + PADDING_BYTES, FINISHED), Some(PADDING_BYTES));
        assert_eq!(handshake.record(2, FINISHED, FINISHED), None, "it was there");
        assert_eq!((handshake.bounds(1), handshake.first(1), handshake.refused()), ((0, 2), 2, None));
        assert_eq!(offering(false, 0).record(3, FINISHED, FINISHED), None, "too late");
    }

    #[test]
    fn who_says_nothing_but_an_alert_is_silent() {
        let told = |plaintexts: &[u16]| {
            let mut handshake = offering(false, 0);
            for (index, plaintext) in plaintexts.iter().enumerate() {
                handshake.record(index as u64, *plaintext, FINISHED);
            }
            handshake.is_silent()
        };
        assert!(told(&[FINISHED]) && told(&[FINISHED, 2]) && told(&[700, FINISHED, 2]));
        assert!(told(&[FINISHED + PADDING_BYTES, 2 + PADDING_BYTES]), "padded");
        assert!(told(&[2]), "it did not like the server's certificate");
        assert!(!told(&[]) && !told(&[700]), "its handshake has not ended");
        assert!(!told(&[FINISHED, 18]) && !told(&[FINISHED, 40, 2]) && !told(&[FINISHED, 2, 2]));
        let mut holed = offering(false, 0);
        holed.record(0, FINISHED, FINISHED);
        holed.lose();
        assert!(!holed.is_silent());
    }

    #[test]
    fn what_the_server_took_is_before_it() {
        let mut handshake = offering(true, 2);
        assert_eq!((handshake.is_early(), handshake.bounds(1)), (true, (0, 0)));
        assert_eq!(handshake.record(2, 500, FINISHED), None);
        assert_eq!(handshake.record(3, END_OF_EARLY_DATA_BYTES, FINISHED), None);
        assert_eq!(handshake.record(4, FINISHED, FINISHED), Some(0));
        assert_eq!((handshake.is_early(), handshake.refused()), (false, None));
        assert_eq!((handshake.bounds(1), handshake.first(1)), ((3, 5), 0));
    }

    #[test]
    fn what_the_server_did_not_take_is_told() {
        let mut handshake = offering(true, 2);
        assert_eq!(handshake.record(2, FINISHED, FINISHED), Some(0));
        assert_eq!((handshake.refused(), handshake.bounds(1), handshake.first(1)), (Some(2), (0, 3), 3));
    }
}
