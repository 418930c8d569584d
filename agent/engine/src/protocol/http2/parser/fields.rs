//! Frames with fields (RFC 9113 sections 6.2, 6.6 and 6.10) become messages.

use std::borrow::Cow;

use super::{CANCEL, Http2Parser, NO_ERROR, Spoken, lost};
use crate::protocol::http::field::{Field, value};
use crate::protocol::http2::frame::{END_HEADERS, END_STREAM, HEADER_BYTES, Header, Kind, block, error_name};
use crate::protocol::http2::grpc::{self, Status};
use crate::protocol::http2::head;
use crate::protocol::http2::hpack::Fields;
use crate::protocol::http2::look::Look;
use crate::protocol::http2::stream::{Stream, Use};
use crate::protocol::rpc::Around;
use crate::protocol::{
    Answer, Ending, Message, MessageKind, Outcome, Pairing, ParserSettings, Request, Response, Side, set,
};
use crate::semconv::{self, Attributes};

/// Longest header block with its frames' headers. Servers' own limits are lower, Go's is 1 MiB.
const MAX_BLOCK_BYTES: usize = 64 * 1024;
/// Most frames that continue a block: with the usual size of frames, four do.
const MAX_CONTINUATIONS: usize = 128;
/// Value of `remora.incomplete`: fields are unknown because they refer to what nobody saw.
const FIELDS_UNKNOWN: &str = "fields_unknown";
/// Value of `remora.incomplete`: the beginning of the response is missing.
const RESPONSE_CUT: &str = "response_cut";

impl Http2Parser {
    /// Reads a frame with a header block, and those that continue it. An error names the rule that was broken.
    pub(super) fn fields_frame(
        &mut self,
        side: Side,
        header: Header,
        bytes: &[u8],
    ) -> Result<Answer, &'static str> {
        let (block, eaten) = match gather(header, bytes)? {
            Gathered::Needs(at_least) => return Ok(Answer::Need { at_least }),
            Gathered::Whole { block, eaten } => (block, eaten),
        };
        self.judge_table(side, header, &block);
        let room = std::mem::take(&mut self.room_for_fields);
        let fields = self.half(side).decoder.decode(&block, room)?;
        let is_request = header.kind == Kind::Headers && header.stream % 2 == 1;
        let message = if is_request { self.fields(side, header, &fields) } else { None };
        self.room_for_fields = fields.cleared();
        Ok(match message {
            Some(message) => Answer::Message { eaten, message },
            None => Answer::Nothing { eaten },
        })
    }

    /// Takes in the fields of one side of a stream.
    pub(super) fn fields(&mut self, side: Side, header: Header, fields: &Fields) -> Option<Message> {
        let (number, is_open) = (header.stream, !header.has(END_STREAM));
        let list = fields.list();
        match side {
            Side::Client => self.asked(number, is_open, &list, fields.is_partial()),
            Side::Server => self.answered(number, is_open, &list, fields.is_partial()),
        }
    }

    fn asked(
        &mut self,
        number: u32,
        is_open: bool,
        fields: &[Field<'_>],
        is_partial: bool,
    ) -> Option<Message> {
        let is_first_seen = self.streams.is_empty_so_far();
        let is_new = self.streams.is_new(number);
        if self.streams.hear(number).is_some() {
            if fields.iter().any(|field| field.name == b":method") {
                return self.begun_twice(number);
            }
            // Trailers.
            return if is_open { None } else { self.end_request(number) };
        }
        // Those of a request that nobody saw look like a new one where their names are unknown.
        let is_request = fields.iter().any(|field| field.name.starts_with(b":"));
        if !is_new || !is_request && (!is_partial || is_first_seen) {
            return None;
        }
        if is_request {
            self.streams.know_newest(true);
        }
        let (purpose, is_presumed) = self.spoken.purpose(fields, is_partial);
        let mut request = match purpose {
            Use::Grpc => grpc::request(fields, is_open, &self.settings),
            Use::Http | Use::Unknown => head::request(fields, is_open, &self.settings),
        };
        self.spoken.is_relayed |= request.is_relayed;
        request.is_relayed |= is_partial && self.spoken.is_relayed;
        note_partial(&mut request.attributes, is_partial);
        let mut stream = Stream::new(Pairing::Id(u64::from(number)), purpose);
        stream.client.has_ended = !is_open;
        stream.is_presumed = is_presumed;
        stream.method = if purpose == Use::Http { None } else { grpc::method_of(fields) };
        let around = Around { settings: &self.settings, server: self.server_end.as_ref() };
        if let Some(call) = grpc::call(fields, around).filter(|_| purpose == Use::Grpc) {
            call.begin(&mut request);
            stream.have_read(call, &self.room);
        }
        if purpose == Use::Http {
            stream.look = Look::at_request(fields, request.name.path.as_deref(), is_open);
        }
        let begun = message(&stream, MessageKind::Request(Box::new(Request { is_open, ..request })));
        self.given_up = self.streams.begin(number, stream).map(|oldest| oldest.pairing);
        if self.given_up.is_some() {
            self.blocks.give_up();
        }
        self.doubt_answers(Some(number));
        Some(begun)
    }

    /// Two requests have one number: one of them was no request, but looked like one behind a hole. Which is not known.
    fn begun_twice(&mut self, number: u32) -> Option<Message> {
        self.client.decoder.forget();
        self.blocks.give_up();
        self.streams.remove(number).map(|stream| lost(&stream))
    }

    fn answered(
        &mut self,
        number: u32,
        is_open: bool,
        fields: &[Field<'_>],
        is_partial: bool,
    ) -> Option<Message> {
        self.streams.answer_to(number);
        let settings = &self.settings;
        let stream = self.streams.hear(number)?;
        let status = head::status(fields);
        if status.is_some_and(|status| (100..200).contains(&status)) {
            return Some(message(stream, MessageKind::Interim));
        }
        let is_trailer = stream.server.has_begun || (status.is_none() && !is_partial);
        if is_trailer {
            return if is_open { None } else { self.end_response(number, Some((fields, is_partial))) };
        }
        let before = stream.purpose;
        stream.purpose = self.spoken.purpose_of_answer(stream, fields, is_partial);
        (stream.server.has_begun, stream.status) = (true, status);
        let mut response = match stream.purpose {
            Use::Grpc => grpc::response(status, fields, settings),
            Use::Http | Use::Unknown => head::response(status, fields, settings),
        };
        note_partial(&mut response.attributes, is_partial);
        match (before, stream.purpose) {
            (Use::Unknown, Use::Grpc) => {
                grpc::recognise(&mut response.attributes, &mut response.name, stream.method.clone());
            }
            (Use::Grpc, Use::Http) => grpc::disown(&mut response.attributes, &mut response.name),
            _ => {}
        }
        stream.look = match stream.purpose {
            Use::Http => Look::at_response(stream.look.take(), fields, status, is_open, is_partial),
            Use::Grpc | Use::Unknown => None,
        };
        let pairing = stream.pairing;
        self.streams.answer();
        let ended = if is_open { None } else { self.streams.remove(number) };
        if let Some(mut stream) = ended {
            stream.server.has_ended = true;
            let ending = ending(&mut stream, Some((fields, is_partial)), false, settings);
            self.spoken.grpc |= stream.purpose == Use::Grpc && !stream.is_presumed;
            ending.into_iter().for_each(|it| response.end(it));
        }
        let response = Response { is_open, ..response };
        Some(Message { pairing, kind: MessageKind::Response(Box::new(response)) })
    }

    pub(super) fn end_request(&mut self, number: u32) -> Option<Message> {
        let stream = self.streams.hear(number)?;
        let has_ended = std::mem::replace(&mut stream.client.has_ended, true);
        (!has_ended).then(|| message(stream, MessageKind::RequestEnd))
    }

    /// Ends a response, with its trailers where there are any.
    pub(super) fn end_response(&mut self, number: u32, trailers: Option<Trailers<'_>>) -> Option<Message> {
        let mut stream = self.streams.remove(number)?;
        let is_framed = trailers.is_some() && stream.server.has_begun && stream.is_framed();
        let ending = ending(&mut stream, trailers, is_framed, &self.settings);
        self.spoken.grpc |= stream.purpose == Use::Grpc && !stream.is_presumed;
        if stream.server.has_begun {
            return Some(message(&stream, MessageKind::ResponseEnd(ending.map(Box::new))));
        }
        // The head was among what is missing. The trailers of gRPC say how it went all the same.
        let Some(mut ending) = ending.filter(|ending| ending.outcome.is_some() && trailers.is_some()) else {
            return Some(lost(&stream));
        };
        set(&mut ending.attributes, semconv::REMORA_INCOMPLETE, RESPONSE_CUT);
        let mut response = Response::default();
        response.end(ending);
        Some(message(&stream, MessageKind::Response(Box::new(response))))
    }
}

/// The fields after a body, and whether some of them are unknown.
type Trailers<'a> = (&'a [Field<'a>], bool);

pub(super) fn message(stream: &Stream, kind: MessageKind) -> Message {
    Message { pairing: stream.pairing, kind }
}

impl Spoken {
    /// Returns what a request is for, and whether that is only what all others of its connection were for. What is not
    /// of gRPC says so by its method or its type.
    fn purpose(&mut self, fields: &[Field<'_>], is_partial: bool) -> (Use, bool) {
        let is_post = value(fields, ":method").is_none_or(|method| method == b"POST");
        let purpose = match grpc::is_grpc(fields) {
            Some(true) => Use::Grpc,
            None if is_partial && is_post && self.grpc && !self.other => return (Use::Grpc, true),
            None if is_partial && is_post => Use::Unknown,
            Some(false) | None => Use::Http,
        };
        self.note(purpose);
        (purpose, false)
    }

    /// Returns what a request is for after all, by the fields with which its response begins.
    fn purpose_of_answer(&mut self, stream: &Stream, fields: &[Field<'_>], is_partial: bool) -> Use {
        let purpose = match (stream.purpose, grpc::is_grpc(fields)) {
            (Use::Unknown, Some(true)) => Use::Grpc,
            (Use::Unknown, None) if is_partial => Use::Unknown,
            (Use::Unknown, _) => Use::Http,
            // Who knows no gRPC may answer a call by an error, and by nothing else.
            (Use::Grpc, Some(false)) if stream.is_presumed && head::status(fields) == Some(200) => Use::Http,
            (purpose, _) => return purpose,
        };
        self.note(purpose);
        purpose
    }

    fn note(&mut self, purpose: Use) {
        self.grpc |= purpose == Use::Grpc;
        self.other |= purpose == Use::Http;
    }
}

fn note_partial(attributes: &mut Attributes, is_partial: bool) {
    if is_partial {
        set(attributes, semconv::REMORA_INCOMPLETE, FIELDS_UNKNOWN);
    }
}

/// Returns what only the end of a response tells. `is_framed` says that trailers end it, and that all data before them were
/// messages of gRPC.
fn ending(
    stream: &mut Stream,
    trailers: Option<Trailers<'_>>,
    is_framed: bool,
    settings: &ParserSettings,
) -> Option<Ending> {
    let (fields, is_partial) = trailers.unwrap_or_default();
    let status = Status::of_fields(fields, settings.redact_statements);
    let is_unknown = stream.purpose == Use::Unknown;
    if is_unknown && (is_framed || status.is_some()) {
        stream.purpose = Use::Grpc;
    }
    if stream.purpose != Use::Grpc {
        return stream.look.take().and_then(|look| look.end());
    }
    let is_unimplemented = status.as_ref().is_some_and(Status::is_unimplemented);
    let mut ending = match status {
        // A status that nobody saw is not guessed.
        None if is_partial => {
            let mut attributes = Attributes::new();
            note_partial(&mut attributes, true);
            Ending { attributes, ..Ending::default() }
        }
        status => grpc_ending(stream, status.unwrap_or_else(|| Status::of_http(stream.status))),
    };
    if let Some(call) = &mut stream.call {
        call.end(&mut ending);
    }
    if is_unknown {
        grpc::recognise(&mut ending.attributes, &mut ending.name, stream.method.clone());
        if stream.status == Some(200) {
            set(&mut ending.attributes, semconv::HTTP_RESPONSE_STATUS_CODE, "");
        }
    }
    if is_unimplemented && let Some(method) = stream.method.take() {
        grpc::hide_method(&mut ending, method);
    }
    Some(ending)
}

fn grpc_ending(stream: &Stream, status: Status) -> Ending {
    grpc::ending(status, &stream.client.messages, &stream.server.messages)
}

/// Returns what tells that a stream has ended with its connection.
pub(super) fn end(stream: Stream) -> Message {
    let pairing = stream.pairing;
    let ending = stream.look.and_then(|look| look.end()).map(Box::new);
    Message { pairing, kind: MessageKind::ResponseEnd(ending) }
}

/// Returns what tells that a side has given up a stream.
pub(super) fn reset(stream: &mut Stream, side: Side, code: u32) -> Message {
    let mut ending = match stream.purpose {
        Use::Grpc => Ending { is_given_up: code == CANCEL, ..grpc_ending(stream, Status::of_reset(code)) },
        Use::Http | Use::Unknown => {
            let look = stream.look.take();
            let tells = look.as_ref().is_some_and(|look| look.tells(side, code));
            let mut ending = look.and_then(|look| look.end()).unwrap_or_default();
            // Either may end so what it has no more to say to, once there is an answer.
            let is_error = code != NO_ERROR || !stream.server.has_begun;
            if is_error && !tells {
                let error_type = Some(error_name(code).to_owned());
                let is_client_fault = side == Side::Client;
                ending.outcome = Some(Outcome { error_type, message: None, is_client_fault });
            }
            ending
        }
    };
    if let Some(call) = &mut stream.call {
        call.end(&mut ending);
    }
    match stream.pairing {
        Pairing::InOrder if !stream.server.has_begun => {
            let mut response = Response::default();
            response.end(ending);
            message(stream, MessageKind::Response(Box::new(response)))
        }
        _ => message(stream, MessageKind::ResponseEnd(Some(Box::new(ending)))),
    }
}

enum Gathered<'a> {
    Needs(usize),
    Whole { block: Cow<'a, [u8]>, eaten: usize },
}

/// Puts a header block together. An error names the rule that was broken.
fn gather(header: Header, bytes: &[u8]) -> Result<Gathered<'_>, &'static str> {
    let mut eaten = header.frame_bytes();
    if eaten > MAX_BLOCK_BYTES {
        return Err("header block too long");
    }
    let Some(payload) = bytes.get(HEADER_BYTES..eaten) else { return Ok(Gathered::Needs(eaten)) };
    let first = block(header, payload)?;
    if header.has(END_HEADERS) {
        return Ok(Gathered::Whole { block: Cow::Borrowed(first), eaten });
    }
    let mut joined = first.to_vec();
    for _ in 0..MAX_CONTINUATIONS {
        let rest = bytes.get(eaten..).unwrap_or_default();
        let Some(next) = Header::read(rest) else { return Ok(Gathered::Needs(eaten + HEADER_BYTES)) };
        if next.kind != Kind::Continuation || next.stream != header.stream {
            return Err("header block is interrupted");
        }
        let end = eaten + next.frame_bytes();
        if end > MAX_BLOCK_BYTES {
            return Err("header block too long");
        }
        let Some(part) = rest.get(HEADER_BYTES..next.frame_bytes()) else { return Ok(Gathered::Needs(end)) };
        joined.extend_from_slice(part);
        eaten = end;
        if next.has(END_HEADERS) {
            return Ok(Gathered::Whole { block: Cow::Owned(joined), eaten });
        }
    }
    Err("header block in too many frames")
}
