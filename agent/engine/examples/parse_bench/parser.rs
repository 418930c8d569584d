//! Sessions, played to a parser as the engine does, without anything around it.

use std::time::Duration;

use remora_engine::protocol::{Answer, Conversation, Parser, ParserSettings, Protocol, Side};

use crate::allocations::Allocations;
use crate::baseline;
use crate::clock::Clock;
use crate::figure;
use crate::session::Session;

/// Parsers that are made at once, so that the clock is asked seldom and making them is not measured.
const BATCH: usize = 64;
/// Least time of a round.
const ROUND: Duration = Duration::from_millis(200);

/// A session with the bytes of each side in one piece.
struct Track {
    bytes: [Vec<u8>; 2],
    /// Which side sent a piece, and where that side's bytes end with it.
    pieces: Vec<(Side, usize)>,
}

/// Where a parser is.
#[derive(Clone, Copy, Default)]
struct Cursor {
    position: usize,
    end: usize,
    skip: u64,
    needed: usize,
}

/// Measures a protocol by sessions of one `kind` of messages; returns how many messages they make.
pub(crate) fn run(kind: &str, protocol: &'static dyn Protocol, sessions: &[Session], rounds: usize) -> u64 {
    let name = protocol.name();
    let tracks: Vec<Track> = sessions.iter().map(Track::of).collect();
    let bytes: Vec<u8> = tracks.iter().flat_map(|track| &track.bytes).flatten().copied().collect();
    let (mut times, mut rates, mut baselines) = (Vec::new(), Vec::new(), Vec::new());
    let mut messages = 0;
    let mut allocated = Allocations::default();
    for _ in 0..rounds {
        let (mut spent, mut plays) = (Duration::ZERO, 0);
        (messages, allocated) = (0, Allocations::default());
        while spent < ROUND {
            plays += BATCH;
            (messages, allocated) = (0, Allocations::default());
            for track in &tracks {
                let settings = ParserSettings::default();
                let conversation = Conversation::new(&settings, true);
                let mut parsers: Vec<_> = (0..BATCH).map(|_| protocol.parser(&conversation)).collect();
                let before = Allocations::now();
                let began = Clock::now();
                for parser in &mut parsers {
                    messages += track.play(parser.as_mut());
                }
                spent += began.elapsed();
                let since = Allocations::since(before);
                allocated.count += since.count;
                allocated.bytes += since.bytes;
            }
        }
        let played = plays as f64 / BATCH as f64;
        let per_play = spent.as_secs_f64() / played;
        times.push(per_play * 1e9 / messages as f64);
        rates.push((bytes.len() * BATCH) as f64 / per_play / 1e6);
        baselines.push(baseline::round(&bytes, messages / BATCH as u64, allocated.each(BATCH as u64)));
    }
    figure::print(&format!("parser, time per {kind}: {name}"), "ns", &times);
    figure::print(&format!("baseline, time per {kind}: {name}"), "ns", &baselines);
    figure::print(&format!("parser, throughput, {kind}s: {name}"), "MB/s", &rates);
    let each = |total: u64| [total as f64 / messages as f64];
    figure::print(&format!("parser, allocations per {kind}: {name}"), "", &each(allocated.count));
    figure::print(&format!("parser, allocated per {kind}: {name}"), "B", &each(allocated.bytes));
    messages / BATCH as u64
}

impl Track {
    fn of(session: &Session) -> Self {
        let mut track =
            Self { bytes: [Side::Client, Side::Server].map(|side| session.bytes(side)), pieces: Vec::new() };
        let mut ends = [0; 2];
        for (side, bytes) in &session.pieces {
            ends[*side as usize] += bytes.len();
            track.pieces.push((*side, ends[*side as usize]));
        }
        track
    }

    /// Plays all pieces; returns how many messages they make.
    fn play(&self, parser: &mut dyn Parser) -> u64 {
        let mut cursors = [Cursor::default(); 2];
        let mut messages = 0;
        for &(side, end) in &self.pieces {
            cursors[side as usize].end = end;
            for side in [side, side.reverse()] {
                match self.drain(parser, side, &mut cursors[side as usize]) {
                    Some(said) => messages += said,
                    None => return messages,
                }
            }
        }
        messages + [Side::Client, Side::Server].into_iter().filter_map(|side| parser.end(side)).count() as u64
    }

    /// Shows what a side has; returns how many messages it made, or none where nothing more is read.
    fn drain(&self, parser: &mut dyn Parser, side: Side, cursor: &mut Cursor) -> Option<u64> {
        let mut messages = 0;
        loop {
            if cursor.skip > 0 {
                let passed = cursor.skip.min((cursor.end - cursor.position) as u64);
                cursor.position += usize::try_from(passed).expect("it is there");
                cursor.skip -= passed;
                if cursor.skip > 0 {
                    return Some(messages);
                }
                messages += u64::from(parser.passed(side).is_some());
            }
            let shown = &self.bytes[side as usize][cursor.position..cursor.end];
            if shown.is_empty() || shown.len() < cursor.needed {
                return Some(messages);
            }
            cursor.needed = 0;
            match parser.parse(side, shown) {
                Answer::Message { eaten, .. } => {
                    messages += 1;
                    cursor.position += eaten;
                }
                Answer::Nothing { eaten } | Answer::SignsIn { eaten } | Answer::Refused { eaten, .. } => {
                    cursor.position += eaten
                }
                Answer::Skip { length } => cursor.skip = length,
                Answer::Need { at_least } => {
                    cursor.needed = at_least;
                    return Some(messages);
                }
                Answer::Wait => return Some(messages),
                // What follows is another protocol.
                Answer::Opaque | Answer::Encrypted { .. } | Answer::Upgraded { .. } => return None,
                Answer::Lost | Answer::Broken { .. } => panic!("a recorded session is not understood"),
            }
        }
    }
}
