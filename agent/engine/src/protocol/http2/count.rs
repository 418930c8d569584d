//! The messages of a gRPC call, counted in its data: each has five bytes before it, a flag and its length (gRPC over
//! HTTP/2, Length-Prefixed-Message). Frames need not end where messages do.

/// Length of what stands before each message.
const PREFIX_BYTES: usize = 5;

/// How many messages one side of a call has sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    messages: u32,
    /// Bytes of the message that are still to come.
    left: u32,
    prefix: [u8; PREFIX_BYTES],
    /// Bytes of the prefix that are known.
    filled: usize,
    /// Data are missing, or are no messages.
    is_unknown: bool,
}

impl Count {
    /// Returns the number of messages that have begun; none where it is not known.
    pub(super) fn messages(&self) -> Option<u32> {
        (!self.is_unknown).then_some(self.messages)
    }

    /// Notes that data were not seen.
    pub(super) fn lose(&mut self) {
        self.is_unknown = true;
    }

    /// Takes in the next of `left` bytes of data: returns how many of them need not be seen. Where it is 0, the next
    /// byte must be: it belongs to a prefix.
    pub(super) fn unseen(&mut self, left: u32) -> u32 {
        if self.is_unknown {
            return left;
        }
        let passed = self.left.min(left);
        self.left -= passed;
        passed
    }

    /// Takes in the next bytes of data, which are shown; returns how many of them belong to a prefix.
    pub(super) fn read(&mut self, data: &[u8]) -> usize {
        let Some(room) = self.prefix.get_mut(self.filled..) else { return 0 };
        let read = room.len().min(data.len());
        for (to, from) in room.iter_mut().zip(data) {
            *to = *from;
        }
        self.filled += read;
        if self.filled == PREFIX_BYTES {
            let [flag, a, b, c, d] = self.prefix;
            self.filled = 0;
            self.left = u32::from_be_bytes([a, b, c, d]);
            self.messages = self.messages.saturating_add(1);
            self.is_unknown |= flag > 1;
        }
        read
    }
}
