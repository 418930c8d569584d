//! A client that asks an HTTPS service for users, by native-tls.
//!
//! `native-tls-client URL AUTHORITY FIRST COUNT IN_FLIGHT BEGIN`: until the file BEGIN exists, user 0 is asked again and
//! again, each time by a new connection.

#[path = "../../rustls/src/ask.rs"]
mod ask;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

use reqwest::{Certificate, Client};

use ask::ask;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, authority, first, count, in_flight, begin] = &arguments[..] else {
        return Err("usage: URL AUTHORITY FIRST COUNT IN_FLIGHT BEGIN".into());
    };
    while !Path::new(begin).exists() {
        ask(client(authority)?, url, 0, 1, 1).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ask(client(authority)?, url, first.parse()?, count.parse()?, in_flight.parse()?).await
}

fn client(authority: &str) -> Result<Client, Failure> {
    let authority = Certificate::from_pem(&fs::read(authority)?)?;
    Ok(Client::builder().add_root_certificate(authority).build()?)
}
