//! Whether a client learns what there is to be read, when there is, and can read it in every manner.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::thread;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionread;
use rustix::pipe::{SpliceFlags, pipe};

use super::pair::{Pair, joined, pattern, request};
use super::{Bench, Mismatch, expect};
use crate::capture::set_socket_option;

/// How long what has been sent may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(1);

pub(super) fn waiting_response(bench: &mut Bench) -> Result<(), Mismatch> {
    for content in [request(10), pattern(10)] {
        let mut pair = Pair::new()?;
        expect("FIONREAD before anything was said", &0, &ioctl_fionread(&pair.client)?)?;
        pair.client.write_all(&content)?;
        pair.received(&content, bench)?;
        arrives(&mut pair, 5000)?;
        arrives(&mut pair, 70_000)?;
    }
    Ok(())
}

pub(super) fn waiting_greeting(_: &mut Bench) -> Result<(), Mismatch> {
    for mut pair in [Pair::new()?, Pair::small()?] {
        arrives(&mut pair, 1234)?;
        pair.client.write_all(&request(0))?;
        arrives(&mut pair, 77)?;
    }
    Ok(())
}

/// The server sends so many bytes; the client learns how many, and reads them.
fn arrives(pair: &mut Pair, length: usize) -> Result<(), Mismatch> {
    let content = pattern(length);
    pair.server.write_all(&content)?;
    let deadline = Instant::now() + ARRIVAL;
    let mut waiting = ioctl_fionread(&pair.client)?;
    while waiting != length as u64 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
        waiting = ioctl_fionread(&pair.client)?;
    }
    expect("FIONREAD", &(length as u64), &waiting)?;
    let mut got = vec![0; length];
    pair.client.read_exact(&mut got)?;
    expect("what the client gets", &true, &(got == content))
}

pub(super) fn edges(bench: &mut Bench) -> Result<(), Mismatch> {
    let mut pair = Pair::new()?;
    pair.client.set_nonblocking(true)?;
    let poller = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &poller,
        &pair.client,
        EventData::new_u64(1),
        EventFlags::IN | EventFlags::OUT | EventFlags::ET,
    )?;
    expect("events at first", &1, &events(&poller, 1000)?)?;
    let request = request(10);
    pair.client.write_all(&request)?;
    pair.received(&request, bench)?;
    let mut got = Vec::new();
    for part in 0..3 {
        pair.server.write_all(&pattern(1000))?;
        let mut seen = events(&poller, 1000)?;
        // That the request has gone out may be an event of its own.
        if seen == 1 && !is_readable(&pair, 0)? {
            seen = events(&poller, 1000)?;
        }
        expect(&format!("events of part {part}"), &1, &seen)?;
        let mut buffer = [0; 4096];
        loop {
            match pair.client.read(&mut buffer) {
                Ok(length) => got.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    expect("bytes of all parts", &3000, &got.len())?;
    expect("events at rest", &0, &events(&poller, 20)?)
}

fn events(poller: &impl std::os::fd::AsFd, milliseconds: i64) -> Result<usize, Mismatch> {
    let mut events = Vec::with_capacity(4);
    epoll::wait(poller, spare_capacity(&mut events), Some(&after(milliseconds)))?;
    Ok(events.len())
}

fn after(milliseconds: i64) -> Timespec {
    Timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 }
}

fn is_readable(pair: &Pair, milliseconds: i64) -> Result<bool, Mismatch> {
    let mut wanted = [PollFd::new(&pair.client, PollFlags::IN)];
    Ok(poll(&mut wanted, Some(&after(milliseconds)))? == 1)
}

pub(super) fn low_water(bench: &mut Bench) -> Result<(), Mismatch> {
    let mut pair = Pair::new()?;
    set_socket_option(pair.client.as_fd(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, 1000)?;
    let request = request(10);
    pair.client.write_all(&request)?;
    pair.received(&request, bench)?;
    pair.server.write_all(&pattern(500))?;
    expect("readable with 500 bytes of 1000", &false, &is_readable(&pair, 30)?)?;
    pair.server.write_all(&pattern(600))?;
    expect("readable with 1100 bytes of 1000", &true, &is_readable(&pair, 1000)?)?;
    let mut got = vec![0; 1100];
    pair.client.read_exact(&mut got)?;
    Ok(())
}

pub(super) fn peek(bench: &mut Bench) -> Result<(), Mismatch> {
    for speaks_first in [false, true] {
        let mut pair = Pair::new()?;
        if !speaks_first {
            let request = request(10);
            pair.client.write_all(&request)?;
            pair.received(&request, bench)?;
        }
        pair.server.write_all(&pattern(300))?;
        let mut peeked = [0; 300];
        let mut length = 0;
        while length < 300 {
            length = pair.client.peek(&mut peeked)?;
        }
        let mut got = [0; 300];
        pair.client.read_exact(&mut got)?;
        expect("what was peeked at", &true, &(peeked == got && got == *pattern(300)))?;
    }
    Ok(())
}

pub(super) fn splice(bench: &mut Bench) -> Result<(), Mismatch> {
    let mut pair = Pair::new()?;
    let request = request(10);
    pair.client.write_all(&request)?;
    pair.received(&request, bench)?;
    let content = pattern(50_000);
    let (out, into) = pipe()?;
    let mut out = std::fs::File::from(out);
    let Pair { client, server } = &mut pair;
    thread::scope(|scope| -> Result<(), Mismatch> {
        let writing = scope.spawn(|| server.write_all(&content));
        let mut got = Vec::new();
        while got.len() < content.len() {
            let moved = rustix::pipe::splice(
                &*client,
                None,
                &into,
                None,
                content.len() - got.len(),
                SpliceFlags::empty(),
            )?;
            expect("bytes left to splice", &true, &(moved > 0))?;
            let mut part = vec![0; moved];
            out.read_exact(&mut part)?;
            got.extend(part);
        }
        expect("what was spliced", &true, &(got == content))?;
        joined(writing.join())
    })
}

/// A thread of its own reads, and waits since before anything was sent.
pub(super) fn early_reader(bench: &mut Bench) -> Result<(), Mismatch> {
    for content in [request(10), pattern(10)] {
        let mut pair = Pair::new()?;
        let mut reader = pair.client.try_clone()?;
        let reading = thread::spawn(move || {
            let mut got = vec![0; 900];
            reader.read_exact(&mut got).map(|()| got)
        });
        thread::sleep(Duration::from_millis(20));
        pair.client.write_all(&content)?;
        pair.received(&content, bench)?;
        pair.server.write_all(&pattern(900))?;
        let got = joined(reading.join())?;
        expect("what the reader gets", &true, &(got == pattern(900)))?;
    }
    Ok(())
}

pub(super) fn timeout(bench: &mut Bench) -> Result<(), Mismatch> {
    let wait = Duration::from_millis(60);
    let mut pair = Pair::new()?;
    pair.client.set_read_timeout(Some(wait))?;
    for says_something in [false, true] {
        if says_something {
            let request = request(10);
            pair.client.write_all(&request)?;
            pair.received(&request, bench)?;
        }
        let begun = Instant::now();
        let got = pair.client.read(&mut [0]).map_err(|error| error.kind());
        expect("a read with a timeout", &Err(io::ErrorKind::WouldBlock), &got)?;
        expect("the whole timeout has passed", &true, &(begun.elapsed() >= wait.mul_f32(0.9)))?;
    }
    Ok(())
}
