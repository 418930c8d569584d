//! What both sides say in the clear: `ClientHello` and `ServerHello` (RFC 8446, 4.1.2 and 4.1.3).

use super::version;

/// Longest first message that is read.
const MAX_HELLO_BYTES: usize = 16 << 10;
/// Longest name of a server (RFC 1035) and of a protocol that is believed.
const MAX_NAME_BYTES: usize = 255;
/// Most protocols that are remembered of an offer.
const MAX_OFFERED: usize = 16;

/// Types of handshake messages and of extensions.
mod code {
    pub(super) const CLIENT_HELLO: u8 = 1;
    pub(super) const SERVER_HELLO: u8 = 2;
    pub(super) const SERVER_NAME: u16 = 0;
    pub(super) const ALPN: u16 = 16;
    pub(super) const EARLY_DATA: u16 = 42;
    pub(super) const SUPPORTED_VERSIONS: u16 = 43;
}

/// What a side has said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) is_client: bool,
    /// The version that a server chose; of a client the highest that it offers.
    pub(crate) version: Option<u16>,
    /// What the server chose.
    pub(crate) cipher: Option<u16>,
    /// The server that the client asks for.
    pub(crate) server_name: Option<String>,
    /// Protocols that are offered, or the one that was chosen (up to TLS 1.2).
    pub(crate) protocols: Vec<String>,
    /// The client sends data before it has an answer.
    pub(crate) offers_early: bool,
    /// A part of the number that no other hello has.
    pub(crate) random: Option<u64>,
}

/// Puts the first handshake message of a direction together.
#[derive(Debug, Default)]
pub(super) struct Collector {
    bytes: Vec<u8>,
    hello: Option<Hello>,
    is_over: bool,
}

impl Collector {
    /// Returns one that reads nothing.
    pub(super) fn void() -> Self {
        Self { is_over: true, ..Self::default() }
    }

    /// Takes in bytes of handshake messages.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.is_over {
            return;
        }
        let room = MAX_HELLO_BYTES.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
        let whole = length(&self.bytes).map(|length| length + 4);
        if whole.is_some_and(|whole| self.bytes.len() >= whole) || self.bytes.len() >= MAX_HELLO_BYTES {
            self.give_up();
        }
    }

    /// No more will come: what is there is read.
    pub(super) fn give_up(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            let bytes = std::mem::take(&mut self.bytes);
            let end = length(&bytes).map_or(bytes.len(), |length| bytes.len().min(length + 4));
            self.hello = read(bytes.get(..end).unwrap_or_default());
        }
    }

    /// Returns what was said, once.
    pub(super) fn take(&mut self) -> Option<Hello> {
        self.hello.take()
    }

    /// Returns the bytes that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Length of the message that `bytes` begin.
fn length(bytes: &[u8]) -> Option<usize> {
    let &[_, high, middle, low] = bytes.first_chunk::<4>()?;
    Some(usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low))
}

/// Reads a message, as far as it is there.
fn read(bytes: &[u8]) -> Option<Hello> {
    let mut reader = Reader(bytes);
    let is_client = match reader.u8()? {
        code::CLIENT_HELLO => true,
        code::SERVER_HELLO => false,
        _ => return None,
    };
    reader.take(3)?;
    let mut hello = Hello { is_client, version: Some(reader.u16()?), ..Hello::default() };
    hello.random = reader.take(32)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
    // Session id.
    let length = reader.u8()?;
    reader.take(length.into())?;
    if is_client {
        let length = reader.u16()?;
        reader.take(length.into())?;
        let length = reader.u8()?;
        reader.take(length.into())?;
    } else {
        hello.cipher = Some(reader.u16()?);
        reader.u8()?;
    }
    // Extensions may be missing, and so may their end.
    if reader.u16().is_some() {
        while let (Some(kind), Some(length)) = (reader.u16(), reader.u16())
            && let Some(body) = reader.take(length.into())
        {
            extension(&mut hello, kind, body);
        }
    }
    Some(hello)
}

fn extension(hello: &mut Hello, kind: u16, body: &[u8]) {
    match kind {
        code::SERVER_NAME if hello.is_client => hello.server_name = server_name(body),
        code::ALPN => hello.protocols = protocols(body),
        code::EARLY_DATA => hello.offers_early = hello.is_client,
        code::SUPPORTED_VERSIONS => hello.version = versions(hello.is_client, body).or(hello.version),
        _ => {}
    }
}

/// RFC 6066, 3.
fn server_name(body: &[u8]) -> Option<String> {
    const HOST_NAME: u8 = 0;
    let mut reader = Reader(body);
    reader.u16()?;
    if reader.u8()? != HOST_NAME {
        return None;
    }
    let length = reader.u16()?;
    name(reader.take(length.into())?)
}

/// RFC 7301, 3.1.
fn protocols(body: &[u8]) -> Vec<String> {
    let mut reader = Reader(body);
    reader.u16();
    let next = || {
        let length = reader.u8()?;
        reader.take(length.into())
    };
    std::iter::from_fn(next).filter_map(name).take(MAX_OFFERED).collect()
}

fn versions(is_client: bool, body: &[u8]) -> Option<u16> {
    let mut reader = Reader(body);
    if !is_client {
        return reader.u16();
    }
    reader.u8()?;
    // Others are there to see whether servers refuse what they do not know (RFC 8701).
    let offered = std::iter::from_fn(|| reader.u16());
    offered.filter(|offered| *offered <= version::TLS_1_3).max()
}

/// Names are printable.
fn name(bytes: &[u8]) -> Option<String> {
    let is_sound = (1..=MAX_NAME_BYTES).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    is_sound.then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// Takes from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from OpenSSL 3.0.19.
    const CLIENT_1_3: &[u8] = include_bytes!("../../fixtures/tls/tls13.client");
    const SERVER_1_3: &[u8] = include_bytes!("../../fixtures/tls/tls13.server");
    const CLIENT_1_2: &[u8] = include_bytes!("../../fixtures/tls/tls12-gcm.client");
    const SERVER_1_2: &[u8] = include_bytes!("../../fixtures/tls/tls12-gcm.server");

    fn collected(bytes: &[u8], window: usize) -> Option<Hello> {
        let mut collector = Collector::default();
        bytes[5..].chunks(window).for_each(|part| collector.push(part));
        collector.take()
    }

    #[test]
    fn what_openssl_says_is_read() {
        let check = |bytes: &[u8], version, cipher: Option<u16>, name: Option<&str>, protocols: &[&str]| {
            let expected = Hello {
                is_client: cipher.is_none(),
                version: Some(version),
                cipher,
                server_name: name.map(str::to_owned),
                protocols: protocols.iter().map(|name| (*name).to_owned()).collect(),
                offers_early: false,
                // Behind the headers of record and message, and the version.
                random: bytes[11..].first_chunk().map(|bytes| u64::from_be_bytes(*bytes)),
            };
            for window in [1, 7, 10_000] {
                assert_eq!(collected(bytes, window), Some(expected.clone()));
            }
        };
        let offer = ["h2", "http/1.1"];
        check(CLIENT_1_3, version::TLS_1_3, None, Some("api.example"), &offer);
        check(SERVER_1_3, version::TLS_1_3, Some(0x1302), None, &[]);
        check(CLIENT_1_2, version::TLS_1_2, None, Some("api.example"), &offer);
        check(SERVER_1_2, version::TLS_1_2, Some(0xc02b), None, &["http/1.1"]);
    }

    #[test]
    fn hellos_that_are_cut_say_what_they_can() {
        for end in 5..CLIENT_1_3.len() {
            let mut collector = Collector::default();
            collector.push(&CLIENT_1_3[5..end]);
            collector.give_up();
            let hello = collector.take();
            assert!(hello.is_none_or(|hello| hello.is_client && hello.cipher.is_none()), "{end}");
        }
        let mut collector = Collector::default();
        collector.push(&[&[1, 0xff, 0xff, 0xff][..], &[0; 40]].concat());
        for _ in 0..100 {
            collector.push(&[0; 1024]);
        }
        assert!(collector.held_bytes() <= 2 * MAX_HELLO_BYTES);
    }

    #[test]
    fn names_that_are_no_text_are_left_out() {
        assert_eq!(server_name(b"\0\x06\0\0\x03a\0b"), None);
        assert_eq!(server_name(b"\0\x06\0\0\x03a.b").as_deref(), Some("a.b"));
        assert_eq!(protocols(b"\0\x06\x02h2\x02\x0a\x0a"), ["h2"], "GREASE");
    }
}
