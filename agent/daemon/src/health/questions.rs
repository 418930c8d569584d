//! Questions about processes, which the threads answer that own what is known.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;

use super::known::Known;

/// Questions under way. One more is refused at once.
const CHANNEL_LENGTH: usize = 16;
/// How long an answer may take: discovery may have a large file to search first.
const PATIENCE: Duration = Duration::from_secs(10);

/// A question about one process. It goes from thread to thread, and each adds what it knows.
#[derive(Debug)]
pub struct Question {
    /// The process, and what is known of it so far.
    pub known: Known,
    answer: oneshot::Sender<Option<Known>>,
}

impl Question {
    /// Gives the answer; none where no such process is known. A question that is dropped was not answered.
    pub fn answer(self, known: Option<Known>) {
        // Whoever asked may have gone.
        let _ = self.answer.send(known);
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The agent knows no such process.
    NoProcess,
    /// Nobody answers: the agent begins, ends, or is too busy.
    Busy,
}

/// The way to whoever answers, once there is somebody. Clones are handles to the same one.
#[derive(Clone, Debug, Default)]
pub struct Questions(Arc<OnceLock<SyncSender<Question>>>);

impl Questions {
    /// Returns what is asked from here on; nothing for all but the first who calls.
    #[must_use]
    pub fn take(&self) -> Receiver<Question> {
        let (sender, receiver) = sync_channel(CHANNEL_LENGTH);
        let _ = self.0.set(sender);
        receiver
    }

    pub(super) async fn ask(&self, pid: u32) -> Result<Known, Unanswered> {
        let questions = self.0.get().ok_or(Unanswered::Busy)?;
        let (answer, answered) = oneshot::channel();
        let known = Known { pid, ..Known::default() };
        questions.try_send(Question { known, answer }).map_err(|_| Unanswered::Busy)?;
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(known)) => known.ok_or(Unanswered::NoProcess),
            Ok(Err(_)) | Err(_) => Err(Unanswered::Busy),
        }
    }
}
