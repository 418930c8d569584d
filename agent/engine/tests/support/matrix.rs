//! Whose each protocol takes recorded bytes to be.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;

use remora_engine::protocol::{DETECTION_BUDGET_BYTES, Detection, Protocol, REGISTRY, Side};

use crate::replay::SIDES;
use crate::session::Session;

/// Where a protocol is shown bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// At the beginning of each side, byte by byte until the protocol has made up its mind, and both sides together.
    Start,
    /// At the beginning of each piece: a connection that is met between two calls.
    Piece,
    /// At each byte: a connection that is met within a body.
    Byte,
}

pub const PLACES: [Place; 3] = [Place::Start, Place::Piece, Place::Byte];

impl Place {
    pub fn label(self) -> &'static str {
        match self {
            Place::Start => "from the start",
            Place::Piece => "midway, from each piece",
            Place::Byte => "midway, from each byte",
        }
    }
}

/// How often a protocol said what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub yes: usize,
    pub unsure: usize,
    pub no: usize,
}

/// A claim, and where it was made.
#[derive(Debug)]
pub struct Claim {
    pub session: String,
    pub by: &'static str,
    pub place: Place,
    /// Who sent the bytes, and who the protocol says did.
    pub sent: Side,
    pub claimed: Side,
    /// The bytes.
    pub bytes: String,
    pub is_own: bool,
}

impl Claim {
    /// Returns the protocol that the session is of.
    pub fn spoken(&self) -> &str {
        self.session.split('/').next().unwrap_or_default()
    }
}

/// The matrix: by the protocol that was spoken, the place, and the protocol that was asked.
#[derive(Debug, Default)]
pub struct Matrix {
    pub counts: BTreeMap<(String, Place, &'static str), Count>,
    pub claims: Vec<Claim>,
}

/// Asks each protocol about all bytes of each session.
pub fn of(sessions: &[Session]) -> Matrix {
    let mut matrix = Matrix::default();
    for session in sessions {
        for &protocol in REGISTRY {
            matrix.add_start(session, protocol);
            for (side, bytes) in session.pieces.iter().filter(|(_, bytes)| !bytes.is_empty()) {
                matrix.add(
                    session,
                    protocol,
                    Place::Piece,
                    *side,
                    bytes,
                    protocol.detect(within_budget(bytes)),
                );
            }
            for side in SIDES {
                let bytes = session.bytes(side);
                for at in 0..bytes.len() {
                    let rest = &bytes[at..];
                    matrix.add(
                        session,
                        protocol,
                        Place::Byte,
                        side,
                        rest,
                        protocol.detect(within_budget(rest)),
                    );
                }
            }
        }
    }
    matrix
}

impl Matrix {
    fn add_start(&mut self, session: &Session, protocol: &'static dyn Protocol) {
        let sides = SIDES.map(|side| session.bytes(side));
        let said = [0, 1].map(|at| settled(protocol, &sides[at]));
        let [asked, answered] = sides.each_ref().map(|bytes| within_budget(bytes));
        let is_unsure = said.contains(&Detection::Unsure);
        for (at, side) in SIDES.into_iter().enumerate() {
            let together = is_unsure && protocol.detect_exchange(asked, answered);
            let said = if together { Detection::Yes(side) } else { said[at] };
            self.add(session, protocol, Place::Start, side, &sides[at], said);
        }
    }

    fn add(
        &mut self,
        session: &Session,
        protocol: &'static dyn Protocol,
        place: Place,
        sent: Side,
        bytes: &[u8],
        said: Detection,
    ) {
        let by = protocol.name();
        let count = self.counts.entry((session.protocol.clone(), place, by)).or_default();
        match said {
            Detection::No => count.no += 1,
            Detection::Unsure => count.unsure += 1,
            Detection::Yes(claimed) => {
                count.yes += 1;
                let is_own = session.speaks(by);
                if !is_own || claimed != sent {
                    let bytes = within_budget(bytes).escape_ascii().to_string();
                    let session = session.name.clone();
                    self.claims.push(Claim { session, by, place, sent, claimed, bytes, is_own });
                }
            }
        }
    }
}

fn within_budget(bytes: &[u8]) -> &[u8] {
    bytes.get(..DETECTION_BUDGET_BYTES).unwrap_or(bytes)
}

/// Returns what a protocol says of growing beginnings of `bytes`, once it has made up its mind.
pub fn settled(protocol: &dyn Protocol, bytes: &[u8]) -> Detection {
    let all = within_budget(bytes);
    let said = (1..=all.len()).map(|end| protocol.detect(&all[..end]));
    said.into_iter().find(|&said| said != Detection::Unsure).unwrap_or(Detection::Unsure)
}
