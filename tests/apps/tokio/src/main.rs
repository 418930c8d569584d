//! A service on tokio that asks another one, in all the ways in which its tasks share work.
//!
//! `tokio-service ADDRESS [UPSTREAM [current_thread]]`: `/leaf/N` answers at once, the other paths ask the upstream for
//! `/leaf/N` first.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::{task, time};

/// A request for `/leaf/N`, and where its answer goes.
type Order = (String, oneshot::Sender<()>);

struct Service {
    upstream: SocketAddr,
    orders: mpsc::Sender<Order>,
    /// What tasks of several requests wait for.
    shared: Mutex<()>,
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let parse = |text: &String| text.parse().map_err(io::Error::other);
    let listen = parse(&arguments[0])?;
    let upstream = arguments.get(1).map_or(Ok(listen), parse)?;
    let runtime = match arguments.get(2).map(String::as_str) {
        Some("current_thread") => Builder::new_current_thread().enable_all().build()?,
        _ => Builder::new_multi_thread().worker_threads(4).enable_all().build()?,
    };
    runtime.block_on(serve(listen, upstream))
}

async fn serve(listen: SocketAddr, upstream: SocketAddr) -> io::Result<()> {
    let (orders, received) = mpsc::channel(100);
    let service: &'static Service =
        Box::leak(Box::new(Service { upstream, orders, shared: Mutex::new(()) }));
    task::spawn(carry(upstream, received));
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        task::spawn(converse(stream, service));
    }
}

async fn converse(mut stream: TcpStream, service: &'static Service) -> io::Result<()> {
    while let Some(path) = read_path(&mut stream).await? {
        let (way, number) = path.trim_start_matches('/').split_once('/').unwrap_or(("leaf", "0"));
        service.answer(way, number.to_owned()).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await?;
    }
    Ok(())
}

impl Service {
    async fn answer(&'static self, way: &str, number: String) -> io::Result<()> {
        match way {
            "own" => ask_once(self.upstream, &number).await?,
            "join" => {
                let again = number.clone();
                let one = async move { ask_once(self.upstream, &again).await };
                tokio::try_join!(one, ask_once(self.upstream, &number))?;
            }
            "sleep" => {
                time::sleep(Duration::from_millis(2)).await;
                ask_once(self.upstream, &number).await?;
            }
            "spawn" => task::spawn(async move { ask_once(self.upstream, &number).await }).await??,
            "nested" => {
                let inner = async move { ask_once(self.upstream, &number).await };
                task::spawn(async move { task::spawn(inner).await? }).await??;
            }
            "locked" => task::spawn(self.ask_twice(number)).await??,
            "blocking" => task::spawn_blocking(move || ask_blocking(self.upstream, &number)).await??,
            "queue" => {
                let (sender, answer) = oneshot::channel();
                self.orders.send((number, sender)).await.map_err(io::Error::other)?;
                answer.await.map_err(io::Error::other)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Asks on one connection, and waits for others in between.
    async fn ask_twice(&self, number: String) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.upstream).await?;
        for _ in 0..2 {
            let _turn = self.shared.lock().await;
            ask(&mut stream, &number).await?;
        }
        Ok(())
    }
}

/// Asks for whoever orders, over one connection.
async fn carry(upstream: SocketAddr, mut orders: mpsc::Receiver<Order>) -> io::Result<()> {
    let mut connection = None;
    while let Some((number, answer)) = orders.recv().await {
        let stream = match &mut connection {
            Some(stream) => stream,
            // By another task, as clients do.
            None => connection.insert(task::spawn(TcpStream::connect(upstream)).await??),
        };
        ask(stream, &number).await?;
        let _ = answer.send(());
    }
    Ok(())
}

async fn ask_once(upstream: SocketAddr, number: &str) -> io::Result<()> {
    ask(&mut TcpStream::connect(upstream).await?, number).await
}

async fn ask(stream: &mut TcpStream, number: &str) -> io::Result<()> {
    stream.write_all(request(stream.peer_addr()?, number).as_bytes()).await?;
    let mut answer = [0; 512];
    let read = stream.read(&mut answer).await?;
    check(&answer[..read])
}

fn ask_blocking(upstream: SocketAddr, number: &str) -> io::Result<()> {
    let mut stream = std::net::TcpStream::connect(upstream)?;
    stream.write_all(request(upstream, number).as_bytes())?;
    let mut answer = [0; 512];
    let read = stream.read(&mut answer)?;
    check(&answer[..read])
}

fn request(upstream: SocketAddr, number: &str) -> String {
    format!("GET /leaf/{number} HTTP/1.1\r\nHost: {upstream}\r\n\r\n")
}

fn check(answer: &[u8]) -> io::Result<()> {
    if answer.ends_with(b"ok") { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Returns the path of the next request; none at the end of the connection.
async fn read_path(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(None);
        }
    }
    let head = String::from_utf8_lossy(&head);
    Ok(head.split(' ').nth(1).map(str::to_owned))
}
