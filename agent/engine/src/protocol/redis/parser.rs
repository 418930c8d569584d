//! One connection: commands and their replies.

use std::collections::VecDeque;

use super::command::{self, Channels, Meaning};
use super::reply::{Reply, Step, Summary};
use super::request::{self, Found, Rest, Words};
use super::sightings::{NewJob, Sightings};
use super::subscriptions::Subscriptions;
use super::{Watch, detect, queues};
use crate::held::Held;
use crate::protocol::turns::Turns;
use crate::protocol::{
    Answer, Cut, MAX_KEYS, MAX_OUTSTANDING, Message, MessageKind, Outcome, Pairing, Parser, ParserSettings,
    Response, Side, set,
};
use crate::semconv::{self, Attributes};

/// Turns after which pairing is believed on a connection that was there before, or after a loss. Clients that
/// share one connection between threads are common, so that one is not enough.
const TURNS: u32 = 2;

/// Errors by which a node of a cluster names another node (Redis cluster specification, "MOVED Redirection", "ASK
/// redirection").
const REDIRECTIONS: [&str; 2] = ["ASK", "MOVED"];

/// State of one connection.
#[derive(Debug)]
pub(super) struct RedisParser {
    options: command::Options,
    /// A command begins where the client's bytes begin.
    is_aligned: bool,
    /// What the server sends belongs to what was not seen, until the client speaks again.
    is_draining: bool,
    /// Behind the commands that are outstanding are others, which were not seen or are not followed: what the server sends
    /// after the replies to the former answers those, until the client speaks again.
    has_missed: bool,
    /// Something was lost since the connection was first paired.
    has_lost: bool,
    /// Commands that count as lost, and whose replies do not any more.
    missed: u64,
    /// A reply without a command can only mean that the command is still to be shown.
    may_wait: bool,
    /// Arguments of the last command that are still to be walked over.
    arguments_left: u64,
    /// One of them goes by.
    is_passing: bool,
    /// What the last command is answered with; none where it is not.
    last: Option<Expected>,
    outstanding: VecDeque<Outstanding>,
    turns: Turns,
    reply: Reply,
    replies: Replies,
    /// The selected database, where it is known.
    database: Option<u64>,
    /// Commands queued since `MULTI`.
    queued: Option<i64>,
    /// What is to be looked for in the reply to `EXEC`.
    queued_watch: Watch,
    queued_jobs: Vec<NewJob>,
    is_queued_mixed: bool,
    subscriptions: Subscriptions,
    is_opaque: bool,
}

/// A command without its reply.
#[derive(Debug)]
struct Outstanding {
    expected: Expected,
    is_reported: bool,
    watch: Watch,
    jobs: Vec<NewJob>,
    /// It executes others, of which its reply tells.
    is_transaction: bool,
    /// As in [`Request`](crate::protocol::Request).
    is_routine: bool,
}

impl Outstanding {
    /// A command that is not told, with one reply.
    const UNTOLD: Self = Self {
        expected: Expected::One,
        is_reported: false,
        watch: Watch::Nothing,
        jobs: Vec::new(),
        is_transaction: false,
        is_routine: false,
    };
}

/// What a command is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// One reply.
    One,
    /// As many confirmations.
    Confirmations(u64),
    /// A confirmation for each channel of a kind, or one if there are none.
    ConfirmationOfAll(Channels),
    /// One reply, and then what others do.
    Monitor,
    /// One reply, and then nothing that was listened to.
    Reset,
}

/// Whether the client wants replies (`CLIENT REPLY`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Replies {
    #[default]
    On,
    Off,
    SkipNext,
}

impl RedisParser {
    pub(super) fn new(settings: &ParserSettings, is_start: bool) -> Self {
        Self {
            options: command::Options { redact: settings.redact_statements, mark_key: settings.mark_key },
            is_aligned: is_start,
            is_draining: !is_start,
            has_missed: false,
            has_lost: false,
            missed: 0,
            may_wait: is_start,
            arguments_left: 0,
            is_passing: false,
            last: None,
            outstanding: VecDeque::new(),
            turns: if is_start { Turns::from_start(TURNS) } else { Turns::from_middle(TURNS) },
            reply: Reply::default(),
            replies: Replies::On,
            database: is_start.then_some(0),
            queued: None,
            queued_watch: Watch::Nothing,
            queued_jobs: Vec::new(),
            is_queued_mixed: false,
            subscriptions: Subscriptions::new(!is_start),
            is_opaque: false,
        }
    }

    fn client(&mut self, bytes: &[u8]) -> Answer {
        if !self.is_aligned {
            match detect::find_command(bytes) {
                Some(0) => self.is_aligned = true,
                Some(eaten) => {
                    self.is_aligned = true;
                    self.note_rest();
                    return Answer::Nothing { eaten };
                }
                None => return unaligned(bytes),
            }
        }
        if self.arguments_left > 0 {
            return self.argument(bytes);
        }
        match request::find(bytes) {
            Found::Command { words, eaten, left } => {
                if self.is_end_of_pairing(&words) {
                    self.lose();
                    return Answer::Lost;
                }
                let message = self.command(&words);
                self.arguments_left = left;
                message.map_or(Answer::Nothing { eaten }, |message| Answer::Message { eaten, message })
            }
            Found::Empty { eaten } => Answer::Nothing { eaten },
            Found::Unfinished { at_least, .. } => Answer::Need { at_least },
            Found::Broken(_) if self.is_answer_due() => Answer::Wait,
            Found::Broken(reason) => self.broken(reason),
        }
    }

    /// The rest of a command goes by, of which the server had not seen the end when it answered those before.
    fn note_rest(&mut self) {
        if self.has_missed && self.turns.has_spoken() {
            self.turns.note_unfinished(true);
            self.last = Some(Expected::One);
        }
    }

    /// Returns whether what is outstanding cannot be paired any more if this command follows: how many replies it will get
    /// is not known.
    fn is_end_of_pairing(&self, words: &Words<'_>) -> bool {
        !self.outstanding.is_empty()
            && self.subscriptions.are_unknown()
            && is_unsubscribing_all(command::meaning(words))
    }

    fn argument(&mut self, bytes: &[u8]) -> Answer {
        match request::argument_length(bytes) {
            Ok(Some(length)) => {
                self.arguments_left -= 1;
                self.is_passing = true;
                Answer::Skip { length }
            }
            Ok(None) => Answer::Need { at_least: bytes.len() + 1 },
            Err(_) if self.is_answer_due() => Answer::Wait,
            Err(reason) => self.broken(reason),
        }
    }

    fn command(&mut self, words: &Words<'_>) -> Option<Message> {
        if self.outstanding.len() >= MAX_OUTSTANDING {
            self.miss();
        }
        let meaning = command::meaning(words);
        let batch = if meaning == Meaning::Exec { self.queued } else { None };
        let mut request = command::request(words, self.options, self.database, batch);
        let watch = self.watch_of(meaning, words);
        let jobs = self.jobs_of(meaning, words);
        self.follow(meaning);
        request.is_one_way = !self.is_answered(meaning);
        let is_reported = match request.is_one_way {
            true => {
                self.last = None;
                self.turns.are_known()
            }
            false => self.expect(meaning, watch, jobs, request.is_routine),
        };
        if !is_reported {
            self.missed += u64::from(!request.is_one_way);
            return self.missed();
        }
        Some(Message::in_order(MessageKind::Request(Box::new(request))))
    }

    /// Returns the exchange of a reply that cannot be told, unless its command has counted.
    fn missed_reply(&mut self) -> Option<Message> {
        let is_counted = self.missed > 0;
        self.missed = self.missed.saturating_sub(1);
        if is_counted { None } else { self.missed() }
    }

    /// Returns an exchange that cannot be told, where that is because something was lost.
    fn missed(&self) -> Option<Message> {
        self.has_lost.then(|| Message::in_order(MessageKind::Missed))
    }

    /// Returns what is to be looked for in the reply of a command.
    fn watch_of(&mut self, meaning: Meaning, words: &Words<'_>) -> Watch {
        match meaning {
            Meaning::Exec => std::mem::take(&mut self.queued_watch),
            Meaning::Plain => {
                let watch = queues::watch(words);
                if self.queued.is_none() {
                    return watch;
                }
                let is_first = self.queued == Some(0);
                // Of several different ones none is looked for: it would be found in the wrong place.
                self.queued_watch = match self.queued_watch {
                    before if watch.within() == before => before,
                    Watch::Nothing if !self.is_queued_mixed && (is_first || !watch.is_unchecked()) => {
                        watch.within()
                    }
                    before if watch == Watch::Nothing && !before.is_unchecked() => before,
                    _ => {
                        self.is_queued_mixed = true;
                        Watch::Nothing
                    }
                };
                Watch::Nothing
            }
            _ => Watch::Nothing,
        }
    }

    /// Returns the jobs that a command adds.
    fn jobs_of(&mut self, meaning: Meaning, words: &Words<'_>) -> Vec<NewJob> {
        if meaning == Meaning::Exec {
            return std::mem::take(&mut self.queued_jobs);
        }
        let Some(made_at_ms) = queues::job_made_at_ms(words) else { return Vec::new() };
        let place = self.queued.and_then(|queued| u64::try_from(queued).ok());
        let job = NewJob { place: place.unwrap_or(0), made_at_ms };
        if place.is_none() {
            return vec![job];
        }
        // Of more, the messages would not be told.
        if self.queued_jobs.len() < MAX_KEYS {
            self.queued_jobs.push(job);
        }
        Vec::new()
    }

    /// Notes a command that will be answered; returns whether it is reported.
    fn expect(&mut self, meaning: Meaning, watch: Watch, jobs: Vec<NewJob>, is_routine: bool) -> bool {
        if is_unsubscribing_all(meaning) && self.subscriptions.are_unknown() {
            // How many confirmations follow is not known.
            self.lose();
            return false;
        }
        let was_known = self.turns.are_known();
        let expected = match meaning {
            Meaning::Subscribe { count, .. } | Meaning::Unsubscribe { count: count @ 1.., .. } => {
                Expected::Confirmations(count.max(1))
            }
            Meaning::Unsubscribe { kind, .. } => Expected::ConfirmationOfAll(kind),
            Meaning::Monitor => Expected::Monitor,
            Meaning::Reset => Expected::Reset,
            _ => Expected::One,
        };
        let last = self.last.replace(expected).filter(|_| self.turns.is_unfinished());
        let is_between = self.is_draining || self.has_missed;
        let is_reported = !is_between && self.turns.request();
        if is_between {
            if !self.turns.has_spoken() {
                return false;
            }
            if !self.is_draining && !self.outstanding.is_empty() {
                if last.is_none() || self.outstanding.len() > 1 {
                    self.turns.note_overlap();
                }
                return false;
            }
            if std::mem::take(&mut self.is_draining) {
                self.missed = 0;
            }
            self.has_missed = false;
            self.turns.begin();
        }
        let is_known_now = is_reported && !was_known;
        if is_known_now {
            self.outstanding.clear();
            self.reply.take();
            self.missed = self.missed.min(u64::from(last.is_some()));
        }
        if is_between || is_known_now {
            // The server had not seen the last command whole when it answered those before.
            self.outstanding.extend(last.map(|expected| Outstanding { expected, ..Outstanding::UNTOLD }));
        }
        self.outstanding.push_back(Outstanding {
            expected,
            is_reported,
            watch,
            jobs,
            is_transaction: meaning == Meaning::Exec,
            is_routine,
        });
        is_reported
    }

    /// Changes what later commands mean.
    fn follow(&mut self, meaning: Meaning) {
        match meaning {
            Meaning::Select(database) => {
                self.database = database;
                self.queue();
            }
            Meaning::Multi => {
                self.queued = Some(0);
                self.queued_watch = Watch::Nothing;
                self.queued_jobs.clear();
                self.is_queued_mixed = false;
            }
            Meaning::Exec | Meaning::Discard => self.queued = None,
            Meaning::Reset => {
                self.database = Some(0);
                self.queued = None;
                self.replies = Replies::On;
            }
            Meaning::Replicate => self.is_opaque = true,
            _ => self.queue(),
        }
    }

    fn queue(&mut self) {
        self.queued = self.queued.map(|queued| queued.saturating_add(1));
    }

    fn is_answered(&mut self, meaning: Meaning) -> bool {
        match (meaning, self.replies) {
            (Meaning::ReplyOn, _) => {
                self.replies = Replies::On;
                true
            }
            (Meaning::ReplyOff, _) => {
                self.replies = Replies::Off;
                false
            }
            (Meaning::ReplySkip, Replies::On) => {
                self.replies = Replies::SkipNext;
                false
            }
            (_, Replies::SkipNext) => {
                self.replies = Replies::On;
                false
            }
            (_, replies) => replies == Replies::On,
        }
    }

    fn server(&mut self, bytes: &[u8]) -> Answer {
        let is_unfinished = self.is_passing || self.arguments_left > 0;
        self.turns.note_unfinished(is_unfinished && self.last.is_some());
        if self.is_draining {
            self.turns.speak();
            return Answer::Nothing { eaten: bytes.len() };
        }
        let is_unasked =
            self.outstanding.is_empty() && !self.subscriptions.are_any() && bytes.first() != Some(&b'>');
        if self.reply.is_new() && is_unasked && self.may_wait {
            return Answer::Wait;
        }
        if self.reply.is_new() {
            let asked = self.outstanding.front().map_or(Watch::Nothing, |outstanding| outstanding.watch);
            self.reply.watch(if self.subscriptions.are_any() { Watch::Push } else { asked });
            if let Some(outstanding) = self.outstanding.front_mut().filter(|it| !it.jobs.is_empty()) {
                self.reply.expect_jobs(std::mem::take(&mut outstanding.jobs));
            }
        }
        match self.reply.step(bytes) {
            Step::Eat(eaten) => Answer::Nothing { eaten },
            Step::Skip(length) => Answer::Skip { length },
            Step::Need(at_least) => Answer::Need { at_least },
            Step::End(eaten) => match self.replied() {
                Some(message) => Answer::Message { eaten, message },
                None if eaten > 0 => Answer::Nothing { eaten },
                None => self.server(bytes),
            },
            Step::Broken(reason) => self.broken(reason),
        }
    }

    /// Takes a whole reply.
    fn replied(&mut self) -> Option<Message> {
        let (summary, sightings) = self.reply.take();
        if let Some(left) = self.pushed(&summary) {
            return match left {
                0 => self.answered(summary, sightings),
                _ => one_way(self.turns.are_known(), sightings),
            };
        }
        self.answered(summary, sightings)
    }

    /// Returns how many more of such replies the first outstanding command is answered with (0: this was the last),
    /// where the reply is a push; more than 0 too where it answers nothing.
    fn pushed(&mut self, summary: &Summary) -> Option<u64> {
        let front = self.outstanding.front().map(|outstanding| outstanding.expected);
        let is_confirming =
            matches!(front, Some(Expected::Confirmations(_) | Expected::ConfirmationOfAll(_)));
        let may_push_arrays =
            is_confirming || self.subscriptions.are_any() || self.subscriptions.are_unknown();
        if !(summary.kind == b'>' || (summary.kind == b'*' && may_push_arrays && summary.is_shaped_as_push()))
        {
            return None;
        }
        let kind = match summary.first.as_slice() {
            b"message" | b"pmessage" | b"smessage" => return Some(1),
            b"subscribe" | b"unsubscribe" => Channels::Named,
            b"psubscribe" | b"punsubscribe" => Channels::Patterns,
            b"ssubscribe" | b"sunsubscribe" => Channels::Sharded,
            _ if summary.kind == b'>' => return Some(1),
            _ => return None,
        };
        let of_kind = self.subscriptions.of(kind);
        self.subscriptions.confirm(kind, summary.number.unwrap_or(0));
        let front = self.outstanding.front_mut()?;
        let left = match front.expected {
            Expected::Confirmations(left) => left.saturating_sub(1),
            Expected::ConfirmationOfAll(expected) if expected == kind => of_kind.saturating_sub(1),
            _ => return Some(1),
        };
        front.expected = Expected::Confirmations(left);
        Some(left)
    }

    /// Answers the first outstanding command.
    fn answered(&mut self, summary: Summary, sightings: Sightings) -> Option<Message> {
        let front = self.outstanding.pop_front();
        self.doubt_what_was_missed();
        if front.is_none() && self.turns.are_known() {
            // More replies than commands: what was paired before was wrong.
            self.miss();
        }
        self.turns.response();
        let Some(front) = front else { return self.missed_reply() };
        if front.expected == Expected::Reset && summary.kind == b'+' {
            self.subscriptions = Subscriptions::new(false);
        }
        self.is_opaque |= front.expected == Expected::Monitor && summary.kind == b'+';
        let is_idle = front.is_routine && summary.error.is_none();
        let response = Response { is_idle, ..response(summary, sightings, front.is_transaction) };
        if !front.is_reported {
            return self.missed_reply();
        }
        Some(Message::in_order(MessageKind::Response(Box::new(response))))
    }

    /// Whole commands are missing behind what was seen.
    fn cut_commands(&mut self, message: Option<Message>, seen: u64) -> Cut {
        self.miss();
        self.is_aligned = false;
        Cut { message, length: seen }
    }

    /// A message whose beginning was not captured is like any other string.
    fn cut_reply(&mut self, bytes: &[u8], seen: u64) -> Option<Cut> {
        if self.is_draining || self.reply.is_passed() {
            return None;
        }
        let length = self.reply.string_length(bytes).filter(|&length| length >= seen)?;
        let message = if self.reply.pass_unseen(length) { self.replied() } else { None };
        Some(Cut { message, length })
    }

    /// Returns whether something was asked whose answer will be known: what the client says behind it takes nothing from
    /// that.
    fn is_answer_due(&self) -> bool {
        !self.outstanding.is_empty() && self.turns.are_known() && !self.is_draining
    }

    fn broken(&mut self, reason: &'static str) -> Answer {
        self.lose();
        Answer::Broken { reason }
    }

    /// Bytes that mattered are missing, of either side.
    fn lose(&mut self) {
        self.forget_client();
        self.turns.lose();
        self.subscriptions.doubt();
        self.is_aligned = false;
        self.is_draining = true;
        self.has_missed = false;
        self.outstanding.clear();
        self.reply = Reply::default();
    }

    /// Commands are not seen, or not followed: what is outstanding is answered before them.
    fn miss(&mut self) {
        self.forget_client();
        self.turns.miss();
        self.has_missed = true;
        self.doubt_what_was_missed();
    }

    /// Once what was outstanding is answered, the server answers what was not seen: the client may have subscribed there.
    fn doubt_what_was_missed(&mut self) {
        if self.has_missed && self.outstanding.is_empty() {
            self.subscriptions.doubt();
        }
    }

    /// Forgets what the client has said of what follows.
    fn forget_client(&mut self) {
        self.has_lost |= self.turns.are_known();
        self.may_wait = false;
        self.is_aligned &= self.arguments_left == 0;
        self.arguments_left = 0;
        self.is_passing = false;
        self.database = None;
        self.queued = None;
        self.queued_watch = Watch::Nothing;
        self.queued_jobs.clear();
        self.replies = Replies::On;
    }
}

impl Parser for RedisParser {
    fn trust(&mut self) {
        self.is_aligned = true;
        self.is_draining = false;
        self.turns = Turns::from_start(TURNS);
    }

    fn doubt(&self) -> Option<bool> {
        if self.is_draining { Some(self.turns.has_spoken()) } else { self.turns.doubt() }
    }

    fn parse(&mut self, side: Side, bytes: &[u8]) -> Answer {
        match side {
            _ if self.is_opaque => Answer::Opaque,
            Side::Client => self.client(bytes),
            Side::Server => self.server(bytes),
        }
    }

    fn passed(&mut self, side: Side) -> Option<Message> {
        self.is_passing &= side == Side::Server;
        (side == Side::Server && self.reply.is_passed()).then(|| self.replied()).flatten()
    }

    fn cut(&mut self, side: Side, bytes: &[u8], missing: u64) -> Option<Cut> {
        let seen = u64::try_from(bytes.len()).ok()?.checked_add(missing)?;
        if side == Side::Server {
            return self.cut_reply(bytes, seen);
        }
        if self.is_draining {
            return None;
        }
        if !self.is_aligned || self.arguments_left > 0 {
            return Some(self.cut_commands(None, seen));
        }
        let Found::Unfinished { rest: Some(Rest { words, end, left }), .. } = request::find(bytes) else {
            return Some(self.cut_commands(None, seen));
        };
        if self.is_end_of_pairing(&words) {
            return None;
        }
        let message = self.command(&words);
        if end < seen {
            return Some(self.cut_commands(message, seen));
        }
        self.arguments_left = left;
        Some(Cut { message, length: end })
    }

    fn end(&mut self, _side: Side) -> Option<Message> {
        None
    }

    /// Replies tell how many commands are missing; nothing tells how many messages were pushed.
    fn counts_missing(&self, side: Side) -> bool {
        let is_pushed = side == Side::Server && self.outstanding.is_empty() && self.subscriptions.are_any();
        !is_pushed
    }

    fn held_bytes(&self) -> usize {
        self.outstanding.held_bytes() + self.queued_jobs.held_bytes() + self.reply.held_bytes()
    }

    fn lost(&mut self, _side: Side) {
        self.lose();
    }

    /// Every place will do: the next command is looked for, and what the server sends before it does not matter.
    fn resync(&self, _side: Side, _bytes: &[u8]) -> Option<usize> {
        Some(0)
    }
}

fn is_unsubscribing_all(meaning: Meaning) -> bool {
    matches!(meaning, Meaning::Unsubscribe { count: 0, .. })
}

fn response(summary: Summary, mut sightings: Sightings, is_transaction: bool) -> Response {
    let mut attributes = Attributes::new();
    if !is_transaction {
        sightings.describe(&mut attributes);
    }
    let mut response = Response {
        attributes,
        sent: sightings.appended(),
        received: sightings.received(),
        ..Response::default()
    };
    if let Some(failure) = summary.error {
        set(&mut response.attributes, semconv::DB_RESPONSE_STATUS_CODE, failure.prefix.clone());
        // A client of a cluster asks again where it is told to: nothing has failed.
        if !REDIRECTIONS.contains(&failure.prefix.as_str()) {
            let (error_type, message) = (Some(failure.prefix), Some(failure.message));
            response.outcome = Outcome { error_type, message, is_client_fault: false };
        }
    }
    response
}

fn one_way(is_reported: bool, sightings: Sightings) -> Option<Message> {
    let delivery = sightings.delivery();
    let kind = delivery.map_or(MessageKind::OneWay, |delivery| MessageKind::Delivered(Box::new(delivery)));
    is_reported.then_some(Message { pairing: Pairing::InOrder, kind })
}

/// Passes over what cannot be a command; the beginning of one may be at the end.
fn unaligned(bytes: &[u8]) -> Answer {
    let tail = memchr::memrchr(b'*', bytes).map_or(0, |at| bytes.len() - at);
    match bytes.len() - tail {
        0 if tail < crate::protocol::DETECTION_BUDGET_BYTES => Answer::Need { at_least: bytes.len() + 1 },
        0 => Answer::Nothing { eaten: bytes.len() },
        eaten => Answer::Nothing { eaten },
    }
}

impl Held for Outstanding {
    fn held_bytes(&self) -> usize {
        self.jobs.held_bytes()
    }
}
