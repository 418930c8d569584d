//! Messages in a reply, as its strings go by.

use super::{LengthLine, Watch, bullmq, length_line, messaging, queues};
use crate::held::Held;
use crate::protocol::{
    Delivery, KEYED_BYTES, Keys, MAX_KEYS, Received, WireContext, celery, context, job_id, set, text,
};
use crate::semconv::{self, Attributes};

/// Bytes of a message, as far as they are shown, in which a job's id is looked for: kombu writes a job's arguments
/// before its headers.
const JOB_BYTES: usize = 16 << 10;
/// How many aggregates are open around the fields of a job of BullMQ.
const JOB_FIELDS_DEPTH: usize = 2;

/// A job that a command adds.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewJob {
    /// The command's place in its transaction, and so that of its reply.
    pub(super) place: u64,
    /// Unix time.
    pub(super) made_at_ms: u64,
}

/// What was found in a reply.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    watch: Watch,
    /// The jobs whose numbers it tells.
    new_jobs: Vec<NewJob>,
    /// Strings of the job that came: names and values of fields follow each other.
    job_strings: u64,
    /// The value that follows says when it was made.
    is_time: bool,
    made_at_ms: Option<u64>,
    /// Messages that came, or may have come.
    received: Keys,
    /// A message came, whether it can be told from others or not.
    has_message: bool,
    /// The id in the message, as long as there is only one.
    job: Option<u64>,
    /// The key of which the elements are.
    queue: Option<String>,
    /// The entry that was appended.
    appended: Keys,
    /// The id of the only entry that was appended, where the reply is nothing else.
    entry_id: Option<String>,
    /// Entries that came.
    entries: u64,
    /// What the entries to come are of, and how deep in the reply their ids are.
    stream: Option<(usize, u64)>,
    /// The last string of an entry says that the next is a trace context.
    is_context: bool,
    /// Contexts in messages.
    contexts: Vec<WireContext>,
    /// The channel of a push, and the pattern that it matches.
    channel: Vec<u8>,
    pattern: Option<Vec<u8>>,
}

impl Sightings {
    /// Says what is to be looked for.
    pub(super) fn watch(&mut self, watch: Watch) {
        self.watch = watch;
        if let Watch::Entries { stream, depth } = watch {
            self.stream = (stream != 0).then_some((depth, stream));
        }
    }

    /// Says which jobs the reply may give numbers.
    pub(super) fn expect_jobs(&mut self, jobs: Vec<NewJob>) {
        self.new_jobs = jobs;
    }

    /// Returns whether anything is looked for.
    pub(super) fn is_watching(&self) -> bool {
        self.watch != Watch::Nothing
    }

    /// Takes in a string of the reply: `bytes` begin with its length and hold all of it, or enough. `depth` aggregates
    /// are open around it, and it is the element number `index` of the outermost one, which begins with `first`.
    pub(super) fn see(&mut self, bytes: &[u8], depth: usize, index: u64, first: &[u8]) {
        // Counted before it is looked at: what is not shown is a string as well.
        self.job_strings += u64::from(depth == JOB_FIELDS_DEPTH);
        let LengthLine::Is(Some(length @ 0..), start) = length_line(bytes) else { return };
        let length = length.unsigned_abs();
        let whole = usize::try_from(length).unwrap_or(usize::MAX);
        let content = start.checked_add(whole.min(KEYED_BYTES)).and_then(|end| bytes.get(start..end));
        match (self.watch, content) {
            (Watch::Nothing, _) => {}
            (Watch::Elements { is_keyed: true }, key) if depth == 1 && index == 0 => {
                self.queue = key.and_then(queues::told);
            }
            (Watch::Elements { .. }, content) => {
                let is_first = !std::mem::replace(&mut self.has_message, true);
                let shown = bytes.get(start..).unwrap_or_default();
                let shown = shown.get(..whole.min(JOB_BYTES)).unwrap_or(shown);
                self.job = job_id(shown).filter(|_| is_first);
                self.take(length, content);
            }
            (Watch::Texts, content) => self.take(length, content),
            (Watch::Entries { depth: ids, .. }, Some(text)) => self.see_entry(text, depth, ids == 0),
            (Watch::Position { stream }, Some(id)) if queues::is_entry_id(id) => {
                self.appended.add(queues::entry(stream, id));
                self.entry_id = (depth == 0).then(|| queues::name(id));
            }
            (Watch::Push, Some(text)) if depth == 1 => self.see_pushed(length, text, index, first),
            (Watch::Added { queue, depth: ids }, Some(id)) if depth == ids && bullmq::is_id(id) => {
                self.see_new_job(queue, id, index);
            }
            // The job comes first, as an aggregate.
            (Watch::Taken { .. }, text) if depth == JOB_FIELDS_DEPTH && index == 1 => {
                self.see_job_field(text.unwrap_or_default());
            }
            (Watch::Taken { queue }, Some(id))
                if depth == 1 && index == 1 && first.is_empty() && bullmq::is_id(id) =>
            {
                self.has_message = true;
                if let Some(made_at_ms) = self.made_at_ms {
                    self.received.add(queues::job(queue, id, made_at_ms));
                }
            }
            (
                Watch::Entries { .. }
                | Watch::Position { .. }
                | Watch::Push
                | Watch::Added { .. }
                | Watch::Taken { .. },
                _,
            ) => {}
        }
    }

    fn see_new_job(&mut self, queue: u64, id: &[u8], place: u64) {
        match self.new_jobs.iter().find(|job| job.place == place) {
            Some(job) => self.appended.add(queues::job(queue, id, job.made_at_ms)),
            None => self.appended.leave_out(1),
        }
    }

    fn see_job_field(&mut self, text: &[u8]) {
        if self.job_strings % 2 == 1 {
            self.is_time = text == bullmq::MADE_AT_FIELD;
        } else if std::mem::take(&mut self.is_time) {
            self.made_at_ms = text::decimal(text);
        }
    }

    fn take(&mut self, length: u64, content: Option<&[u8]>) {
        if let Some(key) = content.and_then(|content| queues::content(length, content)) {
            self.received.add(key);
        }
        self.carry(content.and_then(context::of_text));
    }

    fn carry(&mut self, context: Option<WireContext>) {
        if let Some(context) = context.filter(|context| !self.contexts.contains(context))
            && self.contexts.len() < MAX_KEYS
        {
            self.contexts.push(context);
        }
    }

    /// The text is a stream's name where these are told, an entry's id two aggregates deeper, or something within an
    /// entry, which lies deeper still.
    fn see_entry(&mut self, text: &[u8], depth: usize, is_named: bool) {
        match self.stream {
            Some((ids, stream)) if depth == ids => {
                if queues::is_entry_id(text) {
                    self.has_message = true;
                    self.entries += 1;
                    self.received.add(queues::entry(stream, text));
                }
            }
            Some((ids, _)) if depth > ids => self.see_field(text),
            _ if is_named => self.stream = Some((depth + 2, queues::stream(text))),
            _ => {}
        }
    }

    /// Names and values follow each other.
    fn see_field(&mut self, text: &[u8]) {
        if std::mem::replace(&mut self.is_context, text == b"traceparent") {
            self.carry(context::of_w3c(&[text], &[]));
        }
    }

    /// `message CHANNEL TEXT` or `pmessage PATTERN CHANNEL TEXT`.
    fn see_pushed(&mut self, length: u64, text: &[u8], index: u64, first: &[u8]) {
        let channel = match first {
            b"message" | b"smessage" => 1,
            b"pmessage" => 2,
            _ => return,
        };
        if index == channel {
            self.channel = text.to_vec();
        } else if index == 1 {
            self.pattern = Some(text.to_vec());
        } else if index == channel + 1 {
            self.has_message = true;
            self.received.add(queues::published(&self.channel, length, text));
            self.carry(context::of_text(text));
        }
    }

    /// Returns the messages that came with a reply; none where none came.
    pub(super) fn received(&mut self) -> Option<Box<Received>> {
        let keys = std::mem::take(&mut self.received);
        let is_certain = self.has_message;
        let job = self.job.take();
        let contexts = std::mem::take(&mut self.contexts);
        let queue = self.queue.take();
        // Who added a job may read the reply that names it after a worker has got it.
        let may_be_early = matches!(self.watch, Watch::Taken { .. });
        (is_certain || !keys.as_slice().is_empty())
            .then(|| Box::new(Received { keys, is_certain, contexts, job, queue, may_be_early }))
    }

    /// Returns what was brought unasked; none where it is no message.
    pub(super) fn delivery(mut self) -> Option<Delivery> {
        let received = *self.received()?;
        let source = (!self.channel.is_empty()).then(|| queues::channel(&self.channel));
        let mut attributes = Attributes::new();
        let name = match self.pattern.map(|pattern| queues::name(&pattern)) {
            Some(pattern) => {
                set(&mut attributes, semconv::MESSAGING_DESTINATION_TEMPLATE, pattern.clone());
                Some(messaging::processed(&pattern))
            }
            None => source.as_ref().and_then(|source| source.name.as_deref()).map(|channel| {
                messaging::add_template(&mut attributes, channel);
                messaging::processed(channel)
            }),
        };
        let is_routine = celery::is_heartbeat_channel(&self.channel);
        Some(Delivery { received, source, attributes, name, is_routine, ..Delivery::default() })
    }

    /// Adds what is told of the entries of a stream that one command has appended or brought.
    pub(super) fn describe(&mut self, attributes: &mut Attributes) {
        if let Some(id) = self.entry_id.take() {
            set(attributes, semconv::MESSAGING_MESSAGE_ID, id);
        }
        if let Some(entries) = i64::try_from(self.entries).ok().filter(|&entries| entries > 0) {
            set(attributes, semconv::MESSAGING_BATCH_MESSAGE_COUNT, entries);
        }
    }

    /// Returns the entries that were appended to streams.
    pub(super) fn appended(&mut self) -> Keys {
        std::mem::take(&mut self.appended)
    }
}

impl Held for NewJob {
    const IS_FLAT: bool = true;

    fn held_bytes(&self) -> usize {
        0
    }
}

impl Held for Sightings {
    fn held_bytes(&self) -> usize {
        self.received.held_bytes()
            + self.appended.held_bytes()
            + self.contexts.held_bytes()
            + self.new_jobs.held_bytes()
            + self.channel.held_bytes()
            + self.pattern.held_bytes()
            + self.queue.held_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "5f3a9e70-12cd-4e8b-9a61-3b1c8f0d7e21";

    /// The id of a job whose arguments have so many bytes, of which as many bytes of the reply are shown as `is_shown`
    /// lets through.
    fn job(arguments: usize, is_shown: impl Fn(usize) -> usize) -> Option<u64> {
        let message =
            format!("{{\"body\": \"{}\", \"headers\": {{\"id\": \"{ID}\"}}}}", "A".repeat(arguments));
        let reply = format!("${}\r\n{message}\r\n", message.len());
        let mut sightings = Sightings::default();
        sightings.watch(Watch::Elements { is_keyed: false });
        sightings.see(&reply.as_bytes()[..is_shown(reply.len())], 0, 0, b"");
        sightings.received()?.job
    }

    #[test]
    fn a_job_is_known_by_its_id_however_long_its_arguments_are() {
        let id = job_id(ID.as_bytes());
        for arguments in [0, KEYED_BYTES, JOB_BYTES - 100] {
            assert_eq!(job(arguments, |length| length), id, "{arguments}");
        }
        assert_eq!(job(JOB_BYTES, |length| length), None);
        assert_eq!(job(2 * KEYED_BYTES, |length| length - 20), None, "it is not shown");
    }

    #[test]
    fn the_answer_names_the_queue_that_a_message_is_from() {
        let mut sightings = Sightings::default();
        sightings.watch(Watch::Elements { is_keyed: true });
        sightings.see(b"$6\r\ncelery\r\n", 1, 0, b"");
        sightings.see(b"$4\r\nwork\r\n", 1, 1, b"");
        assert_eq!(sightings.received().unwrap().queue.as_deref(), Some("celery"));
    }

    #[test]
    fn what_follows_a_message_has_no_id_for_it() {
        let mut sightings = Sightings::default();
        sightings.watch(Watch::Elements { is_keyed: false });
        sightings.see(format!("$20\r\nnothing but a number\r\n$36\r\n{ID}\r\n").as_bytes(), 1, 0, b"");
        assert_eq!(sightings.received().unwrap().job, None);
    }
}
