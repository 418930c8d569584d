//! gRPC on tonic, without generated code: all messages are `google.protobuf.StringValue`.
//!
//! `tonic-shop serve|call PORT`

mod client;
mod service;

use std::net::SocketAddr;

use client::Failure;
use tonic_prost::ProstCodec;

/// What all messages are written and read with.
type Text = ProstCodec<String, String>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, role, port] = arguments.as_slice() else {
        return Err("usage: tonic-shop serve|call PORT".into());
    };
    let address = SocketAddr::from(([127, 0, 0, 1], port.parse()?));
    match role.as_str() {
        "serve" => service::serve(address).await?,
        _ => client::call(address).await?,
    }
    Ok(())
}
