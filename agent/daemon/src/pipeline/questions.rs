//! What the capture thread knows of one process, for whoever asks.

use remora_engine::{TlsCounts, TlsKind};

use super::Pipeline;
use crate::discover::Notice;
use crate::enrich::ResourceSpan;
use crate::health::{Known, TlsConnections};

impl<S: FnMut(ResourceSpan)> Pipeline<S> {
    /// Answers one question as far as this thread knows, and leaves the rest to discovery. A look at all connections is
    /// taken for each, so that one in a round is enough.
    pub(super) fn answer(&mut self) {
        let Ok(mut question) = self.questions.try_recv() else { return };
        let pid = question.known.pid;
        question.known = Known {
            pid,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            agent_pid: std::process::id(),
            looks_into_tls: Some(self.looks_into_tls),
            part: self.parts.part(pid),
            tls: self.engine.tls_of(pid).into_iter().map(connections).collect(),
            spans: self.roster.spans(pid),
            ..Known::default()
        };
        // One that discovery has no room for is told to be unanswered.
        let _ = self.notices.try_send(Notice::Asked(Box::new(question)));
    }
}

fn connections((kind, counts): (TlsKind, TlsCounts)) -> TlsConnections {
    let [bytes_sent, bytes_received] = counts.bytes;
    TlsConnections {
        unseen_reason: kind.reason.to_owned(),
        server: kind.server,
        version: kind.version.to_owned(),
        protocols: kind.protocols,
        connections: counts.connections,
        bytes_sent,
        bytes_received,
    }
}
