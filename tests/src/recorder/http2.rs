//! As much of HTTP/2 (RFC 9113) as it takes to answer each request.

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER_BYTES: usize = 9;
/// Types of frames, and the flag with which a request ends.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
/// SETTINGS, and the acknowledgement of the client's.
const SETTINGS: &[u8] = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x04\x01\x00\x00\x00\x00";
/// `:status: 200`
const STATUS: u8 = 0x88;

/// The answers of a connection.
#[derive(Debug, Default)]
pub(super) struct Answers {
    has_begun: bool,
    has_answered: bool,
}

impl Answers {
    /// Returns whether the connection begins as one of HTTP/2, or has done so.
    pub(super) fn is_preface(&self, unread: &[u8]) -> bool {
        self.has_begun || unread.starts_with(PREFACE)
    }

    /// Takes all whole frames; returns the answers to the requests that ended in them.
    pub(super) fn answer(&mut self, unread: &mut Vec<u8>) -> Vec<u8> {
        if !std::mem::replace(&mut self.has_begun, true) {
            unread.drain(..PREFACE.len());
        }
        let mut answers = Vec::new();
        while let Some(frame) = take_frame(unread) {
            let &[_, _, _, kind, flags, a, b, c, d, ..] = frame.as_slice() else { break };
            if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                if !std::mem::replace(&mut self.has_answered, true) {
                    answers.extend_from_slice(SETTINGS);
                }
                answers.extend([0, 0, 1, HEADERS, 4, a, b, c, d, STATUS]);
                answers.extend([0, 0, 2, DATA, END_STREAM, a, b, c, d, b'o', b'k']);
            }
        }
        answers
    }
}

fn take_frame(unread: &mut Vec<u8>) -> Option<Vec<u8>> {
    let [high, middle, low] = *unread.first_chunk()?;
    let length =
        FRAME_HEADER_BYTES + usize::from(high) * 65_536 + usize::from(middle) * 256 + usize::from(low);
    (unread.len() >= length).then(|| unread.drain(..length).collect())
}
