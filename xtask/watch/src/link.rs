//! The connection to the kernel: the socket that is the guest's second serial port.
//!
//! A thread reads lines and hands them on; requests are written by whoever holds the [`Link`]. Each has a number by
//! which its answer is known: what an earlier program asked for is nobody's.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::model::{self, Line};

/// How long a write may take: the kernel takes bytes between any two steps of what it does.
const PATIENCE: Duration = Duration::from_secs(5);
/// Ctrl-C: stops a command that runs.
const STOP: u8 = 0x03;

/// What has come.
#[derive(Debug)]
pub enum Heard {
    /// A line that is known.
    Line(Line),
    /// QEMU has closed the socket: the guest has ended.
    Ended,
}

/// The connection.
#[derive(Debug)]
pub struct Link {
    stream: UnixStream,
    next: u32,
}

impl Link {
    /// Connects to the socket at `path`; what comes goes to `heard`, made into the caller's own message.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect<M: Send + 'static>(
        path: &Path,
        heard: Sender<M>,
        message: fn(Heard) -> M,
    ) -> Result<Self> {
        let stream = UnixStream::connect(path).with_context(|| {
            format!("nobody listens at {}, the guest's second serial port", path.display())
        })?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let reader = BufReader::new(stream.try_clone()?);
        thread::spawn(move || {
            for line in reader.lines() {
                let Ok(line) = line else { break };
                if let Some(line) = model::read(&line)
                    && heard.send(message(Heard::Line(line))).is_err()
                {
                    return;
                }
            }
            // Nobody is left to be told if this fails.
            let _ = heard.send(message(Heard::Ended));
        });
        let mut link = Self { stream, next: 1 };
        // Ends what somebody before may have left unfinished.
        link.write(b"\n").context("the guest's second serial port takes nothing")?;
        Ok(link)
    }

    /// Sends a command; the number of its answer.
    ///
    /// # Errors
    /// The connection is gone, or takes nothing.
    pub fn ask(&mut self, command: &str) -> io::Result<u32> {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.write(format!("@{id} {command}\n").as_bytes())?;
        Ok(id)
    }

    /// Stops the command that runs, if one does.
    ///
    /// # Errors
    /// As for [`Link::ask`].
    pub fn stop(&mut self) -> io::Result<()> {
        self.write(&[STOP])
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }
}
