//! A client of Node's inspector: the Chrome DevTools protocol over WebSocket, as far as one `Runtime.evaluate` goes.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::client::client_with_config;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message, WebSocket};

use super::Error;

/// Longest list of targets and longest answer that are read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// How much of an unexpected answer is shown, in characters.
const MAX_SHOWN: usize = 200;
/// Shortest wait for a socket: zero would mean forever.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// A session with the inspector of one process.
pub(super) struct Inspector {
    socket: WebSocket<TcpStream>,
    local: SocketAddr,
    last_id: u64,
}

impl Inspector {
    /// Returns a session with the only target of the inspector that listens there; [`Error::NoInspector`] where none is
    /// found. Each connection is noted before anything is sent.
    pub(super) fn connect(
        address: SocketAddr,
        note: &impl Fn(SocketAddr),
        until: Instant,
    ) -> Result<Self, Error> {
        let asked = connect(address, note, until).and_then(|stream| target(stream, address, until));
        let target = asked.map_err(|source| Error::NoInspector { address, source: Box::new(source) })?;
        let stream = connect(address, note, until)?;
        let local = stream.local_addr()?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_ANSWER_BYTES))
            .max_frame_size(Some(MAX_ANSWER_BYTES));
        let request = format!("ws://{address}/{target}");
        match client_with_config(request, stream, Some(config)) {
            Ok((socket, _)) => Ok(Self { socket, local, last_id: 0 }),
            Err(tungstenite::HandshakeError::Failure(error)) => Err(Box::new(error).into()),
            Err(tungstenite::HandshakeError::Interrupted(_)) => Err(Error::NotAnswered),
        }
    }

    /// Returns this end's address.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Has an expression evaluated; returns its value where that says that it has done what it should.
    pub(super) fn evaluate(&mut self, expression: &str, until: Instant) -> Result<Value, Error> {
        let id = self.queue(expression)?;
        self.socket.flush().map_err(not_in_time)?;
        while let Some(answer) = self.read(until)? {
            if answer.get("id") == Some(&json!(id)) {
                return verdict(&answer);
            }
        }
        Err(Error::NotAnswered)
    }

    /// Has an expression evaluated after what follows is sent too; nobody waits for its value. Returns its number.
    pub(super) fn queue(&mut self, expression: &str) -> Result<u64, Error> {
        self.last_id += 1;
        let parameters = json!({ "expression": expression, "includeCommandLineAPI": true, "returnByValue": true, "awaitPromise": true });
        let call = json!({ "id": self.last_id, "method": "Runtime.evaluate", "params": parameters });
        self.socket.write(Message::text(call.to_string())).map_err(not_in_time)?;
        Ok(self.last_id)
    }

    /// Ends the session, in the same breath as what is queued, and waits for the other end to do so.
    pub(super) fn leave(mut self, until: Instant) {
        // What fails here has ended as well.
        let _ = self.socket.close(None);
        while let Ok(Some(_)) = self.read(until) {}
    }

    /// Returns the next message; none after the last.
    fn read(&mut self, until: Instant) -> Result<Option<Value>, Error> {
        loop {
            let wait = until.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return Err(Error::NotAnswered);
            }
            self.socket.get_ref().set_read_timeout(Some(wait.max(MIN_WAIT)))?;
            match self.socket.read() {
                Ok(Message::Text(text)) => return Ok(serde_json::from_str(&text).ok()),
                Ok(_) => {}
                Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => {
                    return Ok(None);
                }
                Err(error) => return Err(not_in_time(error)),
            }
        }
    }
}

fn not_in_time(error: tungstenite::Error) -> Error {
    match error {
        tungstenite::Error::Io(error)
            if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
        {
            Error::NotAnswered
        }
        error => Error::WebSocket(Box::new(error)),
    }
}

/// Returns what the part says, if it is in, or gone.
fn verdict(answer: &Value) -> Result<Value, Error> {
    let value = answer.pointer("/result/result/value");
    let state = value.and_then(|value| value.get("state")?.as_str());
    match (state, value) {
        (Some("attached" | "detached" | "absent"), Some(value)) => Ok(value.clone()),
        _ => Err(Error::Answer { answer: answer.to_string().chars().take(MAX_SHOWN).collect() }),
    }
}

fn connect(address: SocketAddr, note: &impl Fn(SocketAddr), until: Instant) -> Result<TcpStream, Error> {
    let wait = until.saturating_duration_since(Instant::now()).max(MIN_WAIT);
    let stream = TcpStream::connect_timeout(&address, wait)?;
    note(stream.local_addr()?);
    stream.set_read_timeout(Some(wait))?;
    stream.set_write_timeout(Some(wait))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks which targets there are. Returns the path of the only one: the main thread.
fn target(mut stream: TcpStream, address: SocketAddr, until: Instant) -> Result<String, Error> {
    write!(stream, "GET /json/list HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut block = [0; 4096];
    while Instant::now() < until {
        let read = stream.read(&mut block)?;
        answer.extend_from_slice(block.get(..read).unwrap_or_default());
        if let Some(found) = target_in(&String::from_utf8_lossy(&answer)) {
            return Ok(found);
        }
        if read == 0 || answer.len() > MAX_ANSWER_BYTES {
            let answer = String::from_utf8_lossy(&answer).chars().take(MAX_SHOWN).collect();
            return Err(Error::Answer { answer });
        }
    }
    Err(Error::NotAnswered)
}

/// Returns the id of the only Node target in a whole answer.
fn target_in(answer: &str) -> Option<String> {
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let targets: Vec<Value> = serde_json::from_str(body.trim()).ok()?;
    let [target] = targets.as_slice() else { return None };
    let text = |key: &str| target.get(key).and_then(Value::as_str);
    let id = text("id").filter(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'))?;
    (text("type") == Some("node")).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_target_is_taken_from_a_whole_answer() {
        let answer =
            "HTTP/1.0 200 OK\r\n\r\n[ {\n  \"id\": \"6f61bb38-ee01\",\n  \"type\": \"node\"\n} ]\n\n";
        assert_eq!(target_in(answer).as_deref(), Some("6f61bb38-ee01"));
        for end in 0..answer.len() - 3 {
            assert_eq!(target_in(&answer[..end]), None, "{end}");
        }
        assert_eq!(target_in(&answer.replace("node", "page")), None);
        assert_eq!(target_in(&answer.replace("6f61bb38-ee01", "../x")), None);
        assert_eq!(target_in("HTTP/1.0 200 OK\r\n\r\n[]"), None);
    }

    #[test]
    fn the_part_has_the_last_word() {
        let said =
            |state: &str| verdict(&json!({"id": 1, "result": {"result": {"value": {"state": state}}}}));
        assert!(said("attached").is_ok());
        assert!(said("detached").is_ok());
        assert!(said("refused").is_err());
        let thrown = json!({"id": 1, "result": {"exceptionDetails": {"text": "Uncaught"}}});
        assert!(verdict(&thrown).unwrap_err().to_string().contains("Uncaught"));
    }
}
