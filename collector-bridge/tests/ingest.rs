//! OTLP as senders send it: transports, forms, encodings, limits, answers.
#![allow(clippy::unwrap_used, reason = "a test program may panic, in its helpers too")]

#[path = "support/bridge.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it, and a test may panic")]
mod bridge;

use std::io::Write;
use std::path::PathBuf;

use bridge::{Bridge, get, hex, request, span, trace_id};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tonic::codec::CompressionEncoding;

const PROTOBUF: &str = "application/x-protobuf";

fn data_dir() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    std::fs::create_dir(&data_dir).unwrap();
    (dir, data_dir)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn trace_json(bridge: &Bridge, trace: u64) -> serde_json::Value {
    let (status, body) = get(&bridge.url("listen", &format!("/api/v1/traces/{}", hex(&trace_id(trace)))));
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body.replace(&hex(&trace_id(trace)), "TRACE")).unwrap()
}

fn fixed_request(trace: u64) -> ExportTraceServiceRequest {
    let mut span = span(trace, 7);
    span.start_time_unix_nano = 1_800_000_000_000_000_000;
    span.end_time_unix_nano = 1_800_000_000_001_000_000;
    span.attributes.truncate(1);
    request(vec![span])
}

fn fixed_json(trace: u64) -> String {
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"shop"}}}}]}},
        "scopeSpans":[{{"spans":[{{"traceId":"{}","spanId":"0000000000000007","name":"GET /","kind":2,
        "startTimeUnixNano":"1800000000000000000","endTimeUnixNano":"1800000000001000000",
        "attributes":[{{"key":"http.request.method","value":{{"stringValue":"GET"}}}}]}}]}}]}}]}}"#,
        hex(&trace_id(trace))
    )
}

fn grpc(
    bridge: &Bridge,
    request: ExportTraceServiceRequest,
    encoding: Option<CompressionEncoding>,
) -> Result<ExportTraceServiceResponse, tonic::Status> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut client = TraceServiceClient::connect(bridge.url("otlp_grpc", "")).await.unwrap();
        client = client.max_encoding_message_size(usize::MAX);
        if let Some(encoding) = encoding {
            client = client.send_compressed(encoding);
        }
        client.export(request).await.map(tonic::Response::into_inner)
    })
}

#[test]
fn every_transport_form_and_encoding_stores_the_same() {
    let (_dir, data_dir) = data_dir();
    let bridge = Bridge::start(&data_dir, &[]);
    let protobuf = |trace| fixed_request(trace).encode_to_vec();
    assert_eq!(bridge.post_as(PROTOBUF, None, &protobuf(1)).0, 200);
    assert_eq!(bridge.post_as(PROTOBUF, Some("gzip"), &gzip(&protobuf(2))).0, 200);
    assert_eq!(bridge.post_as(PROTOBUF, Some("zstd"), &zstd::encode_all(&*protobuf(3), 1).unwrap()).0, 200);
    let (status, body) = bridge.post_as("application/json; charset=utf-8", None, fixed_json(4).as_bytes());
    assert_eq!((status, body.as_slice()), (200, b"{}".as_slice()));
    assert_eq!(bridge.post_as("application/json", Some("gzip"), &gzip(fixed_json(5).as_bytes())).0, 200);
    for (trace, encoding) in
        [(6, None), (7, Some(CompressionEncoding::Gzip)), (8, Some(CompressionEncoding::Zstd))]
    {
        assert_eq!(grpc(&bridge, fixed_request(trace), encoding).unwrap().partial_success, None);
    }
    let first = trace_json(&bridge, 1);
    for trace in 2..=8 {
        assert_eq!(trace_json(&bridge, trace), first, "trace {trace}");
    }
}

#[test]
fn invalid_ids_are_counted_and_the_rest_is_kept() {
    let (_dir, data_dir) = data_dir();
    let bridge = Bridge::start(&data_dir, &[]);
    let mut zero = span(1, 2);
    zero.trace_id = vec![0; 16];
    let mut short = span(1, 3);
    short.span_id.pop();
    let mixed = request(vec![span(1, 1), zero, short]);
    let (status, body) = bridge.post_as(PROTOBUF, None, &mixed.encode_to_vec());
    let partial = ExportTraceServiceResponse::decode(body.as_slice()).unwrap().partial_success.unwrap();
    assert_eq!((status, partial.rejected_spans), (200, 2));
    assert!(partial.error_message.contains("trace_id"), "{}", partial.error_message);
    let partial = grpc(&bridge, mixed, None).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 2);
    assert_eq!(bridge.span_ids(1), ["0000000000000001"]);
    assert_eq!(bridge.metric("remora_bridge_spans_rejected_total"), 4.0);
    assert_eq!(
        grpc(&bridge, ExportTraceServiceRequest::default(), None).unwrap(),
        ExportTraceServiceResponse::default()
    );
    assert_eq!(bridge.post(&[]), 200);
}

#[test]
fn wrong_requests_are_refused_in_their_own_form() {
    let (_dir, data_dir) = data_dir();
    let bridge = Bridge::start(&data_dir, &[]);
    let good = fixed_request(1).encode_to_vec();
    let (status, body) = bridge.post_as(PROTOBUF, None, &good[..good.len() - 1]);
    // google.rpc.Status: code = 3 (INVALID_ARGUMENT) in field 1, the message in field 2.
    assert_eq!((status, &body[..3]), (400, [8, 3, 18].as_slice()));
    let (status, body) = bridge.post_as("application/json", None, b"{\"resourceSpans\":7}");
    let error: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &error["code"]), (400, &serde_json::json!(3)));
    assert!(error["message"].as_str().unwrap().contains("resourceSpans is not an array"));
    assert_eq!(bridge.post_as("text/plain", None, &good).0, 415);
    assert_eq!(bridge.post_as(PROTOBUF, Some("br"), &good).0, 415);
    assert_eq!(bridge.post_as(PROTOBUF, Some("gzip"), &good).0, 400);
    assert_eq!(get(&bridge.url("otlp_http", "/v1/traces")).0, 405);
    assert_eq!(bridge.span_ids(1), Vec::<String>::new());
}

#[test]
fn bombs_are_refused_before_they_are_large() {
    let (dir, data_dir) = data_dir();
    let config = dir.path().join("bridge.toml");
    std::fs::write(&config, "[ingest]\nmax_request_size = '1MiB'\n").unwrap();
    let bridge = Bridge::start(&data_dir, &["--config", config.to_str().unwrap()]);
    let mut large = fixed_request(1);
    large.resource_spans[0].schema_url = "x".repeat(2 << 20);
    let bytes = large.encode_to_vec();
    for (encoding, body) in [
        (None, bytes.clone()),
        (Some("gzip"), gzip(&bytes)),
        (Some("zstd"), zstd::encode_all(&*bytes, 1).unwrap()),
    ] {
        assert_eq!(bridge.post_as(PROTOBUF, encoding, &body).0, 413, "{encoding:?}");
    }
    for encoding in [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)] {
        let status = grpc(&bridge, large.clone(), encoding).unwrap_err();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{encoding:?}: {status:?}");
    }
    assert_eq!(bridge.metric("remora_bridge_requests_refused_total{reason=\"too_large\"}"), 6.0);
    assert_eq!(bridge.post(&fixed_request(2).encode_to_vec()), 200);
}

#[test]
fn late_and_repeated_spans_join_their_trace() {
    let (_dir, data_dir) = data_dir();
    let bridge = Bridge::start(&data_dir, &[]);
    let mut child = span(1, 2);
    child.parent_span_id = 1_u64.to_be_bytes().to_vec();
    let child = request(vec![child]).encode_to_vec();
    assert_eq!((bridge.post(&child), bridge.post(&child)), (200, 200));
    assert_eq!(bridge.span_ids(1).len(), 1);
    assert_eq!(bridge.post(&request(vec![span(1, 1)]).encode_to_vec()), 200);
    assert_eq!(bridge.span_ids(1), ["0000000000000001", "0000000000000002"]);
}

#[test]
fn a_token_guards_every_surface() {
    let (dir, data_dir) = data_dir();
    let token = dir.path().join("token");
    std::fs::write(&token, "correct-horse-battery").unwrap();
    let bridge = Bridge::start(&data_dir, &["--token-file", token.to_str().unwrap()]);
    assert_eq!(bridge.post(&fixed_request(1).encode_to_vec()), 401);
    assert_eq!(grpc(&bridge, fixed_request(1), None).unwrap_err().code(), tonic::Code::Unauthenticated);
    assert_eq!(get(&bridge.url("listen", "/metrics")).0, 401);
    assert_eq!(get(&bridge.url("listen", "/api/v1/traces/services")).0, 401);
    assert_eq!(get(&bridge.url("listen", "/readyz")), (200, "ready\n".to_owned()));
    let mut allowed = ureq::get(bridge.url("listen", "/metrics"))
        .header("authorization", "Bearer correct-horse-battery")
        .call()
        .unwrap();
    assert!(
        allowed
            .body_mut()
            .read_to_string()
            .unwrap()
            .contains("remora_bridge_requests_refused_total{reason=\"unauthenticated\"} 2")
    );
}

#[test]
fn refused_starts_name_the_cause_and_the_next_step() {
    let (_dir, data_dir) = data_dir();
    let bridge = Bridge::start(&data_dir, &[]);
    let fails = |data_dir: &std::path::Path, arguments: &[&str], expected: &[&str]| {
        let output =
            Bridge::command(data_dir, arguments).stderr(std::process::Stdio::piped()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success());
        for part in expected {
            assert!(error.contains(part), "{error}");
        }
    };
    let other_dir = data_dir.with_extension("other");
    let taken = bridge.url("otlp_grpc", "").trim_start_matches("http://").to_owned();
    let command = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_remora-bridge"))
            .arg("serve")
            .args(arguments)
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let other = other_dir.to_str().unwrap();
    let error = command(&[
        "--data",
        other,
        "--listen",
        "127.0.0.1:0",
        "--otlp-http",
        "127.0.0.1:0",
        "--otlp-grpc",
        &taken,
    ]);
    assert!(error.contains(&taken) && error.contains("in use") && error.contains("--otlp-grpc"), "{error}");
    let error = command(&["--data", other, "--listen", "0.0.0.0:0"]);
    assert!(error.contains("--token-file"), "{error}");
    fails(&data_dir, &[], &[data_dir.to_str().unwrap(), "in use by another remora-bridge"]);
}
