//! What the engine counts.

use std::collections::BTreeMap;

use crate::correlation;
use crate::engine::{Counter, LossReason};

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) evicted_connections: u64,
    pub(crate) expired_connections: u64,
    pub(crate) unannounced_events: u64,
    pub(crate) unasked_responses: u64,
    pub(crate) refused_requests: u64,
    pub(crate) unproven_connections: u64,
    pub(crate) held_too_much: u64,
    /// Bytes that the kernel received on connections that were known from their beginning and have ended, and those of
    /// them that were seen.
    pub(crate) received_bytes: u64,
    pub(crate) seen_bytes: u64,
    lost_to_gaps: u64,
    lost_to_opaque: u64,
    lost_to_shutdown: u64,
    lost_to_forgetting: u64,
    lost_to_memory: u64,
    /// By protocol.
    messages: BTreeMap<&'static str, u64>,
    exchanges: BTreeMap<&'static str, u64>,
    /// Those of them that say of themselves that something of them is missing.
    incomplete: BTreeMap<&'static str, u64>,
    /// By reason, all of them fixed texts.
    ignored: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(crate) fn message(&mut self, protocol: &'static str) {
        *self.messages.entry(protocol).or_default() += 1;
    }

    pub(crate) fn exchange(&mut self, protocol: &'static str, is_incomplete: bool) {
        *self.exchanges.entry(protocol).or_default() += 1;
        if is_incomplete {
            *self.incomplete.entry(protocol).or_default() += 1;
        }
    }

    pub(crate) fn ignored(&mut self, reason: &'static str) {
        *self.ignored.entry(reason).or_default() += 1;
    }

    pub(crate) fn lost_exchanges(&mut self, reason: LossReason, count: u64) {
        match reason {
            LossReason::Gap => self.lost_to_gaps += count,
            LossReason::Opaque => self.lost_to_opaque += count,
            LossReason::Shutdown => self.lost_to_shutdown += count,
            LossReason::Forgotten => self.lost_to_forgetting += count,
            LossReason::Memory => self.lost_to_memory += count,
        }
    }

    /// Returns everything, with what the other rooms counted.
    pub(crate) fn counters(
        &self,
        correlation: correlation::Tally,
        connections: u64,
        active: u64,
        held_bytes: u64,
    ) -> Vec<Counter> {
        let losses = [
            ("exchange_cut_by_gap", self.lost_to_gaps),
            ("exchange_cut_by_opaque_bytes", self.lost_to_opaque),
            ("exchange_open_at_shutdown", self.lost_to_shutdown),
            ("exchange_open_on_forgotten_connection", self.lost_to_forgetting),
            ("exchange_given_up_for_memory", self.lost_to_memory),
            ("connection_held_too_many_bytes", self.held_too_much),
            ("connection_evicted", self.evicted_connections),
            ("connection_expired", self.expired_connections),
            ("event_without_connection", self.unannounced_events),
            ("response_without_request", self.unasked_responses),
            ("too_many_outstanding_requests", self.refused_requests),
            ("connection_met_midway_unproven", self.unproven_connections),
            ("client_call_not_remembered", correlation.not_remembered),
            ("message_of_many", correlation.messages_left_out),
            ("message_forgotten", correlation.messages_forgotten),
            ("message_place_used_twice", correlation.messages_ambiguous),
            ("work_cut_short", correlation.works_evicted),
        ];
        let parents = [
            ("late_match", correlation.late_matches),
            ("ambiguous", correlation.ambiguous),
            ("over_limit", correlation.over_limit),
            ("too_many_calls", correlation.too_many_calls),
            ("too_old", correlation.too_old),
            ("trace_too_large", correlation.too_large),
            ("content_ambiguous", correlation.content.ambiguous),
            ("content_familiar", correlation.content.familiar),
        ];
        let content = [("parent", correlation.content_parents), ("link", correlation.content_links)];
        let messages = [
            ("linked", correlation.messages_linked),
            ("unknown", correlation.messages_unknown),
            ("not_handed_on", correlation.jobs_forgotten),
        ];
        let counter = |family, label, protocol, value| Counter { family, label, protocol, value };
        losses
            .into_iter()
            .map(|(label, value)| counter("loss", label, "", value))
            .chain(parents.into_iter().map(|(label, value)| counter("parent_refused", label, "", value)))
            .chain(content.into_iter().map(|(label, value)| counter("content_matches", label, "", value)))
            .chain(messages.into_iter().map(|(label, value)| counter("message_receipts", label, "", value)))
            .chain(self.ignored.iter().map(|(label, value)| counter("connection_ignored", label, "", *value)))
            .chain(self.messages.iter().map(|(protocol, value)| counter("messages", "", protocol, *value)))
            .chain(self.exchanges.iter().map(|(protocol, value)| counter("exchanges", "", protocol, *value)))
            .chain(
                self.incomplete
                    .iter()
                    .map(|(protocol, value)| counter("exchanges_incomplete", "", protocol, *value)),
            )
            .chain([
                counter("received_bytes", "by_kernel", "", self.received_bytes),
                counter("received_bytes", "seen", "", self.seen_bytes),
                counter("exchanges_untold", "idle", "", correlation.idle_exchanges),
                counter("state", "connections", "", connections),
                counter("state", "active_exchanges", "", active),
                counter("state", "held_bytes", "", held_bytes),
            ])
            .collect()
    }
}
