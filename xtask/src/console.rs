//! A guest whose serial line is on pipes: what it says comes as events, what it is told is paced by its prompt.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread;

use anyhow::{Context, Result};

use crate::child;
use crate::progress;

/// The shell's prompt.
const SHELL_PROMPT: &[u8] = b"carapace> ";
/// The prompt of QEMU's monitor, which a script reaches by Ctrl-a c as a person does.
const MONITOR_PROMPT: &[u8] = b"(qemu) ";

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// The guest said this.
    Output(Vec<u8>),
    /// The guest's output has ended: QEMU is about to exit.
    Closed,
    /// A line to be sent to the guest, with its end.
    Line(Vec<u8>),
    /// There are no more lines.
    EndOfLines,
}

/// The guest; it is stopped when this is dropped.
#[derive(Debug)]
pub struct Console {
    child: Child,
    input: ChildStdin,
}

impl Console {
    /// Starts QEMU with its standard input and output on pipes; what it says is sent to `events`.
    pub fn start(line: &[String], events: Sender<Event>) -> Result<Self> {
        let mut child = child::command(line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", line[0]))?;
        let input = child.stdin.take().context("standard input is a pipe")?;
        let mut output = child.stdout.take().context("standard output is a pipe")?;
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                if events.send(Event::Output(buffer[..count].to_vec())).is_err() {
                    return;
                }
            }
            // Nobody listening any more is as good as having been told.
            let _ = events.send(Event::Closed);
        });
        Ok(Self { child, input })
    }

    /// Sends bytes to the serial line; waits while the guest takes none.
    ///
    /// A guest that is gone is no error here: its exit status tells.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match self.input.write_all(bytes).and_then(|()| self.input.flush()) {
            Err(why) if why.kind() != io::ErrorKind::BrokenPipe => Err(why).context("cannot write to QEMU"),
            _ => Ok(()),
        }
    }

    /// Waits until QEMU has exited.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().context("cannot wait for QEMU")
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        progress::stop(&mut self.child);
    }
}

/// Watches output for a prompt that waits for input, across any division into pieces.
#[derive(Debug, Default)]
pub struct PromptWatch {
    tail: Vec<u8>,
}

impl PromptWatch {
    /// Takes more output; true if it now ends with a prompt.
    pub fn feed(&mut self, output: &[u8]) -> bool {
        self.tail.extend_from_slice(output);
        let surplus = self.tail.len().saturating_sub(SHELL_PROMPT.len());
        self.tail.drain(..surplus);
        self.tail.ends_with(SHELL_PROMPT) || self.tail.ends_with(MONITOR_PROMPT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A prompt is seen at the end of the output only, and also when it comes byte by byte.
    #[test]
    fn prompt_is_seen_in_pieces() {
        let mut watch = PromptWatch::default();
        assert!(!watch.feed(b"[0.1] up\r\ncarap"));
        assert!(watch.feed(b"ace> "));
        assert!(!watch.feed(b"h"));
        let seen: Vec<bool> = b"\r\ncarapace> ".iter().map(|byte| watch.feed(&[*byte])).collect();
        assert_eq!(seen.iter().filter(|&&seen| seen).count(), 1);
        assert!(seen[seen.len() - 1]);
        assert!(watch.feed(b"(qemu) "));
    }
}
