//! Whether all bytes arrive, in all the manners in which they can be sent.

use std::io::{self, IoSlice, Read as _, Seek as _, Write as _};
use std::net::Ipv6Addr;
use std::os::fd::AsFd as _;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create, sendfile};
use rustix::net::{SendFlags, send, sockopt};
use rustix::pipe::{SpliceFlags, pipe, splice};

use super::pair::{Pair, compare, joined, pattern, receive, request};
use super::{Bench, Mismatch, expect, http2};
use crate::capture::set_socket_option;

const LENGTHS: [usize; 9] = [0, 1, 69, 1400, 4000, 32 << 10, 65_536, 1 << 20, 4 << 20];
/// Delayed acknowledgements come after 40 ms.
const DELAY: Duration = Duration::from_millis(30);
const MANY: usize = 200;

pub(super) fn lengths(bench: &mut Bench) -> Result<(), Mismatch> {
    for length in LENGTHS {
        Pair::new()?.exchange(&pattern(length.max(1)), bench)?;
        Pair::new()?.exchange(&request(length), bench)?;
        Pair::new()?.exchange(&http2::request(length), bench)?;
    }
    // What follows the first request of a connection.
    let mut pair = Pair::new()?;
    for length in LENGTHS {
        pair.exchange(&request(length), bench)?;
    }
    Ok(())
}

pub(super) fn over_ipv6(bench: &mut Bench) -> Result<(), Mismatch> {
    let mut pair = match Pair::at((Ipv6Addr::LOCALHOST, 0).into()) {
        // A host without IPv6 has nothing to lose.
        Err(_) => return Ok(()),
        Ok(pair) => pair,
    };
    pair.exchange(&request(5000), bench)?;
    pair.exchange(&pattern(5000), bench)
}

pub(super) fn single_bytes(bench: &mut Bench) -> Result<(), Mismatch> {
    let request = request(20);
    let mut pair = Pair::new()?;
    for byte in &request {
        pair.client.write_all(&[*byte])?;
    }
    pair.received(&request, bench)
}

pub(super) fn split(bench: &mut Bench) -> Result<(), Mismatch> {
    let request = request(100);
    for at in (1..request.len()).step_by(7) {
        let mut pair = Pair::new()?;
        pair.client.set_nodelay(true)?;
        let (first, second) = request.split_at(at);
        pair.client.write_all(first)?;
        pair.client.write_all(second)?;
        pair.received(&request, bench)?;
    }
    Ok(())
}

pub(super) fn vectors(bench: &mut Bench) -> Result<(), Mismatch> {
    for (request, part) in
        [(request(40_000), 4001), (http2::request(40_000), 4001), (http2::request(300), 50)]
    {
        let mut pair = Pair::new()?;
        let parts: Vec<IoSlice<'_>> = request.chunks(part).map(IoSlice::new).collect();
        let written = pair.client.write_vectored(&parts)?;
        expect("bytes written", &request.len(), &written)?;
        pair.received(&request, bench)?;
    }
    Ok(())
}

pub(super) fn pipelined(bench: &mut Bench) -> Result<(), Mismatch> {
    let mut both = request(10);
    both.extend(request(3000));
    let mut pair = Pair::new()?;
    pair.client.write_all(&both)?;
    pair.received(&both, bench)
}

pub(super) fn own_context(bench: &mut Bench) -> Result<(), Mismatch> {
    let context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for name in ["traceparent", "Traceparent", "TRACEPARENT"] {
        let request = format!("GET / HTTP/1.1\r\nHost: trial\r\n{name}: {context}\r\n\r\n");
        let mut pair = Pair::new()?;
        pair.client.write_all(request.as_bytes())?;
        let mut got = vec![0; request.len()];
        pair.server.read_exact(&mut got)?;
        expect("what the server gets", &request, &String::from_utf8_lossy(&got).into_owned())?;
        pair.received(&[], bench)?;
    }
    Ok(())
}

pub(super) fn more(bench: &mut Bench) -> Result<(), Mismatch> {
    let request = request(3000);
    for at in [10, 60, 200] {
        let mut pair = Pair::new()?;
        let (first, second) = request.split_at(at);
        let sent = send(&pair.client, first, SendFlags::MORE)?;
        expect("bytes sent", &first.len(), &sent)?;
        pair.client.write_all(second)?;
        pair.received(&request, bench)?;
    }
    Ok(())
}

pub(super) fn corked(bench: &mut Bench) -> Result<(), Mismatch> {
    for request in [request(3000), http2::request(3000)] {
        for part in [150, 1000] {
            let mut pair = Pair::new()?;
            sockopt::set_tcp_cork(&pair.client, true)?;
            for part in request.chunks(part) {
                pair.client.write_all(part)?;
            }
            sockopt::set_tcp_cork(&pair.client, false)?;
            pair.received(&request, bench)?;
        }
    }
    Ok(())
}

pub(super) fn by_sendfile(bench: &mut Bench) -> Result<(), Mismatch> {
    for content in [request(100_000), http2::request(100_000), http2::request(0), pattern(100_000)] {
        let mut file = std::fs::File::from(memfd_create("remora-trial", MemfdFlags::CLOEXEC)?);
        file.write_all(&content)?;
        file.rewind()?;
        let mut pair = Pair::new()?;
        let Pair { client, server } = &mut pair;
        let got = thread::scope(|scope| -> Result<Vec<u8>, Mismatch> {
            let reading = scope.spawn(|| receive(server, &content));
            let mut left = content.len();
            while left > 0 {
                match sendfile(&*client, &file, None, left)? {
                    0 => break,
                    sent => left -= sent,
                }
            }
            joined(reading.join())
        })?;
        compare("what the server gets", &content, got, bench)?;
        // What is sent are the file's own pages.
        let mut kept = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut kept)?;
        expect("whether the file is as it was", &true, &(kept == content))?;
    }
    Ok(())
}

pub(super) fn by_splice(bench: &mut Bench) -> Result<(), Mismatch> {
    for request in [request(3000), http2::request(3000)] {
        let (out, into) = pipe()?;
        std::fs::File::from(into).write_all(&request)?;
        let mut pair = Pair::new()?;
        let sent = splice(&out, None, &pair.client, None, request.len(), SpliceFlags::empty())?;
        expect("bytes sent", &request.len(), &sent)?;
        pair.received(&request, bench)?;
    }
    Ok(())
}

/// The call returns how many of its own bytes were taken, and the program sends the rest.
pub(super) fn partial(bench: &mut Bench) -> Result<(), Mismatch> {
    for (content, buffer) in [
        (request(1 << 20), 1),
        (request(1 << 20), 40_000),
        (pattern(1 << 20), 1),
        (request(2000), 1),
        (http2::request(1 << 20), 1),
        (http2::request(1 << 20), 40_000),
        (http2::request(2000), 1),
    ] {
        let mut pair = Pair::new()?;
        sockopt::set_socket_send_buffer_size(&pair.client, buffer)?;
        pair.client.set_nonblocking(true)?;
        let Pair { client, server } = &mut pair;
        let got = thread::scope(|scope| -> Result<Vec<u8>, Mismatch> {
            let reading = scope.spawn(|| {
                thread::sleep(Duration::from_millis(5));
                receive(server, &content)
            });
            write_in_turns(client, &content)?;
            joined(reading.join())
        })?;
        compare("what the server gets", &content, got, bench)?;
    }
    Ok(())
}

fn write_in_turns(client: &mut std::net::TcpStream, content: &[u8]) -> Result<(), Mismatch> {
    let mut left = content;
    while !left.is_empty() {
        match client.write(left) {
            Ok(written) => left = left.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut wanted = [PollFd::new(client, PollFlags::OUT)];
                let ready = poll(&mut wanted, Some(&Timespec { tv_sec: 3, tv_nsec: 0 }))?;
                expect("sockets that can be written to", &1, &ready)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The kernel says when the program's memory is free again.
pub(super) fn zero_copy(bench: &mut Bench) -> Result<(), Mismatch> {
    for content in [request(10), request(60_000), http2::request(60_000), pattern(60_000)] {
        let mut pair = Pair::new()?;
        if set_socket_option(pair.client.as_fd(), libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1).is_err() {
            return Ok(());
        }
        let flag = SendFlags::from_bits_retain(libc::MSG_ZEROCOPY.unsigned_abs());
        let mut left = content.as_slice();
        let mut calls = 0;
        while !left.is_empty() {
            left = left.get(send(&pair.client, left, flag)?..).unwrap_or_default();
            calls += 1;
        }
        pair.received(&content, bench)?;
        let told = crate::capture::zero_copy_calls(pair.client.as_fd(), calls)?;
        expect("calls whose memory is free again", &calls, &told)?;
    }
    Ok(())
}

pub(super) fn undelayed(bench: &mut Bench) -> Result<(), Mismatch> {
    for request in [request(200), http2::request(200)] {
        let mut times = Vec::new();
        for _ in 0..9 {
            let mut pair = Pair::new()?;
            let begun = Instant::now();
            pair.exchange(&request, bench)?;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        if median >= DELAY {
            let (expected, got) = (format!("less than {DELAY:?}"), format!("{median:?}"));
            return Err(Mismatch { expected, got });
        }
    }
    Ok(())
}

pub(super) fn many(bench: &mut Bench) -> Result<(), Mismatch> {
    let mut pairs = (0..MANY).map(|_| Pair::new()).collect::<io::Result<Vec<_>>>()?;
    for (index, pair) in pairs.iter_mut().enumerate() {
        pair.client.write_all(&request(index))?;
    }
    for (index, pair) in pairs.iter_mut().enumerate() {
        pair.received(&request(index), bench)?;
        pair.server.write_all(&pattern(index + 1))?;
    }
    for (index, pair) in pairs.iter_mut().enumerate() {
        let mut response = vec![0; index + 1];
        pair.client.read_exact(&mut response)?;
        expect("what the client gets", &true, &(response == pattern(index + 1)))?;
    }
    Ok(())
}
