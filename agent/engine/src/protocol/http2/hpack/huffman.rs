//! The Huffman code of HPACK (RFC 7541 section 5.2 and appendix B).
//!
//! The code is canonical: codes of one length follow one another in the order of their symbols, and longer codes follow
//! shorter ones. So the lengths say it all, and the tables are made of them when this is compiled.

/// Length of each symbol's code, in bits.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];
/// Longest code, in bits; the one that means the end (EOS) is all ones of that length.
const MAX_BITS: u32 = 30;
/// Codes of so many bits and fewer, which are those of nearly all text, are found by one look.
const QUICK_BITS: u32 = 8;

/// Symbols in the order of their codes.
static SYMBOLS: [u8; 256] = symbols();
/// For each length of code: the first code of that length, and its place in [`SYMBOLS`].
static FIRSTS: [(u32, u32); MAX_BITS as usize + 2] = firsts();
/// For each beginning of [`QUICK_BITS`]: symbol and length of the code that it begins with; length 0 where it is longer.
static QUICK: [(u8, u8); 1 << QUICK_BITS] = quick();

/// Appends the text that `code` spells to `to`; says whether the code is valid. No more than `8 / 5` of its length is
/// appended.
pub(super) fn decode(code: &[u8], to: &mut Vec<u8>) -> bool {
    let mut bits: u64 = 0;
    let mut count: u32 = 0;
    for &byte in code {
        bits = bits << 8 | u64::from(byte);
        count += 8;
        while count >= QUICK_BITS {
            let Some((symbol, length)) = first(bits, count) else { break };
            to.push(symbol);
            count -= length;
        }
        // Nothing that is no code is longer than the longest one.
        if count >= MAX_BITS {
            return false;
        }
    }
    while let Some((symbol, length)) = first(bits, count) {
        to.push(symbol);
        count -= length;
    }
    // What is left is the beginning of EOS, and less than a byte.
    let mask = (1u64 << count) - 1;
    count < 8 && bits & mask == mask
}

/// Returns the symbol with which the last `count` of `bits` begin, and the length of its code.
fn first(bits: u64, count: u32) -> Option<(u8, u32)> {
    let at = if count >= QUICK_BITS { bits >> (count - QUICK_BITS) } else { bits << (QUICK_BITS - count) };
    let &(symbol, length) = QUICK.get(at as usize & 0xff)?;
    match u32::from(length) {
        0 => long(bits, count),
        length => (length <= count).then_some((symbol, length)),
    }
}

fn long(bits: u64, count: u32) -> Option<(u8, u32)> {
    (QUICK_BITS + 1..=MAX_BITS.min(count)).find_map(|length| {
        let code = (bits >> (count - length)) as u32 & ((1u32 << length) - 1);
        let &(first, place) = FIRSTS.get(length as usize)?;
        let &(_, next) = FIRSTS.get(length as usize + 1)?;
        let at = place + code.checked_sub(first)?;
        (at < next).then(|| SYMBOLS.get(at as usize).map(|&symbol| (symbol, length)))?
    })
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn symbols() -> [u8; 256] {
    let mut symbols = [0; 256];
    let (mut place, mut length) = (0, 1);
    while length <= MAX_BITS {
        let mut symbol = 0;
        while symbol < 256 {
            if LENGTHS[symbol] as u32 == length {
                symbols[place] = symbol as u8;
                place += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    symbols
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn firsts() -> [(u32, u32); MAX_BITS as usize + 2] {
    let mut firsts = [(0, 0); MAX_BITS as usize + 2];
    let (mut code, mut place, mut length) = (0, 0, 0);
    while length <= MAX_BITS as usize {
        firsts[length] = (code, place);
        let mut symbol = 0;
        while symbol < 256 {
            if LENGTHS[symbol] as usize == length {
                code += 1;
                place += 1;
            }
            symbol += 1;
        }
        code <<= 1;
        length += 1;
    }
    firsts[length] = (code, place);
    firsts
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn quick() -> [(u8, u8); 1 << QUICK_BITS] {
    let (symbols, firsts) = (symbols(), firsts());
    let mut quick = [(0, 0); 1 << QUICK_BITS];
    let mut length = 1;
    while length <= QUICK_BITS as usize {
        let (code, mut place) = firsts[length];
        let mut at = (code as usize) << (QUICK_BITS as usize - length);
        while place < firsts[length + 1].1 {
            let end = at + (1 << (QUICK_BITS as usize - length));
            while at < end {
                quick[at] = (symbols[place as usize], length as u8);
                at += 1;
            }
            place += 1;
        }
        length += 1;
    }
    quick
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(code: &[u8]) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        decode(code, &mut text).then_some(text)
    }

    /// Returns the code of a text, made of the lengths alone.
    fn encoded(text: &[u8]) -> Vec<u8> {
        let (mut bits, mut count, mut code) = (0u64, 0, Vec::new());
        for &symbol in text {
            let length = usize::from(LENGTHS[usize::from(symbol)]);
            let place = SYMBOLS.iter().position(|&other| other == symbol).expect("all are there") as u32;
            let (first, start) = FIRSTS[length];
            bits = bits << length | u64::from(first + place - start);
            count += length;
            while count >= 8 {
                count -= 8;
                code.push((bits >> count) as u8);
            }
        }
        if count > 0 {
            code.push((bits << (8 - count)) as u8 | (0xff >> count));
        }
        code
    }

    #[test]
    fn the_examples_of_the_specification_are_read() {
        // RFC 7541 appendix C.4 and C.6.
        let check = |code: &[u8], text: &str| assert_eq!(decoded(code).as_deref(), Some(text.as_bytes()));
        check(b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", "www.example.com");
        check(b"\xa8\xeb\x10\x64\x9c\xbf", "no-cache");
        check(b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf", "custom-value");
        check(
            b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
            "Mon, 21 Oct 2013 20:13:21 GMT",
        );
        check(b"", "");
    }

    #[test]
    fn every_symbol_is_read_after_every_other() {
        for first in 0..=255 {
            for second in 0..=255 {
                let text = [first, second];
                assert_eq!(decoded(&encoded(&text)).as_deref(), Some(&text[..]));
            }
        }
    }

    #[test]
    fn wrong_codes_are_refused() {
        for wrong in [
            // A whole byte of padding; padding that is not ones; EOS.
            &b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf\xff"[..],
            b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbe",
            b"\xff\xff\xff\xff",
            b"\xff\xff\xff\xfc",
        ] {
            assert_eq!(decoded(wrong), None, "{wrong:02x?}");
        }
    }
}
