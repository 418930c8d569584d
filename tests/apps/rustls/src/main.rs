//! An HTTPS service, and a client that asks it.
//!
//! `rustls-service serve ADDRESS KEY CERTIFICATE` answers `/users/{id}`.
//! `rustls-service ask URL AUTHORITY FIRST COUNT IN_FLIGHT http1|http2` asks for so many users.

mod ask;

use std::error::Error;
use std::fs;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use axum_server::tls_rustls::RustlsConfig;
use reqwest::{Certificate, Client};

use ask::ask;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let provider = rustls::crypto::ring::default_provider();
    provider.install_default().map_err(|_| "there is a provider already")?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", address, key, certificate] => serve(address, key, certificate).await,
        ["ask", url, authority, first, count, in_flight, version] => {
            let client = client(authority, version)?;
            ask(client, url, first.parse()?, count.parse()?, in_flight.parse()?).await
        }
        _ => {
            Err("usage: serve ADDRESS KEY CERTIFICATE | ask URL AUTHORITY FIRST COUNT IN_FLIGHT VERSION"
                .into())
        }
    }
}

async fn serve(address: &str, key: &str, certificate: &str) -> Result<(), Failure> {
    let config = RustlsConfig::from_pem_file(certificate, key).await?;
    let user = |Path(id): Path<String>| async move { format!("user {id}\n") };
    let app = Router::new().route("/users/{id}", get(user));
    axum_server::bind_rustls(address.parse()?, config).serve(app.into_make_service()).await?;
    Ok(())
}

fn client(authority: &str, version: &str) -> Result<Client, Failure> {
    let authority = Certificate::from_pem(&fs::read(authority)?)?;
    let builder = Client::builder().add_root_certificate(authority);
    Ok(if version == "http1" { builder.http1_only().build()? } else { builder.build()? })
}
