//! Lines to stdout or stderr, for readers that may go away.

use std::io::{self, Write};

use crate::enrich::ResourceSpan;
use crate::export::{Format, line};

/// Writes spans as lines until nobody reads them any more.
#[derive(Debug)]
pub(super) struct Lines<W> {
    writer: Option<W>,
    format: Format,
}

impl<W: Write> Lines<W> {
    /// Returns a writer of lines.
    pub(super) fn new(writer: W, format: Format) -> Self {
        Self { writer: Some(writer), format }
    }

    /// Writes one span. Returns whether anybody still reads.
    pub(super) fn write(&mut self, span: &ResourceSpan) -> bool {
        let Some(writer) = &mut self.writer else { return false };
        if let Err(error) = writeln!(writer, "{}", line(span, self.format)).and_then(|()| writer.flush()) {
            if error.kind() != io::ErrorKind::BrokenPipe {
                tracing::warn!(%error, "cannot print spans any more");
            }
            self.writer = None;
        }
        self.writer.is_some()
    }
}
