//! The constant pool (JVM specification, 4.4), and what is added to it: the calls that hooks make.

use super::{Reader, Refusal, Writer};
use crate::hooks::{Call, HELPER};

const UTF8: u8 = 1;
const CLASS: u8 = 7;
const METHOD: u8 = 10;
const NAME_AND_TYPE: u8 = 12;

/// The constants of a class.
#[derive(Debug)]
pub(super) struct Pool<'a> {
    count: u16,
    constants: &'a [u8],
}

/// Where the added constants are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Added {
    first: u16,
}

impl<'a> Pool<'a> {
    /// Reads over the constants.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Refusal> {
        let count = reader.u16()?;
        let begin = reader.position();
        let mut index = 1;
        while index < count {
            index = index.saturating_add(skip(reader)?);
        }
        Ok(Self { count, constants: reader.since(begin)? })
    }

    /// Returns the bytes of a name.
    pub(super) fn utf8(&self, wanted: u16) -> Result<&'a [u8], Refusal> {
        let mut reader = Reader::new(self.constants);
        let mut index = 1;
        while index < wanted {
            index = index.saturating_add(skip(&mut reader)?);
        }
        if index != wanted || reader.u8()? != UTF8 {
            return Err(Refusal::Malformed);
        }
        let length = reader.u16()?;
        reader.take(usize::from(length))
    }

    /// Writes the constants, and behind them those of all calls.
    pub(super) fn write_with_calls(&self, writer: &mut Writer<'_>) -> Result<Added, Refusal> {
        let added = Added { first: self.count };
        let behind = added.call_at(Call::ALL.len()).ok_or(Refusal::TooLong)?;
        writer.u16(behind)?;
        writer.put(self.constants)?;
        utf8(writer, HELPER.as_bytes())?;
        writer.u8(CLASS)?;
        writer.u16(added.helper())?;
        utf8(writer, b"StackMapTable")?;
        utf8(writer, b"java/lang/Throwable")?;
        writer.u8(CLASS)?;
        writer.u16(added.throwable_name())?;
        for (number, call) in Call::ALL.iter().enumerate() {
            let name = added.call_at(number).ok_or(Refusal::TooLong)?;
            utf8(writer, call.name().as_bytes())?;
            utf8(writer, call.descriptor().as_bytes())?;
            writer.u8(NAME_AND_TYPE)?;
            writer.u16(name)?;
            writer.u16(name.wrapping_add(1))?;
            writer.u8(METHOD)?;
            writer.u16(added.helper().wrapping_add(1))?;
            writer.u16(name.wrapping_add(2))?;
        }
        Ok(added)
    }
}

impl Added {
    /// Constants before those of the calls.
    const FIXED: u16 = 5;
    /// Constants of each call: name, descriptor, both, and the method.
    const PER_CALL: u16 = 4;

    fn helper(self) -> u16 {
        self.first
    }

    pub(super) fn stack_map_table(self) -> u16 {
        self.first.wrapping_add(2)
    }

    fn throwable_name(self) -> u16 {
        self.first.wrapping_add(3)
    }

    pub(super) fn throwable(self) -> u16 {
        self.first.wrapping_add(4)
    }

    fn call_at(self, number: usize) -> Option<u16> {
        let before = u16::try_from(number).ok()?.checked_mul(Self::PER_CALL)?;
        self.first.checked_add(Self::FIXED)?.checked_add(before)
    }

    /// Returns the constant of a call's method.
    pub(super) fn method(self, call: Call) -> Result<u16, Refusal> {
        let number = Call::ALL.iter().position(|known| *known == call).ok_or(Refusal::Unknown)?;
        self.call_at(number).and_then(|at| at.checked_add(3)).ok_or(Refusal::TooLong)
    }
}

/// Passes over a constant, and returns how many indexes it takes.
fn skip(reader: &mut Reader<'_>) -> Result<u16, Refusal> {
    let (length, indexes) = match reader.u8()? {
        UTF8 => (usize::from(reader.u16()?), 1),
        // Class, String, MethodType, Module, Package
        CLASS | 8 | 16 | 19 | 20 => (2, 1),
        // MethodHandle
        15 => (3, 1),
        // Integer, Float, Fieldref, Methodref, InterfaceMethodref, NameAndType, Dynamic, InvokeDynamic
        3 | 4 | 9 | METHOD | 11 | NAME_AND_TYPE | 17 | 18 => (4, 1),
        // Long, Double
        5 | 6 => (8, 2),
        _ => return Err(Refusal::Unknown),
    };
    reader.skip(length)?;
    Ok(indexes)
}

fn utf8(writer: &mut Writer<'_>, text: &[u8]) -> Result<(), Refusal> {
    writer.u8(UTF8)?;
    writer.u16(u16::try_from(text.len()).map_err(|_| Refusal::TooLong)?)?;
    writer.put(text)
}
