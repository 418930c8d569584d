//! What follows on a connection after an upgrade.

use super::Http1Parser;
use crate::protocol::websocket::Step;
use crate::protocol::{Answer, Message, MessageKind, Pairing, Side};

impl Http1Parser {
    /// Counts what passes after an upgrade; anything but WebSocket is not looked at.
    pub(super) fn tunnel(&mut self, side: Side, bytes: &[u8]) -> Answer {
        let Some(socket) = &mut self.websocket else { return Answer::Opaque };
        match socket.parse(side, bytes) {
            Step::Eat(eaten) => Answer::Nothing { eaten },
            Step::Skip(length) => Answer::Skip { length },
            Step::Need(at_least) => Answer::Need { at_least },
            Step::End(eaten) => match self.close_websocket() {
                Some(message) => Answer::Message { eaten, message },
                None => Answer::Opaque,
            },
        }
    }

    /// Ends the exchange that led to the WebSocket.
    pub(super) fn close_websocket(&mut self) -> Option<Message> {
        let ending = self.websocket.take()?.ending();
        let kind = MessageKind::ResponseEnd(Some(Box::new(ending)));
        Some(Message { pairing: Pairing::InOrder, kind })
    }
}
