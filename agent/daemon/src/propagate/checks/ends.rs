//! Whether both ends learn how the other one ended.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt;

use super::pair::{Pair, joined, pattern, request};
use super::{Bench, Mismatch, expect};

pub(super) fn half_closed(bench: &mut Bench) -> Result<(), Mismatch> {
    for content in [request(3000), pattern(3000)] {
        let mut pair = Pair::new()?;
        pair.client.write_all(&content)?;
        pair.client.shutdown(Shutdown::Write)?;
        let mut got = Vec::new();
        pair.server.read_to_end(&mut got)?;
        super::pair::compare("what the server gets", &content, got, bench)?;
        pair.server.write_all(&pattern(7000))?;
        drop(pair.server);
        let mut response = Vec::new();
        pair.client.read_to_end(&mut response)?;
        expect("what the client gets", &true, &(response == pattern(7000)))?;
    }
    Ok(())
}

/// The server closes without a word while a thread of its own waits for one.
pub(super) fn early_reader(_: &mut Bench) -> Result<(), Mismatch> {
    let pair = Pair::new()?;
    let mut reader = pair.client.try_clone()?;
    let reading = thread::spawn(move || reader.read(&mut [0; 10]));
    thread::sleep(Duration::from_millis(20));
    drop(pair.server);
    expect("bytes before the end", &0, &joined(reading.join())?)
}

pub(super) fn reset(bench: &mut Bench) -> Result<(), Mismatch> {
    for content in [request(10), pattern(10)] {
        let mut pair = Pair::new()?;
        pair.client.write_all(&content)?;
        pair.received(&content, bench)?;
        let mut reader = pair.client.try_clone()?;
        let reading = thread::spawn(move || reader.read(&mut [0; 10]));
        thread::sleep(Duration::from_millis(20));
        sockopt::set_socket_linger(&pair.server, Some(Duration::ZERO))?;
        drop(pair.server);
        let got = match reading.join() {
            Ok(result) => result.map_err(|error| error.kind()),
            Err(_) => Ok(0),
        };
        expect("a read during a reset", &Err(ErrorKind::ConnectionReset), &got)?;
    }
    Ok(())
}

/// The same, where the read began before anything was sent.
pub(super) fn early_reset(_: &mut Bench) -> Result<(), Mismatch> {
    let pair = Pair::new()?;
    let mut reader = pair.client.try_clone()?;
    let reading = thread::spawn(move || reader.read(&mut [0; 10]));
    thread::sleep(Duration::from_millis(20));
    sockopt::set_socket_linger(&pair.server, Some(Duration::ZERO))?;
    drop(pair.server);
    let got = match reading.join() {
        Ok(result) => result.map_err(|error| error.kind()),
        Err(_) => Ok(0),
    };
    expect("a read during a reset", &Err(ErrorKind::ConnectionReset), &got)
}

pub(super) fn broken_pipe(_: &mut Bench) -> Result<(), Mismatch> {
    let mut pair = Pair::new()?;
    drop(pair.server);
    thread::sleep(Duration::from_millis(5));
    let mut kinds = Vec::new();
    for _ in 0..3 {
        kinds.push(pair.client.write(&request(10)).err().map(|error: io::Error| error.kind()));
        thread::sleep(Duration::from_millis(5));
    }
    expect(
        "the first, second and third write",
        &vec![None, Some(ErrorKind::BrokenPipe), Some(ErrorKind::BrokenPipe)],
        &kinds,
    )
}

pub(super) fn silent(_: &mut Bench) -> Result<(), Mismatch> {
    for _ in 0..20 {
        let mut pair = Pair::new()?;
        drop(pair.client);
        expect("bytes before the end", &0, &pair.server.read(&mut [0; 10])?)?;
    }
    Ok(())
}
