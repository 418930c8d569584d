use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use proptest::prelude::*;
use prost::Message as _;

use super::*;

fn nested(depth: usize) -> common::AnyValue {
    let value = match depth {
        0 => Value::IntValue(1),
        _ => Value::ArrayValue(common::ArrayValue { values: vec![nested(depth - 1)] }),
    };
    common::AnyValue { value: Some(value) }
}

fn request(attribute: common::AnyValue) -> Vec<u8> {
    let attribute = common::KeyValue { key: "k".to_owned(), value: Some(attribute), ..Default::default() };
    let span = otlp::Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "op".to_owned(),
        attributes: vec![attribute],
        end_time_unix_nano: u64::MAX,
        ..Default::default()
    };
    let scope_spans = vec![otlp::ScopeSpans { spans: vec![span], ..Default::default() }];
    let resource_spans = vec![otlp::ResourceSpans { scope_spans, ..Default::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

#[test]
fn values_nest_up_to_the_limit() {
    assert_eq!(decode(&request(nested(MAX_DEPTH - 1))).unwrap().spans.len(), 1);
    assert_eq!(decode(&request(nested(MAX_DEPTH))), Err(WireError::Depth(MAX_DEPTH)));
}

#[test]
fn every_cut_is_an_error() {
    let whole = request(nested(1));
    for cut in 1..whole.len() {
        assert!(decode(&whole[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn unknown_fields_are_skipped() {
    // Field 99, as a number, as fixed bytes and as bytes.
    let mut bytes = request(nested(0));
    bytes.extend_from_slice(&[
        0x98, 6, 5, 0x99, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0x9a, 6, 1, 0, 0x9d, 6, 0, 0, 0, 0,
    ]);
    assert_eq!(decode(&bytes).unwrap().spans.len(), 1);
}

#[test]
fn texts_must_be_utf8() {
    let mut bytes = request(nested(0));
    let name = bytes.windows(2).position(|pair| pair == b"op").unwrap();
    bytes[name] = 0xff;
    assert_eq!(decode(&bytes), Err(WireError::Utf8(5)));
}

proptest! {
    #[test]
    fn damaged_requests_never_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = request(nested(3));
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        let _ = decode(&bytes);
    }

    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }
}
