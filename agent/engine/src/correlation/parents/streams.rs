//! Streams of connections that are written, or read, by one for all others.
//!
//! In Go (grpc-go), who asks for a stream hands its header over; the goroutine that writes the connection tells which header
//! it has made into which stream. In Node, who asks for a stream tells its number. At the other end, the goroutine that
//! serves a stream tells which of those it is that its maker has read, and Node which unit of work serves it.

use std::collections::VecDeque;

use foldhash::HashMap;

use super::goroutines::Goroutine;
use super::{Found, Key, MAX_REMEMBERED, Parents};
use crate::event::{ConnectionId, Executor, Task};
use crate::pairing::ExchangeId;
use crate::span::Evidence;

/// Streams of one writer that may wait to be seen on the wire. For one more, the oldest is forgotten.
const MAX_STREAMS: usize = 1_024;

/// Sweeps that a writer is remembered in which it writes no header. It is known again by the next one.
const MAX_IDLE_SWEEPS: u32 = 64;

/// By what it is known that something is written for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Writes {
    /// By who writes it.
    Goroutine(Goroutine),
    /// By where.
    Connection(ConnectionId),
}

/// For whom the streams of connections are written.
#[derive(Debug, Default)]
pub(super) struct Streams {
    writers: HashMap<Writes, Writer>,
    /// The goroutine that reads streams, by the one that has started it; none where it has started several.
    readers: HashMap<Goroutine, Option<u64>>,
    over_limit: u64,
}

/// What is written for others.
#[derive(Debug, Default)]
struct Writer {
    /// Those that somebody is known to have asked for, by number.
    streams: VecDeque<Stream>,
    idle_sweeps: u32,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    number: u64,
    server: ExchangeId,
}

impl Streams {
    /// A stream's header is written for a request, or for none that is known.
    pub(super) fn write(&mut self, writer: Writes, number: u64, server: Option<ExchangeId>) {
        if self.writers.len() >= MAX_REMEMBERED && !self.writers.contains_key(&writer) {
            self.over_limit += self.writers.len() as u64;
            self.writers.clear();
        }
        let Writer { streams, idle_sweeps } = self.writers.entry(writer).or_default();
        *idle_sweeps = 0;
        let Some(server) = server else { return };
        if streams.len() >= MAX_STREAMS {
            streams.pop_front();
        }
        streams.push_back(Stream { number, server });
    }

    /// A goroutine has read a stream, which another has started.
    pub(super) fn read(&mut self, maker: Goroutine, reader: u64) {
        if self.readers.len() >= MAX_REMEMBERED && !self.readers.contains_key(&maker) {
            self.over_limit += self.readers.len() as u64;
            self.readers.clear();
        }
        let known = self.readers.entry(maker).or_insert(Some(reader));
        if *known != Some(reader) {
            *known = None;
        }
    }

    /// Returns for whom a stream was written, if its writer is one that writes for others: perhaps for nobody.
    fn take(&mut self, writer: Writes, number: u64) -> Option<Option<ExchangeId>> {
        let streams = &mut self.writers.get_mut(&writer)?.streams;
        // Numbers only grow: what is behind was not seen on the wire.
        while streams.front().is_some_and(|stream| stream.number < number) {
            streams.pop_front();
        }
        let first = streams.pop_front_if(|stream| stream.number == number);
        Some(first.map(|stream| stream.server))
    }

    /// Forgets who asked for what: some of what was told is out of date. Whoever writes for others still does.
    pub(super) fn invalidate(&mut self) {
        self.writers.values_mut().for_each(|writer| writer.streams.clear());
    }

    /// Forgets streams of requests that are not served any more, and who has written none for long: what goes out
    /// encrypted is never seen on the wire.
    pub(super) fn sweep(&mut self, is_served: impl Fn(&ExchangeId) -> bool) {
        self.writers.retain(|_, writer| {
            writer.streams.retain(|stream| is_served(&stream.server));
            writer.streams.shrink_to(MAX_STREAMS / 64);
            writer.idle_sweeps += 1;
            writer.idle_sweeps <= MAX_IDLE_SWEEPS || !writer.streams.is_empty()
        });
    }

    /// Forgets the goroutines of a process that is gone.
    pub(super) fn forget_process(&mut self, tgid: u32) {
        self.writers.retain(|writer, _| !matches!(writer, Writes::Goroutine((owner, _)) if *owner == tgid));
        self.readers.retain(|(owner, _), _| *owner != tgid);
    }

    /// Forgets a connection.
    pub(super) fn forget_connection(&mut self, connection: ConnectionId) {
        self.writers.remove(&Writes::Connection(connection));
    }

    /// Returns how many writers were forgotten because there were too many.
    pub(super) fn over_limit(&self) -> u64 {
        self.over_limit
    }
}

impl Parents {
    /// A goroutine writes a stream's header, which was handed over under this number.
    pub(in crate::correlation) fn note_stream_written(
        &mut self,
        writer: &Executor,
        header: u64,
        number: u64,
    ) {
        let Some(Task::Goroutine { id, .. }) = writer.task else { return };
        let server = self.gifts.remove(&(writer.tgid, header)).map(|(server, _)| server);
        self.streams.write(Writes::Goroutine((writer.tgid, id)), number, server);
    }

    /// A goroutine serves a stream of those that its maker has read, or the one goroutine that its maker has started to read.
    pub(in crate::correlation) fn note_stream_served(&mut self, executor: &Executor, number: u64) {
        let tgid = executor.tgid;
        let Some(Task::Goroutine { id, parent }) = executor.task else { return };
        let other = self.streams.readers.get(&(tgid, parent)).copied().flatten().filter(|id| *id != parent);
        let readers = [Some(parent), other].into_iter().flatten().map(|id| Key::Goroutine { tgid, id });
        let is_it = |id: &&ExchangeId| {
            self.servers.get(id).is_some_and(|server| server.number == Some(number) && !server.is_answering)
        };
        let read = readers.filter_map(|reader| self.by_key.get(&reader)).flatten();
        let mut meant = read.filter(is_it).copied();
        let (Some(server), None) = (meant.next(), meant.next()) else { return };
        self.hand_on(server, Key::Goroutine { tgid, id });
    }

    /// Another unit goes on with a request.
    fn hand_on(&mut self, id: ExchangeId, key: Key) {
        let Some(server) = self.servers.get_mut(&id) else { return };
        let before = std::mem::replace(&mut server.key, key);
        super::remove(&mut self.by_key, &before, id);
        self.by_key.entry(key).or_default().push(id);
    }

    /// Returns the request for which a stream was written, if its writer is one that writes for others.
    pub(super) fn of_stream(
        &mut self,
        connection: ConnectionId,
        writer: &Executor,
        number: Option<u64>,
    ) -> Option<Option<Found>> {
        let (writes, evidence) = match writer.task {
            Some(Task::Goroutine { id, .. }) => (Writes::Goroutine((writer.tgid, id)), Evidence::Goroutine),
            _ => (Writes::Connection(connection), Evidence::Task),
        };
        let server = self.streams.take(writes, number?)?;
        let server = server.filter(|server| self.servers.contains_key(server));
        Some(server.map(|server| Found { server, evidence }))
    }

    /// Returns whether a goroutine writes streams for others.
    pub(super) fn writes_for_others(&self, executor: &Executor) -> bool {
        let Some(Task::Goroutine { id, .. }) = executor.task else { return false };
        self.streams.writers.contains_key(&Writes::Goroutine((executor.tgid, id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITER: Writes = Writes::Goroutine((1, 7));
    const ONE: Option<ExchangeId> = Some(ExchangeId(1));

    #[test]
    fn a_stream_is_whose_header_was_written() {
        let mut streams = Streams::default();
        assert_eq!(streams.take(WRITER, 1), None, "a goroutine like others");
        streams.write(WRITER, 1, ONE);
        streams.write(WRITER, 3, None);
        streams.write(WRITER, 5, ONE);
        assert_eq!(streams.take(WRITER, 3), Some(None));
        assert_eq!(streams.take(WRITER, 1), Some(None), "it was behind");
        assert_eq!(streams.take(WRITER, 5), Some(ONE));
        assert_eq!(streams.take(WRITER, 5), Some(None), "once");
        assert_eq!(streams.take(Writes::Goroutine((1, 8)), 5), None);
        streams.forget_process(1);
        assert_eq!(streams.take(WRITER, 7), None);
    }

    #[test]
    fn who_has_started_several_readers_shows_nothing() {
        let mut streams = Streams::default();
        streams.read((1, 5), 6);
        streams.read((1, 5), 6);
        assert_eq!(streams.readers.get(&(1, 5)), Some(&Some(6)));
        streams.read((1, 5), 7);
        streams.read((1, 5), 7);
        assert_eq!(streams.readers.get(&(1, 5)), Some(&None));
        streams.forget_process(1);
        assert!(streams.readers.is_empty());
    }

    #[test]
    fn streams_of_a_connection_go_with_it() {
        let mut streams = Streams::default();
        let connection = |sock| Writes::Connection(ConnectionId { sock, inode: 1 });
        streams.write(connection(1), 1, ONE);
        streams.forget_process(1);
        assert_eq!(streams.take(connection(2), 1), None);
        assert_eq!(streams.take(connection(1), 1), Some(ONE));
        streams.forget_connection(ConnectionId { sock: 1, inode: 1 });
        assert_eq!(streams.take(connection(1), 3), None);
    }

    #[test]
    fn a_writer_whose_claims_are_out_of_date_writes_for_others_still() {
        let mut streams = Streams::default();
        streams.write(WRITER, 1, ONE);
        streams.invalidate();
        assert_eq!(streams.take(WRITER, 1), Some(None));
    }

    #[test]
    fn streams_that_are_never_seen_on_the_wire_are_forgotten() {
        let mut streams = Streams::default();
        streams.write(WRITER, 1, ONE);
        streams.sweep(|_| true);
        assert_eq!(streams.take(WRITER, 1), Some(ONE));
        streams.write(WRITER, 3, ONE);
        streams.sweep(|_| false);
        assert_eq!(streams.take(WRITER, 3), Some(None), "its request is answered");
        (0..MAX_IDLE_SWEEPS).for_each(|_| streams.sweep(|_| false));
        assert_eq!(streams.take(WRITER, 3), None, "it has written nothing for long");
    }

    #[test]
    fn the_oldest_streams_are_forgotten_first() {
        let mut streams = Streams::default();
        (0..=MAX_STREAMS as u64).for_each(|number| streams.write(WRITER, number, ONE));
        assert_eq!(streams.take(WRITER, 0), Some(None));
        assert_eq!(streams.take(WRITER, 1), Some(ONE));
    }
}
