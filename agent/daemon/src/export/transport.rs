//! Requests to the receiver.

mod connector;
mod grpc;
mod http;
mod retry_info;

#[cfg(test)]
pub(super) use retry_info::details as retry_details;

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;

use super::Error;
use super::batch::Batch;
use super::endpoint::Protocol;
use super::settings::Settings;

/// What the receiver said of a batch that it took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Accepted {
    /// Spans that it did not want all the same (`partial_success`).
    pub rejected_spans: u64,
    /// Its reason, or a warning.
    pub message: String,
}

/// Why a batch was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// Another attempt may succeed.
    #[error("{reason}")]
    Temporary {
        /// What went wrong.
        reason: String,
        /// How long the receiver wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// It will never be taken.
    #[error("{reason}")]
    Permanent {
        /// What went wrong.
        reason: String,
    },
}

/// A connection to the receiver; connects when it is needed.
#[derive(Debug)]
pub(super) enum Transport {
    Grpc(grpc::Client),
    Http(Box<http::Client>),
}

impl Transport {
    /// Returns a transport. Must be called inside the runtime that will use it.
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let connector = connector::build(settings.certificate.as_deref())?;
        Ok(match settings.endpoint.protocol {
            Protocol::Grpc => Self::Grpc(grpc::Client::new(settings, connector)?),
            Protocol::HttpProtobuf => Self::Http(Box::new(http::Client::new(settings, connector)?)),
        })
    }

    /// Sends one batch and waits for the answer, at most as long as the settings say.
    pub(super) async fn send(&self, batch: Batch) -> Result<Accepted, Failure> {
        match self {
            Self::Grpc(client) => client.send(batch).await,
            Self::Http(client) => client.send(batch).await,
        }
    }
}

/// Reads the body of an answer that means success. One that cannot be read is success too: the spans were taken.
fn accepted(body: &[u8]) -> Accepted {
    let response = ExportTraceServiceResponse::decode(body).unwrap_or_default();
    let Some(partial) = response.partial_success else {
        return Accepted::default();
    };
    let rejected_spans = u64::try_from(partial.rejected_spans).unwrap_or_default();
    Accepted { rejected_spans, message: partial.error_message }
}
