//! The id under which a library knows a job from its producer to whoever works on it: the first UUID in what it writes.

use crate::mix::mix;

/// Characters of a UUID in its usual form (RFC 9562, 4), and where its dashes stand.
const LENGTH: usize = 36;
const DASHES: [usize; 4] = [8, 13, 18, 23];

/// Returns a hash of the first UUID in a text, or in bytes that hold texts.
pub(crate) fn job_id(bytes: &[u8]) -> Option<u64> {
    let first = memchr::memchr_iter(b'-', bytes).find_map(|dash| {
        let start = dash.checked_sub(DASHES[0])?;
        bytes.get(start..start.checked_add(LENGTH)?).filter(|text| is_uuid(text))
    })?;
    Some(first.iter().fold(3, |hash, byte| mix(hash ^ u64::from(byte.to_ascii_lowercase()))))
}

fn is_uuid(text: &[u8]) -> bool {
    text.iter().enumerate().all(|(index, byte)| match DASHES.contains(&index) {
        true => *byte == b'-',
        false => byte.is_ascii_hexdigit(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0d1d1b3a-47a7-4d28-8b5a-7c1f3a9c0e11";

    #[test]
    fn the_first_uuid_counts() {
        let other = ID.replace('0', "9");
        let id = job_id(ID.as_bytes());
        assert!(id.is_some());
        assert_eq!(job_id(format!("a-b {ID} {other}").as_bytes()), id);
        assert_eq!(job_id(format!("\0$-{}-", ID.to_uppercase()).as_bytes()), id);
        assert_ne!(job_id(other.as_bytes()), id);
    }

    #[test]
    fn what_is_no_uuid_is_no_id() {
        for text in ["", "-", "--------", &ID[1..], &ID[..35], "0d1d1b3a-47a7-4d28-8b5a-7c1f3a9c0e1x"] {
            assert_eq!(job_id(text.as_bytes()), None, "{text}");
        }
    }
}
