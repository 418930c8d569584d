//! A client of `golden.Shop`.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use http::uri::PathAndQuery;
use tokio::task::JoinSet;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::Text;

const GET: &str = "/golden.Shop/Get";
const CONTEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Makes all the calls that are recorded.
pub(crate) async fn call(address: SocketAddr) -> Result<(), Failure> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    unary(&channel).await?;
    streams(&channel).await?;
    given_up(&channel).await?;
    many(&channel).await?;
    Ok(())
}

async fn unary(channel: &Channel) -> Result<(), Failure> {
    let mut first = asking_for("1");
    first.metadata_mut().insert("traceparent", CONTEXT.parse()?);
    expect(Code::Ok, ask(channel.clone(), GET, first).await)?;
    for (method, item, code) in [
        (GET, "2", Code::Ok),
        (GET, "2", Code::Ok),
        (GET, "missing", Code::NotFound),
        (GET, "broken", Code::Internal),
        (GET, "large", Code::Ok),
        ("/golden.Shop/Frob", "", Code::Unimplemented),
    ] {
        expect(code, ask(channel.clone(), method, asking_for(item)).await)?;
    }
    Ok(())
}

/// Calls in which either side or both send several messages.
async fn streams(channel: &Channel) -> Result<(), Failure> {
    let path = PathAndQuery::from_static;
    let parts = |count| Request::new(tokio_stream::iter(vec!["message".to_owned(); count]));
    let mut grpc = ready(channel.clone()).await?;
    let mut items = grpc
        .server_streaming(asking_for("item"), path("/golden.Shop/List"), Text::default())
        .await?
        .into_inner();
    while items.message().await?.is_some() {}
    let mut grpc = ready(channel.clone()).await?;
    grpc.client_streaming(parts(5), path("/golden.Shop/Fill"), Text::default()).await?;
    let mut grpc = ready(channel.clone()).await?;
    let mut said = grpc.streaming(parts(3), path("/golden.Shop/Chat"), Text::default()).await?.into_inner();
    while said.message().await?.is_some() {}
    Ok(())
}

/// Calls that nobody waits for any longer: past a deadline, and cancelled.
async fn given_up(channel: &Channel) -> Result<(), Failure> {
    let mut late = asking_for("slow");
    late.set_timeout(Duration::from_millis(100));
    let status = ask(channel.clone(), GET, late).await.err().ok_or("a slow answer came in time")?;
    if !matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded) {
        return Err(status.into());
    }
    let slow = ask(channel.clone(), GET, asking_for("slow"));
    match tokio::time::timeout(Duration::from_millis(50), slow).await {
        Ok(_) => Err("a slow answer came in time".into()),
        Err(_) => Ok(()),
    }
}

async fn many(channel: &Channel) -> Result<(), Failure> {
    let mut calls = JoinSet::new();
    for item in 0..30 {
        calls.spawn(ask(channel.clone(), GET, asking_for(&item.to_string())));
    }
    while let Some(answer) = calls.join_next().await {
        expect(Code::Ok, answer?)?;
    }
    Ok(())
}

fn asking_for(item: &str) -> Request<String> {
    Request::new(item.to_owned())
}

async fn ready(channel: Channel) -> Result<Grpc<Channel>, Failure> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await?;
    Ok(grpc)
}

async fn ask(channel: Channel, method: &'static str, asked: Request<String>) -> Result<String, Status> {
    let mut grpc = ready(channel).await.map_err(|error| Status::unknown(error.to_string()))?;
    let answer = grpc.unary(asked, PathAndQuery::from_static(method), Text::default()).await?;
    Ok(answer.into_inner())
}

fn expect(code: Code, answer: Result<String, Status>) -> Result<(), Failure> {
    let found = answer.err().map_or(Code::Ok, |status| status.code());
    if found == code { Ok(()) } else { Err(format!("{found:?} instead of {code:?}").into()) }
}
