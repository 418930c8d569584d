//! Feedback into the kernel: which processes and sockets are observed, and how much of them is copied.

use std::collections::HashMap as Table;

use aya::maps::{HashMap, MapData, MapError};
use remora_abi::{
    PROCESS_IGNORE, PROCESS_OBSERVE, ProcessPolicy, SOCKET_FULL, SOCKET_IGNORE, SocketPolicy, SocketState,
    TASKS_GO, TASKS_LIBUV, TASKS_NONE, TASKS_PYTHON, TASKS_TOKIO,
};
use remora_engine::command::Command;
use remora_engine::event::{ConnectionId, Direction};

/// What is to be done with a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessMode {
    /// Its calls cost one look-up.
    Ignore,
    /// It is observed.
    Observe {
        /// How its tasks are told apart.
        tasks: Tasks,
        /// Its threads take units of work by token.
        has_tokens: bool,
        /// What it reads from pipes is told.
        reads_pipes: bool,
    },
}

/// How a process's tasks are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tasks {
    /// Not at all.
    None,
    /// By goroutine.
    Goroutines {
        /// Offset of `goid` in `runtime.g`.
        goid: u16,
        /// Offset of `parentGoid`; 0 where there is none.
        parent_goid: u16,
    },
    /// By Python's current `Context`.
    Contexts {
        /// Offset of the pointer to `PyThreadState`, from the thread pointer.
        thread_state: i16,
        /// Offset of `context` in it.
        context: u16,
    },
    /// Not at all; but what a loop of libuv reads from other threads begins a new turn.
    Libuv,
    /// By the task that a thread of tokio runs.
    Tokio {
        /// Offset of its id, from the thread pointer.
        current_task: i16,
    },
}

/// The maps that user space writes.
pub(super) struct Policies {
    processes: HashMap<MapData, u32, ProcessPolicy>,
    sockets: HashMap<MapData, u64, SocketPolicy>,
    /// What the programs know of sockets.
    states: HashMap<MapData, u64, SocketState>,
    /// What was written, so that one wish does not undo another.
    written: Table<ConnectionId, SocketPolicy>,
    default_capture_bytes: u32,
    refused: u64,
}

impl Policies {
    pub(super) fn new(
        processes: HashMap<MapData, u32, ProcessPolicy>,
        sockets: HashMap<MapData, u64, SocketPolicy>,
        states: HashMap<MapData, u64, SocketState>,
        default_capture_bytes: u32,
    ) -> Self {
        Self { processes, sockets, states, written: Table::new(), default_capture_bytes, refused: 0 }
    }

    /// Sets what is done with a process.
    pub(super) fn set_process(&mut self, tgid: u32, mode: ProcessMode) {
        let policy = match mode {
            ProcessMode::Ignore => process_policy(PROCESS_IGNORE, Tasks::None),
            ProcessMode::Observe { tasks, has_tokens, reads_pipes } => ProcessPolicy {
                has_tokens: has_tokens.into(),
                reads_pipes: reads_pipes.into(),
                ..process_policy(PROCESS_OBSERVE, tasks)
            },
        };
        let written = self.processes.insert(&tgid, &policy, 0);
        self.count_refusal(&written);
    }

    /// Forgets a process that has ended.
    pub(super) fn forget_process(&mut self, tgid: u32) {
        let _ = self.processes.remove(&tgid);
    }

    /// Applies one wish of the engine.
    pub(super) fn apply(&mut self, command: Command) {
        match command {
            Command::Ignore(connection) => self.update(connection, |policy| policy.mode = SOCKET_IGNORE),
            Command::Capture { connection, direction, bytes } => {
                let bytes = bytes.max(self.default_capture_bytes);
                self.update(connection, |policy| {
                    *of_direction(&mut policy.capture_bytes, direction) = bytes;
                });
            }
            Command::SkipUntil { connection, direction, position } => self.update(connection, |policy| {
                *of_direction(&mut policy.skip_until, direction) = position;
                policy.skip_valid |= match direction {
                    Direction::Egress => 1,
                    Direction::Ingress => 2,
                };
            }),
            Command::Reannounce(connection) => {
                // The address may be another socket's by now. If it becomes that in between, that one is announced twice,
                // which does no harm.
                if self.states.get(&connection.sock, 0).is_ok_and(|state| state.inode == connection.inode) {
                    let _ = self.states.remove(&connection.sock);
                }
            }
            Command::Forget(connection) => {
                if self.written.remove(&connection).is_some() {
                    // The programs remove the entry themselves when they see the socket's end.
                    let _ = self.sockets.remove(&connection.sock);
                }
            }
        }
    }

    fn update(&mut self, connection: ConnectionId, change: impl FnOnce(&mut SocketPolicy)) {
        let policy = self.written.entry(connection).or_insert(SocketPolicy {
            inode: connection.inode,
            mode: SOCKET_FULL,
            skip_valid: 0,
            padding: [0; 2],
            skip_until: [0; 2],
            capture_bytes: [self.default_capture_bytes; 2],
        });
        change(policy);
        let policy = *policy;
        let written = self.sockets.insert(&connection.sock, &policy, 0);
        self.count_refusal(&written);
    }

    fn count_refusal(&mut self, written: &Result<(), MapError>) {
        self.refused += u64::from(written.is_err());
    }

    /// Returns how many entries a map refused, mostly because it was full.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }
}

fn of_direction(values: &mut [u32; 2], direction: Direction) -> &mut u32 {
    let [egress, ingress] = values;
    match direction {
        Direction::Egress => egress,
        Direction::Ingress => ingress,
    }
}

fn process_policy(mode: u8, tasks: Tasks) -> ProcessPolicy {
    let (tasks, first_offset, second_offset) = match tasks {
        Tasks::None => (TASKS_NONE, 0, 0),
        Tasks::Goroutines { goid, parent_goid } => (TASKS_GO, goid, parent_goid),
        Tasks::Contexts { thread_state, context } => (TASKS_PYTHON, thread_state.cast_unsigned(), context),
        Tasks::Libuv => (TASKS_LIBUV, 0, 0),
        Tasks::Tokio { current_task } => (TASKS_TOKIO, current_task.cast_unsigned(), 0),
    };
    ProcessPolicy { mode, tasks, first_offset, second_offset, has_tokens: 0, reads_pipes: 0 }
}
