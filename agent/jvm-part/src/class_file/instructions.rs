//! The instructions of a method, as far as they must be known to be moved (JVM specification, 6.5).

use super::{Reader, Refusal, Writer};

pub(super) const ILOAD: u8 = 0x15;
pub(super) const ALOAD: u8 = 0x19;
pub(super) const ILOAD_0: u8 = 0x1a;
pub(super) const ALOAD_0: u8 = 0x2a;
pub(super) const DUP: u8 = 0x59;
pub(super) const ATHROW: u8 = 0xbf;
pub(super) const INVOKESTATIC: u8 = 0xb8;
pub(super) const NOP: u8 = 0x00;
const TABLESWITCH: u8 = 0xaa;
const LOOKUPSWITCH: u8 = 0xab;
const WIDE: u8 = 0xc4;
const IINC: u8 = 0x84;

/// An instruction with its operands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instruction<'a> {
    /// Where it begins.
    pub(super) at: u32,
    pub(super) bytes: &'a [u8],
}

/// Returns the instructions of some code. The last may be a refusal.
pub(super) fn all(code: &[u8]) -> impl Iterator<Item = Result<Instruction<'_>, Refusal>> {
    let mut reader = Reader::new(code);
    let mut is_over = false;
    core::iter::from_fn(move || {
        if is_over || reader.is_at_end() {
            return None;
        }
        let next = one(&mut reader);
        is_over = next.is_err();
        Some(next)
    })
}

fn one<'a>(reader: &mut Reader<'a>) -> Result<Instruction<'a>, Refusal> {
    let begin = reader.position();
    let at = u32::try_from(begin).map_err(|_| Refusal::TooLong)?;
    let opcode = reader.u8()?;
    match opcode {
        TABLESWITCH => {
            reader.skip(padding(at))?;
            reader.skip(4)?;
            let low = reader.u32()?.cast_signed();
            let high = reader.u32()?.cast_signed();
            let count = i64::from(high) - i64::from(low) + 1;
            reader.skip(usize::try_from(count * 4).map_err(|_| Refusal::Malformed)?)?;
        }
        LOOKUPSWITCH => {
            reader.skip(padding(at))?;
            reader.skip(4)?;
            let count = usize::try_from(reader.u32()?).map_err(|_| Refusal::Malformed)?;
            reader.skip(count.checked_mul(8).ok_or(Refusal::Malformed)?)?;
        }
        WIDE => {
            let length = if reader.u8()? == IINC { 4 } else { 2 };
            reader.skip(length)?;
        }
        other => reader.skip(operands(other)?)?,
    }
    Ok(Instruction { at, bytes: reader.since(begin)? })
}

/// Returns how many bytes lie between a switch and its first operand, which is aligned.
fn padding(at: u32) -> usize {
    match at % 4 {
        0 => 3,
        1 => 2,
        2 => 1,
        _ => 0,
    }
}

/// Returns the length of the operands of an instruction of fixed length.
fn operands(opcode: u8) -> Result<usize, Refusal> {
    Ok(match opcode {
        // bipush, ldc, loads and stores with an index, ret, newarray
        0x10 | 0x12 | 0x15..=0x19 | 0x36..=0x3a | 0xa9 | 0xbc => 1,
        // sipush, ldc_w, ldc2_w, iinc, branches, fields, invocations, new, anewarray, checkcast, instanceof, ifnull
        0x11 | 0x13 | 0x14 | IINC | 0x99..=0xa8 | 0xb2..=0xb8 | 0xbb | 0xbd | 0xc0 | 0xc1 | 0xc6 | 0xc7 => 2,
        // multianewarray
        0xc5 => 3,
        // invokeinterface, invokedynamic, goto_w, jsr_w
        0xb9 | 0xba | 0xc8 | 0xc9 => 4,
        0x00..=0xc9 => 0,
        _ => return Err(Refusal::Unknown),
    })
}

impl Instruction<'_> {
    fn opcode(&self) -> u8 {
        self.bytes.first().copied().unwrap_or(NOP)
    }

    /// Returns whether the method ends here, other than by an exception.
    pub(super) fn is_return(&self) -> bool {
        matches!(self.opcode(), 0xac..=0xb1)
    }

    /// Returns whether the method returns an `int` or an object here.
    pub(super) fn returns_one_value(&self) -> bool {
        matches!(self.opcode(), 0xac | 0xb0)
    }

    /// Writes it with its targets where `moved` puts them.
    pub(super) fn write(
        &self,
        writer: &mut Writer<'_>,
        moved: impl Fn(u32) -> Result<u32, Refusal>,
    ) -> Result<(), Refusal> {
        let mut reader = Reader::new(self.bytes);
        let opcode = reader.u8()?;
        let target = |offset: i32| self.target(offset, &moved);
        match opcode {
            TABLESWITCH | LOOKUPSWITCH => {
                writer.u8(opcode)?;
                writer.put(reader.take(padding(self.at))?)?;
                writer.u32(target(reader.u32()?.cast_signed())?.cast_unsigned())?;
                let is_table = opcode == TABLESWITCH;
                // The bounds, or how many pairs there are.
                writer.put(reader.take(if is_table { 8 } else { 4 })?)?;
                while !reader.is_at_end() {
                    if !is_table {
                        writer.put(reader.take(4)?)?;
                    }
                    writer.u32(target(reader.u32()?.cast_signed())?.cast_unsigned())?;
                }
                Ok(())
            }
            // The conditional branches, goto, jsr; ifnull, ifnonnull.
            0x99..=0xa8 | 0xc6 | 0xc7 => {
                writer.u8(opcode)?;
                let offset = target(i32::from(reader.u16()?.cast_signed()))?;
                writer.u16(i16::try_from(offset).map_err(|_| Refusal::TooLong)?.cast_unsigned())
            }
            0xc8 | 0xc9 => {
                writer.u8(opcode)?;
                writer.u32(target(reader.u32()?.cast_signed())?.cast_unsigned())
            }
            _ => writer.put(self.bytes),
        }
    }

    /// Returns the new offset of a target.
    fn target(&self, offset: i32, moved: impl Fn(u32) -> Result<u32, Refusal>) -> Result<i32, Refusal> {
        let target = self.at.checked_add_signed(offset).ok_or(Refusal::Malformed)?;
        let distance = i64::from(moved(target)?) - i64::from(moved(self.at)?);
        i32::try_from(distance).map_err(|_| Refusal::TooLong)
    }
}
