//! The guest's second serial line for several programs at once: QEMU's socket takes one client, which is this relay.
//!
//! ```text
//!  sh, watch, dimm ... ──lines──> PID.remote ─┐ Clients                      ┌─> PID.line (QEMU) ──> kernel
//!                      <──────── its answers ─┤ answers by number, events to │
//!                                <── events ──┘ all, requests to the desk  <─┘
//! ```
//!
//! Only whole lines pass, so those of two programs do not mix. An answer goes to the program that asked by that number
//! (`rpc` gives each process numbers of its own), an event to all. A Ctrl-C passes only from a program that waits for an
//! answer. While the desk is at work, lines of programs wait: a command that is queued in the kernel behind `plug` would keep
//! it from reading the host's answer. A program that does not read loses its connection, never the others theirs.
//!
//! Neighbours: `discovery` has the sockets' places, `desk` carries out what the guest asks for.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use carapace_cli::rpc::STOP;
use serde_json::Value;

use crate::desk::Desk;
use crate::discovery::Listening;
use crate::rpc::OWN_NUMBERS;

/// How long QEMU may take to listen.
const START: Duration = Duration::from_secs(60);
/// How long the kernel may take to read: it takes bytes between any two steps of a command.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Lines that wait for a slow program.
const WAITING_MAX: usize = 65536;

/// Listens for programs, and begins to pass lines on as soon as QEMU listens. It ends with this process.
///
/// # Errors
/// The socket cannot be made.
pub fn start(listening: &Listening) -> Result<()> {
    let remote = listening.remote();
    let listener =
        UnixListener::bind(&remote).with_context(|| format!("cannot listen at {}", remote.display()))?;
    let (line, desk) = (listening.line(), Desk::new(listening.desk(), remote));
    thread::spawn(move || {
        let deadline = Instant::now() + START;
        let kernel = loop {
            match UnixStream::connect(&line) {
                Ok(stream) => break stream,
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
                Err(_) => return,
            }
        };
        // A line that cannot be passed on has lost the guest, which the programs notice themselves.
        let _ = serve(kernel, listener, &desk);
    });
    Ok(())
}

/// Passes lines between the kernel and programs until the kernel's end closes.
fn serve(kernel: UnixStream, listener: UnixListener, desk: &Desk) -> Result<()> {
    kernel.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let lines = BufReader::new(kernel.try_clone()?);
    let (kernel, clients) = (Mutex::new(kernel), Mutex::default());
    let relay = Arc::new(Relay { kernel, clients, own: AtomicU32::new(0), desk: desk.clone() });
    let accepting = Arc::clone(&relay);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A program that went away already.
            let _ = accepting.accept(stream);
        }
    });
    for line in lines.split(b'\n') {
        relay.pass_to_clients(&line?, desk);
    }
    relay.clients().all.clear();
    Ok(())
}

struct Relay {
    kernel: Mutex<UnixStream>,
    clients: Mutex<Clients>,
    /// Counts the relay's own requests.
    own: AtomicU32,
    desk: Desk,
}

#[derive(Default)]
struct Clients {
    newest: u64,
    all: HashMap<u64, SyncSender<Vec<u8>>>,
    /// The program that waits for the answer of a number.
    waiting: HashMap<u32, u64>,
}

impl Clients {
    fn send(&mut self, client: u64, line: &[u8]) {
        let line = [line, b"\n"].concat();
        if self.all.get(&client).is_some_and(|sender| sender.try_send(line).is_err()) {
            self.remove(client);
        }
    }

    fn broadcast(&mut self, line: &[u8]) {
        for client in self.all.keys().copied().collect::<Vec<_>>() {
            self.send(client, line);
        }
    }

    fn remove(&mut self, client: u64) {
        self.all.remove(&client);
        self.waiting.retain(|_, owner| *owner != client);
    }
}

/// The number in front of a request: that of `@7 uptime`.
fn number(line: &[u8]) -> Option<u32> {
    let rest = str::from_utf8(line).ok()?.trim_start().strip_prefix('@')?;
    rest.split_whitespace().next()?.parse().ok()
}

impl Relay {
    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, bytes: &[u8]) {
        // Without a kernel that reads there is no answer either.
        let _ = self.kernel.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes);
    }

    fn accept(self: &Arc<Self>, stream: UnixStream) -> Result<()> {
        let (sender, lines) = mpsc::sync_channel::<Vec<u8>>(WAITING_MAX);
        let client = {
            let mut clients = self.clients();
            clients.newest += 1;
            let client = clients.newest;
            clients.all.insert(client, sender);
            client
        };
        let mut output = stream.try_clone()?;
        thread::spawn(move || {
            while let Ok(line) = lines.recv() {
                if output.write_all(&line).is_err() {
                    break;
                }
            }
            // The program sees that the guest has ended, or that it was too slow.
            let _ = output.shutdown(Shutdown::Both);
        });
        let relay = Arc::clone(self);
        thread::spawn(move || {
            relay.pass_to_kernel(client, BufReader::new(stream));
            relay.clients().remove(client);
        });
        Ok(())
    }

    fn pass_to_kernel(&self, client: u64, input: BufReader<UnixStream>) {
        let mut line = Vec::new();
        for byte in input.bytes().map_while(Result::ok) {
            match byte {
                b'\r' | b'\n' => {
                    if let Some(number) = number(&line) {
                        self.clients().waiting.insert(number, client);
                    }
                    line.push(b'\n');
                    if line.len() > 1 {
                        self.wait_for_desk(&line);
                        self.send(&line);
                    }
                    line.clear();
                }
                STOP => {
                    line.clear();
                    if self.clients().waiting.values().any(|owner| *owner == client) {
                        self.send(&[STOP]);
                    }
                }
                byte => line.push(byte),
            }
        }
    }

    /// Waits while the desk is at work. Not for what the desk itself asks: its numbers are this process's.
    fn wait_for_desk(&self, line: &[u8]) {
        let is_own = number(line).is_some_and(|number| number >> 10 == std::process::id() & (u32::MAX >> 10));
        while !is_own && self.desk.is_answering() {
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn pass_to_clients(self: &Arc<Self>, line: &[u8], desk: &Desk) {
        // A line that is no JSON is an answer that the kernel broke off; its error follows.
        let Ok(value) = serde_json::from_slice::<Value>(line) else { return };
        if value.get("event").is_some() {
            let relay = Arc::clone(self);
            if !desk.take(&value, move |answer| relay.answer(answer)) {
                self.clients().broadcast(line);
            }
            return;
        }
        let Some(id) = value.get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok()) else {
            return self.clients().broadcast(line);
        };
        if id < OWN_NUMBERS {
            return;
        }
        let mut clients = self.clients();
        let Some(&owner) = clients.waiting.get(&id) else { return };
        if value.get("text").is_none() {
            clients.waiting.remove(&id);
        }
        clients.send(owner, line);
    }

    /// Answers a request of the kernel's.
    fn answer(&self, line: &str) {
        let number = self.own.fetch_add(1, Ordering::Relaxed) % OWN_NUMBERS;
        self.send(format!("@{number} {line}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc;
    use std::path::PathBuf;

    /// Proves that two programs get their own answers and both get events, that half a line of one does not mix with the
    /// other's, that a Ctrl-C passes only from a program that waits, and that a request of the kernel's is taken and
    /// reaches no program. Fails when an answer goes to the wrong program.
    #[test]
    fn two_programs() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("remote");
        let listener = UnixListener::bind(&path).expect("a socket");
        let (mut kernel, ours) = UnixStream::pair().expect("a pair");
        let desk = Desk::new(PathBuf::from("/nowhere"), path.clone());
        thread::spawn(move || serve(ours, listener, &desk));
        let limit = Some(Duration::from_secs(10));
        kernel.set_read_timeout(limit).expect("a limit");
        let mut asked = BufReader::new(kernel.try_clone().expect("a handle"));
        let mut next = move || {
            let mut line = String::new();
            asked.read_line(&mut line).expect("a line");
            line
        };

        let mut a = rpc::Client::connect(&path, limit).expect("a listener");
        let mut b = rpc::Client::connect(&path, limit).expect("a listener");
        b.requests().send(b"half a ").expect("it takes bytes");
        b.requests().stop().expect("it takes bytes");
        let first = a.requests().ask("one").expect("it takes lines");
        assert_eq!(next(), format!("@{first} one\n"));
        let second = b.requests().ask("two").expect("it takes lines");
        assert_eq!(next(), format!("@{second} two\n"));
        let answer = format!(
            "{{\"id\":{second},\"answer\":2}}\n{{\"id\":{first},\"ans\n{{\"event\":\"lost\",\"pieces\":1}}\n\
             {{\"id\":{first},\"answer\":1}}\n"
        );
        kernel.write_all(answer.as_bytes()).expect("it is read");
        assert_eq!(a.answer(first).expect("an answer"), Ok(1.into()));
        assert_eq!(b.answer(second).expect("an answer"), Ok(2.into()));
        assert_eq!(a.events().len(), 1);
        assert_eq!(b.event("lost").expect("an event")["pieces"], 1);

        kernel.write_all(b"{\"event\":\"dimms\",\"request\":7}\n").expect("it is read");
        assert!(next().ends_with(" host 7 taken\n"));
        assert!(next().contains(" host 7 refused no listener at /nowhere"));
        let third = a.requests().ask("three").expect("it takes lines");
        a.requests().stop().expect("it takes bytes");
        assert_eq!(next(), format!("@{third} three\n"));
        a.requests().ask("four").expect("it takes lines");
        assert!(next().starts_with("\u{3}@"), "Ctrl-C");
    }
}
