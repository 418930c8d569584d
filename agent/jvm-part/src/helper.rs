//! The classes that hooks call, as class files.
//!
//! One lies in `java.lang`, which every class sees, whatever its loader. It turns objects into their identities, and
//! calls the other, whose methods are native: a JVM prints a warning when native methods of a named module are set.

use crate::class_file::{Refusal, Writer};
use crate::hooks::{Call, HELPER};

/// The class with the native methods. It lies in no module.
pub const NATIVE: &str = "remora/HandOver4";
/// More bytes than either class has.
pub const ROOM: usize = 4_096;
/// The methods that begin and end the part's work. They return 0 or what is missing.
pub const CONTROLS: [&str; 3] = ["start", "startWithTls", "stop"];
const OF_CONTROL: &str = "()I";

/// Version of class files without frames (Java 5), which every later JVM takes.
const VERSION: u16 = 49;
const PUBLIC_FINAL_SYNTHETIC: u16 = 0x1031;
const PUBLIC_STATIC: u16 = 0x0009;
const PUBLIC_STATIC_NATIVE: u16 = 0x0109;

const NAME: u16 = 1;
const CLASS: u16 = 2;
const OBJECT: u16 = 4;
const NATIVE_CLASS: u16 = 6;
const HASH: u16 = 12;
const CODE: u16 = 13;
/// Constants of the methods begin here.
const FIRST_METHOD: u16 = 14;
/// Of each: its name, its descriptor, the native one's descriptor, the name with that, and the native one.
const PER_METHOD: u16 = 5;

/// A method of both classes.
#[derive(Clone, Copy)]
struct Method {
    name: &'static str,
    descriptor: &'static str,
    is_of_identity: bool,
}

/// Returns the descriptor of the native method behind a call.
#[must_use]
pub fn native_descriptor(call: Call) -> &'static str {
    if call.is_of_identity() { "(I)V" } else { call.descriptor() }
}

fn methods() -> impl Iterator<Item = (u16, Method)> {
    let controls = CONTROLS.map(|name| Method { name, descriptor: OF_CONTROL, is_of_identity: false });
    let calls = Call::ALL.map(|call| Method {
        name: call.name(),
        descriptor: call.descriptor(),
        is_of_identity: call.is_of_identity(),
    });
    (FIRST_METHOD..).step_by(usize::from(PER_METHOD)).zip(controls.into_iter().chain(calls))
}

/// Writes the class that hooks call, and returns its length.
///
/// # Errors
/// The buffer is shorter than [`ROOM`].
pub fn write(out: &mut [u8]) -> Result<usize, Refusal> {
    class(out, HELPER, |writer, at, method| {
        head(writer, PUBLIC_STATIC, at, at.wrapping_add(1), 1)?;
        code(writer, method, at.wrapping_add(4))
    })
}

/// Writes the class with the native methods, and returns its length.
///
/// # Errors
/// The buffer is shorter than [`ROOM`].
pub fn write_native(out: &mut [u8]) -> Result<usize, Refusal> {
    class(out, NATIVE, |writer, at, _| head(writer, PUBLIC_STATIC_NATIVE, at, at.wrapping_add(2), 0))
}

fn class(
    out: &mut [u8],
    name: &str,
    write_method: impl Fn(&mut Writer<'_>, u16, Method) -> Result<(), Refusal>,
) -> Result<usize, Refusal> {
    let mut writer = Writer::new(out);
    writer.u32(0xcafe_babe)?;
    writer.u16(0)?;
    writer.u16(VERSION)?;
    constants(&mut writer, name)?;
    // Flags, this class, the one above, no interfaces, no fields.
    for value in [PUBLIC_FINAL_SYNTHETIC, CLASS, OBJECT, 0, 0] {
        writer.u16(value)?;
    }
    writer.u16(u16::try_from(methods().count()).map_err(|_| Refusal::TooLong)?)?;
    for (at, method) in methods() {
        write_method(&mut writer, at, method)?;
    }
    writer.u16(0)?;
    Ok(writer.length())
}

fn constants(writer: &mut Writer<'_>, name: &str) -> Result<(), Refusal> {
    let count = u16::try_from(methods().count()).map_err(|_| Refusal::TooLong)?;
    writer.u16(count.saturating_mul(PER_METHOD).saturating_add(FIRST_METHOD))?;
    utf8(writer, name)?;
    reference(writer, 7, &[NAME])?;
    utf8(writer, "java/lang/Object")?;
    reference(writer, 7, &[OBJECT.wrapping_sub(1)])?;
    utf8(writer, NATIVE)?;
    reference(writer, 7, &[NATIVE_CLASS.wrapping_sub(1)])?;
    utf8(writer, "java/lang/System")?;
    reference(writer, 7, &[7])?;
    utf8(writer, "identityHashCode")?;
    utf8(writer, "(Ljava/lang/Object;)I")?;
    reference(writer, 12, &[9, 10])?;
    reference(writer, 10, &[8, 11])?;
    utf8(writer, "Code")?;
    for (at, method) in methods() {
        utf8(writer, method.name)?;
        utf8(writer, method.descriptor)?;
        utf8(writer, if method.is_of_identity { "(I)V" } else { method.descriptor })?;
        reference(writer, 12, &[at, at.wrapping_add(2)])?;
        reference(writer, 10, &[NATIVE_CLASS, at.wrapping_add(3)])?;
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

fn head(
    writer: &mut Writer<'_>,
    flags: u16,
    name: u16,
    descriptor: u16,
    attributes: u16,
) -> Result<(), Refusal> {
    [flags, name, descriptor, attributes].into_iter().try_for_each(|value| writer.u16(value))
}

/// A method that passes its arguments, or the identity of the only one, on to the native one.
fn code(writer: &mut Writer<'_>, method: Method, native: u16) -> Result<(), Refusal> {
    const ILOAD: u8 = 0x15;
    const ALOAD: u8 = 0x19;
    const INVOKESTATIC: u8 = 0xb8;
    const IRETURN: u8 = 0xac;
    const RETURN: u8 = 0xb1;
    writer.u16(CODE)?;
    let attribute = writer.length_later()?;
    // Stack, locals.
    for _ in ["stack", "locals"] {
        writer
            .u16(u16::try_from(arguments(method.descriptor).count().max(1)).map_err(|_| Refusal::TooLong)?)?;
    }
    let code = writer.length_later()?;
    for (local, is_object) in (0..).zip(arguments(method.descriptor)) {
        writer.put(&[if is_object { ALOAD } else { ILOAD }, local])?;
    }
    if method.is_of_identity {
        writer.u8(INVOKESTATIC)?;
        writer.u16(HASH)?;
    }
    writer.u8(INVOKESTATIC)?;
    writer.u16(native)?;
    writer.u8(if method.descriptor == OF_CONTROL { IRETURN } else { RETURN })?;
    writer.fill_length(code)?;
    // Handlers, attributes.
    writer.u16(0)?;
    writer.u16(0)?;
    writer.fill_length(attribute)
}

/// Returns which arguments are objects; the others are of the type `int`.
fn arguments(descriptor: &str) -> impl Iterator<Item = bool> + '_ {
    let mut is_in_name = false;
    descriptor.bytes().take_while(|byte| *byte != b')').skip(1).filter_map(move |byte| {
        let is_first = !is_in_name;
        is_in_name = if is_first { byte == b'L' } else { byte != b';' };
        is_first.then_some(byte == b'L')
    })
}
