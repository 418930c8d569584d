//! Reads the ring without being woken by it.

use aya::maps::{MapData, RingBuf};

use super::decode::{Decoder, Undecodable};
use super::observation::Observation;

/// The consumer's side of the ring.
pub(super) struct Ring {
    ring: RingBuf<MapData>,
    decoder: Decoder,
    undecodable: u64,
}

impl Ring {
    pub(super) fn new(ring: RingBuf<MapData>) -> Self {
        Self { ring, decoder: Decoder::default(), undecodable: 0 }
    }

    /// Hands every record that is there to `sink`; returns how many there were.
    pub(super) fn drain(&mut self, limit: usize, sink: &mut impl FnMut(Observation)) -> usize {
        let mut records = 0;
        while records < limit {
            let Some(record) = self.ring.next() else { break };
            records += 1;
            match self.decoder.decode(&record) {
                Ok(Some(observation)) => sink(observation),
                Ok(None) => {}
                Err(Undecodable) => self.undecodable += 1,
            }
        }
        records
    }

    /// Returns the number of records that made no sense: always 0 unless programs and daemon do not match.
    pub(super) fn undecodable(&self) -> u64 {
        self.undecodable
    }
}
