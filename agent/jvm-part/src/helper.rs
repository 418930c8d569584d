//! The class that hooks call, as a class file: it turns objects into their identities, the rest is native.

use crate::class_file::{Refusal, Writer};
use crate::hooks::{Call, HELPER};

/// More bytes than it has.
pub const ROOM: usize = 2_048;
/// The native method that ends the part's work. It is there for the next part that is attached.
pub const STOP: &str = "stop";

/// Version of class files without frames (Java 5), which every later JVM takes.
const VERSION: u16 = 49;
const PUBLIC_FINAL_SYNTHETIC: u16 = 0x1031;
const STATIC: u16 = 0x0008;
const STATIC_NATIVE: u16 = 0x0108;

const CLASS_NAME: u16 = 1;
const CLASS: u16 = 2;
const OBJECT_NAME: u16 = 3;
const OBJECT: u16 = 4;
const CODE: u16 = 5;
const SYSTEM_NAME: u16 = 6;
const SYSTEM: u16 = 7;
const HASH_NAME: u16 = 8;
const HASH_DESCRIPTOR: u16 = 9;
const HASH_NAME_AND_TYPE: u16 = 10;
const HASH: u16 = 11;
const OF_OBJECT: u16 = 12;
const OF_NOTHING: u16 = 13;
const OF_HASH: u16 = 14;
const STOP_NAME: u16 = 15;
const FIRST_CALL: u16 = 16;
/// Constants of each call: its name, name and type of the native method, and that method.
const PER_CALL: u16 = 3;

/// Returns the descriptor of the native method behind a call.
#[must_use]
pub fn native_descriptor(call: Call) -> &'static str {
    if call.is_of_identity() { "(I)V" } else { call.descriptor() }
}

/// Writes the class, and returns its length.
///
/// # Errors
/// The buffer is shorter than [`ROOM`].
pub fn write(out: &mut [u8]) -> Result<usize, Refusal> {
    let mut writer = Writer::new(out);
    writer.u32(0xcafe_babe)?;
    writer.u16(0)?;
    writer.u16(VERSION)?;
    constants(&mut writer)?;
    for value in [PUBLIC_FINAL_SYNTHETIC, CLASS, OBJECT, 0, 0] {
        writer.u16(value)?;
    }
    let hashed = Call::ALL.iter().filter(|call| call.is_of_identity()).count();
    let methods = Call::ALL.len().saturating_add(hashed).saturating_add(1);
    writer.u16(u16::try_from(methods).map_err(|_| Refusal::TooLong)?)?;
    method(&mut writer, STATIC_NATIVE, STOP_NAME, OF_NOTHING)?;
    for (call, name) in Call::ALL.into_iter().zip((FIRST_CALL..).step_by(usize::from(PER_CALL))) {
        let descriptor = if call.descriptor() == "()V" { OF_NOTHING } else { OF_OBJECT };
        if call.is_of_identity() {
            method(&mut writer, STATIC_NATIVE, name, OF_HASH)?;
            of_identity(&mut writer, name, name.wrapping_add(2))?;
        } else {
            method(&mut writer, STATIC_NATIVE, name, descriptor)?;
        }
    }
    writer.u16(0)?;
    Ok(writer.length())
}

fn constants(writer: &mut Writer<'_>) -> Result<(), Refusal> {
    let count = u16::try_from(Call::ALL.len()).map_err(|_| Refusal::TooLong)?;
    writer.u16(count.saturating_mul(PER_CALL).saturating_add(FIRST_CALL))?;
    utf8(writer, HELPER)?;
    reference(writer, 7, &[CLASS_NAME])?;
    utf8(writer, "java/lang/Object")?;
    reference(writer, 7, &[OBJECT_NAME])?;
    utf8(writer, "Code")?;
    utf8(writer, "java/lang/System")?;
    reference(writer, 7, &[SYSTEM_NAME])?;
    utf8(writer, "identityHashCode")?;
    utf8(writer, "(Ljava/lang/Object;)I")?;
    reference(writer, 12, &[HASH_NAME, HASH_DESCRIPTOR])?;
    reference(writer, 10, &[SYSTEM, HASH_NAME_AND_TYPE])?;
    utf8(writer, "(Ljava/lang/Object;)V")?;
    utf8(writer, "()V")?;
    utf8(writer, "(I)V")?;
    utf8(writer, STOP)?;
    for (call, name) in Call::ALL.into_iter().zip((FIRST_CALL..).step_by(usize::from(PER_CALL))) {
        utf8(writer, call.name())?;
        reference(writer, 12, &[name, OF_HASH])?;
        reference(writer, 10, &[CLASS, name.wrapping_add(1)])?;
    }
    Ok(())
}

fn utf8(writer: &mut Writer<'_>, text: &str) -> Result<(), Refusal> {
    writer.u8(1)?;
    writer.u16(u16::try_from(text.len()).map_err(|_| Refusal::TooLong)?)?;
    writer.put(text.as_bytes())
}

fn reference(writer: &mut Writer<'_>, tag: u8, constants: &[u16]) -> Result<(), Refusal> {
    writer.u8(tag)?;
    constants.iter().try_for_each(|constant| writer.u16(*constant))
}

fn method(writer: &mut Writer<'_>, flags: u16, name: u16, descriptor: u16) -> Result<(), Refusal> {
    for value in [flags, name, descriptor, 0] {
        writer.u16(value)?;
    }
    Ok(())
}

/// A method that passes the identity of its argument on.
fn of_identity(writer: &mut Writer<'_>, name: u16, native: u16) -> Result<(), Refusal> {
    const ALOAD_0: u8 = 0x2a;
    const INVOKESTATIC: u8 = 0xb8;
    const RETURN: u8 = 0xb1;
    for value in [STATIC, name, OF_OBJECT, 1, CODE] {
        writer.u16(value)?;
    }
    let attribute = writer.length_later()?;
    // Stack, locals.
    writer.u16(1)?;
    writer.u16(1)?;
    let code = writer.length_later()?;
    writer.put(&[ALOAD_0, INVOKESTATIC])?;
    writer.u16(HASH)?;
    writer.u8(INVOKESTATIC)?;
    writer.u16(native)?;
    writer.u8(RETURN)?;
    writer.fill_length(code)?;
    // Handlers, attributes.
    writer.u16(0)?;
    writer.u16(0)?;
    writer.fill_length(attribute)
}
