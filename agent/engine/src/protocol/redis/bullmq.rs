//! BullMQ: jobs that its scripts keep under the keys of one queue (bullmq.io; `src/commands` of its source).
//!
//! A job's number is given by a counter of its queue. Its producer learns it from the script's reply, and its worker from
//! the reply that brings the job. Other servers, and other databases of this one, may have a queue of the same name that
//! counts alike; but not in the same millisecond, which the producer writes into the job.

use super::queues;
use super::request::Words;
use crate::protocol::text::decimal;

/// Where the key that a script begins with stands: after its name, its digest and the number of its keys.
const FIRST_KEY: usize = 3;
/// Longest id of a job that is looked at.
const MAX_ID_BYTES: usize = 256;
/// Deepest nesting of what is packed with a job: its parent is a map of strings.
const MAX_DEPTH: u32 = 4;
/// Where the packed arguments of a new job name the queue, the id that its producer wishes for, when it was made, and what
/// it may be a duplicate of.
const PREFIX: usize = 0;
const WISHED_ID: usize = 1;
const MADE_AT: usize = 3;
const DUPLICATE_OF: usize = 8;
/// The field of a job that says when it was made.
pub(super) const MADE_AT_FIELD: &[u8] = b"timestamp";

/// What a script does with jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// It adds a job that is new for certain, and replies with its id. The job was made at this time (Unix, in
    /// milliseconds).
    Add { made_at_ms: u64 },
    /// It replies with a job and its id, if there is one.
    Take,
}

/// Returns what a script does with jobs, by the keys that it is given; none where it is not one of BullMQ's that move
/// jobs.
pub(super) fn script(words: &Words<'_>) -> Option<Script> {
    let keys = keys(words)?;
    if taken_from(keys).is_some() {
        return Some(Script::Take);
    }
    let queue = added_to(keys)?;
    let (_, packed) = words.argument(queues::first_argument(words)?)?;
    Some(Script::Add { made_at_ms: made_at_ms(packed, queue)? })
}

/// Returns what the keys of a queue begin with: `bull:NAME:`.
pub(super) fn queue<'a>(words: &Words<'a>) -> Option<&'a [u8]> {
    let keys = keys(words)?;
    taken_from(keys).or_else(|| added_to(keys))
}

/// Returns the name in what the keys of a queue begin with.
pub(super) fn name(queue: &[u8]) -> &[u8] {
    let queue = queue.strip_suffix(b":").unwrap_or(queue);
    memchr::memrchr(b':', queue).and_then(|colon| queue.get(colon + 1..)).unwrap_or(queue)
}

/// Returns whether a text may be the id of a job, and is no mark that there are delayed ones.
pub(super) fn is_id(text: &[u8]) -> bool {
    (1..=MAX_ID_BYTES).contains(&text.len()) && !text.starts_with(b"0:")
}

fn keys<'w, 'a>(words: &'w Words<'a>) -> Option<&'w [&'a [u8]]> {
    let end = queues::first_argument(words)?.min(words.kept.len());
    words.kept.get(FIRST_KEY..end)
}

/// `moveToActive` and `moveToFinished` begin with the same keys.
fn taken_from<'a>(keys: &[&'a [u8]]) -> Option<&'a [u8]> {
    let [wait, active, _, _, stalled, ..] = *keys else { return None };
    let queue = queue_of(wait, b"wait")?;
    let is_its = queue_of(active, b"active") == Some(queue) && queue_of(stalled, b"stalled") == Some(queue);
    is_its.then_some(queue)
}

/// Scripts that add a job count it, next to what is known of the queue.
fn added_to<'a>(keys: &[&'a [u8]]) -> Option<&'a [u8]> {
    keys.array_windows().find_map(|[meta, id]| {
        let queue = queue_of(meta, b"meta")?;
        (queue_of(id, b"id") == Some(queue)).then_some(queue)
    })
}

fn queue_of<'a>(key: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    key.strip_suffix(name).filter(|queue| queue.ends_with(b":"))
}

/// Returns when a job was made that gets a number of its own: neither its producer chose an id, which another may have,
/// nor may it be dropped as a duplicate of another, whose id the reply would be.
fn made_at_ms(packed: &[u8], queue: &[u8]) -> Option<u64> {
    let elements = elements(packed)?;
    let is_empty = |at: usize| elements.get(at).is_none_or(|element| matches!(element, Packed::Nothing));
    let is_new = elements.get(PREFIX) == Some(&Packed::Text(queue)) && is_empty(WISHED_ID);
    match elements.get(MADE_AT) {
        Some(Packed::Number(made_at_ms)) if is_new && is_empty(DUPLICATE_OF) => Some(*made_at_ms),
        _ => None,
    }
}

/// What is packed, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packed<'a> {
    /// Nil, or an empty text.
    Nothing,
    Text(&'a [u8]),
    /// A whole number that is not negative.
    Number(u64),
    Other,
}

/// Returns the first elements of an array in MessagePack (msgpack.org, `spec.md`); none where it is not one, or its
/// elements are not of the kinds that are packed with a job.
fn elements(packed: &[u8]) -> Option<Vec<Packed<'_>>> {
    let (&first, mut rest) = packed.split_first()?;
    let count = usize::from(first.checked_sub(0x90).filter(|count| *count < 16)?);
    let mut elements = Vec::with_capacity(count);
    for _ in 0..count.min(DUPLICATE_OF + 1) {
        let (element, after) = element(rest, MAX_DEPTH)?;
        elements.push(element);
        rest = after;
    }
    Some(elements)
}

/// Returns the element at the beginning, and what follows it.
fn element(packed: &[u8], depth: u32) -> Option<(Packed<'_>, &[u8])> {
    let (&first, rest) = packed.split_first()?;
    let other = |length: usize| Some((Packed::Other, rest.get(length..)?));
    match first {
        0x00..=0x7f => Some((Packed::Number(u64::from(first)), rest)),
        0xc2 | 0xc3 | 0xe0..=0xff => other(0),
        0x80..=0x8f => {
            let mut rest = rest;
            for _ in 0..2 * (first & 0x0f) {
                (_, rest) = element(rest, depth.checked_sub(1)?)?;
            }
            Some((Packed::Other, rest))
        }
        0xa0..=0xbf => text(usize::from(first & 0x1f), rest),
        0xc0 => Some((Packed::Nothing, rest)),
        0xd0 => other(1),
        0xd1 => other(2),
        0xca | 0xd2 => other(4),
        0xd3 => other(8),
        0xcb => {
            let (bits, rest) = rest.split_first_chunk()?;
            Some((whole(f64::from_be_bytes(*bits)), rest))
        }
        0xcc => number::<1>(rest),
        0xcd => number::<2>(rest),
        0xce => number::<4>(rest),
        0xcf => number::<8>(rest),
        0xd9 => {
            let (&length, rest) = rest.split_first()?;
            text(usize::from(length), rest)
        }
        0xda => {
            let (length, rest) = rest.split_first_chunk()?;
            text(usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => None,
    }
}

fn number<const BYTES: usize>(rest: &[u8]) -> Option<(Packed<'_>, &[u8])> {
    let (bytes, rest) = rest.split_first_chunk::<BYTES>()?;
    Some((Packed::Number(bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))), rest))
}

/// JavaScript's numbers are all of one kind; those beyond 2^53 are not exact.
fn whole<'a>(number: f64) -> Packed<'a> {
    decimal(number.to_string().as_bytes()).map_or(Packed::Other, Packed::Number)
}

fn text(length: usize, rest: &[u8]) -> Option<(Packed<'_>, &[u8])> {
    let (text, rest) = rest.split_at_checked(length)?;
    Some((if text.is_empty() { Packed::Nothing } else { Packed::Text(text) }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `msgpackr` packs the arguments of a job `mail` with the id `id`, which may be a duplicate of `of`.
    fn packed(prefix: &str, id: &str, of: Option<&str>) -> Vec<u8> {
        let text = |text: &str| [&[0xa0 | u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        let mut packed = [vec![0x99], text(prefix), text(id), text("mail")].concat();
        packed.push(0xcb);
        packed.extend(1_790_000_000_123f64.to_be_bytes());
        packed.extend([0xc0, 0xc0]);
        packed.extend([vec![0x81], text("id"), text("7"), vec![0xc0]].concat());
        packed.extend(of.map_or(vec![0xc0], text));
        packed
    }

    fn of(keys: &[&str], argument: &[u8]) -> Option<Script> {
        let count = keys.len().to_string();
        let mut kept: Vec<&[u8]> = vec![b"evalsha", b"5f3a9e70", count.as_bytes()];
        kept.extend(keys.iter().map(|key| key.as_bytes()));
        kept.push(argument);
        let words = Words { arguments: kept.len() as u64 - 1, kept, beyond: None };
        script(&words)
    }

    const ADD: [&str; 5] = ["bull:mails:wait", "bull:mails:paused", "bull:mails:meta", "bull:mails:id", "b"];

    #[test]
    fn jobs_that_are_new_for_certain_are_added() {
        let added = Some(Script::Add { made_at_ms: 1_790_000_000_123 });
        assert_eq!(of(&ADD, &packed("bull:mails:", "", None)), added);
        assert_eq!(of(&ADD, &packed("bull:mails:", "", Some(""))), added);
        assert_eq!(of(&ADD, &packed("bull:mails:", "mail-1", None)), None, "its producer chose the id");
        assert_eq!(of(&ADD, &packed("bull:mails:", "", Some("mail-1"))), None, "it may be a duplicate");
        assert_eq!(of(&ADD, &packed("bull:other:", "", None)), None, "another queue");
        let argument = packed("bull:mails:", "", None);
        for end in 0..argument.len() {
            assert_eq!(of(&ADD, &argument[..end]), None, "{end}");
        }
    }

    #[test]
    fn times_are_whole_numbers_of_any_length() {
        fn of(packed: &[u8]) -> Option<Packed<'_>> {
            element(packed, MAX_DEPTH).map(|(element, _)| element)
        }
        assert_eq!(of(&[0x07]), Some(Packed::Number(7)));
        assert_eq!(of(&[0xcd, 1, 2]), Some(Packed::Number(258)));
        assert_eq!(of(&[0xcf, 0, 0, 1, 0, 0, 0, 0, 2]), Some(Packed::Number((1 << 40) + 2)));
        for other in [-1.0, 0.5, f64::NAN, f64::INFINITY] {
            assert_eq!(of(&[&[0xcb][..], &f64::to_be_bytes(other)].concat()), Some(Packed::Other), "{other}");
        }
        assert_eq!(of(&[0xcf, 0, 0, 1]), None);
    }

    #[test]
    fn other_scripts_are_not_bullmqs() {
        let argument = packed("bull:mails:", "", None);
        for keys in [&[][..], &ADD[..3], &["meta", "id"], &["bull:mails:meta", "bull:other:id"]] {
            assert_eq!(of(keys, &argument), None, "{keys:?}");
        }
        assert_eq!(of(&["q:wait", "q:active", "", "", "r:stalled"], b""), None);
    }

    #[test]
    fn jobs_are_taken_from_the_queue_that_all_keys_are_of() {
        let keys = ["{b}:x:wait", "{b}:x:active", "{b}:x:prioritized", "{b}:x:events", "{b}:x:stalled", "l"];
        assert_eq!(of(&keys, b"1790000000000"), Some(Script::Take));
        assert_eq!(of(&keys[..4], b"1790000000000"), None);
        assert_eq!(name(b"{b}:x:"), b"x");
        assert_eq!(name(b":"), b"");
    }

    #[test]
    fn what_is_packed_too_deep_is_not_read() {
        let deep = [&[0x91][..], &[0x81; 9], &[0xc0; 20]].concat();
        assert_eq!(elements(&deep), None);
    }

    #[test]
    fn marks_are_no_ids() {
        assert!(is_id(b"1") && is_id(b"repeat:5f3a:1790000000000") && is_id(&[b'a'; MAX_ID_BYTES]));
        assert!(!is_id(b"") && !is_id(b"0:1790000000000") && !is_id(&[b'a'; MAX_ID_BYTES + 1]));
    }
}
