//! The service `golden.Shop`.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use tokio_stream::StreamExt as _;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::server::{Grpc, NamedService};
use tonic::transport::Server;
use tonic::{Status, Streaming};
use tower::{Service, service_fn};

use crate::Text;

type Stream = Pin<Box<dyn tokio_stream::Stream<Item = Result<String, Status>> + Send>>;

#[derive(Clone, Debug)]
struct Shop;

impl NamedService for Shop {
    const NAME: &'static str = "golden.Shop";
}

impl Service<Request<Body>> for Shop {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(Text::default()).accept_compressed(CompressionEncoding::Gzip);
            Ok(match request.uri().path() {
                "/golden.Shop/Get" => grpc.unary(service_fn(get), request).await,
                "/golden.Shop/List" => grpc.server_streaming(service_fn(list), request).await,
                "/golden.Shop/Fill" => grpc.client_streaming(service_fn(fill), request).await,
                "/golden.Shop/Chat" => grpc.streaming(service_fn(chat), request).await,
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

/// Serves until an interrupt.
pub(crate) async fn serve(address: SocketAddr) -> Result<(), tonic::transport::Error> {
    Server::builder().add_service(Shop).serve(address).await
}

async fn get(asked: tonic::Request<String>) -> Result<tonic::Response<String>, Status> {
    match asked.into_inner().as_str() {
        "missing" => Err(Status::not_found("no such item: 100 % missing")),
        "broken" => Err(Status::internal("this always fails")),
        "slow" => std::future::pending().await,
        "large" => Ok(tonic::Response::new("large ".repeat(7000))),
        item => Ok(tonic::Response::new(format!("item {item}"))),
    }
}

async fn list(asked: tonic::Request<String>) -> Result<tonic::Response<Stream>, Status> {
    let asked = asked.into_inner();
    let items = (0..3).map(move |item| Ok(format!("{asked}{item}")));
    Ok(tonic::Response::new(Box::pin(tokio_stream::iter(items))))
}

async fn fill(messages: tonic::Request<Streaming<String>>) -> Result<tonic::Response<String>, Status> {
    let mut messages = messages.into_inner();
    let mut count = 0;
    while messages.message().await?.is_some() {
        count += 1;
    }
    Ok(tonic::Response::new(format!("{count}")))
}

async fn chat(messages: tonic::Request<Streaming<String>>) -> Result<tonic::Response<Stream>, Status> {
    let said = messages.into_inner().map(|said| said);
    Ok(tonic::Response::new(Box::pin(said)))
}
