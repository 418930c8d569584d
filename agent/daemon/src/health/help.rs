//! What each metric of the agent says, in one line.

/// Names and what they say, sorted.
const HELP: &[(&str, &str)] = &[
    (
        "remora_agent_attach_refused_total",
        "Parts that were not put in or not taken out, by platform and reason.",
    ),
    ("remora_agent_attached", "Processes that have a part inside, by platform."),
    ("remora_agent_connection_ignored_total", "Connections of which nothing more is read, by reason."),
    ("remora_agent_content_matches_total", "Parents and links that rest on ids in requests."),
    ("remora_agent_contexts_total", "What became of contexts that were to be written into requests."),
    ("remora_agent_engine_active_exchanges", "Requests that wait for their response."),
    ("remora_agent_engine_connections", "Connections that are followed."),
    ("remora_agent_engine_held_bytes", "Memory for what connections hold back."),
    (
        "remora_agent_engine_tls_connections_unseen",
        "Living connections that carry TLS without plaintext so far.",
    ),
    (
        "remora_agent_engine_tls_connections_visible",
        "Living connections inside whose TLS plaintext was seen.",
    ),
    (
        "remora_agent_exchanges_incomplete_total",
        "Requests whose spans say by remora.incomplete what is missing, by protocol.",
    ),
    ("remora_agent_exchanges_total", "Requests with or without a response, by protocol."),
    ("remora_agent_exchanges_untold_total", "Requests that have no span because they do nothing, by reason."),
    ("remora_agent_export_failures_total", "Requests to the receiver that failed, by reason."),
    ("remora_agent_export_queue_bytes", "Memory for spans that wait to be sent."),
    ("remora_agent_export_requests_total", "Requests to the receiver."),
    ("remora_agent_export_spool_errors_total", "Failures to write or read the spool."),
    ("remora_agent_export_spooled_spans", "Spans that wait on disk."),
    ("remora_agent_exported_spans_total", "Spans that the receiver has taken."),
    ("remora_agent_files_searched_total", "Files that were searched for functions of TLS libraries."),
    ("remora_agent_kernel_total", "What the programs in the kernel counted."),
    ("remora_agent_losses_total", "All that was given up, by stage and reason."),
    ("remora_agent_message_receipts_total", "Messages that were received, by whether their sender is known."),
    ("remora_agent_messages_total", "Messages that were parsed, by protocol."),
    ("remora_agent_parent_refused_total", "Parents that were left out or came late, by reason."),
    ("remora_agent_parents_total", "Hints at parents that led to none, by reason."),
    (
        "remora_agent_probe_delay_last_seconds",
        "Time from the last start of a program, or mapping of a file, to its probes.",
    ),
    ("remora_agent_probe_delay_longest_seconds", "The longest such time."),
    ("remora_agent_probes", "Places that are probed."),
    ("remora_agent_probes_refused_total", "Places that the kernel did not let be probed."),
    ("remora_agent_processes", "Processes that are known."),
    (
        "remora_agent_reads_before_start_total",
        "Threads of observed processes that were reading from a socket when the agent began: what those reads bring is not seen.",
    ),
    (
        "remora_agent_received_bytes_total",
        "Bytes that the kernel received on connections that have ended, and those of them that were seen.",
    ),
    ("remora_agent_spans_of_unknown_processes_total", "Spans of processes of which nothing is known."),
    ("remora_agent_spans_unselected_total", "Spans of processes that are not selected."),
    (
        "remora_agent_tls_unseen_bytes",
        "Bytes on the wire of the connections in remora_agent_tls_unseen_connections, by direction.",
    ),
    (
        "remora_agent_tls_unseen_connections",
        "Connections since the agent began, living and ended, that carry TLS and of which no plaintext was seen so far, by \
         reason. No counter: one leaves it, or changes its reason, when plaintext is seen.",
    ),
    ("remora_agent_writes_contexts", "Whether contexts are written into requests (1), or no more (0)."),
];

/// Returns what a metric says.
pub(super) fn of(name: &str) -> Option<&'static str> {
    let found = HELP.binary_search_by_key(&name, |(known, _)| known).ok()?;
    HELP.get(found).map(|(_, help)| *help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_every_help_is_one_line() {
        assert!(HELP.is_sorted_by_key(|(name, _)| name));
        assert!(HELP.iter().all(|(name, help)| of(name) == Some(help) && !help.contains(['\n', '\\'])));
        assert_eq!(of("remora_agent_unheard_of"), None);
    }
}
