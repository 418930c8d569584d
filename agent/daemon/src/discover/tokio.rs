//! Programs on tokio: where a thread keeps the id of the task that it runs, and the functions by which tasks are made and
//! woken. All of it is read from the symbols: a stripped program does not tell.

mod current_task;
pub(super) mod symbols;

use std::collections::HashMap;
use std::fs::File;

use object::read::ReadCache;
use object::{Architecture, Object as _};

use super::identity::FileIdentity;
use super::probes::{Purpose, offset_of};
use super::process::TokioOffsets;
use current_task::{Functions, Storage};

/// Executables whose answer is remembered; beyond it the memory starts over.
const MAX_EXECUTABLES: usize = 4096;
/// What each of tokio's names has in it, as both manglings write it.
const MARKS: [&str; 2] = ["5tokio7runtime", "tokio..runtime"];

/// What is known of a program on tokio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokioProgram {
    /// Where the threads keep what they run.
    pub offsets: TokioOffsets,
    /// Offsets in the file of the functions that make and wake tasks.
    pub functions: Vec<(Purpose, u64)>,
}

/// Looks at executables, each once.
#[derive(Debug, Default)]
pub(super) struct TokioPrograms(HashMap<FileIdentity, Option<TokioProgram>>);

impl TokioPrograms {
    /// Returns what is known of the program that a process runs; none if it has no tokio, does not tell, or is gone.
    pub(super) fn look_at(&mut self, tgid: u32) -> Option<TokioProgram> {
        let file = File::open(format!("/proc/{tgid}/exe")).ok()?;
        let identity = FileIdentity::of(&file)?;
        if self.0.len() >= MAX_EXECUTABLES {
            self.0.clear();
        }
        self.0.entry(identity).or_insert_with(|| read(&file)).clone()
    }
}

/// Returns the offsets in a file of the functions that make and wake tasks.
pub(super) fn functions(file: &File) -> Vec<(Purpose, u64)> {
    read(file).map_or_else(Vec::new, |program| program.functions)
}

/// A function of tokio that is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// `runtime::task::core::TaskIdGuard::enter`, around whatever belongs to a task.
    Enter,
    /// Its end.
    Leave,
    /// A task is woken, or was made.
    Probe(Purpose),
}

/// How the name of a function ends in both manglings, and what is before that.
struct Name {
    before: &'static str,
    ends: &'static [&'static str],
    wanted: Wanted,
}

const WAKE: Wanted = Wanted::Probe(Purpose::TokioWake);
const SPAWN: Wanted = Wanted::Probe(Purpose::TokioSpawn);
/// Which of the functions of a spawn are left depends on how much the compiler has put into others.
const NAMES: [Name; 8] = [
    Name { before: "task", ends: &["11TaskIdGuard5enter"], wanted: Wanted::Enter },
    Name { before: "TaskIdGuard", ends: &["4Drop4drop", "Drop$GT$4drop"], wanted: Wanted::Leave },
    Name { before: "task", ends: &["5waker11wake_by_ref"], wanted: WAKE },
    Name { before: "task", ends: &["5waker11wake_by_val"], wanted: WAKE },
    Name { before: "OwnedTasks", ends: &["10bind_inner"], wanted: SPAWN },
    Name { before: "multi_thread", ends: &["34schedule_option_task_without_yield"], wanted: SPAWN },
    Name { before: "current_thread", ends: &["8Schedule8schedule", "Schedule$GT$8schedule"], wanted: SPAWN },
    Name { before: "pool", ends: &["7Spawner10spawn_task"], wanted: SPAWN },
];

fn read(file: &File) -> Option<TokioProgram> {
    let cache = ReadCache::new(file);
    let elf = object::File::parse(&cache).ok()?;
    // What tokio waits for events with. Most programs are not looked at any further.
    if elf.architecture() != Architecture::X86_64 || symbols::imports(&elf, b"epoll_create1") == Some(false) {
        return None;
    }
    let mut storage = None;
    let mut functions = Functions::default();
    let mut places = Vec::new();
    for symbol in symbols::of(&elf)?.filter(|symbol| MARKS.iter().any(|mark| symbol.name.contains(mark))) {
        if symbol.is_thread_local && symbol.name.contains("7context7CONTEXT") {
            let found = Storage { address: symbol.address, length: symbol.length };
            // Beside the context there may be a byte that tells its state.
            storage = storage.into_iter().chain([found]).max_by_key(|storage: &Storage| storage.length);
        }
        let place = (symbol.address, symbol.length);
        match wanted(symbol.name) {
            // Two versions of tokio in one program count their tasks apart.
            Some(Wanted::Leave) if functions.leave.is_some() => return None,
            Some(Wanted::Enter) => functions.enter = Some(place),
            Some(Wanted::Leave) => functions.leave = Some(place),
            Some(Wanted::Probe(purpose)) => {
                places.extend(offset_of(&elf, symbol.address).map(|offset| (purpose, offset)));
            }
            None => {}
        }
    }
    let offsets = current_task::find(&elf, storage?, functions)?;
    places.sort_unstable_by_key(|&(_, offset)| offset);
    places.dedup();
    let is_told = places.iter().any(|(purpose, _)| *purpose == Purpose::TokioWake);
    is_told.then_some(TokioProgram { offsets, functions: places })
}

/// Returns which function a name is that of.
fn wanted(name: &str) -> Option<Wanted> {
    let name = name.split_once(".llvm.").map_or(name, |(name, _)| name);
    let (path, is_legacy) = match name.strip_prefix("_ZN") {
        // A hash is at the end.
        Some(legacy) => (legacy.rsplit_once("17h")?.0, true),
        // Neither a closure nor generic itself.
        None => (name.strip_prefix("_RNv")?, false),
    };
    let is_of = |name: &&Name| {
        name.ends.iter().any(|end| {
            let Some((before, rest)) = path.rsplit_once(end) else { return false };
            // The newer mangling may name the crate that has it made.
            let is_end = rest.is_empty() || (!is_legacy && rest.starts_with(['B', 'C']));
            is_end && before.contains(name.before)
        })
    };
    NAMES.iter().find(is_of).map(|name| name.wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_known_in_both_manglings() {
        let names = [
            (
                "_RNvMs2_NtNtNtCs9hJRFE9JEAS_5tokio7runtime4task4coreNtB5_11TaskIdGuard5enter",
                Some(Wanted::Enter),
            ),
            ("_ZN5tokio7runtime4task4core11TaskIdGuard5enter17h0123456789abcdefE", Some(Wanted::Enter)),
            (
                "_RNvXs3_NtNtNtCs9hJRFE9JEAS_5tokio7runtime4task4coreNtB5_11TaskIdGuardNtNtNtCskADBYZwJmSU_4core3ops4drop4Drop4drop",
                Some(Wanted::Leave),
            ),
            (
                "_ZN81_$LT$tokio..runtime..task..core..TaskIdGuard$u20$as$u20$core..ops..drop..Drop$GT$4drop17hb7d39f7ce8b66095E",
                Some(Wanted::Leave),
            ),
            ("_RNvNtNtNtCs9hJRFE9JEAS_5tokio7runtime4task5waker11wake_by_val", Some(WAKE)),
            ("_ZN5tokio7runtime4task5waker11wake_by_ref17h769518612b82bac0E", Some(WAKE)),
            ("_ZN5tokio7runtime4task4list19OwnedTasks$LT$S$GT$10bind_inner17h0123456789abcdefE", Some(SPAWN)),
            (
                "_RNvXs5_NtNtNtCs9hJRFE9JEAS_5tokio7runtime9scheduler14current_threadINtNtCsgFX3jaOk65H_5alloc4sync3ArcNtB5_6HandleENtNtB9_4task8Schedule8schedule",
                Some(SPAWN),
            ),
            (
                "_RNCNvXs5_NtNtNtCs9hJRFE9JEAS_5tokio7runtime9scheduler14current_threadINtNtCsgFX3jaOk65H_5alloc4sync3ArcNtB7_6HandleENtNtBb_4task8Schedule8schedule0Bd_.llvm.1",
                None,
            ),
            ("_ZN5tokio7runtime8blocking4pool7Spawner10spawn_task17h9db63cff1921fb48E", Some(SPAWN)),
            (
                "_ZN5tokio7runtime8blocking4pool7Spawner10spawn_task28_$u7b$$u7b$closure$u7d$$u7d$17h8fcf1e89fefe9c29E",
                None,
            ),
        ];
        for (name, expected) in names {
            assert_eq!(wanted(name), expected, "{name}");
        }
    }
}
