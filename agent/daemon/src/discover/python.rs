//! Where a Python keeps its current `Context`: found out on the living process, so that no table of versions and
//! builds is needed, and nothing is believed that does not fit.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::probes::python_symbol;
use super::process::ContextOffsets;

/// Before and behind the thread pointer: static thread-local storage (`_Py_tss_tstate`, from Python 3.12), and the first
/// block of `pthread_setspecific` values in glibc's `struct pthread` (`autoTSSkey`).
const BEFORE: u64 = 8192;
const BEHIND: u64 = 2048;
/// glibc's block begins behind this offset. musl has one of all threads but the first nearer to the pointer, which says
/// nothing of the first.
const BLOCK: u64 = 512;
/// Bytes of `PyThreadState` in which its fields are looked for.
const THREAD_STATE_BYTES: usize = 1024;
/// Offset of `ob_type` in `PyObject`.
const OBJECT_TYPE: u64 = 8;

/// Returns where the threads of a process keep it, seen from a thread that has one.
///
/// A slot of the thread's own storage is that of `PyThreadState` if it points to memory that holds the thread's
/// pointer (`thread_id`) and a pointer to an object of the type `PyContext_Type` (`context`). Before the pointer, only
/// the first thread has nothing but its storage: of others the stack is there, with many words that look the same.
pub(super) fn context_offsets(
    tgid: u32,
    thread_pointer: u64,
    is_first_thread: bool,
) -> Option<ContextOffsets> {
    let memory = File::open(format!("/proc/{tgid}/mem")).ok()?;
    let context_type = python_symbol(tgid, "PyContext_Type")?;
    search(&Memory(memory), context_type, thread_pointer, is_first_thread)
}

struct Memory(File);

impl Memory {
    fn words(&self, address: u64, bytes: usize) -> Vec<u64> {
        let mut buffer = vec![0; bytes];
        let read = self.0.read_at(&mut buffer, address).unwrap_or(0);
        let whole = buffer.get(..read).unwrap_or_default();
        whole.as_chunks::<8>().0.iter().map(|&word| u64::from_ne_bytes(word)).collect()
    }

    fn word(&self, address: u64) -> Option<u64> {
        self.words(address, 8).first().copied()
    }
}

fn search(
    memory: &Memory,
    context_type: u64,
    thread_pointer: u64,
    is_first_thread: bool,
) -> Option<ContextOffsets> {
    let own = thread_pointer.saturating_sub(BEFORE)..thread_pointer.saturating_add(BEHIND);
    let fitting = |(slot, thread_state): (i64, u64)| {
        if !is_pointer(thread_state) || own.contains(&thread_state) {
            return None;
        }
        let fields = memory.words(thread_state, THREAD_STATE_BYTES);
        let is_context =
            |value: u64| is_pointer(value) && memory.word(value + OBJECT_TYPE) == Some(context_type);
        if !fields.contains(&thread_pointer) {
            return None;
        }
        let field = fields.iter().position(|&value| is_context(value))?;
        Some(ContextOffsets {
            thread_state: i16::try_from(slot).ok()?,
            context: u16::try_from(8 * field).ok()?,
        })
    };
    let behind = memory.words(thread_pointer.saturating_add(BLOCK), (BEHIND - BLOCK) as usize);
    if let Some(found) = (BLOCK.cast_signed()..).step_by(8).zip(behind).find_map(fitting) {
        return Some(found);
    }
    if !is_first_thread {
        return None;
    }
    // The pages before the pointer may not all be mapped.
    let (from, slots) = [BEFORE, 4096, 2048, 1024]
        .map(|before| {
            (-before.cast_signed(), memory.words(thread_pointer.saturating_sub(before), before as usize))
        })
        .into_iter()
        .find(|(_, slots)| !slots.is_empty())?;
    let found: Vec<_> = (from..).step_by(8).zip(slots).filter_map(fitting).collect();
    // Python 3.14 has two, of which one is empty during system calls: then it shows.
    if let [lone] = found[..] { Some(lone) } else { None }
}

fn is_pointer(value: u64) -> bool {
    value >= 4096 && value.is_multiple_of(8) && value < 1 << 47
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    /// Tells the thread pointers of the first thread, and of another with contexts on its stack.
    const PROGRAM: &str = "import contextvars, ctypes, sys, threading
self = ctypes.CDLL(None).pthread_self
self.restype = ctypes.c_ulong
def tell(depth):
    if depth:
        contextvars.copy_context().run(tell, depth - 1)
    else:
        print(self(), flush=True)
        sys.stdin.read()
print(contextvars.copy_context().run(self), flush=True)
threading.Thread(target=tell, args=(5,)).start()
contextvars.copy_context().run(sys.stdin.read)";

    #[test]
    fn every_thread_shows_the_same_place() {
        let mut program = Command::new("python3");
        program.args(["-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut python) = program.spawn() else {
            eprintln!("skipped: python3 is not installed");
            return;
        };
        let mut told = BufReader::new(python.stdout.take().unwrap()).lines();
        let pointers: [u64; 2] = [(); 2].map(|()| told.next().unwrap().unwrap().parse().unwrap());
        let [first, other] = pointers;
        let first = context_offsets(python.id(), first, true);
        let other = context_offsets(python.id(), other, false);
        drop(python.stdin.take());
        python.wait().unwrap();
        assert!(first.is_some());
        assert_eq!(first, other);
    }
}
