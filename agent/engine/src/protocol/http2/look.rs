//! What is looked at in the data of a stream that is not of gRPC: what bodies say of GraphQL and of server-sent events,
//! and the frames of a WebSocket (RFC 8441).

use crate::held::Held;
use crate::protocol::http::content::{self, Content, Graphql};
use crate::protocol::http::field::{Field, value};
use crate::protocol::websocket::{Step, WebSocket};
use crate::protocol::{Ending, Side};

/// Bytes of a WebSocket's frame that are put together at most: a whole frame that closes it.
const MAX_FRAME_START_BYTES: usize = 2 + 4 + 125;
/// Codes by which a client gives up a stream of which it has seen enough (RFC 9113 section 7: `NO_ERROR`, `CANCEL`).
const ENOUGH: [u32; 2] = [0x0, 0x8];

/// The data of a stream, both sides'.
#[derive(Debug)]
pub(super) enum Look {
    /// Bodies.
    Bodies(Bodies),
    /// A WebSocket.
    WebSocket(Tunnel),
}

/// The bodies of a request and of its response.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    asked: Option<Content>,
    answered: Option<Content>,
    /// The GraphQL request that the URL makes.
    graphql: Option<Graphql>,
}

/// A WebSocket whose frames go by in data that need not end where they do.
#[derive(Debug, Default)]
pub(super) struct Tunnel {
    socket: WebSocket,
    client: Half,
    server: Half,
    /// The server has agreed.
    is_open: bool,
}

/// One direction.
#[derive(Debug, Default)]
struct Half {
    /// The beginning of a frame.
    begun: Vec<u8>,
    /// Bytes that belong to a frame that is counted.
    skipped: u64,
    /// Length of the frame of data of which nothing was seen yet but this.
    whole: Option<u32>,
    /// Nothing that follows is of interest.
    is_over: bool,
}

impl Look {
    /// Returns what is to be looked at behind a request; none where nothing is.
    pub(super) fn at_request(fields: &[Field<'_>], path: Option<&str>, is_open: bool) -> Option<Box<Self>> {
        let method = value(fields, ":method")?;
        if method == b"CONNECT" {
            let is_websocket = value(fields, ":protocol")
                .is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
            return (is_websocket && is_open).then(|| Box::new(Self::WebSocket(Tunnel::default())));
        }
        let graphql = content::of_target(method, value(fields, ":path").unwrap_or_default(), path);
        let asked = if is_open { Content::of_request(method, fields, path) } else { None };
        let is_something = graphql.is_some() || asked.is_some();
        is_something.then(|| Box::new(Self::Bodies(Bodies { asked, graphql, ..Bodies::default() })))
    }

    /// Returns what is to be looked at from a response on, of whose fields some are not known where it `is_partial`.
    pub(super) fn at_response(
        before: Option<Box<Self>>,
        fields: &[Field<'_>],
        status: Option<u16>,
        is_open: bool,
        is_partial: bool,
    ) -> Option<Box<Self>> {
        let mut bodies = match before.map(|look| *look) {
            // Refused, it has no frames.
            Some(Self::WebSocket(tunnel)) => {
                let is_granted = is_open && status.is_some_and(|status| (200..300).contains(&status));
                let tunnel = Tunnel { is_open: true, ..tunnel };
                return is_granted.then(|| Box::new(Self::WebSocket(tunnel)));
            }
            Some(Self::Bodies(bodies)) => bodies,
            None => Bodies::default(),
        };
        // One of the fields that are not known may say that the body is compressed.
        if is_open && !is_partial {
            let has_failed = status.is_some_and(|status| status >= 400);
            bodies.answered = Content::of_response(fields, bodies.may_be_graphql(), has_failed);
        }
        let is_something = bodies.answered.is_some() || bodies.may_be_graphql();
        is_something.then(|| Box::new(Self::Bodies(bodies)))
    }

    /// Returns whether data of a side are of interest.
    pub(super) fn is_at(&self, side: Side) -> bool {
        match self {
            Self::Bodies(bodies) => bodies.content(side).is_some_and(Content::is_open),
            Self::WebSocket(Tunnel { client, server, .. }) => match side {
                Side::Client => !client.is_over,
                Side::Server => !server.is_over,
            },
        }
    }

    /// Notes that a frame of data begins, and how many bytes of them are in it.
    pub(super) fn begin(&mut self, side: Side, length: u32) {
        if let Self::WebSocket(tunnel) = self {
            tunnel.half(side).whole = Some(length);
        }
    }

    /// Takes in the next of `left` bytes of data: returns how many of them need not be seen.
    pub(super) fn unseen(&mut self, side: Side, left: u32) -> u32 {
        let Self::WebSocket(tunnel) = self else { return 0 };
        let skipped = &mut tunnel.half(side).skipped;
        let passed = u32::try_from(*skipped).unwrap_or(u32::MAX).min(left);
        *skipped -= u64::from(passed);
        passed
    }

    /// Takes in the next bytes of data, which are shown and at least one; returns how many of them were looked at.
    pub(super) fn read(&mut self, side: Side, shown: &[u8]) -> usize {
        match self {
            Self::Bodies(bodies) => bodies.read(side, shown),
            Self::WebSocket(tunnel) => tunnel.read(side, shown),
        }
    }

    /// Notes that the next `bytes` of a side's data will not be seen; none where it is not known how many.
    pub(super) fn miss(&mut self, side: Side, bytes: Option<u32>) {
        match self {
            Self::Bodies(bodies) => bodies.content_mut(side).iter_mut().for_each(Content::missed),
            Self::WebSocket(tunnel) => tunnel.miss(side, bytes),
        }
    }

    /// Returns whether it lasts as long as its connection.
    pub(super) fn is_endless(&self) -> bool {
        match self {
            Self::Bodies(bodies) => bodies.answered.as_ref().is_some_and(Content::is_endless),
            Self::WebSocket(tunnel) => tunnel.is_open,
        }
    }

    /// Returns whether it says how it went, where a side gives up the stream.
    pub(super) fn tells(&self, side: Side, code: u32) -> bool {
        match self {
            Self::Bodies(_) => self.is_endless() && side == Side::Client && ENOUGH.contains(&code),
            Self::WebSocket(tunnel) => {
                tunnel.is_open && (tunnel.socket.is_closed() || ENOUGH.contains(&code))
            }
        }
    }

    /// Returns what it tells at its end.
    pub(super) fn end(self) -> Option<Ending> {
        match self {
            Self::Bodies(bodies) => bodies.end(),
            Self::WebSocket(tunnel) => tunnel.is_open.then(|| tunnel.socket.ending()),
        }
    }
}

impl Bodies {
    fn content(&self, side: Side) -> Option<&Content> {
        match side {
            Side::Client => self.asked.as_ref(),
            Side::Server => self.answered.as_ref(),
        }
    }

    fn content_mut(&mut self, side: Side) -> &mut Option<Content> {
        match side {
            Side::Client => &mut self.asked,
            Side::Server => &mut self.answered,
        }
    }

    fn may_be_graphql(&self) -> bool {
        self.asked.is_some() || self.graphql.is_some()
    }

    fn read(&mut self, side: Side, shown: &[u8]) -> usize {
        let slot = self.content_mut(side);
        if let Some(content) = slot {
            let is_wanted = content.feed(shown);
            if !is_wanted && content.is_open() {
                // It is nothing of interest after all.
                *slot = None;
            }
        }
        shown.len()
    }

    fn end(self) -> Option<Ending> {
        let graphql = self.graphql.or_else(|| self.asked.and_then(Content::into_graphql));
        let told = self.answered.filter(|content| content.is_endless() || graphql.is_some());
        let ending = told.and_then(Content::into_ending).map(|ending| *ending);
        let Some(graphql) = graphql else { return ending };
        let mut ending = ending.unwrap_or_default();
        graphql.describe(&mut ending.attributes, &mut ending.name);
        Some(ending)
    }
}

impl Tunnel {
    fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Looks at one frame.
    fn read(&mut self, side: Side, shown: &[u8]) -> usize {
        let mut begun = std::mem::take(&mut self.half(side).begun);
        let before = begun.len();
        let start = if before == 0 {
            shown
        } else {
            let room = MAX_FRAME_START_BYTES.saturating_sub(before);
            begun.extend_from_slice(shown.get(..room).unwrap_or(shown));
            &begun
        };
        // Behind missing bytes a frame is believed that is all that a frame of data holds.
        let is_found = match (self.socket.is_lost(side), self.half(side).whole) {
            (true, Some(whole)) => self.socket.resume(side, start, u64::from(whole)),
            (is_lost, _) => Some(!is_lost),
        };
        let step = match is_found {
            Some(true) => self.socket.parse(side, start),
            Some(false) => Step::Eat(before + shown.len()),
            None => Step::Need(start.len() + 1),
        };
        if matches!(step, Step::Need(_)) && before == 0 {
            begun.extend_from_slice(shown.get(..MAX_FRAME_START_BYTES).unwrap_or(shown));
        }
        if matches!(step, Step::End(_)) {
            (self.client.is_over, self.server.is_over) = (true, true);
        }
        let half = self.half(side);
        let length = match step {
            Step::Eat(eaten) | Step::End(eaten) => eaten as u64,
            Step::Skip(length) => length,
            Step::Need(_) => {
                half.begun = begun;
                return shown.len();
            }
        };
        half.whole = None;
        // What is kept of a frame is less than all of it.
        let length = length.saturating_sub(before as u64).max(1);
        let read = usize::try_from(length).map_or(shown.len(), |length| length.min(shown.len()));
        half.skipped = length - read as u64;
        read
    }

    fn miss(&mut self, side: Side, bytes: Option<u32>) {
        let half = self.half(side);
        if half.is_over {
            return;
        }
        match bytes.and_then(|bytes| half.skipped.checked_sub(u64::from(bytes))) {
            Some(left) => half.skipped = left,
            None => {
                *half = Half::default();
                self.socket.missed(side);
            }
        }
    }
}

impl Held for Look {
    fn held_bytes(&self) -> usize {
        match self {
            Self::Bodies(bodies) => {
                bodies.asked.held_bytes() + bodies.answered.held_bytes() + bodies.graphql.held_bytes()
            }
            Self::WebSocket(tunnel) => tunnel.client.begun.held_bytes() + tunnel.server.begun.held_bytes(),
        }
    }
}
