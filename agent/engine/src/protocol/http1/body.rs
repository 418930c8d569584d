//! Bodies, passed over (RFC 9112 sections 6 and 7).

use super::framing::Framing;

/// Longest line of a chunk's size and extensions.
const MAX_CHUNK_LINE_BYTES: usize = 4096;
/// Longest line of a trailer.
const MAX_TRAILER_BYTES: usize = 64 * 1024;
/// How much of a body without a known length is passed over at once. Positions are 32-bit, so it stays far below.
const UNTIL_END_BYTES: u64 = 1 << 30;

/// The end of a chunk's data, the last chunk and no trailers.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// Where in a body we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// As many bytes are left; not 0.
    Length(u64),
    /// Before the line with a chunk's size.
    ChunkSize,
    /// As many bytes of a chunk are left, with the line end after it.
    ChunkData(u64),
    /// After the last chunk: trailers, and an empty line.
    Trailers,
    /// Among chunks of which some bytes are missing: only the last one can be told.
    Seeking,
    /// No end is known.
    UntilEnd,
    /// All has been passed over, and nobody told so yet.
    Passed,
}

/// What to do with the bytes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// As many bytes are part of it.
    Eat(usize),
    /// So are the next, which need not be seen.
    Skip(u64),
    /// More must be seen.
    Need(usize),
    /// After as many bytes it is over.
    End(usize),
    /// It is no body.
    Broken(&'static str),
}

impl Body {
    /// Returns the beginning of a body; none where there is no body.
    pub(super) fn new(framing: Framing) -> Option<Self> {
        match framing {
            Framing::None => None,
            Framing::Length(length) => Some(Body::Length(length)),
            Framing::Chunked => Some(Body::ChunkSize),
            Framing::UntilEnd => Some(Body::UntilEnd),
        }
    }

    /// Advances over the first of `bytes`.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Step {
        match *self {
            Body::Length(left) => self.pass(left, bytes, Body::Passed),
            Body::ChunkSize => self.chunk_size(bytes),
            Body::ChunkData(left) => self.pass(left, bytes, Body::ChunkSize),
            Body::Trailers => trailer(bytes),
            Body::Seeking => seek(bytes),
            Body::UntilEnd => Step::Skip(UNTIL_END_BYTES),
            Body::Passed => Step::End(0),
        }
    }

    /// Advances over the data, without what frames them, at the beginning of bytes of which so many are shown; none
    /// where there are no data.
    pub(super) fn read(&mut self, shown: usize) -> Option<Step> {
        let (left, framed) = match self {
            Body::Length(left) => (left, 0),
            Body::ChunkData(left) => (left, 2),
            Body::UntilEnd => return (shown > 0).then_some(Step::Eat(shown)),
            _ => return None,
        };
        let data = left.saturating_sub(framed);
        let read = usize::try_from(data).map_or(shown, |data| data.min(shown));
        if read == 0 {
            return None;
        }
        *left -= read as u64;
        Some(if *left == 0 { Step::End(read) } else { Step::Eat(read) })
    }

    /// Returns where in the body we are after bytes of it are missing; none where its end can no longer be told.
    pub(super) fn after_missing(self) -> Option<Self> {
        matches!(self, Body::ChunkSize | Body::ChunkData(_) | Body::Seeking).then_some(Body::Seeking)
    }

    fn pass(&mut self, left: u64, bytes: &[u8], next: Body) -> Step {
        *self = next;
        match usize::try_from(left) {
            Ok(left) if left <= bytes.len() && next == Body::Passed => Step::End(left),
            Ok(left) if left <= bytes.len() => Step::Eat(left),
            _ => Step::Skip(left),
        }
    }

    fn chunk_size(&mut self, bytes: &[u8]) -> Step {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            return need_line(bytes, MAX_CHUNK_LINE_BYTES, "chunk line too long");
        };
        let line = bytes.get(..end).unwrap_or_default();
        let size = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        match hexadecimal(size).map(|size| (size, size.checked_add(2))) {
            Some((0, _)) => *self = Body::Trailers,
            Some((_, Some(with_line_end))) => *self = Body::ChunkData(with_line_end),
            _ => return Step::Broken("chunk size is no number"),
        }
        Step::Eat(end + 1)
    }
}

fn trailer(bytes: &[u8]) -> Step {
    match memchr::memchr(b'\n', bytes) {
        None => need_line(bytes, MAX_TRAILER_BYTES, "trailer too long"),
        Some(end) if matches!(bytes.get(..end), Some(b"" | b"\r")) => Step::End(end + 1),
        Some(end) => Step::Eat(end + 1),
    }
}

/// Nothing follows the last chunk before the other side has spoken, so that it ends what is shown. Data that end like
/// it, and are shown apart from what follows, would be taken for it.
fn seek(bytes: &[u8]) -> Step {
    if bytes.ends_with(LAST_CHUNK) {
        return Step::End(bytes.len());
    }
    match (bytes.len() + 1).saturating_sub(LAST_CHUNK.len()) {
        0 => Step::Need(LAST_CHUNK.len()),
        eaten => Step::Eat(eaten),
    }
}

fn need_line(bytes: &[u8], limit: usize, reason: &'static str) -> Step {
    if bytes.len() < limit { Step::Need(bytes.len() + 1) } else { Step::Broken(reason) }
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many of `bytes` the body takes, shown `window` bytes at a time at most.
    fn length(framing: Framing, bytes: &[u8], window: usize) -> Option<usize> {
        let mut body = Body::new(framing)?;
        let (mut at, mut shown) = (0, window);
        loop {
            let end = bytes.len().min(at + shown);
            match body.step(bytes.get(at..end)?) {
                Step::Eat(eaten) => (at, shown) = (at + eaten, window),
                Step::Skip(skipped) => (at, shown) = (at + usize::try_from(skipped).ok()?, window),
                Step::Need(needed) if at + needed <= bytes.len() => shown = needed,
                Step::End(eaten) => return Some(at + eaten),
                Step::Need(_) | Step::Broken(_) => return None,
            }
        }
    }

    #[test]
    fn bodies_end_where_they_end_for_any_split() {
        let chunked = b"5;name=\"v\"\r\nhello\r\n1F\r\n0123456789012345678901234567890\r\n0\r\nA: b\r\n\r\n";
        let shown = [&chunked[..], b"HTTP/1.1"].concat();
        for window in 1..shown.len() {
            assert_eq!(length(Framing::Chunked, &shown, window), Some(chunked.len()), "{window}");
            assert_eq!(length(Framing::Length(7), &shown, window), Some(7), "{window}");
        }
        assert_eq!(length(Framing::Chunked, b"0\n\n", 3), Some(3));
    }

    #[test]
    fn the_last_chunk_is_found_for_any_split() {
        let shown = b"data of a chunk\r\n0\r\n\r\n";
        for window in 1..=shown.len() {
            let (mut body, mut unread, mut end) = (Body::Seeking, Vec::new(), None);
            for part in shown.chunks(window) {
                unread.extend_from_slice(part);
                while end.is_none() && !unread.is_empty() {
                    match body.step(&unread) {
                        Step::Eat(eaten) => drop(unread.drain(..eaten)),
                        Step::End(eaten) => end = Some(eaten),
                        _ => break,
                    }
                }
            }
            assert_eq!(end, Some(unread.len()), "{window}");
        }
        assert_eq!(Body::Seeking.step(b"0\r\n\r\n"), Step::Need(7));
        assert_eq!(Body::Seeking.step(b"0\r\n\r\n, and more"), Step::Eat(9));
        assert_eq!(Body::Trailers.after_missing(), None);
    }

    #[test]
    fn wrong_chunks_are_broken() {
        for wrong in [&b"x\r\n"[..], b"\r\n", b"-1\r\n", b"fffffffffffffffff\r\n", b"ffffffffffffffff\r\n"] {
            let step = Body::ChunkSize.step(wrong);
            assert_eq!(step, Step::Broken("chunk size is no number"), "{}", wrong.escape_ascii());
        }
        assert_eq!(Body::ChunkSize.step(&[b'0'; 4096]), Step::Broken("chunk line too long"));
    }
}
