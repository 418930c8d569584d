//! The context of a request that begins at a place of a connection, as the engine computes it from the same numbers
//! (`correlation/identity.rs`), and as a header.

use remora_abi::{HEADER_FIELD_BYTES, HEADER_LINE_BYTES};

/// The header line of HTTP/1.
pub(super) type Line = [u8; HEADER_LINE_BYTES as usize];
/// The header field of HTTP/2, behind the byte that stands before it.
pub(super) type Field = [u8; HEADER_FIELD_BYTES as usize + 1];

/// What a trace that begins with a request would be called, and the request's span.
pub(super) struct Context {
    trace: [u64; 2],
    client_span: u64,
}

impl Context {
    /// Returns the context of the request that begins at `position` of a connection whose directions begin at the other
    /// two.
    #[inline(always)]
    pub(super) fn of(first_egress: u32, first_ingress: u32, position: u32) -> Self {
        let pair =
            mix(u64::from(first_egress) << 32 | u64::from(first_ingress)) ^ mix(u64::from(position) << 32);
        let span = mix(pair ^ 0x636c_6965_6e74);
        Self {
            trace: [mix(pair ^ 0x7472_6163_6531), mix(pair ^ 0x7472_6163_6532)],
            client_span: if span == 0 { 1 } else { span },
        }
    }

    /// Returns the header line with the context (W3C Trace Context, version 00, sampled).
    #[inline(always)]
    pub(super) fn line(&self) -> Line {
        let mut line = *b"traceparent: 00-00000000000000000000000000000000-0000000000000000-01\r\n";
        self.put_ids(&mut line, 16);
        line
    }

    /// Returns the same for HTTP/2, behind the byte that stands before it.
    #[inline(always)]
    pub(super) fn field(&self, before: u8) -> Field {
        let mut field = *b"_\x00\x0btraceparent\x3700-00000000000000000000000000000000-0000000000000000-01";
        field[0] = before;
        self.put_ids(&mut field, 18);
        field
    }

    #[inline(always)]
    fn put_ids<const N: usize>(&self, text: &mut [u8; N], at: usize) {
        put(text, at, self.trace[0]);
        put(text, at + 16, self.trace[1]);
        put(text, at + 33, self.client_span);
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), with 0 moved away.
#[inline(always)]
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Writes a number as 16 hexadecimal digits.
#[inline(always)]
fn put<const N: usize>(text: &mut [u8; N], at: usize, value: u64) {
    let [high, low] = [hexadecimal((value >> 32) as u32), hexadecimal(value as u32)];
    let mut index = 0;
    while index < 8 {
        text[at + index] = high[index];
        text[at + 8 + index] = low[index];
        index += 1;
    }
}

/// Returns the eight digits of a number, without a branch: the verifier would follow both sides of each.
#[inline(always)]
fn hexadecimal(value: u32) -> [u8; 8] {
    let value = value.swap_bytes();
    // The higher half of a byte comes first.
    let value = u64::from((value & 0x0f0f_0f0f) << 4 | (value >> 4) & 0x0f0f_0f0f);
    let value = (value | value << 16) & 0x0000_ffff_0000_ffff;
    let value = (value | value << 8) & 0x00ff_00ff_00ff_00ff;
    let value = (value | value << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let is_letter = (value + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    (value + 0x3030_3030_3030_3030 + is_letter * 0x27).to_le_bytes()
}
