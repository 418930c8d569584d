//! `remora watch`: this host's requests, live.

mod board;
mod screen;

use std::io::{self, IsTerminal as _};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use self::board::Board;
use self::screen::Screen;
use super::output::Lines;
use super::{pipeline_settings, shared};
use crate::config::Settings;
use crate::enrich::ResourceSpan;
use crate::export::Format;
use crate::health::Ledger;
use crate::pipeline;
use crate::stop::Stop;

/// How often the view is drawn.
const FRAME: Duration = Duration::from_secs(1);
/// Spans between the pipeline and the view. A full queue drops the new one, which is counted.
const QUEUE_SPANS: usize = 65_536;

/// Shows spans until a signal comes, or nobody reads any more.
pub(super) fn watch(settings: &Settings, is_json: bool) -> anyhow::Result<()> {
    let stop = Stop::on_signals()?;
    let shared = shared();
    let refused = shared.ledger.loss("queue", "watch_full");
    let (sender, spans) = mpsc::sync_channel::<ResourceSpan>(QUEUE_SPANS);
    std::thread::scope(|scope| {
        let (stop, ledger) = (&stop, &shared.ledger);
        let viewer = scope.spawn(move || {
            let _stops_the_pipeline = SetOnDrop(stop);
            if is_json { print_lines(&spans) } else { show(&spans, ledger) }
        });
        let mut take = |span| {
            if sender.try_send(span).is_err() {
                refused.add(1);
            }
        };
        let ended = pipeline::run(pipeline_settings(settings), &shared, stop.flag(), &mut take);
        drop(sender);
        let _shown = viewer.join();
        Ok(ended?)
    })
}

struct SetOnDrop<'a>(&'a Stop);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.set();
    }
}

fn print_lines(spans: &mpsc::Receiver<ResourceSpan>) {
    let mut lines = Lines::new(io::stdout(), Format::Json);
    while let Ok(span) = spans.recv() {
        if !lines.write(&span) {
            return;
        }
    }
}

fn show(spans: &mpsc::Receiver<ResourceSpan>, ledger: &Ledger) {
    let mut board = Board::default();
    let mut screen = Screen::new(io::stdout().is_terminal());
    let mut next_frame = Instant::now();
    loop {
        let now = Instant::now();
        if now >= next_frame {
            next_frame = now + FRAME;
            if !screen.draw(|size| board.render(now, size, ledger)) {
                return;
            }
        }
        match spans.recv_timeout(next_frame.saturating_duration_since(Instant::now())) {
            Ok(span) => board.insert(&span, Instant::now()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
