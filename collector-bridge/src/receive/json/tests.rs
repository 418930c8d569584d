use super::*;
use crate::model::AnyValue as Model;
use crate::receive::{Decoded, decode};

fn read(json: &str) -> Decoded {
    decode(&to_protobuf(json.as_bytes()).unwrap()).unwrap()
}

fn with_span(fields: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{fields}}}]}}]}}]}}"#)
}

#[test]
fn a_span_with_every_kind_of_field() {
    let json = with_span(
        r#""traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174","parentSpanId":"",
           "name":"op","kind":2,"startTimeUnixNano":"1544712660000000000","endTimeUnixNano":1544712661000000000,
           "unknownField":{"x":[1]},"flags":257,"status":{"code":2,"message":"bad"},
           "attributes":[{"key":"s","value":{"stringValue":"v"}},{"key":"i","value":{"intValue":"-9007199254740993"}},
             {"key":"j","value":{"intValue":7}},{"key":"d","value":{"doubleValue":1.5}},{"key":"b","value":{"boolValue":true}},
             {"key":"y","value":{"bytesValue":"aGk_"}},{"key":"n","value":null},
             {"key":"a","value":{"arrayValue":{"values":[{"intValue":1},{}]}}},
             {"key":"m","value":{"kvlistValue":{"values":[{"key":"k","value":{"stringValue":"w"}}]}}}],
           "events":[{"timeUnixNano":"5","name":"e"}],"links":[{"traceId":"00ff","spanId":"01"}]"#,
    );
    let decoded = read(&json);
    let span = &decoded.spans[0];
    assert_eq!(span.trace_id.to_string(), "5b8efff798038103d269b633813fc60c");
    assert_eq!((span.parent_span_id, span.kind.to_otlp(), span.flags), (None, 2, 257));
    assert_eq!((span.start_unix_ns, span.duration_ns()), (1_544_712_660_000_000_000, 1_000_000_000));
    assert_eq!((span.status.code.to_otlp(), span.status.message.as_str()), (2, "bad"));
    let values: Vec<&Model> = span.attributes.iter().map(|attribute| &attribute.value).collect();
    assert_eq!(values[0], &Model::from("v"));
    assert_eq!(values[1], &Model::Int(-9_007_199_254_740_993));
    assert_eq!((values[2], values[3], values[4]), (&Model::Int(7), &Model::Double(1.5), &Model::Bool(true)));
    assert_eq!((values[5], values[6]), (&Model::Bytes(b"hi?".to_vec()), &Model::Empty));
    assert_eq!(values[7], &Model::Array(vec![Model::Int(1), Model::Empty]));
    assert_eq!(values[8].to_string(), r#"{"k":"w"}"#);
    assert_eq!((span.events[0].time_unix_ns, span.links[0].trace_id.as_slice()), (5, [0, 0xff].as_slice()));
}

#[test]
fn wrong_ids_reject_the_span_only() {
    for id in [
        "",
        "00000000000000000000000000000000",
        "5b8e",
        "5b8efff798038103d269b633813fc60g",
        "5b8efff798038103d269b633813fc60c00",
    ] {
        let decoded = read(&with_span(&format!(r#""traceId":"{id}","spanId":"eee19b7ec3c1b174""#)));
        assert_eq!((decoded.spans.len(), decoded.rejected_spans), (0, 1), "{id}");
    }
    let decoded = read(&with_span(
        r#""traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174","parentSpanId":"xyz""#,
    ));
    assert_eq!(decoded.rejected_spans, 1);
}

#[test]
fn wrong_types_name_the_field() {
    let check = |json: &str, expected: &str| assert_eq!(to_protobuf(json.as_bytes()).unwrap_err(), expected);
    check("[]", "the request is not an object");
    check(r#"{"resourceSpans":{}}"#, "resourceSpans is not an array");
    check(&with_span(r#""name":5"#), "name is not text");
    check(&with_span(r#""kind":"SPAN_KIND_SERVER""#), "kind is not a number in its range");
    check(&with_span(r#""startTimeUnixNano":"-1""#), "startTimeUnixNano is not a number in its range");
    check(&with_span(r#""attributes":[{"key":"x","value":{"bytesValue":"*"}}]"#), "bytesValue is not base64");
    assert!(to_protobuf(b"{").is_err());
}

#[test]
fn an_empty_request_is_empty() {
    assert_eq!(read("{}"), Decoded::default());
    assert_eq!(read(r#"{"resourceSpans":null}"#), Decoded::default());
}
