//! The real agent and bridge against real servers and programs: for each, exactly the spans that are expected.
//!
//! Expected outlines are written with `UPDATE_EXPECT=1` and read by people before they are committed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, with the line at hand")]

mod chain;
mod command;
mod context;
mod conversation;
mod curl;
mod dns;
mod event_stream;
mod explain;
mod false_friends;
mod flask;
mod go;
mod graphql;
mod grpc;
mod hosts;
mod http2;
mod jobs;
mod kafka;
mod live;
mod mongodb;
mod mysql;
mod nasty;
mod nats;
mod nginx;
mod node;
mod node_attached;
mod node_shared;
mod node_workers;
mod older;
mod pools;
mod postgres;
mod probes;
mod pubsub;
mod queue;
mod rabbitmq;
mod redis;
mod redis_cluster;
mod sdk;
mod tls;
mod tls_files;
mod tls_rows;
mod tls_ways;
mod tokio;
mod trace;
mod websocket;

use remora_tests::span::{Names, Show, Span, check_times, outline};

/// Returns the whole outline of all traces among `spans`, having checked their times.
fn whole(spans: &[Span], names: &Names) -> String {
    check_times(spans).unwrap();
    outline(spans, names, Show::All)
}

/// Returns the outline without attributes.
fn shape(spans: &[Span], names: &Names) -> String {
    check_times(spans).unwrap();
    outline(spans, names, Show::Only(&[]))
}
