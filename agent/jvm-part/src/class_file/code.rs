//! The `Code` attribute of a method (JVM specification, 4.7.3), with a call before or around the instructions.

use super::instructions::{self, ALOAD, ALOAD_0, ATHROW, INVOKESTATIC, NOP};
use super::pool::{Added, Pool};
use super::{Reader, Refusal, Writer, frames};
use crate::hooks::{Call, Hook};

/// Length of an inserted call.
const INSERTED: u32 = 4;
/// Length of an inserted call whose argument has an index of its own.
const INSERTED_WITH_INDEX: u32 = 8;
/// Locals that an instruction of one byte loads.
const SHORT_LOCALS: u8 = 4;
/// Code that is longer than this cannot be named by the tables (JVM specification, 4.9.1).
const MAX_CODE: u32 = 65_535;
/// The first version of class files with frames.
const FRAMES_SINCE: u16 = 50;

/// The code of a method.
#[derive(Debug)]
pub(super) struct Code<'a> {
    max_stack: u16,
    max_locals: u16,
    instructions: &'a [u8],
    handlers: &'a [u8],
    attribute_count: u16,
    attributes: &'a [u8],
}

/// Where instructions go to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout<'a> {
    code: &'a [u8],
    /// Length of the call before the first instruction.
    before: u32,
    is_around: bool,
}

impl Layout<'_> {
    /// Returns where the instruction is that was at `old`, or the call that was put before it.
    pub(super) fn moved(&self, old: u32) -> Result<u32, Refusal> {
        let mut inserted = self.before;
        if self.is_around {
            for instruction in instructions::all(self.code) {
                let instruction = instruction?;
                if instruction.at >= old {
                    break;
                }
                inserted += if instruction.is_return() { INSERTED } else { 0 };
            }
        }
        old.checked_add(inserted).ok_or(Refusal::TooLong)
    }

    fn moved_u16(&self, old: u16) -> Result<u16, Refusal> {
        u16::try_from(self.moved(u32::from(old))?).map_err(|_| Refusal::TooLong)
    }
}

impl<'a> Code<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::new(body);
        let max_stack = reader.u16()?;
        let max_locals = reader.u16()?;
        let length = usize::try_from(reader.u32()?).map_err(|_| Refusal::Malformed)?;
        let instructions = reader.take(length)?;
        let handlers = usize::from(reader.u16()?).saturating_mul(8);
        let handlers = reader.take(handlers)?;
        let attribute_count = reader.u16()?;
        Ok(Self { max_stack, max_locals, instructions, handlers, attribute_count, attributes: reader.rest() })
    }

    /// Writes the attribute from its length on.
    pub(super) fn write(
        &self,
        writer: &mut Writer<'_>,
        pool: &Pool<'_>,
        added: &Added,
        hook: &Hook,
        major: u16,
    ) -> Result<(), Refusal> {
        let before = hook.argument.map_or(INSERTED, call_length);
        let layout = Layout { code: self.instructions, before, is_around: hook.is_around };
        let length = writer.length_later()?;
        writer.u16(self.max_stack.max(1))?;
        writer.u16(self.max_locals)?;
        let body = self.instructions(writer, added, hook, layout)?;
        self.handlers(writer, layout, body)?;
        self.attributes(writer, pool, added, layout, body, major)?;
        writer.fill_length(length)
    }

    /// Writes the instructions, and returns where those of the method itself end.
    fn instructions(
        &self,
        writer: &mut Writer<'_>,
        added: &Added,
        hook: &Hook,
        layout: Layout<'_>,
    ) -> Result<u32, Refusal> {
        let length = writer.length_later()?;
        let begin = writer.length();
        call(writer, hook.argument, added.method(hook.call)?)?;
        let leave = added.method(Call::Leave)?;
        for instruction in instructions::all(self.instructions) {
            let instruction = instruction?;
            if hook.is_around && instruction.is_return() {
                writer.put(&[NOP, INVOKESTATIC])?;
                writer.u16(leave)?;
            }
            instruction.write(writer, |old| layout.moved(old))?;
        }
        let end = writer.length().saturating_sub(begin);
        let end = u32::try_from(end).ok().filter(|end| end + INSERTED <= MAX_CODE);
        if hook.is_around {
            writer.u8(INVOKESTATIC)?;
            writer.u16(leave)?;
            writer.u8(ATHROW)?;
        }
        writer.fill_length(length)?;
        end.ok_or(Refusal::TooLong)
    }

    /// Writes the handlers of exceptions, and last the one for all that are not caught.
    fn handlers(&self, writer: &mut Writer<'_>, layout: Layout<'_>, body: u32) -> Result<(), Refusal> {
        let count = u16::try_from(self.handlers.len() / 8).map_err(|_| Refusal::TooLong)?;
        writer.u16(count.checked_add(u16::from(layout.is_around)).ok_or(Refusal::TooLong)?)?;
        let mut reader = Reader::new(self.handlers);
        while !reader.is_at_end() {
            for _ in 0..3 {
                writer.u16(layout.moved_u16(reader.u16()?)?)?;
            }
            writer.u16(reader.u16()?)?;
        }
        if layout.is_around {
            let handler = u16::try_from(body).map_err(|_| Refusal::TooLong)?;
            writer.u16(u16::try_from(layout.before).map_err(|_| Refusal::TooLong)?)?;
            writer.u16(handler)?;
            writer.u16(handler)?;
            writer.u16(0)?;
        }
        Ok(())
    }

    fn attributes(
        &self,
        writer: &mut Writer<'_>,
        pool: &Pool<'_>,
        added: &Added,
        layout: Layout<'_>,
        body: u32,
        major: u16,
    ) -> Result<(), Refusal> {
        let handler = layout.is_around.then_some(body);
        let has_frames = self.has_frames(pool)?;
        let wants_frames = handler.is_some() && !has_frames && major >= FRAMES_SINCE;
        let count = self.attribute_count.checked_add(u16::from(wants_frames));
        writer.u16(count.ok_or(Refusal::TooLong)?)?;
        let mut reader = Reader::new(self.attributes);
        for _ in 0..self.attribute_count {
            let name = reader.u16()?;
            let length = usize::try_from(reader.u32()?).map_err(|_| Refusal::Malformed)?;
            let attribute = reader.take(length)?;
            writer.u16(name)?;
            let length = writer.length_later()?;
            match pool.utf8(name)? {
                b"StackMapTable" => {
                    frames::write(writer, attribute, layout, handler, added.throwable())?;
                }
                b"LineNumberTable" => lines(writer, attribute, layout)?,
                b"LocalVariableTable" | b"LocalVariableTypeTable" => locals(writer, attribute, layout)?,
                _ => writer.put(attribute)?,
            }
            writer.fill_length(length)?;
        }
        if wants_frames {
            writer.u16(added.stack_map_table())?;
            let length = writer.length_later()?;
            frames::write(writer, &[0, 0], layout, handler, added.throwable())?;
            writer.fill_length(length)?;
        }
        Ok(())
    }

    fn has_frames(&self, pool: &Pool<'_>) -> Result<bool, Refusal> {
        let mut reader = Reader::new(self.attributes);
        for _ in 0..self.attribute_count {
            if pool.utf8(reader.u16()?)? == b"StackMapTable" {
                return Ok(true);
            }
            let length = reader.u32()?;
            reader.skip(usize::try_from(length).map_err(|_| Refusal::Malformed)?)?;
        }
        Ok(false)
    }
}

fn call_length(argument: u8) -> u32 {
    if argument < SHORT_LOCALS { INSERTED } else { INSERTED_WITH_INDEX }
}

/// Writes a call of a static method, with a local variable as its argument if there is one.
fn call(writer: &mut Writer<'_>, argument: Option<u8>, method: u16) -> Result<(), Refusal> {
    match argument {
        None => writer.u8(NOP)?,
        Some(local) if local < SHORT_LOCALS => writer.u8(ALOAD_0.saturating_add(local))?,
        Some(local) => writer.put(&[NOP, NOP, NOP, ALOAD, local])?,
    }
    writer.u8(INVOKESTATIC)?;
    writer.u16(method)
}

fn lines(writer: &mut Writer<'_>, table: &[u8], layout: Layout<'_>) -> Result<(), Refusal> {
    let mut reader = Reader::new(table);
    writer.u16(reader.u16()?)?;
    while !reader.is_at_end() {
        writer.u16(layout.moved_u16(reader.u16()?)?)?;
        writer.u16(reader.u16()?)?;
    }
    Ok(())
}

fn locals(writer: &mut Writer<'_>, table: &[u8], layout: Layout<'_>) -> Result<(), Refusal> {
    let mut reader = Reader::new(table);
    writer.u16(reader.u16()?)?;
    while !reader.is_at_end() {
        let begin = reader.u16()?;
        let end = begin.checked_add(reader.u16()?).ok_or(Refusal::Malformed)?;
        let moved = layout.moved_u16(begin)?;
        writer.u16(moved)?;
        writer.u16(layout.moved_u16(end)?.checked_sub(moved).ok_or(Refusal::Malformed)?)?;
        // Name, descriptor, index.
        writer.put(reader.take(6)?)?;
    }
    Ok(())
}
