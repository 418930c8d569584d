//! Class files: takes one in, and puts it out with calls before or around the code of some methods (JVM specification,
//! chapter 4).
//!
//! Works on borrowed bytes into a borrowed buffer: it allocates nothing and cannot panic, because it runs in somebody
//! else's process. The length of what is inserted is a multiple of four bytes, so that the padding of switches stays what it was.

mod bytes;
mod code;
mod frames;
mod instructions;
mod pool;

pub use bytes::{Reader, Writer};
use code::Code;
use pool::{Added, Pool};

use crate::hooks::Hook;

/// Bytes that a class file can grow by, beside what its code does.
const MAX_ADDED: usize = 4_096;

/// Why a class is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It ends early, or is no class file.
    Malformed,
    /// It uses an instruction or a frame that is not known.
    Unknown,
    /// Something would become longer than the format can say, or than the buffer is.
    TooLong,
    /// None of the hooks fits a method of it.
    NothingToDo,
}

/// Returns how long a class file of `length` bytes can become.
#[must_use]
pub fn room(length: usize) -> usize {
    // Each return instruction is one byte, and most become five. Each frame can grow by two bytes.
    length.saturating_mul(5).saturating_add(MAX_ADDED)
}

/// Writes the class with the hooks into `out`, which has [`room`], and returns its length.
///
/// # Errors
/// The class stays as it is if the hooks do not fit it, or anything in it is not understood.
pub fn rewrite(class: &[u8], hooks: &[Hook], out: &mut [u8]) -> Result<usize, Refusal> {
    const MAGIC: u32 = 0xcafe_babe;
    let mut reader = Reader::new(class);
    let mut writer = Writer::new(out);
    if reader.u32()? != MAGIC {
        return Err(Refusal::Malformed);
    }
    writer.u32(MAGIC)?;
    let minor = reader.u16()?;
    let major = reader.u16()?;
    writer.u16(minor)?;
    writer.u16(major)?;
    let pool = Pool::read(&mut reader)?;
    let added = pool.write_with_calls(&mut writer)?;

    let members_at = reader.position();
    // Flags, this class, the one above.
    reader.skip(6)?;
    let interfaces = reader.u16()?;
    reader.skip(usize::from(interfaces) * 2)?;
    let fields = reader.u16()?;
    for _ in 0..fields {
        skip_member(&mut reader)?;
    }
    let methods = reader.u16()?;
    writer.put(reader.since(members_at)?)?;
    let mut changed = 0;
    for _ in 0..methods {
        changed += u32::from(method(&mut reader, &mut writer, &pool, &added, hooks, major)?);
    }
    writer.put(reader.rest())?;
    if changed == 0 { Err(Refusal::NothingToDo) } else { Ok(writer.length()) }
}

/// Passes over a field or method.
fn skip_member(reader: &mut Reader<'_>) -> Result<(), Refusal> {
    reader.skip(6)?;
    let attributes = reader.u16()?;
    for _ in 0..attributes {
        skip_attribute(reader)?;
    }
    Ok(())
}

fn skip_attribute(reader: &mut Reader<'_>) -> Result<(), Refusal> {
    reader.skip(2)?;
    let length = reader.u32()?;
    reader.skip(usize::try_from(length).map_err(|_| Refusal::Malformed)?)
}

/// Copies a method, with the hook that is meant for it. Returns whether there was one.
fn method(
    reader: &mut Reader<'_>,
    writer: &mut Writer<'_>,
    pool: &Pool<'_>,
    added: &Added,
    hooks: &[Hook],
    major: u16,
) -> Result<bool, Refusal> {
    let begin = reader.position();
    reader.skip(2)?;
    let name = pool.utf8(reader.u16()?)?;
    let descriptor = pool.utf8(reader.u16()?)?;
    let Some(hook) = hooks.iter().find(|hook| hook.is_for(name, descriptor)) else {
        let attributes = reader.u16()?;
        for _ in 0..attributes {
            skip_attribute(reader)?;
        }
        writer.put(reader.since(begin)?)?;
        return Ok(false);
    };
    let attributes = reader.u16()?;
    writer.put(reader.since(begin)?)?;
    let mut is_changed = false;
    for _ in 0..attributes {
        let attribute = reader.position();
        let name = pool.utf8(reader.u16()?)?;
        let length = usize::try_from(reader.u32()?).map_err(|_| Refusal::Malformed)?;
        let body = reader.take(length)?;
        if name == b"Code" {
            writer.put(reader.between(attribute, attribute.saturating_add(2))?)?;
            Code::read(body)?.write(writer, pool, added, hook, major)?;
            is_changed = true;
        } else {
            writer.put(reader.since(attribute)?)?;
        }
    }
    Ok(is_changed)
}

#[cfg(test)]
mod tests;
