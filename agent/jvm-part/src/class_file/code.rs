//! The `Code` attribute of a method (JVM specification, 4.7.3), with a call before or around the instructions.

use super::instructions::{self, ALOAD, ALOAD_0, ATHROW, DUP, ILOAD, ILOAD_0, INVOKESTATIC, NOP};
use super::pool::{Added, Pool};
use super::{Reader, Refusal, Writer, frames};
use crate::hooks::{Hook, Insertion, Local};

/// What is inserted is as many times as long, so that the padding of switches stays what it was.
const ALIGNMENT: usize = 4;
/// Length of a call, and of the handler of exceptions.
const CALL_BYTES: usize = 3;
const HANDLER_BYTES: u32 = 4;
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
    /// Length of the call before each return.
    after: u32,
}

impl Layout<'_> {
    /// Returns where the instruction is that was at `old`, or the call that was put before it.
    pub(super) fn moved(&self, old: u32) -> Result<u32, Refusal> {
        let mut inserted = self.before;
        if self.after != 0 {
            for instruction in instructions::all(self.code) {
                let instruction = instruction?;
                if instruction.at >= old {
                    break;
                }
                inserted += if instruction.is_return() { self.after } else { 0 };
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
        let length = |insertion: Option<Insertion>| insertion.map_or(0, |insertion| length_of(&insertion));
        let layout =
            Layout { code: self.instructions, before: length(hook.before), after: length(hook.after) };
        let length = writer.length_later()?;
        writer.u16(self.stack_with(hook)?)?;
        writer.u16(self.max_locals)?;
        let body = self.instructions(writer, added, hook, layout)?;
        let handler = hook.is_around.then_some(body);
        self.handlers(writer, layout, handler)?;
        self.attributes(writer, pool, added, layout, handler, major)?;
        writer.fill_length(length)
    }

    /// Returns how many values the stack must have room for.
    fn stack_with(&self, hook: &Hook) -> Result<u16, Refusal> {
        let values = |insertion: &Insertion| {
            // An exception, or what is returned, may lie below.
            let values = insertion.arguments.len().saturating_add(usize::from(insertion.takes_returned));
            u16::try_from(values).map_err(|_| Refusal::TooLong)
        };
        let before = hook.before.as_ref().map_or(Ok(0), values)?;
        let after = hook.after.as_ref().map_or(Ok(0), values)?;
        let after = self.max_stack.checked_add(after).ok_or(Refusal::TooLong)?;
        Ok(before.max(after).max(1))
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
        if let Some(before) = &hook.before {
            insert(writer, before, added)?;
        }
        for instruction in instructions::all(self.instructions) {
            let instruction = instruction?;
            if let Some(after) = hook.after.as_ref().filter(|_| instruction.is_return()) {
                if after.takes_returned && !instruction.returns_one_value() {
                    return Err(Refusal::Unknown);
                }
                insert(writer, after, added)?;
            }
            instruction.write(writer, |old| layout.moved(old))?;
        }
        let end = writer.length().saturating_sub(begin);
        let end = u32::try_from(end).ok().filter(|end| end + HANDLER_BYTES <= MAX_CODE);
        if let Some(after) = hook.after.as_ref().filter(|_| hook.is_around) {
            writer.u8(INVOKESTATIC)?;
            writer.u16(added.method(after.call)?)?;
            writer.u8(ATHROW)?;
        }
        writer.fill_length(length)?;
        end.ok_or(Refusal::TooLong)
    }

    /// Writes the handlers of exceptions, and last the one for all that are not caught.
    fn handlers(
        &self,
        writer: &mut Writer<'_>,
        layout: Layout<'_>,
        last: Option<u32>,
    ) -> Result<(), Refusal> {
        let count = u16::try_from(self.handlers.len() / 8).map_err(|_| Refusal::TooLong)?;
        writer.u16(count.checked_add(u16::from(last.is_some())).ok_or(Refusal::TooLong)?)?;
        let mut reader = Reader::new(self.handlers);
        while !reader.is_at_end() {
            for _ in 0..3 {
                writer.u16(layout.moved_u16(reader.u16()?)?)?;
            }
            writer.u16(reader.u16()?)?;
        }
        if let Some(handler) = last {
            let handler = u16::try_from(handler).map_err(|_| Refusal::TooLong)?;
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
        handler: Option<u32>,
        major: u16,
    ) -> Result<(), Refusal> {
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

fn length_of_load(local: Local) -> usize {
    let (Local::Object(local) | Local::Int(local)) = local;
    if local < SHORT_LOCALS { 1 } else { 2 }
}

/// Returns how many bytes an insertion has without what fills it up.
fn bare_length(insertion: &Insertion) -> usize {
    let loads: usize = insertion.arguments.iter().map(|local| length_of_load(*local)).sum();
    loads.saturating_add(CALL_BYTES).saturating_add(usize::from(insertion.takes_returned))
}

fn length_of(insertion: &Insertion) -> u32 {
    u32::try_from(bare_length(insertion).next_multiple_of(ALIGNMENT)).unwrap_or(u32::MAX)
}

/// Writes a call of a static method.
fn insert(writer: &mut Writer<'_>, insertion: &Insertion, added: &Added) -> Result<(), Refusal> {
    let bare = bare_length(insertion);
    for _ in bare..bare.next_multiple_of(ALIGNMENT) {
        writer.u8(NOP)?;
    }
    if insertion.takes_returned {
        writer.u8(DUP)?;
    }
    for argument in insertion.arguments {
        match *argument {
            Local::Object(local) if local < SHORT_LOCALS => writer.u8(ALOAD_0.saturating_add(local))?,
            Local::Object(local) => writer.put(&[ALOAD, local])?,
            Local::Int(local) if local < SHORT_LOCALS => writer.u8(ILOAD_0.saturating_add(local))?,
            Local::Int(local) => writer.put(&[ILOAD, local])?,
        }
    }
    writer.u8(INVOKESTATIC)?;
    writer.u16(added.method(insertion.call)?)
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
