//! Where spans are sent, and how the URL says so.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;
use http::uri::PathAndQuery;

/// Path of the trace service over HTTP (OTLP specification, "OTLP/HTTP Request").
const TRACES_PATH: &str = "/v1/traces";
/// Default port of OTLP over HTTP.
const HTTP_PORT: u16 = 4318;

/// How OTLP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC over HTTP/2.
    Grpc,
    /// Protobuf in HTTP requests.
    HttpProtobuf,
}

impl FromStr for Protocol {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        match text {
            "grpc" => Ok(Protocol::Grpc),
            "http/protobuf" => Ok(Protocol::HttpProtobuf),
            _ => Err(EndpointError::Protocol { protocol: text.to_owned() }),
        }
    }
}

/// Why an endpoint cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It is no URL.
    #[error("OTLP endpoint {url:?} is no URL: {reason}")]
    Url {
        /// What was given.
        url: String,
        /// Why.
        reason: String,
    },
    /// It is a URL of another kind.
    #[error("OTLP endpoint {url:?} must begin with http:// or https://")]
    Scheme {
        /// What was given.
        url: String,
    },
    /// It carries a name and password.
    #[error("OTLP endpoint must not carry a user and password: use OTEL_EXPORTER_OTLP_HEADERS")]
    Credentials,
    /// The protocol is none of ours.
    #[error("OTLP protocol {protocol:?} is not supported: use grpc or http/protobuf")]
    Protocol {
        /// What was given.
        protocol: String,
    },
}

/// A receiver's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// How to speak to it.
    pub protocol: Protocol,
    /// Scheme and authority, and the path for HTTP.
    pub uri: Uri,
}

impl Endpoint {
    /// Reads a URL such as `http://127.0.0.1:4317`. Without a protocol, port 4318 or the path `/v1/traces` mean HTTP,
    /// everything else gRPC. `/v1/traces` is appended for HTTP where it is missing.
    ///
    /// # Errors
    /// The text is no such URL.
    pub fn parse(url: &str, protocol: Option<Protocol>) -> Result<Self, EndpointError> {
        Self::read(url, protocol, true)
    }

    /// Reads a URL that is used exactly as it is (`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`).
    ///
    /// # Errors
    /// The text is no URL.
    pub fn verbatim(url: &str, protocol: Option<Protocol>) -> Result<Self, EndpointError> {
        Self::read(url, protocol, false)
    }

    fn read(url: &str, protocol: Option<Protocol>, completes_path: bool) -> Result<Self, EndpointError> {
        let error = |reason: String| EndpointError::Url { url: url.to_owned(), reason };
        let uri: Uri = url.parse().map_err(|reason: http::uri::InvalidUri| error(reason.to_string()))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(EndpointError::Scheme { url: url.to_owned() });
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(EndpointError::Credentials);
        }
        let path = uri.path().trim_end_matches('/');
        let looks_like_http = uri.port_u16() == Some(HTTP_PORT) || path.ends_with(TRACES_PATH);
        let protocol =
            protocol.unwrap_or(if looks_like_http { Protocol::HttpProtobuf } else { Protocol::Grpc });
        let path = match protocol {
            Protocol::Grpc => "/".to_owned(),
            Protocol::HttpProtobuf if !completes_path => uri.path().to_owned(),
            Protocol::HttpProtobuf if path.ends_with(TRACES_PATH) => path.to_owned(),
            Protocol::HttpProtobuf => format!("{path}{TRACES_PATH}"),
        };
        let mut parts = uri.into_parts();
        parts.path_and_query =
            Some(PathAndQuery::try_from(path).map_err(|reason| error(reason.to_string()))?);
        let uri = Uri::from_parts(parts).map_err(|reason| error(reason.to_string()))?;
        Ok(Self { protocol, uri })
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        let default = if self.uri.scheme_str() == Some("https") { 443 } else { 80 };
        self.uri.port_u16().unwrap_or(default)
    }

    /// Returns the host, without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        self.uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// Returns whether the receiver is on this host, so far as its name tells.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Grpc => "gRPC",
            Protocol::HttpProtobuf => "HTTP",
        };
        write!(f, "{} ({protocol})", self.uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocol_and_path_follow_from_the_url() {
        let table = [
            ("http://127.0.0.1:4317", Protocol::Grpc, "http://127.0.0.1:4317/"),
            ("https://otel.example", Protocol::Grpc, "https://otel.example/"),
            ("http://localhost:4318", Protocol::HttpProtobuf, "http://localhost:4318/v1/traces"),
            ("http://localhost:4318/", Protocol::HttpProtobuf, "http://localhost:4318/v1/traces"),
            ("https://h/v1/traces", Protocol::HttpProtobuf, "https://h/v1/traces"),
            ("https://h/otlp/v1/traces", Protocol::HttpProtobuf, "https://h/otlp/v1/traces"),
            ("http://h:4318/otlp", Protocol::HttpProtobuf, "http://h:4318/otlp/v1/traces"),
            ("http://[::1]:4317", Protocol::Grpc, "http://[::1]:4317/"),
        ];
        for (url, protocol, uri) in table {
            let endpoint = Endpoint::parse(url, None).unwrap();
            assert_eq!((endpoint.protocol, endpoint.uri.to_string().as_str()), (protocol, uri), "{url}");
        }
        let said = Endpoint::parse("http://h:4317", Some(Protocol::HttpProtobuf)).unwrap();
        assert_eq!(said.uri.to_string(), "http://h:4317/v1/traces");
        let verbatim = Endpoint::verbatim("http://h:4318/in", Some(Protocol::HttpProtobuf)).unwrap();
        assert_eq!(verbatim.uri.to_string(), "http://h:4318/in");
    }

    #[test]
    fn what_is_no_endpoint_is_said_clearly() {
        let error = |url| Endpoint::parse(url, None).unwrap_err().to_string();
        assert_eq!(
            error("localhost:4317"),
            "OTLP endpoint \"localhost:4317\" must begin with http:// or https://"
        );
        assert!(error("http://").starts_with("OTLP endpoint \"http://\" is no URL: "));
        assert!(error("http://a b").starts_with("OTLP endpoint \"http://a b\" is no URL: "));
        assert!(!error("http://me:secret@h").contains("secret"));
        assert!("http/json".parse::<Protocol>().is_err());
    }

    #[test]
    fn loopback_is_known_by_name_and_number() {
        let is_loopback = |url| Endpoint::parse(url, None).unwrap().is_loopback();
        assert!(is_loopback("http://localhost:4317"));
        assert!(is_loopback("http://127.8.8.8:4317"));
        assert!(is_loopback("http://[::1]:4317"));
        assert!(!is_loopback("http://10.0.0.1:4317"));
    }
}
