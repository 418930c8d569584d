//! Sign-ins: part of the connection where they succeed, and exchanges where they are refused.

use super::lane::Lane;
use super::{Place, Step};
use crate::connection::Stamp;
use crate::event::Direction;
use crate::protocol::{Message, MessageKind, Refusal};

/// When and where some bytes stood.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignIn {
    first: Stamp,
    last: Stamp,
    place: Place,
}

impl SignIn {
    /// Takes the next `eaten` bytes of a lane.
    pub(super) fn eat(lane: &mut Lane, eaten: usize) -> Self {
        let place = lane.place();
        let (first, last) = lane.eat(eaten);
        Self { first, last, place }
    }

    /// Returns the exchange that a refusal, which stood here, ends. Where nothing was asked it begins with the refusal: a
    /// server that has too many clients says so before a word of theirs.
    pub(super) fn refuse(
        self,
        asked: Option<&Self>,
        refusal: Refusal,
        protocol: &'static str,
        client: Direction,
    ) -> [Step; 2] {
        let step = |message, Self { first, last, place }| Step {
            message: Message::in_order(message),
            protocol,
            client,
            first,
            last,
            place,
        };
        let unasked = Self { place: self.place.reverse(), ..self };
        [
            step(MessageKind::Request(Box::new(refusal.request)), asked.copied().unwrap_or(unasked)),
            step(MessageKind::Response(Box::new(refusal.response)), self),
        ]
    }
}
