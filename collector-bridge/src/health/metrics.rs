//! Prometheus text exposition format 0.0.4.

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use super::Health;
use crate::infer::InferCounters;
use crate::join::JoinCounters;
use crate::receive::ReceiveCounters;
use crate::store::{FSYNC_BOUNDS_US, StoreCounters, StoreSizes};

/// Returns all metrics; those of the store only once it is open.
pub(super) fn write(health: &Health) -> String {
    let mut text = Text::default();
    write_receive(&mut text, &health.receive);
    write_join(&mut text, health.join.counters());
    let name = "remora_bridge_join_servers_waiting";
    text.gauge(name, "Server spans that wait for their client span", health.join.waiting() as u64);
    write_infer(&mut text, &health.infer);
    if let Some(store) = health.store.get() {
        write_store(&mut text, store.counters());
        write_sizes(&mut text, &store.sizes());
    }
    text.0
}

fn write_receive(text: &mut Text, counters: &ReceiveCounters) {
    text.counter("remora_bridge_spans_received_total", "Spans in whole requests", &counters.received_spans);
    text.counter("remora_bridge_spans_rejected_total", "Spans with invalid ids", &counters.rejected_spans);
    text.counter(
        "remora_bridge_requests_accepted_total",
        "Requests that were acknowledged",
        &counters.accepted_requests,
    );
    text.counter(
        "remora_bridge_received_bytes_total",
        "Bytes of requests after unpacking",
        &counters.received_bytes,
    );
    text.head("remora_bridge_requests_refused_total", "Requests that were not acknowledged", "counter");
    for (reason, count) in counters.refused() {
        text.line("remora_bridge_requests_refused_total", &format!("{{reason=\"{reason}\"}}"), count);
    }
}

fn write_join(text: &mut Text, counters: &JoinCounters) {
    text.counter(
        "remora_bridge_joined_total",
        "Server spans that got their client span as parent by positions on the wire",
        &counters.joined,
    );
    text.counter(
        "remora_bridge_join_expired_total",
        "Server spans whose client span did not come in time",
        &counters.expired,
    );
    text.counter(
        "remora_bridge_join_wire_conflicts_total",
        "Server spans whose request named another trace than that of their client span",
        &counters.wire_conflicts,
    );
    text.counter(
        "remora_bridge_join_refused_total",
        "Server spans whose trace is part of another one already, or would become too large",
        &counters.refused,
    );
    text.counter(
        "remora_bridge_join_ambiguous_total",
        "Client span ids that came with two traces",
        &counters.ambiguous,
    );
    text.counter(
        "remora_bridge_sdk_traces_joined_total",
        "Traces that SDKs began for requests that the agent saw too",
        &counters.joined_requests,
    );
    text.counter(
        "remora_bridge_sdk_traces_ambiguous_total",
        "Spans with which SDKs began a trace and that could have been of several requests, or of one with others",
        &counters.ambiguous_requests,
    );
    let name = "remora_bridge_join_evicted_total";
    text.head(name, "Spans that were forgotten before the hold was over, for lack of room", "counter");
    text.line(name, "{side=\"client\"}", value(&counters.evicted_clients));
    text.line(name, "{side=\"server\"}", value(&counters.evicted_servers));
    text.line(name, "{side=\"message\"}", value(&counters.evicted_messages));
    text.line(name, "{side=\"request\"}", value(&counters.evicted_requests));
    text.counter(
        "remora_bridge_message_links_total",
        "Links from receipts of messages to the spans that sent them",
        &counters.linked_messages,
    );
    text.counter(
        "remora_bridge_messages_unknown_total",
        "Messages that were received and whose sender was not known",
        &counters.unknown_messages,
    );
}

fn write_infer(text: &mut Text, counters: &InferCounters) {
    text.counter(
        "remora_bridge_infer_orphans_total",
        "Calls without parent that were looked at, for traces that somebody asked for",
        &counters.orphans,
    );
    text.counter("remora_bridge_infer_linked_total", "Those that got a link to a request", &counters.linked);
    let name = "remora_bridge_infer_refused_total";
    text.head(name, "Those that got none", "counter");
    text.line(name, "{reason=\"uncertain\"}", value(&counters.uncertain));
    text.line(name, "{reason=\"outside\"}", value(&counters.outside));
    text.line(name, "{reason=\"crowded\"}", value(&counters.crowded));
    text.counter(
        "remora_bridge_infer_stretches_refused_total",
        "Stretches of time that held too much to be looked at",
        &counters.refused_stretches,
    );
    text.counter(
        "remora_bridge_infer_busy_total",
        "Traces that were shown without links, because others were being looked for",
        &counters.busy,
    );
    let name = "remora_bridge_infer_seconds_total";
    text.head(name, "Time that was spent on links", "counter");
    text.line(name, "", value(&counters.spent_us) as f64 / 1e6);
}

fn write_store(text: &mut Text, counters: &StoreCounters) {
    text.counter(
        "remora_bridge_spans_stored_total",
        "Spans that were acknowledged",
        &counters.appended_spans,
    );
    text.counter("remora_bridge_spans_sealed_total", "Spans that came into segments", &counters.sealed_spans);
    text.counter(
        "remora_bridge_spans_duplicate_total",
        "Spans that were there already",
        &counters.duplicate_spans,
    );
    text.counter(
        "remora_bridge_spans_replayed_total",
        "Spans read back from the log",
        &counters.replayed_spans,
    );
    text.counter(
        "remora_bridge_requests_repeated_total",
        "Requests that had been kept within the last minute and were not kept again",
        &counters.repeated_requests,
    );
    text.counter(
        "remora_bridge_wal_written_bytes_total",
        "Bytes written to the log",
        &counters.wal_written_bytes,
    );
    text.counter("remora_bridge_wal_failures_total", "Writes to the log that failed", &counters.wal_failures);
    text.counter(
        "remora_bridge_wal_damaged_bytes_total",
        "Bytes of the log that were damaged when it was read back",
        &counters.wal_damaged_bytes,
    );
    text.counter(
        "remora_bridge_wal_unreadable_requests_total",
        "Requests of the log that could not be unpacked or were not understood",
        &counters.wal_unreadable_requests,
    );
    text.counter(
        "remora_bridge_seal_failures_total",
        "Segments that were not written at once",
        &counters.seal_failures,
    );
    text.counter(
        "remora_bridge_compacted_segments_total",
        "Segments that were merged",
        &counters.compacted_segments,
    );
    write_rollups(text, counters);
    let name = "remora_bridge_retention_dropped_segments_total";
    text.head(name, "Segments that retention removed", "counter");
    text.line(name, "{limit=\"age\"}", value(&counters.retired_by_age));
    text.line(name, "{limit=\"size\"}", value(&counters.retired_by_size));
    text.counter("remora_bridge_retention_dropped_spans_total", "Spans in them", &counters.retired_spans);
    write_fsync(text, counters);
}

/// Counted when a segment is written, so that each span counts once.
fn write_rollups(text: &mut Text, counters: &StoreCounters) {
    text.counter(
        "remora_bridge_rollup_minutes_dropped_total",
        "Minutes that had no place in the sums of new segments",
        &counters.rollup_minutes_dropped,
    );
    text.counter(
        "remora_bridge_rollup_pending_calls_shed_total",
        "Sides of calls that were given up because too many waited for the other side",
        &counters.rollup_pending_shed,
    );
    text.counter(
        "remora_bridge_rollup_server_spans_unpaired_total",
        "Server spans whose client span was not seen in time",
        &counters.rollup_servers_unpaired,
    );
    text.counter(
        "remora_bridge_rollup_call_sides_repeated_total",
        "Sides of calls that came again while they waited",
        &counters.rollup_halves_repeated,
    );
}

fn write_fsync(text: &mut Text, counters: &StoreCounters) {
    let name = "remora_bridge_wal_fsync_seconds";
    text.head(name, "Time of group commits", "histogram");
    let mut count = 0;
    for (bound, bucket) in FSYNC_BOUNDS_US.iter().zip(&counters.fsync_buckets) {
        count += value(bucket);
        let label = format!("{{le=\"{}\"}}", *bound as f64 / 1e6);
        text.line("remora_bridge_wal_fsync_seconds_bucket", &label, count);
    }
    count += counters.fsync_buckets.last().map_or(0, value);
    text.line("remora_bridge_wal_fsync_seconds_bucket", "{le=\"+Inf\"}", count);
    text.line("remora_bridge_wal_fsync_seconds_sum", "", value(&counters.fsync_sum_us) as f64 / 1e6);
    text.line("remora_bridge_wal_fsync_seconds_count", "", count);
}

fn write_sizes(text: &mut Text, sizes: &StoreSizes) {
    text.gauge("remora_bridge_live_spans", "Spans that are not in segments yet", sizes.live_spans);
    text.gauge("remora_bridge_live_bytes", "Memory of those spans", sizes.live_bytes);
    text.gauge("remora_bridge_wal_bytes", "Bytes of the log's files", sizes.wal_bytes);
    text.gauge("remora_bridge_segments", "Segments", sizes.segments);
    text.gauge("remora_bridge_segment_spans", "Spans in segments", sizes.segment_spans);
    text.gauge("remora_bridge_trace_aliases", "Ids of traces that became part of others", sizes.aliases);
    let name = "remora_bridge_trace_aliases_evicted_total";
    text.head(name, "Such ids that were forgotten for lack of room", "counter");
    text.line(name, "", sizes.aliases_evicted);
    text.gauge("remora_bridge_segment_bytes", "Bytes of the segments' files", sizes.segment_bytes);
}

fn value(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn counter(&mut self, name: &str, help: &str, counter: &AtomicU64) {
        self.head(name, help, "counter");
        self.line(name, "", value(counter));
    }

    fn gauge(&mut self, name: &str, help: &str, number: u64) {
        self.head(name, help, "gauge");
        self.line(name, "", number);
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn line(&mut self, name: &str, labels: &str, number: impl Display) {
        let _ = writeln!(self.0, "{name}{labels} {number}");
    }
}
