//! One connection: the heads and bodies of both sides in turn.

mod contents;
mod tunnel;

use std::collections::VecDeque;

use super::body::{Body, Step};
use super::framing::Framing;
use super::head::{self, Head, MAX_HEAD_BYTES};
use super::request::Asked;
use super::{align, detect, request, response};
use crate::held::Held;
use crate::protocol::http::content::{Content, Graphql};
use crate::protocol::turns::Turns;
use crate::protocol::websocket::WebSocket;
use crate::protocol::{
    Answer, Cut, DETECTION_BUDGET_BYTES, Detection, Message, MessageKind, Pairing, Parser, ParserSettings,
    Side,
};

/// Most requests of one connection that wait for their responses. Browsers and proxies stay below ten.
const MAX_OUTSTANDING: usize = 1024;
/// Turns after which pairing is believed again after a loss: HTTP clients wait for the response, or show soon that
/// they do not.
const TURNS: u32 = 1;

/// State of one connection.
#[derive(Debug)]
pub(super) struct Http1Parser {
    settings: ParserSettings,
    client: Half,
    server: Half,
    /// Requests without a final response.
    outstanding: VecDeque<Outstanding>,
    turns: Turns,
    /// A response before its request can only mean that the request is still to be shown.
    may_wait: bool,
    /// The only reported request had its head cut: others may be hidden in what was missing behind it.
    is_cut: bool,
    /// The connection carries something else.
    is_tunnel: bool,
    /// It is this, and the exchange that led to it is open.
    websocket: Option<WebSocket>,
    /// Both sides go on by this protocol; and whether it answers what is reported.
    upgrade: Option<(&'static str, bool)>,
    /// The final response came before the body of a request with `Expect: 100-continue`, which may not come at all.
    is_body_optional: bool,
}

/// One direction.
#[derive(Debug, Default)]
struct Half {
    state: State,
    /// What is read belongs to an exchange that is reported.
    is_reported: bool,
    /// A message begins where the bytes begin.
    is_aligned: bool,
    /// Bytes in which no end of a head was found yet.
    scanned: usize,
    /// What is looked at in the body.
    content: Option<Content>,
}

/// Where in a direction we are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before a head.
    #[default]
    Head,
    /// In a body.
    Body(Body),
    /// After a request that may change the protocol, before its response (client only).
    Switch,
}

#[derive(Debug)]
struct Outstanding {
    asked: Asked,
    is_reported: bool,
    graphql: Option<Graphql>,
}

impl Half {
    fn new(is_aligned: bool) -> Self {
        Self { is_aligned, ..Self::default() }
    }

    fn is_seeking(&self) -> bool {
        self.state == State::Body(Body::Seeking)
    }
}

impl Http1Parser {
    pub(super) fn new(settings: ParserSettings, is_start: bool) -> Self {
        Self {
            settings,
            client: Half::new(is_start),
            server: Half::new(is_start),
            outstanding: VecDeque::new(),
            // Clients that do not wait for responses are rare enough to believe the first request that is seen.
            turns: Turns::from_start(TURNS),
            may_wait: is_start,
            is_cut: false,
            is_tunnel: false,
            websocket: None,
            upgrade: None,
            is_body_optional: false,
        }
    }

    fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Passes over what cannot be read, to the next head.
    fn align(&mut self, side: Side, bytes: &[u8]) -> Option<Answer> {
        if side == Side::Server {
            self.turns.speak();
        }
        match align::find(side, bytes) {
            Some(0) => {
                self.half(side).is_aligned = true;
                None
            }
            Some(eaten) => {
                self.half(side).is_aligned = true;
                Some(Answer::Nothing { eaten })
            }
            None => Some(match bytes.len() - align::tail(side, bytes) {
                0 => need_more(bytes),
                eaten => Answer::Nothing { eaten },
            }),
        }
    }

    fn head(&mut self, side: Side, bytes: &[u8]) -> Answer {
        if let Some(eaten) = line_end(bytes).filter(|_| side == Side::Client) {
            return Answer::Nothing { eaten };
        }
        // The client speaks again, so that the end of the last response was among what is missing.
        if side == Side::Client && self.server.is_seeking() && !bytes.is_empty() {
            return self.give_up();
        }
        // What was read before in vain is not read again before its end is there.
        let scanned = std::mem::take(&mut self.half(side).scanned);
        let may_end = scanned == 0 || head::length(bytes, scanned).is_some();
        let shown = bytes.get(..MAX_HEAD_BYTES).unwrap_or(bytes);
        let answer = match may_end.then(|| Head::read(shown)) {
            Some(Some((head, Some(length)))) => match side {
                Side::Client => self.request(&head, length),
                Side::Server => self.response(&head, length),
            },
            Some(None) => Err("too many fields"),
            Some(Some((_, None))) | None => {
                self.half(side).scanned = bytes.len();
                unfinished(side, bytes).map(|()| need_more(bytes))
            }
        };
        match answer {
            Err(_) if side == Side::Client && self.is_answer_due() => Answer::Wait,
            answer => answer.unwrap_or_else(|reason| self.broken(reason)),
        }
    }

    fn request(&mut self, head: &Head<'_>, eaten: usize) -> Result<Answer, &'static str> {
        let request::Read { request, framing, asked, content, graphql } =
            request::read(head, &self.settings)?;
        if self.outstanding.len() >= MAX_OUTSTANDING {
            return Err("too many outstanding requests");
        }
        let was_known = self.turns.are_known();
        let is_reported = self.turns.request() && !self.is_cut;
        if is_reported && !was_known {
            self.outstanding.clear();
        }
        self.outstanding.push_back(Outstanding { asked, is_reported, graphql });
        self.client.is_reported = is_reported;
        self.client.content = content.filter(|_| is_reported);
        self.client.state = Body::new(framing).map_or_else(|| self.after_request(), State::Body);
        self.is_body_optional = false;
        Ok(reported(is_reported, eaten, MessageKind::Request(Box::new(request))))
    }

    fn response(&mut self, head: &Head<'_>, eaten: usize) -> Result<Answer, &'static str> {
        if self.outstanding.is_empty() && self.may_wait {
            return Ok(Answer::Wait);
        }
        let asked = self.outstanding.front().map(|outstanding| outstanding.asked).unwrap_or_default();
        let mut read = response::read(head, asked, &self.settings)?;
        let is_reported = self.outstanding.front().is_some_and(|outstanding| outstanding.is_reported);
        if read.is_interim {
            return Ok(reported(is_reported, eaten, MessageKind::Interim));
        }
        if read.is_h2c {
            self.upgrade = Some(("h2c", is_reported));
            return Ok(reported(is_reported, eaten, MessageKind::Interim));
        }
        // The end of the request was among what is missing, and maybe other requests.
        if self.client.is_seeking() {
            return Ok(self.give_up());
        }
        if self.is_asking(asked) {
            return Ok(Answer::Wait);
        }
        let graphql = self.take_graphql();
        self.answered(asked, read.is_switch);
        self.server.is_reported = is_reported;
        let has_failed = read.response.outcome.error_type.is_some();
        let content = Content::of_response(&head.fields, graphql.is_some(), has_failed);
        self.server.content = content.filter(|_| is_reported && read.framing != Framing::None);
        self.websocket = (read.is_websocket && is_reported).then(WebSocket::default);
        if let Some(graphql) = graphql {
            graphql.describe(&mut read.response.attributes, &mut read.response.name);
        }
        self.server.state = Body::new(read.framing).map_or(State::Head, State::Body);
        Ok(reported(is_reported, eaten, MessageKind::Response(Box::new(read.response))))
    }

    /// Reads a request line up to where it is cut: method and the beginning of the target.
    fn cut_request_line(&mut self, bytes: &[u8]) -> Result<Answer, &'static str> {
        if detect::request_line(bytes.get(..DETECTION_BUDGET_BYTES).unwrap_or(bytes)) == Detection::No {
            return Err("not HTTP/1.x");
        }
        let line = [bytes.trim_ascii_end(), b" HTTP/1.1"].concat();
        let mut answer = self.request(&Head { start_line: &line, fields: Vec::new() }, bytes.len())?;
        if let Answer::Message { message: Message { kind: MessageKind::Request(request), .. }, .. } =
            &mut answer
        {
            // The version was not seen.
            request.attributes.retain(|(key, _)| *key != crate::semconv::NETWORK_PROTOCOL_VERSION);
        }
        Ok(answer)
    }

    /// Notes that the first outstanding request has its final response.
    fn answered(&mut self, asked: Asked, is_switch: bool) {
        let is_unasked = self.outstanding.pop_front().is_none();
        if self.is_cut || (is_unasked && self.turns.are_known()) {
            self.outstanding.clear();
            self.turns.lose();
            self.is_cut = false;
        }
        self.turns.response();
        self.is_tunnel |= is_switch;
        if self.outstanding.is_empty() {
            let is_untouched = matches!(self.client.state, State::Body(Body::Length(_) | Body::ChunkSize));
            self.is_body_optional = asked.expects_continue && is_untouched;
            if self.client.state == State::Switch {
                self.client.state = State::Head;
            }
        }
    }

    fn body(&mut self, side: Side, mut body: Body, bytes: &[u8]) -> Option<Answer> {
        if side == Side::Client && self.is_body_optional {
            match detect::known_request_line(bytes) {
                Detection::Yes(Side::Client) => return self.ended(side, 0),
                Detection::Unsure => return Some(need_more(bytes)),
                _ => self.is_body_optional = false,
            }
        }
        let step = self.look(side, &mut body, bytes).unwrap_or_else(|| body.step(bytes));
        self.half(side).state = State::Body(body);
        match step {
            Step::Eat(eaten) => Some(Answer::Nothing { eaten }),
            Step::Skip(length) => Some(Answer::Skip { length }),
            Step::Need(at_least) => Some(Answer::Need { at_least }),
            Step::End(eaten) => self.ended(side, eaten),
            Step::Broken(reason) => Some(self.broken(reason)),
        }
    }

    /// Ends a body; none where there is nothing to say and nothing was eaten.
    fn ended(&mut self, side: Side, eaten: usize) -> Option<Answer> {
        match self.finish(side) {
            Some(message) => Some(Answer::Message { eaten, message }),
            None => (eaten > 0).then_some(Answer::Nothing { eaten }),
        }
    }

    /// Ends a body and returns the message that tells so.
    fn finish(&mut self, side: Side) -> Option<Message> {
        let content = self.half(side).content.take();
        let kind = match side {
            Side::Client => {
                if let Some(outstanding) = self.outstanding.back_mut() {
                    outstanding.graphql =
                        outstanding.graphql.take().or(content.and_then(Content::into_graphql));
                }
                MessageKind::RequestEnd
            }
            Side::Server => MessageKind::ResponseEnd(content.and_then(Content::into_ending)),
        };
        let next = if side == Side::Client { self.after_request() } else { State::Head };
        self.is_body_optional &= side != Side::Client;
        let half = self.half(side);
        half.state = next;
        half.is_reported.then_some(Message { pairing: Pairing::InOrder, kind })
    }

    fn after_request(&self) -> State {
        let may_switch = self.outstanding.back().is_some_and(|outstanding| outstanding.asked.may_switch);
        if may_switch { State::Switch } else { State::Head }
    }

    /// Looks for the last chunk of a body of which bytes are missing, where no other exchange can hide among them.
    fn seek(&mut self, side: Side, body: Body, length: u64) -> Option<Cut> {
        let is_alone = match side {
            Side::Client => self.outstanding.len() == 1 && self.server.state == State::Head,
            Side::Server => self.outstanding.is_empty(),
        };
        let content = &mut self.half(side).content;
        content.iter_mut().for_each(Content::missed);
        let is_endless = body == Body::UntilEnd && content.as_ref().is_some_and(Content::is_endless);
        if is_endless {
            return Some(Cut { message: None, length });
        }
        let body = body.after_missing().filter(|_| is_alone && !self.is_tunnel)?;
        self.half(side).state = State::Body(body);
        self.may_wait = false;
        Some(Cut { message: None, length })
    }

    /// Forgets an exchange whose end was not seen. The server has spoken since the client's last turn.
    fn give_up(&mut self) -> Answer {
        self.lose();
        self.turns.speak();
        Answer::Lost
    }

    /// Returns whether something was asked whose answer is to come, or is coming: what the client says behind it takes
    /// nothing from that.
    fn is_answer_due(&self) -> bool {
        let is_answering = !self.outstanding.is_empty() || self.server.state != State::Head;
        is_answering && self.turns.are_known() && self.outstanding.len() < MAX_OUTSTANDING
    }

    fn broken(&mut self, reason: &'static str) -> Answer {
        self.lose();
        Answer::Broken { reason }
    }

    fn lose(&mut self) {
        self.client = Half::new(false);
        self.server = Half::new(false);
        self.outstanding.clear();
        self.turns.lose();
        self.may_wait = false;
        self.is_cut = false;
        self.is_body_optional = false;
        self.websocket = None;
        // What was asked is told as lost.
        if let Some((_, is_answering)) = &mut self.upgrade {
            *is_answering = false;
        }
    }
}

impl Parser for Http1Parser {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Answer {
        if let Some((token, is_answering)) = self.upgrade {
            return Answer::Upgraded { token, is_answering };
        }
        if self.is_tunnel {
            return self.tunnel(side, bytes);
        }
        if !self.half(side).is_aligned
            && let Some(answer) = self.align(side, bytes)
        {
            return answer;
        }
        match self.half(side).state {
            State::Body(body) => self.body(side, body, bytes).unwrap_or_else(|| self.head(side, bytes)),
            State::Switch => Answer::Wait,
            State::Head => self.head(side, bytes),
        }
    }

    fn is_unasked(&self) -> bool {
        self.outstanding.is_empty() && matches!(self.client.state, State::Head)
    }

    fn passed(&mut self, side: Side) -> Option<Message> {
        let is_over = self.half(side).state == State::Body(Body::Passed);
        is_over.then(|| self.finish(side)).flatten()
    }

    fn cut(&mut self, side: Side, bytes: &[u8], missing: u64) -> Option<Cut> {
        let length = u64::try_from(bytes.len()).ok()?.checked_add(missing)?;
        if let Some(socket) = &mut self.websocket {
            socket.missed(side);
            return Some(Cut { message: None, length });
        }
        if let State::Body(body) = self.half(side).state {
            return self.seek(side, body, length);
        }
        let is_head = matches!(self.half(side).state, State::Head) && self.half(side).is_aligned;
        // What is missing may contain more than the rest of this head, where messages do not wait for one another.
        let others = match side {
            Side::Client => self.outstanding.len(),
            Side::Server => self.outstanding.len().saturating_sub(1),
        };
        if !is_head || others > 0 || self.is_tunnel || self.half(side.reverse()).is_seeking() {
            return None;
        }
        self.may_wait = false;
        // The last field is cut too; a wrong value must not be read from it.
        let answer = match memchr::memrchr(b'\n', bytes).and_then(|end| bytes.get(..=end)) {
            Some(shown) => {
                let (head, _) = Head::read(shown)?;
                match side {
                    Side::Client => self.request(&head, bytes.len()),
                    Side::Server => self.response(&head, bytes.len()),
                }
            }
            // A request line that is longer than what was captured of it.
            None if side == Side::Client => self.cut_request_line(bytes),
            None => return None,
        };
        // What follows is not known: the next head is looked for.
        *self.half(side) = Half::new(false);
        self.is_cut |= side == Side::Client;
        match answer.ok()? {
            Answer::Message { message, .. } => Some(Cut { message: Some(closed(message)), length }),
            Answer::Nothing { .. } => Some(Cut { message: None, length }),
            _ => None,
        }
    }

    fn end(&mut self, side: Side) -> Option<Message> {
        if self.websocket.is_some() {
            return self.close_websocket();
        }
        let half = self.half(side);
        let is_endless = half.content.as_ref().is_some_and(Content::is_endless);
        let is_over = matches!(half.state, State::Body(Body::UntilEnd | Body::Passed)) || is_endless;
        is_over.then(|| self.finish(side)).flatten()
    }

    fn held_bytes(&self) -> usize {
        self.outstanding.held_bytes() + self.client.content.held_bytes() + self.server.content.held_bytes()
    }

    fn lost(&mut self, _side: Side) {
        self.lose();
    }

    /// Every place will do: [`align`](Self::align) finds the next head, and must see what is before it.
    fn resync(&self, _side: Side, _bytes: &[u8]) -> Option<usize> {
        Some(0)
    }
}

fn reported(is_reported: bool, eaten: usize, kind: MessageKind) -> Answer {
    match is_reported {
        true => Answer::Message { eaten, message: Message { pairing: Pairing::InOrder, kind } },
        false => Answer::Nothing { eaten },
    }
}

/// Says of a message whose end will not be seen that it has ended.
fn closed(mut message: Message) -> Message {
    match &mut message.kind {
        MessageKind::Request(request) => request.is_open = false,
        MessageKind::Response(response) => response.is_open = false,
        _ => {}
    }
    message
}

fn need_more(bytes: &[u8]) -> Answer {
    Answer::Need { at_least: bytes.len() + 1 }
}

/// Returns the length of an empty line (RFC 9112 section 2.2: to be ignored before a request).
fn line_end(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\n', ..] => Some(1),
        [b'\r', b'\n', ..] => Some(2),
        _ => None,
    }
}

/// Says whether bytes may become a head that has no end yet.
fn unfinished(side: Side, bytes: &[u8]) -> Result<(), &'static str> {
    if bytes.len() >= MAX_HEAD_BYTES {
        return Err("head too long");
    }
    let detection = match side {
        Side::Client if bytes == b"\r" => Detection::Unsure,
        Side::Client => detect::request_line(bytes.get(..DETECTION_BUDGET_BYTES).unwrap_or(bytes)),
        Side::Server => detect::status_line(bytes),
    };
    if detection == Detection::No { Err("not HTTP/1.x") } else { Ok(()) }
}

impl Held for Outstanding {
    fn held_bytes(&self) -> usize {
        self.graphql.held_bytes()
    }
}
