//! Who has mapped the files that are probed.

use std::time::{Duration, Instant};

use foldhash::{HashMap, HashSet};

use crate::discover::{FileIdentity, ProbeUser};

/// How long a file stays probed that nobody has mapped: the next process of the same program saves the way there.
const PATIENCE: Duration = Duration::from_secs(3);

/// Which files are used by whom.
#[derive(Default)]
pub(super) struct Users {
    files: HashMap<ProbeUser, HashSet<FileIdentity>>,
    counts: HashMap<FileIdentity, usize>,
    unused: HashMap<FileIdentity, Instant>,
}

impl Users {
    pub(super) fn add(&mut self, user: ProbeUser, file: FileIdentity) {
        if self.files.entry(user).or_default().insert(file) {
            *self.counts.entry(file).or_default() += 1;
            self.unused.remove(&file);
        }
    }

    /// Returns the files that a process has mapped.
    pub(super) fn files(&self, tgid: u32) -> impl Iterator<Item = &FileIdentity> {
        self.files.get(&ProbeUser::Process(tgid)).into_iter().flatten()
    }

    /// A child has mapped what its parent had.
    pub(super) fn fork(&mut self, parent: u32, child: u32) {
        let Some(files) = self.files.get(&ProbeUser::Process(parent)).cloned() else { return };
        for file in files {
            self.add(ProbeUser::Process(child), file);
        }
    }

    pub(super) fn leave(&mut self, tgid: u32, now: Instant) {
        for file in self.files.remove(&ProbeUser::Process(tgid)).into_iter().flatten() {
            let Some(count) = self.counts.get_mut(&file) else { continue };
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&file);
                self.unused.insert(file, now);
            }
        }
    }

    /// Returns the files that nobody has used for a while, each once.
    pub(super) fn take_unused(&mut self, now: Instant) -> Vec<FileIdentity> {
        self.unused
            .extract_if(|_, since| now.duration_since(*since) >= PATIENCE)
            .map(|(file, _)| file)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    const PROCESS: ProbeUser = ProbeUser::Process(1);

    fn file() -> FileIdentity {
        FileIdentity::of(&File::open("/proc/self/exe").unwrap()).unwrap()
    }

    #[test]
    fn a_file_is_unused_when_the_last_has_left_and_nobody_came_for_a_while() {
        let (mut users, start) = (Users::default(), Instant::now());
        users.add(PROCESS, file());
        users.add(PROCESS, file());
        users.fork(1, 2);
        users.leave(1, start);
        assert_eq!(users.take_unused(start + PATIENCE), []);
        users.leave(2, start);
        assert_eq!(users.take_unused(start), []);
        users.fork(1, 3);
        assert_eq!(users.take_unused(start + PATIENCE), [file()]);
        assert_eq!(users.take_unused(start + PATIENCE), []);
    }

    #[test]
    fn who_comes_in_time_keeps_a_file_used_and_the_host_does_for_ever() {
        let (mut users, start) = (Users::default(), Instant::now());
        users.add(PROCESS, file());
        users.leave(1, start);
        users.add(ProbeUser::Host, file());
        assert_eq!(users.take_unused(start + PATIENCE), []);
        users.leave(1, start);
        users.add(PROCESS, file());
        users.leave(1, start);
        assert_eq!(users.take_unused(start + PATIENCE), []);
    }
}
