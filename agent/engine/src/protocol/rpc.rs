//! Methods of remote procedure calls whose messages say more than that they were called.
//!
//! A call is known by its method. Of some services the messages are read too: each family of methods is a folder of its
//! own and a line in [`FAMILIES`]. It sees each message as its sender made it, without what frames or compresses it, and
//! maybe only its beginning; it knows nothing of streams and connections.

use std::fmt;

use super::{Ending, MessageKind, ParserSettings, Request, Side, pubsub};
use crate::event::Endpoint;

/// All families, in the order in which they are asked.
static FAMILIES: &[&dyn Methods] = &[&pubsub::PubSub];

/// Methods whose messages are read.
pub(super) trait Methods: Sync {
    /// Returns what reads a call of this method (`package.Service/Method`); none where it is another's.
    fn call(&self, method: &[u8], around: Around<'_>) -> Option<Box<dyn Call>>;
}

/// Where a call is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    /// What users chose.
    pub(super) settings: &'a ParserSettings,
    /// The server's end, where it is known.
    pub(super) server: Option<&'a Endpoint>,
}

/// One call, whose messages are read as they pass. What it keeps of them is bounded.
pub(super) trait Call: fmt::Debug + Send {
    /// Says of the request what its method tells, before any message was seen.
    fn begin(&self, request: &mut Request);

    /// Takes in the next message of a side. Returns what it is besides a part of the call.
    fn read(&mut self, side: Side, body: Body<'_>) -> Option<MessageKind>;

    /// Adds what the messages have told. The call is over.
    fn end(&mut self, ending: &mut Ending);
}

/// What is known of a message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Body<'a> {
    /// The message, or its beginning.
    pub(super) bytes: &'a [u8],
    /// Nothing is missing.
    pub(super) is_whole: bool,
}

/// Returns what reads the messages of a method; none where nobody does.
pub(super) fn call(method: &[u8], around: Around<'_>) -> Option<Box<dyn Call>> {
    FAMILIES.iter().find_map(|family| family.call(method, around))
}
