//! One message (RFC 1035 section 4.1), whose end may not be there.

use std::hash::BuildHasher as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::name;

/// Length of the header.
pub(super) const HEADER_BYTES: usize = 12;
/// Records of a response that are looked at.
const MAX_RECORDS: usize = 64;
/// Addresses of a response that are told.
const MAX_ADDRESSES: usize = 16;

const RESPONSE: u16 = 1 << 15;
const TRUNCATED: u16 = 1 << 9;
const RESPONSE_CODE: u16 = 0xf;

const A: u16 = 1;
const AAAA: u16 = 28;
/// The record by which EDNS extends a message (RFC 6891 section 6.1).
pub(super) const OPT: u16 = 41;
/// The class of the Internet.
const IN: u16 = 1;

/// The header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: u16,
    pub(super) flags: u16,
    pub(super) questions: u16,
    pub(super) answers: u16,
    pub(super) authorities: u16,
    pub(super) additional: u16,
}

impl Header {
    /// Returns the header of a message; none where it is cut.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        Some(Self {
            id: number(message, 0)?,
            flags: number(message, 2)?,
            questions: number(message, 4)?,
            answers: number(message, 6)?,
            authorities: number(message, 8)?,
            additional: number(message, 10)?,
        })
    }

    pub(super) fn is_response(&self) -> bool {
        self.flags & RESPONSE != 0
    }

    /// Returns whether what did not fit is left out.
    pub(super) fn is_truncated(&self) -> bool {
        self.flags & TRUNCATED != 0
    }

    /// Returns how many records follow the questions.
    pub(super) fn records(&self) -> usize {
        usize::from(self.answers) + usize::from(self.authorities) + usize::from(self.additional)
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) name: String,
    pub(super) kind: u16,
    pub(super) class: u16,
    /// Where the records begin.
    pub(super) end: usize,
}

impl Question {
    /// Returns the first question of a message.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let (name, at) = name::read(message, HEADER_BYTES)?;
        Some(Self { name, kind: number(message, at)?, class: number(message, at + 2)?, end: at + 4 })
    }

    /// Returns what names an exchange on its connection: the same question under the same id is the same request.
    pub(super) fn key(&self, id: u16) -> u64 {
        foldhash::quality::FixedState::default().hash_one((id, &self.name, self.kind, self.class))
    }
}

/// What the records of a response say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    /// Addresses that were asked for, in their order.
    pub(super) addresses: Vec<IpAddr>,
    /// The upper bits of the response's code.
    pub(super) extended_code: u16,
}

impl Records {
    /// Reads the records from `at` on, as far as they are there.
    pub(super) fn read(message: &[u8], header: &Header, at: usize) -> Self {
        let mut records = Self::default();
        let mut at = at;
        for index in 0..header.records().min(MAX_RECORDS) {
            let Some(record) = Record::read(message, at) else { break };
            at = record.end;
            if record.kind == OPT {
                records.extended_code = record.extended_code << 4;
            }
            if index < usize::from(header.answers) && records.addresses.len() < MAX_ADDRESSES {
                records.addresses.extend(record.address());
            }
        }
        records
    }
}

/// Returns the code of a response: 0 where all went well.
pub(super) fn response_code(header: &Header, records: &Records) -> u16 {
    records.extended_code | header.flags & RESPONSE_CODE
}

#[derive(Clone, Copy, Debug)]
struct Record<'a> {
    kind: u16,
    class: u16,
    /// The first byte of the time to live, where `OPT` has something else.
    extended_code: u16,
    data: &'a [u8],
    end: usize,
}

impl<'a> Record<'a> {
    fn read(message: &'a [u8], at: usize) -> Option<Self> {
        let at = name::end(message, at)?;
        let (kind, class) = (number(message, at)?, number(message, at + 2)?);
        let extended_code = u16::from(*message.get(at + 4)?);
        let length = usize::from(number(message, at + 8)?);
        let data = message.get(at + 10..at + 10 + length)?;
        Some(Self { kind, class, extended_code, data, end: at + 10 + length })
    }

    fn address(&self) -> Option<IpAddr> {
        match (self.class, self.kind) {
            (IN, A) => <[u8; 4]>::try_from(self.data).ok().map(|bytes| Ipv4Addr::from(bytes).into()),
            (IN, AAAA) => <[u8; 16]>::try_from(self.data).ok().map(|bytes| Ipv6Addr::from(bytes).into()),
            _ => None,
        }
    }
}

/// Returns the number at `at`, in network byte order.
pub(super) fn number(message: &[u8], at: usize) -> Option<u16> {
    message.get(at..).and_then(<[u8]>::first_chunk).map(|&bytes| u16::from_be_bytes(bytes))
}
