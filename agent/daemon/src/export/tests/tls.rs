//! Receivers with TLS: an authority, and a leaf for localhost that it signed.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

use super::receiver::Receiver;
use super::*;

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

fn server(authority: &CertifiedIssuer<'static, KeyPair>) -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = parameters.signed_by(&key, authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

#[test]
fn both_protocols_go_through_tls_to_a_receiver_that_is_trusted() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), authority());
    let certificate = folder.path().join("ca.pem");
    std::fs::write(&certificate, authority.pem()).unwrap();
    for (is_grpc, path) in [(true, ""), (false, "/v1/traces")] {
        let receiver =
            Receiver::with_tls(([127, 0, 0, 1], 0).into(), Vec::new(), is_grpc, Some(server(&authority)));
        let url = format!("https://localhost:{}{path}", receiver.address.port());
        let settings = Settings { certificate: Some(certificate.clone()), ..settings(&url) };
        let (exporter, sink) = Exporter::start(settings, &Ledger::default()).unwrap();
        sink.try_send(&span(1)).unwrap();
        wait_until("the span arrives", || receiver.names() == [1]);
        exporter.shutdown(PATIENCE);
    }
}

#[test]
fn a_receiver_that_is_not_trusted_gets_nothing() {
    for (is_grpc, path) in [(true, ""), (false, "/v1/traces")] {
        let receiver =
            Receiver::with_tls(([127, 0, 0, 1], 0).into(), Vec::new(), is_grpc, Some(server(&authority())));
        let ledger = Ledger::default();
        let url = format!("https://localhost:{}{path}", receiver.address.port());
        let (exporter, sink) = Exporter::start(settings(&url), &ledger).unwrap();
        sink.try_send(&span(1)).unwrap();
        wait_until("attempts have failed", || ledger.counter("remora_agent_export_failures_total").get() > 1);
        exporter.shutdown(Duration::ZERO);
        assert_eq!((receiver.attempts(), loss(&ledger, "shutdown")), (0, 1));
    }
}
