//! Request headers, versions 1 and 2 (protocol guide, "Request Header v1"; KIP-482).

use super::api::Api;
use super::reader::{Failure, Field, Reader};

/// Bytes of the length before each request and response.
pub(super) const LENGTH_BYTES: usize = 4;
/// Shortest request: a header without a client id.
const MIN_REQUEST_BYTES: u32 = 10;
/// Longest request or response that is believed. Servers take 100 MiB unless configured otherwise.
pub(super) const MAX_FRAME_BYTES: u32 = 1 << 30;
/// How many versions newer than the newest one that is known may be met.
const MAX_UNKNOWN_VERSIONS: i16 = 8;
/// Longest client id.
const MAX_CLIENT_ID_BYTES: usize = 1024;

/// A request's header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header<'a> {
    /// Bytes of the request, with its length.
    pub(super) frame: u64,
    /// Bytes of the header, with the length.
    pub(super) length: usize,
    pub(super) key: i16,
    pub(super) api: &'static Api,
    pub(super) version: i16,
    pub(super) correlation: i32,
    pub(super) client: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// Reads the header that `bytes` begin with.
    pub(super) fn read(bytes: &'a [u8]) -> Field<Self> {
        let mut reader = Reader::new(bytes, false);
        let length = frame_length(reader.int32()?).filter(|&length| length >= MIN_REQUEST_BYTES);
        let length = length.ok_or(Failure::Wrong)?;
        let key = reader.int16()?;
        let api = Api::of_key(key).ok_or(Failure::Wrong)?;
        let version = reader.int16()?;
        if !(0..=api.newest + MAX_UNKNOWN_VERSIONS).contains(&version) {
            return Err(Failure::Wrong);
        }
        let correlation = reader.int32()?;
        let client = client_id(&mut reader)?;
        let mut reader = Reader::new(reader.rest(), api.is_flexible(version));
        reader.tags()?;
        let header = bytes.len() - reader.rest().len();
        let frame = u64::from(length) + LENGTH_BYTES as u64;
        if header as u64 > frame {
            return Err(Failure::Wrong);
        }
        Ok(Self { frame, length: header, key, api, version, correlation, client })
    }

    /// Returns whether the form of what follows is known.
    pub(super) fn is_known(&self) -> bool {
        self.version <= self.api.newest
    }

    /// Returns whether fields are compact and structures have tagged fields.
    pub(super) fn is_flexible(&self) -> bool {
        self.api.is_flexible(self.version)
    }
}

fn client_id<'a>(reader: &mut Reader<'a>) -> Field<Option<&'a [u8]>> {
    let shown = reader.rest();
    let client = match reader.plain_string() {
        // What there is of it decides already whether it is one.
        Err(Failure::Short) => shown.get(2..).unwrap_or_default(),
        other => other?.unwrap_or_default(),
    };
    let announced = shown.first_chunk().map_or(0, |length| i16::from_be_bytes(*length));
    let is_id = usize::try_from(announced).map_or(announced == -1, |length| length <= MAX_CLIENT_ID_BYTES)
        && client.iter().all(|byte| !byte.is_ascii_control());
    if !is_id {
        return Err(Failure::Wrong);
    }
    if shown.len() < 2 || usize::try_from(announced).is_ok_and(|length| shown.len() - 2 < length) {
        return Err(Failure::Short);
    }
    Ok((announced >= 0).then_some(client))
}

/// Returns the length of a request or response after this field, if it can be one.
pub(super) fn frame_length(length: i32) -> Option<u32> {
    u32::try_from(length).ok().filter(|length| (LENGTH_BYTES as u32..=MAX_FRAME_BYTES).contains(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARTBEAT: &[u8] = b"\0\0\0\x12\0\x0c\0\x03\0\0\0\x07\0\x03abcrest";

    #[test]
    fn a_header_is_read_as_soon_as_it_is_whole() {
        for end in 0..17 {
            assert_eq!(Header::read(&HEARTBEAT[..end]).unwrap_err(), Failure::Short, "{end}");
        }
        let header = Header::read(HEARTBEAT).unwrap();
        assert_eq!((header.frame, header.length, header.correlation), (22, 17, 7));
        assert_eq!((header.api.name, header.version, header.client), ("Heartbeat", 3, Some(&b"abc"[..])));
    }

    #[test]
    fn flexible_versions_have_tagged_fields_behind_the_client_id() {
        let header = Header::read(b"\0\0\0\x20\0\x0c\0\x04\0\0\0\x07\xff\xff\x01\x00\x02xyrest").unwrap();
        assert_eq!((header.length, header.client), (19, None));
    }

    #[test]
    fn what_cannot_be_a_header_is_refused_early() {
        for wrong in [
            &b"\xff"[..],
            b"\0\0\0\x03",
            b"\x7f\0\0\0",
            b"\0\0\0\x20\x01\x00",
            b"\0\0\0\x20\0\x0c\0\x40",
            b"\0\0\0\x20\0\x0c\0\x03\0\0\0\x07\xff\xfe",
            b"\0\0\0\x20\0\x0c\0\x03\0\0\0\x07\x10\0",
            b"\0\0\0\x20\0\x0c\0\x03\0\0\0\x07\0\x09ab\x01",
            b"\0\0\0\x0a\0\x0c\0\x03\0\0\0\x07\0\x02ab",
        ] {
            let read = (1..=wrong.len()).map(|end| Header::read(&wrong[..end]).map(drop));
            assert!(
                read.into_iter().any(|read| read == Err(Failure::Wrong)) || wrong.len() == 1,
                "{wrong:?}"
            );
        }
    }
}
