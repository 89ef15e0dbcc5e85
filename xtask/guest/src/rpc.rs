//! The guest's second serial line, on which programs talk to the kernel: a line in, a line of JSON out, events between
//! (crate `carapace-cli`, module `rpc`, has the language).
//!
//! ```text
//!  Requests ── @7 resources ──────────────────> kernel
//!  Messages <── {"id":7,"answer":[...]} ─────── kernel      or {"id":7,"error":"..."}
//!  Requests ── @8 sh sections ────────────────> kernel
//!  Messages <── {"id":8,"text":"..."} ───────── kernel      the shell's output, in pieces; then {"id":8,"answer":null}
//!           <── {"event":"ost",...} ───────────             after `events on`
//! ```
//!
//! Each request has a number, and its answer repeats it: answers to an earlier program's requests are skipped. A line
//! that is not valid JSON is skipped too: the kernel broke off that answer, and its error follows.
//!
//! The two halves may be used by different threads; [`Client`] has both and waits for each answer.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use carapace_cli::rpc::STOP;
use serde_json::Value;

/// How long a write may take: the kernel takes bytes between any two steps of a command.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// A line from the kernel.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The answer to the request of that number, or its error.
    Answer(u32, Result<Value, String>),
    /// A piece of the shell's output for the request of that number.
    Text(u32, String),
    /// Something happened.
    Event(Value),
}

impl Message {
    /// Reads a line; `None` if it is nothing known.
    pub fn read(line: &str) -> Option<Message> {
        let mut value: Value = serde_json::from_str(line).ok()?;
        if value.get("event").is_some_and(Value::is_string) {
            return Some(Message::Event(value));
        }
        let id = u32::try_from(value.get("id")?.as_u64()?).ok()?;
        if let Some(error) = value.get("error").and_then(Value::as_str) {
            return Some(Message::Answer(id, Err(error.to_owned())));
        }
        if let Some(text) = value.get("text").and_then(Value::as_str) {
            return Some(Message::Text(id, text.to_owned()));
        }
        let answer = value.get_mut("answer")?.take();
        Some(Message::Answer(id, Ok(answer)))
    }
}

/// Connects to the socket at `path`; a message may take `limit`, if there is one.
///
/// # Errors
/// The socket has no listener.
pub fn connect(path: &Path, limit: Option<Duration>) -> Result<(Requests, Messages)> {
    let stream = UnixStream::connect(path)
        .with_context(|| format!("no listener at {}, the guest's second serial port", path.display()))?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    stream.set_read_timeout(limit)?;
    let lines = BufReader::new(stream.try_clone()?);
    let mut requests = Requests { stream };
    // Ends a line that an earlier client may have left unfinished.
    requests.send(b"\n").context("the guest's second serial port takes nothing")?;
    Ok((requests, Messages { lines }))
}

/// The direction to the kernel.
///
#[derive(Debug)]
pub struct Requests {
    stream: UnixStream,
}

/// The number of the next request. Each process has its own numbers: a program that was killed may have left an answer on
/// the way, and several programs may be connected ([`crate::relay`], whose own requests have those below [`OWN_NUMBERS`]).
static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(std::process::id() << 10));

/// The numbers below this one are no process's.
pub const OWN_NUMBERS: u32 = 1 << 10;

impl Requests {
    /// Sends a command; the number of its answer.
    ///
    /// # Errors
    /// The connection is closed, or the guest takes nothing.
    pub fn ask(&mut self, command: &str) -> io::Result<u32> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.send(format!("@{number} {command}\n").as_bytes())?;
        Ok(number)
    }

    /// Another handle, to stop a command with.
    ///
    /// # Errors
    /// The process has too many files open.
    pub fn try_clone(&self) -> io::Result<Requests> {
        Ok(Requests { stream: self.stream.try_clone()? })
    }

    /// Stops the running command, if there is one.
    ///
    /// # Errors
    /// As for [`Requests::ask`].
    pub fn stop(&mut self) -> io::Result<()> {
        self.send(&[STOP])
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// As for [`Requests::ask`].
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }
}

/// The direction from the kernel.
#[derive(Debug)]
pub struct Messages {
    lines: BufReader<UnixStream>,
}

impl Messages {
    /// The next line as it is; `None` if the guest has ended.
    ///
    /// # Errors
    /// None comes in time.
    pub fn line(&mut self) -> Result<Option<String>> {
        let mut line = Vec::new();
        match self.lines.read_until(b'\n', &mut line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(String::from_utf8_lossy(&line).into_owned())),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("the kernel does not answer on its second serial line")
            }
            Err(error) => Err(error).context("the guest's second serial line"),
        }
    }

    /// The next message; `None` if the guest has ended.
    ///
    /// # Errors
    /// None comes in time.
    pub fn next_message(&mut self) -> Result<Option<Message>> {
        while let Some(line) = self.line()? {
            if let Some(message) = Message::read(&line) {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }
}

/// Both directions, for a program that waits for each answer. Events that arrive meanwhile are kept.
#[derive(Debug)]
pub struct Client {
    requests: Requests,
    messages: Messages,
    events: VecDeque<Value>,
}

impl Client {
    /// Connects to the socket at `path`; a message may take `limit`, if there is one.
    ///
    /// # Errors
    /// The socket has no listener.
    pub fn connect(path: &Path, limit: Option<Duration>) -> Result<Client> {
        let (requests, messages) = connect(path, limit)?;
        Ok(Client { requests, messages, events: VecDeque::new() })
    }

    /// The direction to the kernel, for requests whose answers are waited for later.
    pub fn requests(&mut self) -> &mut Requests {
        &mut self.requests
    }

    /// The direction from the kernel.
    pub fn messages(&mut self) -> &mut Messages {
        &mut self.messages
    }

    /// Asks for `command`; its answer, or the error by which the kernel refuses it.
    ///
    /// # Errors
    /// No answer comes.
    pub fn ask(&mut self, command: &str) -> Result<Result<Value, String>> {
        let id = self.requests.ask(command)?;
        self.answer(id)
    }

    /// Waits for the answer of that number.
    ///
    /// # Errors
    /// None comes.
    pub fn answer(&mut self, id: u32) -> Result<Result<Value, String>> {
        loop {
            match self.messages.next_message()?.context("the guest has ended")? {
                Message::Answer(other, answer) if other == id => return Ok(answer),
                Message::Answer(..) | Message::Text(..) => {}
                Message::Event(event) => self.events.push_back(event),
            }
        }
    }

    /// Waits for the next event of that kind; others before it are dropped.
    ///
    /// # Errors
    /// None comes.
    pub fn event(&mut self, kind: &str) -> Result<Value> {
        loop {
            while let Some(event) = self.events.pop_front() {
                if event["event"] == kind {
                    return Ok(event);
                }
            }
            if let Message::Event(event) = self.messages.next_message()?.context("the guest has ended")? {
                self.events.push_back(event);
            }
        }
    }

    /// The events that came with the answers so far.
    pub fn events(&mut self) -> Vec<Value> {
        self.events.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that answers and events are distinguished, errors keep their number, and broken-off lines are skipped.
    #[test]
    fn lines() {
        let answer = Message::read(r#"{"id":7,"answer":{"policy":"online"}}"#);
        assert!(matches!(answer, Some(Message::Answer(7, Ok(value))) if value["policy"] == "online"));
        let error = Message::read(r#"{"id":8,"error":"there is no allocation 9"}"#);
        assert_eq!(error, Some(Message::Answer(8, Err("there is no allocation 9".into()))));
        let text = Message::read(r#"{"id":9,"text":"two\nlines"}"#);
        assert_eq!(text, Some(Message::Text(9, "two\nlines".into())));
        let event = Message::read(r#"{"event":"ost","uptime_us":5,"status":0}"#);
        assert!(matches!(event, Some(Message::Event(value)) if value["status"] == 0));
        for line in ["", "{\"id\":3,\"answer\":[{\"id\":", "[]", "{\"answer\":1}", r#"{"event":1}"#] {
            assert_eq!(Message::read(line), None, "{line}");
        }
    }
}
