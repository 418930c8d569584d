//! The frames that a verifier needs where branches meet (JVM specification, 4.7.4).

use super::code::Layout;
use super::{Reader, Refusal, Writer};

const SAME_ONE: u8 = 64;
const SAME_ONE_EXTENDED: u8 = 247;
const CHOP: u8 = 248;
const SAME_EXTENDED: u8 = 251;
const APPEND: u8 = 252;
const FULL: u8 = 255;
const OBJECT: u8 = 7;
const UNINITIALIZED: u8 = 8;

/// Writes a table for moved code, with a frame more for a handler that knows only its exception.
pub(super) fn write(
    writer: &mut Writer<'_>,
    table: &[u8],
    layout: Layout<'_>,
    handler: Option<u32>,
    throwable: u16,
) -> Result<(), Refusal> {
    let mut reader = Reader::new(table);
    let count = reader.u16()?;
    writer.u16(count.checked_add(u16::from(handler.is_some())).ok_or(Refusal::TooLong)?)?;
    let mut old = Cursor::default();
    let mut new = Cursor::default();
    for _ in 0..count {
        frame(&mut reader, writer, layout, &mut old, &mut new)?;
    }
    let Some(handler) = handler else { return Ok(()) };
    writer.u8(FULL)?;
    writer.u16(new.step_to(handler)?)?;
    // No locals, and the exception on the stack.
    writer.u16(0)?;
    writer.u16(1)?;
    writer.u8(OBJECT)?;
    writer.u16(throwable)
}

/// Where the frame before was. Each tells its distance, less one, except for the first.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    before: Option<u32>,
}

impl Cursor {
    fn advance(&mut self, delta: u16) -> Result<u32, Refusal> {
        let at = match self.before {
            None => u32::from(delta),
            Some(before) => before.checked_add(u32::from(delta) + 1).ok_or(Refusal::Malformed)?,
        };
        self.before = Some(at);
        Ok(at)
    }

    fn step_to(&mut self, at: u32) -> Result<u16, Refusal> {
        let delta = match self.before {
            None => Some(at),
            Some(before) => at.checked_sub(before).and_then(|distance| distance.checked_sub(1)),
        };
        self.before = Some(at);
        u16::try_from(delta.ok_or(Refusal::Malformed)?).map_err(|_| Refusal::TooLong)
    }
}

fn frame(
    reader: &mut Reader<'_>,
    writer: &mut Writer<'_>,
    layout: Layout<'_>,
    old: &mut Cursor,
    new: &mut Cursor,
) -> Result<(), Refusal> {
    let tag = reader.u8()?;
    let delta = match tag {
        0..SAME_ONE => u16::from(tag),
        SAME_ONE..128 => u16::from(tag - SAME_ONE),
        SAME_ONE_EXTENDED.. => reader.u16()?,
        _ => return Err(Refusal::Unknown),
    };
    let delta = new.step_to(layout.moved(old.advance(delta)?)?)?;
    let short = u8::try_from(delta).ok().filter(|delta| *delta < SAME_ONE);
    match (tag, short) {
        (0..SAME_ONE, Some(short)) => writer.u8(short),
        (0..SAME_ONE, None) => long(writer, SAME_EXTENDED, delta),
        (SAME_ONE..128, Some(short)) => {
            writer.u8(SAME_ONE + short)?;
            types(reader, writer, layout, 1)
        }
        (SAME_ONE..=SAME_ONE_EXTENDED, _) => {
            long(writer, SAME_ONE_EXTENDED, delta)?;
            types(reader, writer, layout, 1)
        }
        (CHOP..=SAME_EXTENDED, _) => long(writer, tag, delta),
        (APPEND..FULL, _) => {
            long(writer, tag, delta)?;
            types(reader, writer, layout, u16::from(tag - SAME_EXTENDED))
        }
        (FULL, _) => {
            long(writer, tag, delta)?;
            for _ in ["locals", "stack"] {
                let count = reader.u16()?;
                writer.u16(count)?;
                types(reader, writer, layout, count)?;
            }
            Ok(())
        }
    }
}

fn long(writer: &mut Writer<'_>, tag: u8, delta: u16) -> Result<(), Refusal> {
    writer.u8(tag)?;
    writer.u16(delta)
}

fn types(
    reader: &mut Reader<'_>,
    writer: &mut Writer<'_>,
    layout: Layout<'_>,
    count: u16,
) -> Result<(), Refusal> {
    for _ in 0..count {
        let tag = reader.u8()?;
        writer.u8(tag)?;
        match tag {
            OBJECT => writer.u16(reader.u16()?)?,
            // Made by the `new` at this place.
            UNINITIALIZED => {
                let moved = layout.moved(u32::from(reader.u16()?))?;
                writer.u16(u16::try_from(moved).map_err(|_| Refusal::TooLong)?)?;
            }
            0..OBJECT => {}
            _ => return Err(Refusal::Unknown),
        }
    }
    Ok(())
}
