//! `google.rpc.RetryInfo` in the details of a gRPC status.

use std::time::Duration;

use prost::Message;

/// `google.rpc.Status`, as far as it matters.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtoDuration>,
}

/// `google.protobuf.Duration`
#[derive(Clone, PartialEq, Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// Returns the delay that the details ask for; zero if they hold a `RetryInfo` without one, none if they hold none.
pub(super) fn delay(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let info = status.details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let Some(delay) = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay else {
        return Some(Duration::ZERO);
    };
    let seconds = u64::try_from(delay.seconds).unwrap_or_default();
    Some(Duration::new(seconds, u32::try_from(delay.nanos).unwrap_or_default().min(999_999_999)))
}

#[cfg(test)]
pub(in crate::export) fn details(delay: Duration) -> Vec<u8> {
    let retry_delay = ProtoDuration {
        seconds: delay.as_secs().try_into().unwrap(),
        nanos: delay.subsec_nanos().try_into().unwrap(),
    };
    let value = RetryInfo { retry_delay: Some(retry_delay) }.encode_to_vec();
    RpcStatus {
        details: vec![Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(), value }],
    }
    .encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_is_found_and_garbage_is_not() {
        let asked = Duration::from_millis(1500);
        assert_eq!(delay(&details(asked)), Some(asked));
        assert_eq!(delay(b""), None);
        assert_eq!(delay(&[0xff; 40]), None);
        let negative =
            RetryInfo { retry_delay: Some(ProtoDuration { seconds: -5, nanos: -1 }) }.encode_to_vec();
        let any = Any { type_url: "x/google.rpc.RetryInfo".to_owned(), value: negative };
        assert_eq!(delay(&RpcStatus { details: vec![any] }.encode_to_vec()), Some(Duration::ZERO));
    }
}
