//! What was said on a connection before it was known how to pair it.
//!
//! A connection that is met midway may have requests outstanding that nobody saw. A protocol without numbers then needs
//! some evidence before its parser says which response answers which request. What came before the evidence is kept
//! here, and told once it is there: most often a moment later, when the connection rests.

use crate::connection::{Chunk, Content};
use crate::event::Direction;
use crate::protocol::MessageKind;
use crate::session::Outcome;

/// Chunks and bytes that are kept. More are not waited for.
const MAX_CHUNKS: usize = 256;
const MAX_BYTES: usize = 256 << 10;
/// Silence after which a connection rests: longer than servers take to answer what is cheap, which is what is
/// pipelined.
const REST_NS: u64 = 250_000_000;
/// By how much longer a server waits: its client's side is told first, which is its caller.
const SERVER_REST_NS: u64 = REST_NS + 100_000_000;

/// Chunks of both directions in the order in which they came, beginning with one of the client.
#[derive(Debug)]
pub(super) struct Rehearsal {
    rest_ns: u64,
    chunks: Vec<(Direction, Chunk)>,
    bytes: usize,
    rests_at_ns: Option<u64>,
}

impl Rehearsal {
    /// Returns a rehearsal of a conversation in which the client's bytes go in this direction.
    pub(super) fn new(client: Direction) -> Self {
        let rest_ns = match client {
            Direction::Egress => REST_NS,
            Direction::Ingress => SERVER_REST_NS,
        };
        Self { rest_ns, chunks: Vec::new(), bytes: 0, rests_at_ns: None }
    }

    /// Keeps a chunk; returns whether there was room for it.
    pub(super) fn note(&mut self, direction: Direction, chunk: &Chunk, is_client: bool) -> bool {
        if self.chunks.is_empty() && !is_client {
            return true;
        }
        if let Content::Bytes(bytes) = &chunk.content {
            self.bytes += bytes.len();
        }
        self.chunks.push((direction, chunk.clone()));
        self.rests_at_ns = Some(chunk.stamp.at_ns.saturating_add(self.rest_ns));
        self.chunks.len() <= MAX_CHUNKS && self.bytes <= MAX_BYTES
    }

    /// Returns the bytes that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes + self.chunks.capacity() * size_of::<(Direction, Chunk)>()
    }

    /// Returns when the connection rests if nothing more is said.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.rests_at_ns
    }

    /// The rest proved nothing: the next one may.
    pub(super) fn wait_for_more(&mut self) {
        self.rests_at_ns = None;
    }

    pub(super) fn into_chunks(self) -> Vec<(Direction, Chunk)> {
        self.chunks
    }
}

/// Returns whether nothing was lost, and no response was without its request.
pub(super) fn is_coherent(said: &[Outcome]) -> bool {
    let mut outstanding = 0u64;
    for outcome in said {
        match outcome {
            Outcome::Lost { .. } | Outcome::Ignored(_) | Outcome::Unasked | Outcome::Unproven => {
                return false;
            }
            Outcome::SkipUntil(..) | Outcome::Wants(..) => {}
            Outcome::Step(step) => match &step.message.kind {
                MessageKind::Missed => return false,
                MessageKind::Request(request) if !request.is_one_way => outstanding += 1,
                MessageKind::Response(_) => match outstanding.checked_sub(1) {
                    Some(left) => outstanding = left,
                    None => return false,
                },
                _ => {}
            },
        }
    }
    true
}
