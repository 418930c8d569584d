//! From a trace id to the place of its spans: a Bloom filter that is kept in memory, and a table that is read in place.
//!
//! Both work on a hash of the whole id: 64-bit ids come padded with zeros, so no part of an id is random by itself.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::model::TraceId;

/// Ten bits and seven probes: about 1 % of the other traces pass.
const BITS_PER_TRACE: usize = 10;
const PROBES: u32 = 7;

/// Bytes of a table entry: the hash's upper half and the first row, both u32.
const ENTRY_BYTES: u64 = 8;

/// Returns a hash of the id; every bit depends on every bit of the id.
pub(super) fn hash(id: TraceId) -> u64 {
    let whole = u128::from_le_bytes(id.0);
    mix((whole >> 64) as u64 ^ mix(whole as u64))
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014), with its increment so that zero does not stay zero.
fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Says which traces are surely not in a segment.
#[derive(Debug, PartialEq)]
pub(super) struct Filter {
    bits: Vec<u8>,
}

impl Filter {
    pub(super) fn new(hashes: impl ExactSizeIterator<Item = u64>) -> Self {
        let bits = vec![0; (hashes.len() * BITS_PER_TRACE).div_ceil(8).max(8)];
        let mut filter = Self { bits };
        for hash in hashes {
            for probe in 0..PROBES {
                let (byte, mask) = filter.place(hash, probe);
                if let Some(byte) = filter.bits.get_mut(byte) {
                    *byte |= mask;
                }
            }
        }
        filter
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (!bytes.is_empty()).then(|| Self { bits: bytes.to_owned() })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bits
    }

    pub(super) fn may_contain(&self, hash: u64) -> bool {
        (0..PROBES).all(|probe| {
            let (byte, mask) = self.place(hash, probe);
            self.bits.get(byte).is_some_and(|byte| byte & mask != 0)
        })
    }

    fn place(&self, hash: u64, probe: u32) -> (usize, u8) {
        // Double hashing (Kirsch and Mitzenmacher 2006): two halves make as many hashes as are needed.
        let step = (hash >> 32) | 1;
        let probed =
            hash.wrapping_add(step.wrapping_mul(u64::from(probe)).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let bit = (u128::from(mix(probed)) * (self.bits.len() as u128 * 8)) >> 64;
        ((bit / 8) as usize, 1 << (bit % 8))
    }
}

/// Returns the table's bytes for (hash, first row) pairs.
pub(super) fn encode_table(mut entries: Vec<(u64, u32)>) -> Vec<u8> {
    entries.sort_unstable();
    let mut bytes = Vec::with_capacity(entries.len() * ENTRY_BYTES as usize);
    for (hash, row) in entries {
        bytes.extend_from_slice(&upper(hash).to_le_bytes());
        bytes.extend_from_slice(&row.to_le_bytes());
    }
    bytes
}

/// Returns the first rows of all traces that share the upper half of the hash: mostly one, the wanted one.
pub(super) fn look_up(table: &File, hash: u64) -> io::Result<Vec<u32>> {
    let entries = table.metadata()?.len() / ENTRY_BYTES;
    let (mut low, mut high) = (0, entries);
    while low < high {
        let middle = low + (high - low) / 2;
        if entry(table, middle)?.0 < upper(hash) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let mut rows = Vec::new();
    while low < entries {
        let (found, row) = entry(table, low)?;
        if found != upper(hash) {
            break;
        }
        rows.push(row);
        low += 1;
    }
    Ok(rows)
}

fn upper(hash: u64) -> u32 {
    (hash >> 32) as u32
}

fn entry(table: &File, index: u64) -> io::Result<(u32, u32)> {
    let mut bytes = [0; ENTRY_BYTES as usize];
    table.read_exact_at(&mut bytes, index * ENTRY_BYTES)?;
    let whole = u64::from_le_bytes(bytes);
    Ok((whole as u32, (whole >> 32) as u32))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn id(number: u64) -> TraceId {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        TraceId(bytes)
    }

    #[test]
    fn filter_passes_what_is_in_and_few_others_for_padded_ids() {
        let hashes: Vec<u64> = (1..=10_000).map(|number| hash(id(number))).collect();
        let filter = Filter::new(hashes.iter().copied());
        assert!(hashes.iter().all(|hash| filter.may_contain(*hash)));
        let passed = (10_001..=20_000).filter(|number| filter.may_contain(hash(id(*number)))).count();
        assert!(passed < 200, "{passed} of 10000 passed");
    }

    #[test]
    fn table_finds_every_trace() {
        let entries: Vec<(u64, u32)> = (1..=1000).map(|number| (hash(id(number)), number as u32)).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&encode_table(entries.clone())).unwrap();
        for (hash, row) in entries {
            assert!(look_up(&file, hash).unwrap().contains(&row));
        }
        assert_eq!(look_up(&file, hash(id(5000))).unwrap(), Vec::<u32>::new());
    }
}
