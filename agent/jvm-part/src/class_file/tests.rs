//! Classes that are made here, and those of the JVM on this machine, which has the last word on them.

use super::*;
use crate::helper;
use crate::hooks::{self, Call, Local};

/// Returns the class `Sample` with one method `name`, whose code, exception table and frames are given.
fn class_with(name: &str, code: &[u8], handlers: &[u8], frames: &[u8]) -> Vec<u8> {
    let mut room = vec![0; 4_096];
    let mut writer = Writer::new(&mut room);
    let mut write = || -> Result<usize, Refusal> {
        writer.u32(0xcafe_babe)?;
        writer.u16(0)?;
        writer.u16(61)?;
        let names = ["Sample", "java/lang/Object", name, "()V", "Code", "StackMapTable"];
        writer.u16(u16::try_from(names.len()).unwrap() + 3)?;
        for name in names {
            writer.u8(1)?;
            writer.u16(u16::try_from(name.len()).unwrap())?;
            writer.put(name.as_bytes())?;
        }
        // The two classes are constants 7 and 8.
        for class in [1, 2] {
            writer.u8(7)?;
            writer.u16(class)?;
        }
        for value in [0x21, 7, 8, 0, 0, 1, 1, 3, 4, 1, 5] {
            writer.u16(value)?;
        }
        let attribute = writer.length_later()?;
        writer.u16(0)?;
        writer.u16(1)?;
        let length = writer.length_later()?;
        writer.put(code)?;
        writer.fill_length(length)?;
        writer.u16(u16::try_from(handlers.len() / 8).unwrap())?;
        writer.put(handlers)?;
        writer.u16(1)?;
        writer.u16(6)?;
        let length = writer.length_later()?;
        writer.put(frames)?;
        writer.fill_length(length)?;
        writer.fill_length(attribute)?;
        writer.u16(0)?;
        Ok(writer.length())
    };
    let length = write().unwrap();
    room.truncate(length);
    room
}

fn rewritten(class: &[u8], hooks: &[Hook]) -> Result<Vec<u8>, Refusal> {
    let mut out = vec![0; room(class.len())];
    let length = rewrite(class, hooks, &mut out)?;
    out.truncate(length);
    Ok(out)
}

fn around(name: &'static str) -> [Hook; 1] {
    [Hook::around("Sample", name, "()V", Call::Fresh, &[])]
}

/// A loop over a switch with two returns: all that has to be moved.
const CODE: [u8; 31] = [
    0x1a, // 0: iload_0
    0xab, 0, 0, // 1: lookupswitch, padded to 4
    0, 0, 0, 27, // default: 28
    0, 0, 0, 1, // one pair
    0, 0, 0, 7, 0, 0, 0, 19,   // 7: 20
    0xb1, // 20: return
    0x99, 0xff, 0xeb, // 21: ifeq 0
    0xa7, 0xff, 0xfc, // 24: goto 20
    0x00, // 27: nop
    0xb1, // 28: return
    0xbf, // 29: athrow
    0x00, // 30: nop
];

#[test]
fn targets_handlers_and_frames_move_with_their_instructions() {
    let handlers = [0, 0, 0, 28, 0, 29, 0, 0];
    // same at 0, same at 20, full at 28 with an uninitialized made at 21, same with one at 29.
    let frames = [0, 4, 0, 19, 255, 0, 7, 0, 1, 8, 0, 21, 0, 0, 64, 7, 0, 8];
    let class = class_with("run", &CODE, &handlers, &frames);
    let out = rewritten(&class, &around("run")).unwrap();
    let expected = [
        0x00, 0xb8, // nop, invokestatic fresh
    ];
    let at = position(&out, &expected);
    let code = &out[at..];
    // What follows the prefix is the old code, eight bytes longer by two calls, and a handler.
    assert_eq!(code[4..8], [0x1a, 0xab, 0, 0]);
    assert_eq!(code[8..12], [0, 0, 0, 31], "the default passes one call");
    assert_eq!(code[16..24], [0, 0, 0, 7, 0, 0, 0, 19], "the other goes to the call before its return");
    assert_eq!((code[24], code[25], code[28]), (0x00, 0xb8, 0xb1));
    assert_eq!(code[29..32], [0x99, 0xff, 0xe7], "back over the call");
    assert_eq!(code[32..35], [0xa7, 0xff, 0xf8]);
    assert_eq!((code[36], code[37], code[40], code[41]), (0x00, 0xb8, 0xb1, 0xbf));
    assert_eq!((code[43], code[46]), (0xb8, 0xbf), "the handler");
    assert_eq!(code[47..55], [0, 2, 0, 4, 0, 36, 0, 41], "the old handler");
    assert_eq!(code[57..63], [0, 4, 0, 43, 0, 43], "the new one");
    let moved = [0, 5, 4, 19, 255, 0, 11, 0, 1, 8, 0, 29, 0, 0, 68, 7, 0, 8, 255, 0, 1, 0, 0, 0, 1, 7];
    position(&out, &moved);
}

#[test]
fn an_argument_with_an_index_of_its_own_takes_eight_bytes() {
    let class = class_with("run", &CODE, &[], &[0, 1, 20]);
    let hook = Hook::around("Sample", "run", "()V", Call::Give, &[Local::Object(4)]);
    let out = rewritten(&class, &[hook]).unwrap();
    let code = &out[position(&out, &[0x00, 0x00, 0x00, 0x19, 4, 0xb8])..];
    assert_eq!(code[8..12], [0x1a, 0xab, 0, 0], "the padding of the switch stays what it was");
    assert_eq!(code[12..16], [0, 0, 0, 31], "the default passes one call");
    position(&out, &[0, 2, 28]);
    let handler = [0, 1, 0, 8, 0, 47, 0, 47];
    position(&out, &handler);
}

fn position(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).unwrap_or_else(|| {
        panic!("{wanted:?} is not in {bytes:?}");
    })
}

#[test]
fn what_is_cut_off_or_strange_is_refused() {
    let class = class_with("run", &CODE, &[], &[0, 0]);
    assert_eq!(rewritten(&class, &around("other")), Err(Refusal::NothingToDo));
    for length in 0..class.len() {
        assert!(rewritten(&class[..length], &around("run")).is_err() || length + 2 >= class.len());
    }
    assert_eq!(rewritten(b"\x7fELF", &around("run")), Err(Refusal::Malformed));
    let strange = class_with("run", &[0xfe], &[], &[0, 0]);
    assert_eq!(rewritten(&strange, &around("run")), Err(Refusal::Unknown));
    let far = class_with("run", &[0xa7, 0x7f, 0xff], &[], &[0, 0]);
    assert!(rewritten(&far, &around("run")).is_ok(), "offsets within the method stay as far as they were");
    let mut short = [0; 64];
    assert_eq!(rewrite(&class, &around("run"), &mut short), Err(Refusal::TooLong));
}

#[test]
fn any_byte_may_be_wrong() {
    let class = class_with("run", &CODE, &[0, 0, 0, 28, 0, 29, 0, 0], &[0, 2, 0, 19]);
    for index in 0..class.len() {
        for value in [0, 1, 7, 8, 0x7f, 0x80, 0xab, 0xff] {
            let mut wrong = class.clone();
            wrong[index] = value;
            let _ = rewritten(&wrong, &around("run"));
        }
    }
}

#[test]
fn the_helper_classes_fit_their_room_and_are_class_files() {
    for write in [helper::write, helper::write_native] {
        let mut room = vec![0; helper::ROOM];
        let length = write(&mut room).unwrap();
        room.truncate(length);
        let hooks = [Hook::around("x", "absent", "()", Call::Fresh, &[])];
        assert_eq!(rewritten(&room, &hooks), Err(Refusal::NothingToDo), "it is read to its end");
    }
    let insertions = hooks::ALL.iter().flat_map(|hook| [hook.before, hook.after]).flatten();
    assert!(insertions.map(|insertion| insertion.call).all(|call| Call::ALL.contains(&call)));
}
