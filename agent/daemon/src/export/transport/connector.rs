//! TCP and TLS for both protocols.

use std::path::Path;
use std::sync::Arc;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::super::Error;

/// Connects to `http` and `https` receivers.
pub(super) type Connector = HttpsConnector<HttpConnector>;

/// Makes connectors for either version of HTTP.
#[derive(Clone, Debug)]
pub(super) struct Connectors {
    tls: ClientConfig,
}

/// Returns a connector that trusts `certificate`, or the authorities that the host trusts.
pub(super) fn build(certificate: Option<&Path>) -> Result<Connectors, Error> {
    let error = |reason: String| Error::Certificates { file: certificate.map(Path::to_owned), reason };
    let roots = roots(certificate).map_err(error)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = versions
        .map_err(|reason| error(reason.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Connectors { tls })
}

impl Connectors {
    pub(super) fn http1(self) -> Connector {
        HttpsConnectorBuilder::new().with_tls_config(self.tls).https_or_http().enable_http1().build()
    }

    pub(super) fn http2(self) -> Connector {
        HttpsConnectorBuilder::new().with_tls_config(self.tls).https_or_http().enable_http2().build()
    }
}

fn roots(certificate: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match certificate {
        Some(path) => {
            let found = CertificateDer::pem_file_iter(path).map_err(|reason| reason.to_string())?;
            for certificate in found {
                let certificate = certificate.map_err(|reason| reason.to_string())?;
                roots.add(certificate).map_err(|reason| reason.to_string())?;
            }
            if roots.is_empty() {
                return Err("there is no certificate in it".to_owned());
            }
        }
        // A host without authorities can still speak plain HTTP; TLS then fails with the reason.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}
