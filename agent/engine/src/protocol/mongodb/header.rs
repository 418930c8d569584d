//! The header of each message (MongoDB wire protocol, "Standard Message Header"), and what follows it at once.

use super::bson;

/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 16;
/// Bytes of an `OP_MSG` before its first section.
pub(super) const MSG_HEAD_BYTES: usize = HEADER_BYTES + 4;
/// Bytes of an `OP_COMPRESSED` before what is compressed.
pub(super) const COMPRESSED_HEAD_BYTES: usize = HEADER_BYTES + 9;
/// Bytes of an `OP_REPLY` before its first document.
pub(super) const REPLY_HEAD_BYTES: usize = HEADER_BYTES + 20;
/// Bytes of a message's checksum.
pub(super) const CHECKSUM_BYTES: usize = 4;
/// Longest message (`maxMessageSizeBytes` of all servers).
pub(super) const MAX_MESSAGE_BYTES: u64 = 48_000_000;
/// Bytes that must be seen before a message is believed to begin somewhere.
pub(super) const TELLING_BYTES: usize = MSG_HEAD_BYTES + 5;

/// Kinds of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpCode {
    /// `OP_REPLY`: answers `OP_QUERY`.
    Reply,
    /// `OP_UPDATE`, `OP_INSERT`, `OP_DELETE`, `OP_KILL_CURSORS`: no server since 6.0 takes them, and none answers.
    Legacy,
    /// `OP_QUERY`: drivers begin with it.
    Query,
    /// `OP_GET_MORE`: likewise, but answered.
    GetMore,
    /// `OP_COMPRESSED`: another message, compressed.
    Compressed,
    /// `OP_MSG`.
    Msg,
}

impl OpCode {
    /// Returns what a number means.
    pub(super) fn of(number: i32) -> Option<Self> {
        match number {
            1 => Some(OpCode::Reply),
            2001 | 2002 | 2006 | 2007 => Some(OpCode::Legacy),
            2004 => Some(OpCode::Query),
            2005 => Some(OpCode::GetMore),
            2012 => Some(OpCode::Compressed),
            2013 => Some(OpCode::Msg),
            _ => None,
        }
    }
}

/// A message's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of the message in all.
    pub(super) length: usize,
    /// `requestID`.
    pub(super) id: u32,
    /// `responseTo`.
    pub(super) response_to: u32,
    /// `opCode`.
    pub(super) op_code: OpCode,
}

/// Returns the header that `bytes` begin with; none where they are too short or no header.
pub(super) fn read(bytes: &[u8]) -> Option<Header> {
    let word = |at: usize| bytes.get(at..).and_then(bson::int32);
    let op_code = OpCode::of(word(12)?)?;
    let length = usize::try_from(word(0)?).ok()?;
    let is_possible = (least(op_code) as u64..=MAX_MESSAGE_BYTES).contains(&(length as u64));
    is_possible.then_some(Header {
        length,
        id: word(4)?.cast_unsigned(),
        response_to: word(8)?.cast_unsigned(),
        op_code,
    })
}

/// Returns the length of the shortest message of a kind.
fn least(op_code: OpCode) -> usize {
    match op_code {
        OpCode::Msg => MSG_HEAD_BYTES + 1 + bson::MIN_DOCUMENT_BYTES,
        OpCode::Compressed => COMPRESSED_HEAD_BYTES,
        OpCode::Reply => REPLY_HEAD_BYTES,
        // Flags, a name of at least `a.b`, two numbers and a document.
        OpCode::Query => HEADER_BYTES + 4 + 4 + 8 + bson::MIN_DOCUMENT_BYTES,
        OpCode::Legacy | OpCode::GetMore => HEADER_BYTES + 8,
    }
}

/// `flagBits` of an `OP_MSG`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// `checksumPresent`: four bytes behind the sections are no section.
    pub(super) has_checksum: bool,
    /// `moreToCome`: another message follows without being asked for, or no answer is wanted.
    pub(super) more_to_come: bool,
}

/// Returns the flags with which the body of an `OP_MSG` begins; none where bits are set that a receiver must not accept.
pub(super) fn flags(bytes: &[u8]) -> Option<Flags> {
    // Bits 0 to 15 are required to be understood, and `exhaustAllowed` is the only one beyond.
    const KNOWN: u32 = 0x0001_0003;
    let bits = bson::int32(bytes)?.cast_unsigned();
    (bits & !KNOWN == 0).then_some(Flags { has_checksum: bits & 0x1 != 0, more_to_come: bits & 0x2 != 0 })
}
