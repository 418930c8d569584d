//! The agent that runs: asked over HTTP what it knows of a process. Whatever answers there is not trusted: it may be late,
//! long, of another version, or no agent.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::config::Metrics;
use crate::discover::Process;
use crate::health::Known;

/// How long all of it may take. The agent gives up before.
const PATIENCE: Duration = Duration::from_secs(12);
/// Longest answer that is read.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// What became of the question.
#[derive(Debug, Serialize)]
pub(super) struct Asked {
    /// Where it was asked.
    pub address: SocketAddr,
    /// Why there is no answer.
    pub error: Option<String>,
    /// The answer.
    pub known: Option<Known>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("none answers: {0}")]
    Connection(#[from] io::Error),
    #[error("it did not answer in {} s", PATIENCE.as_secs())]
    Late,
    #[error("it wants the token of its metrics, which the configuration names (--config)")]
    Token,
    #[error(
        "it does not know the process, or what is asked: it may have just begun, or be of another version"
    )]
    Unknown,
    #[error("it begins, ends or is too busy")]
    Busy,
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("its answer is longer than {MAX_ANSWER_BYTES} bytes")]
    Long,
    #[error("its answer is no agent's")]
    Malformed,
    #[error("its answer is about another process with this number")]
    OtherProcess,
}

/// Asks the agent at an address what it knows of a process.
pub(super) fn ask(agent: &Metrics, process: &Process) -> Asked {
    let answer = exchange(agent, process.tgid, PATIENCE).and_then(|answer| read(&answer, process));
    let (known, error) = match answer {
        Ok(known) => (Some(known), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Asked { address: agent.address, error, known }
}

fn exchange(agent: &Metrics, pid: u32, patience: Duration) -> Result<Vec<u8>, Error> {
    let until = Instant::now() + patience;
    let mut stream = TcpStream::connect_timeout(&agent.address, patience)?;
    let token = agent.token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n"));
    stream.set_write_timeout(Some(patience))?;
    let (address, token) = (agent.address, token.unwrap_or_default());
    // HTTP/1.0 (RFC 1945): the answer ends with the connection.
    write!(stream, "GET /processes/{pid} HTTP/1.0\r\nHost: {address}\r\n{token}\r\n")?;
    let (mut answer, mut block) = (Vec::new(), vec![0; 16 << 10]);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::Late);
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut block) {
            Ok(0) => return Ok(answer),
            Ok(read) => answer.extend_from_slice(&block[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Error::Late),
            Err(error) => return Err(error.into()),
        }
        if answer.len() > MAX_ANSWER_BYTES {
            return Err(Error::Long);
        }
    }
}

fn read(answer: &[u8], process: &Process) -> Result<Known, Error> {
    let end = memchr::memmem::find(answer, b"\r\n\r\n").ok_or(Error::Malformed)?;
    let (head, body) = (&answer[..end], &answer[end + 4..]);
    match status(head).ok_or(Error::Malformed)? {
        200 => {}
        401 => return Err(Error::Token),
        404 => return Err(Error::Unknown),
        503 => return Err(Error::Busy),
        status => return Err(Error::Status(status)),
    }
    let known: Known = serde_json::from_slice(body).map_err(|_| Error::Malformed)?;
    let is_other = known.started_at_ticks.zip(process.started_at_ticks).is_some_and(|(its, own)| its != own);
    if is_other || known.pid != process.tgid {
        return Err(Error::OtherProcess);
    }
    Ok(known)
}

fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head).ok()?.lines().next()?;
    line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn process() -> Process {
        Process { tgid: 7, started_at_ticks: Some(100), ..Process::default() }
    }

    fn with(status: &str, body: &str) -> Result<Known, Error> {
        read(format!("HTTP/1.1 {status}\r\nContent-Type: x\r\n\r\n{body}").as_bytes(), &process())
    }

    /// Returns the error of an agent that answers with these bytes, as often as it can.
    fn error_of(answer: &'static [u8], times: usize) -> Error {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for _ in 0..times {
                if stream.write_all(answer).is_err() {
                    break;
                }
            }
            // Open until the other end is gone.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let agent = Metrics { address, token: None };
        let error = exchange(&agent, 7, Duration::from_millis(200)).unwrap_err();
        serving.join().unwrap();
        error
    }

    #[test]
    fn an_answer_is_read_whatever_other_versions_leave_out_or_add() {
        let known = with("200 OK", r#"{"pid":7,"is_observed":true,"reason":"x","new":[1]}"#).unwrap();
        assert_eq!((known.reason.as_str(), known.looks_into_tls), ("x", None));
        let with_start = |ticks: u64| {
            let body = format!(r#"{{"pid":7,"started_at_ticks":{ticks},"is_observed":true,"reason":"x"}}"#);
            with("200 OK", &body)
        };
        assert!(with_start(100).is_ok());
        assert!(matches!(with_start(99), Err(Error::OtherProcess)));
    }

    #[test]
    fn what_is_no_answer_is_none() {
        assert!(matches!(with("200 OK", "{}"), Err(Error::Malformed)));
        assert!(matches!(
            with("200 OK", r#"{"pid":8,"is_observed":true,"reason":""}"#),
            Err(Error::OtherProcess)
        ));
        assert!(matches!(with("401 Unauthorized", ""), Err(Error::Token)));
        assert!(matches!(with("404 Not Found", ""), Err(Error::Unknown)));
        assert!(matches!(with("503 X", ""), Err(Error::Busy)));
        assert!(matches!(with("302 Found", ""), Err(Error::Status(302))));
        let deep = "[".repeat(MAX_ANSWER_BYTES / 2);
        assert!(matches!(with("200 OK", &deep), Err(Error::Malformed)));
        for bytes in [&b""[..], b"\r\n\r\n", b"SSH-2.0\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"\xff\r\n\r\n"] {
            assert!(matches!(read(bytes, &process()), Err(Error::Malformed)), "{bytes:?}");
        }
    }

    #[test]
    fn who_says_nothing_or_too_much_is_not_waited_for() {
        assert!(matches!(error_of(b"HTTP/1.1 200 OK\r\n", 1), Error::Late));
        assert!(matches!(error_of(&[b'x'; 4096], 100_000), Error::Long));
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let asked = ask(&Metrics { address: free, token: None }, &process());
        assert!(asked.error.unwrap().starts_with("none answers: "));
    }
}
