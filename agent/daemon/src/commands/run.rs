//! `remora run`: trace this host and export.

use std::path::PathBuf;
use std::time::Duration;

use super::output::Lines;
use super::{pipeline_settings, shared};
use crate::config::{Propagate, Propagation, Settings};
use crate::enrich::ResourceSpan;
use crate::export::Exporter;
use crate::health;
use crate::kubernetes::Watch;
use crate::pipeline::{self, Writes};
use crate::propagate::{self, Mechanisms};
use crate::stop::Stop;

/// How long the last spans may take to be sent at the end; what is left then stays in the spool.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs until a signal comes.
pub(super) fn run(settings: &Settings) -> anyhow::Result<()> {
    let stop = Stop::on_signals()?;
    let mut shared = shared();
    // Followed until the last span has its names.
    let followed = settings.kubernetes.clone().map(|kubernetes| {
        tracing::info!(node = kubernetes.node, "following the API server");
        Watch::start(kubernetes, &shared.ledger)
    });
    let (cluster, _watch) = followed.transpose()?.unzip();
    shared.cluster = cluster;
    let server = settings.metrics.clone().map(|metrics| {
        health::Server::start(
            metrics.address,
            metrics.token,
            shared.ledger.clone(),
            shared.readiness.clone(),
            shared.questions.clone(),
        )
    });
    let server = server.transpose()?;
    let export = settings.export.clone().map(|export| {
        tracing::info!(endpoint = %export.endpoint, "exporting");
        Exporter::start(export, &shared.ledger)
    });
    let (exporter, sink) = export.transpose()?.unzip();
    let mut lines = settings.print.map(|format| Lines::new(std::io::stdout(), format));
    let mut take = |span: ResourceSpan| {
        if let Some(lines) = &mut lines {
            lines.write(&span);
        }
        if let Some(sink) = &sink {
            // A refusal is counted where it happens.
            let _refused = sink.try_send(&span);
        }
    };
    if let Some(server) = &server {
        tracing::info!(address = %server.address(), "metrics");
    }
    let pipeline =
        pipeline::Settings { writes: writes(&settings.propagation)?, ..pipeline_settings(settings) };
    let ended = pipeline::run(pipeline, &shared, stop.flag(), &mut take);
    let spooled = exporter.map_or(0, |exporter| exporter.shutdown(PATIENCE));
    tracing::info!(
        spooled,
        exported = shared.ledger.counter("remora_agent_exported_spans_total").get(),
        "{}",
        health::summary(&shared.ledger)
    );
    ended?;
    Ok(())
}

/// Returns what is written, and in which cgroups: nothing unless the trial proves it harmless.
fn writes(wanted: &Propagation) -> anyhow::Result<Writes> {
    let everywhere = [PathBuf::from("/")];
    let cgroups: &[PathBuf] = match wanted.what {
        Propagate::Off => &[],
        Propagate::Headers | Propagate::Tcp if wanted.cgroups.is_empty() => &everywhere,
        Propagate::Auto | Propagate::Headers | Propagate::Tcp => &wanted.cgroups,
    };
    if cgroups.is_empty() {
        return Ok(Writes::default());
    }
    let found = cgroups.iter().map(|cgroup| propagate::resolve_cgroup(cgroup));
    let cgroups = found.collect::<Result<Vec<_>, _>>().map_err(anyhow::Error::msg)?;
    let (mechanisms, outcomes) = wanted.what.mechanisms().harmless();
    for (what, outcome) in outcomes {
        if outcome.is_harmless() {
            tracing::info!(%what, %outcome, ?cgroups, "contexts are written");
        } else {
            tracing::warn!(%what, reason = %outcome, "no contexts are written");
        }
    }
    if mechanisms == Mechanisms::default() {
        return Ok(Writes::default());
    }
    Ok(Writes { mechanisms, cgroups })
}
