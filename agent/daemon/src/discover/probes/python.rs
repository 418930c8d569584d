//! Functions of `CPython` (3.7 to 3.14) that tell for whom tasks and threads work.
//!
//! The functions of contexts are exported. Those of `SimpleQueue`, through which the workers of a `ThreadPoolExecutor` get
//! their work, have no names in the file; but the table of the type's methods names them to the interpreter.

use std::fs::File;

use object::{Object as _, ObjectSegment as _, ReadRef};

use super::data::Data;
use super::elf::symbol_in;
use super::emulated::Convention;
use super::returns::Text;
use super::{Places, Purpose};
use crate::discover::bounded::Bounded;

/// Offset of `tp_dealloc` in `PyTypeObject`, behind `PyVarObject`, `tp_name` and two sizes.
const TYPE_DEALLOC: u64 = 48;
/// Segments beyond this size are not searched.
const MAX_SEGMENT_BYTES: u64 = 256 << 20;

/// A method of `SimpleQueue`.
struct Method {
    /// How its documentation begins, which no other function's does.
    documentation: &'static [u8],
    /// `METH_FASTCALL | METH_KEYWORDS` where its arguments matter.
    flags: Option<u64>,
    entered: Purpose,
    returned: Option<Purpose>,
}

const METHODS: &[Method] = &[
    Method {
        documentation: b"\0put($self, /, item, block=True, timeout=None)\n--\n",
        flags: Some(0x82),
        entered: Purpose::PythonQueuePut,
        returned: None,
    },
    Method {
        documentation: b"\0get($self, /, block=True, timeout=None)\n--\n",
        flags: None,
        entered: Purpose::PythonQueueGet,
        returned: Some(Purpose::PythonQueueGot),
    },
    Method {
        documentation: b"\0get_nowait($self, /)\n--\n",
        flags: None,
        entered: Purpose::PythonQueueGet,
        returned: Some(Purpose::PythonQueueGot),
    },
];

/// Returns what there is in one file: the executable, libpython or a module.
pub(super) fn in_file(file: &File) -> Places {
    let bounded = Bounded::new(file);
    let Ok(elf) = object::File::parse(&bounded) else { return Places::new() };
    let data = Data::of(&elf);
    let mut places = Places::new();
    let copy = symbol_in(&elf, "PyContext_CopyCurrent");
    let copied = copy.and_then(|copy| function(&elf, copy, None, Some(Purpose::PythonContextCopied)));
    let free =
        symbol_in(&elf, "PyContext_Type").and_then(|context| data.word(context.checked_add(TYPE_DEALLOC)?));
    let freed = free.and_then(|free| function(&elf, free, Some(Purpose::PythonFreeContext), None));
    if let Some((copied, freed)) = copied.zip(freed) {
        // Addresses are used again: without the end of contexts, their beginning would mislead.
        places.extend(copied);
        places.extend(freed);
    }
    for method in METHODS {
        let documentation = find_bytes(&elf, method.documentation).and_then(|nul| nul.checked_add(1));
        let address = documentation.and_then(|address| method_at(&data, address, method.flags));
        let found =
            address.and_then(|address| function(&elf, address, Some(method.entered), method.returned));
        places.extend(found.unwrap_or_default());
    }
    places
}

/// Returns the places of one function: none of them, if not all can be told.
fn function<'a, R: ReadRef<'a>>(
    elf: &object::File<'a, R>,
    address: u64,
    entered: Option<Purpose>,
    returned: Option<Purpose>,
) -> Option<Places> {
    let text = Text::around(elf, address)?;
    let returns = if returned.is_some() { text.returns(address)? } else { Vec::new() };
    text.spots(address, returns, Convention::C).places(elf, entered, returned)
}

/// Returns the function of the `PyMethodDef` (`ml_name`, `ml_meth`, `ml_flags`, `ml_doc`) with this documentation.
fn method_at(data: &Data, documentation: u64, flags: Option<u64>) -> Option<u64> {
    let mut places = data.places(documentation);
    places.find_map(|place| {
        let has_flags = data.word(place.checked_sub(8)?)? & 0xffff_ffff;
        flags.is_none_or(|flags| flags == has_flags).then(|| data.word(place.checked_sub(16)?))?
    })
}

/// Returns the address at which bytes stand in what is never written.
fn find_bytes<'a, R: ReadRef<'a>>(elf: &object::File<'a, R>, wanted: &[u8]) -> Option<u64> {
    let segments = elf.segments().filter(|segment| segment.file_range().1 <= MAX_SEGMENT_BYTES);
    segments.into_iter().find_map(|segment| {
        let position = memchr::memmem::find(segment.data().ok()?, wanted)?;
        segment.address().checked_add(u64::try_from(position).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::process::Command;

    use super::*;

    /// Returns the files of the Python that is installed: what holds the contexts, and what holds the queues.
    fn installed() -> Option<Vec<String>> {
        let script = "import sys, _queue; print(sys.executable); print(getattr(_queue, '__file__', ''))
for line in open('/proc/self/maps'):
    if '/libpython' in line: print(line.split()[-1])";
        let output = Command::new("python3").args(["-c", script]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output
            .status
            .success()
            .then(|| text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    #[test]
    fn the_functions_of_an_installed_python_are_found() {
        let Some(files) = installed() else {
            eprintln!("skipped: there is no python3 with queues of its own");
            return;
        };
        let files: BTreeSet<_> = files.into_iter().collect();
        let found: Places = files.iter().flat_map(|path| in_file(&File::open(path).unwrap())).collect();
        let count = |purpose| found.iter().filter(|(found, _)| *found == purpose).count();
        assert!(count(Purpose::PythonContextCopied) >= 1, "{files:?}: {found:?}");
        assert_eq!(count(Purpose::PythonFreeContext), 1, "{files:?}: {found:?}");
        assert_eq!(count(Purpose::PythonQueuePut), 1, "{files:?}: {found:?}");
        assert_eq!(count(Purpose::PythonQueueGet), 2, "{files:?}: {found:?}");
        assert!(count(Purpose::PythonQueueGot) >= 2, "{files:?}: {found:?}");
    }

    #[test]
    fn other_programs_have_none_of_them() {
        assert_eq!(in_file(&File::open("/proc/self/exe").unwrap()), Places::new());
        assert_eq!(in_file(&File::open("/proc/self/maps").unwrap()), Places::new());
    }
}
