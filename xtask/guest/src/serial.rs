//! The guest's serial line: all output is kept; lines are read as a terminal shows them.
//!
//! The shell erases its prompt (`\r`, ESC `[K`) to print a log line above it, and prints it again afterwards. Of a line
//! the part after the last erasure counts.
//!
//! A thread reads, so that the guest never waits for us; waits examine the output that the thread has kept.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The shell's prompt; it counts only at the start of a line.
pub const PROMPT: &str = "carapace> ";
/// How the shell takes a line off the screen.
const REMOVED: &str = "\r\x1b[K";

#[derive(Debug, Default)]
struct Heard {
    bytes: Vec<u8>,
    closed: bool,
    reading: Reading,
}

/// Whether the connection is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// As soon as something comes.
    #[default]
    On,
    /// Not at all: the guest's output stays in the socket, which is soon full.
    Off,
}

/// The connection.
pub struct Serial {
    output: Box<dyn Write + Send>,
    heard: Arc<(Mutex<Heard>, Condvar)>,
    /// Where the line starts that holds the prompt which waits for input.
    at: usize,
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serial").field("at", &self.at).finish_non_exhaustive()
    }
}

/// The end of a line.
#[derive(Debug)]
pub struct End(Arc<(Mutex<Heard>, Condvar)>);

impl End {
    /// Waits until QEMU has closed the line.
    pub fn wait(&self) {
        let mut heard = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !heard.closed {
            heard = self.0.1.wait(heard).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A wait that ended without its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The time is over.
    Timeout,
    /// QEMU closed the line.
    Closed,
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Silence::Timeout => "the guest said nothing in time",
            Silence::Closed => "the guest has ended",
        })
    }
}

impl std::error::Error for Silence {}

impl Serial {
    /// Connects to the socket at `path`, on which QEMU will listen soon. The guest starts with that.
    ///
    /// # Errors
    /// QEMU does not listen there within `limit`.
    pub fn connect(path: &Path, limit: Duration) -> io::Result<Serial> {
        let stream = retry(limit, || UnixStream::connect(path))?;
        Ok(Serial::over(stream.try_clone()?, stream, |_| ()))
    }

    /// A serial line with these two directions. `hear` gets the guest's output as it arrives, before any wait sees it.
    pub fn over(
        mut input: impl Read + Send + 'static,
        output: impl Write + Send + 'static,
        mut hear: impl FnMut(&[u8]) + Send + 'static,
    ) -> Serial {
        let heard = Arc::new((Mutex::new(Heard::default()), Condvar::new()));
        let shared = Arc::clone(&heard);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let count = input.read(&mut buffer).unwrap_or(0);
                hear(&buffer[..count]);
                let mut heard = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
                heard.bytes.extend_from_slice(&buffer[..count]);
                heard.closed = count == 0;
                shared.1.notify_all();
                if count == 0 {
                    return;
                }
                while heard.reading == Reading::Off {
                    heard = shared.1.wait(heard).unwrap_or_else(PoisonError::into_inner);
                }
            }
        });
        Serial { output: Box::new(output), heard, at: 0 }
    }

    /// Stops or resumes reading. The output under way at a stop is still read, some kilobytes at most.
    pub fn set_reading(&mut self, reading: Reading) {
        self.heard.0.lock().unwrap_or_else(PoisonError::into_inner).reading = reading;
        self.heard.1.notify_all();
    }

    /// Waits until a guest that ends has closed the line, so that all of it is heard; not at all while reading is off.
    ///
    /// # Errors
    /// [`Silence::Timeout`]: the line is still open.
    pub fn hear_the_rest(&self, limit: Duration) -> Result<(), Silence> {
        let reads = self.heard.0.lock().unwrap_or_else(PoisonError::into_inner).reading == Reading::On;
        // Nothing is looked for: the wait ends with the line.
        match reads.then(|| self.wait(usize::MAX, limit, |_| None::<()>)) {
            Some(Err(Silence::Timeout)) => Err(Silence::Timeout),
            _ => Ok(()),
        }
    }

    /// Everything heard so far.
    pub fn text(&self) -> String {
        let heard = self.heard.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&heard.bytes).into_owned()
    }

    /// Waits until `find` finds something in the output from byte `from` on. (A long session is searched only once.)
    ///
    /// # Errors
    /// It does not come in time, or the guest has ended.
    pub fn wait<T>(
        &self,
        from: usize,
        limit: Duration,
        mut find: impl FnMut(&str) -> Option<T>,
    ) -> Result<T, Silence> {
        let end = Instant::now() + limit;
        let mut heard = self.heard.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = find(&ascii(heard.bytes.get(from..).unwrap_or_default())) {
                return Ok(found);
            }
            if heard.closed {
                return Err(Silence::Closed);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Silence::Timeout);
            }
            heard = self.heard.1.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the first prompt from here on.
    ///
    /// # Errors
    /// It does not come in time, or the guest has ended.
    pub fn wait_prompt(&mut self, limit: Duration) -> Result<(), Silence> {
        let from = self.at;
        self.at = from + self.wait(from, limit, |text| prompt_at(text, 0))?;
        Ok(())
    }

    /// Skips the prompts so far: the next wait for a prompt finds a later one.
    pub fn skip_to_now(&mut self) {
        self.at = self.heard();
    }

    /// Waits until `text` has come for the `n`th time (from 0), and goes on from there.
    ///
    /// # Errors
    /// It does not come in time, or the guest has ended.
    pub fn skip_to(&mut self, text: &str, n: usize, limit: Duration) -> Result<(), Silence> {
        self.at = self.wait(0, limit, |all| all.match_indices(text).nth(n).map(|(at, _)| at))?;
        Ok(())
    }

    /// A handle to wait for the end of the line with, while something else uses the line.
    pub fn end(&self) -> End {
        End(Arc::clone(&self.heard))
    }

    /// How many bytes were heard so far.
    pub fn heard(&self) -> usize {
        self.heard.0.lock().unwrap_or_else(PoisonError::into_inner).bytes.len()
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// QEMU does not take them.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)?;
        self.output.flush()
    }

    /// Types a command at the prompt and waits for its end; the lines between are the answer.
    ///
    /// # Errors
    /// It does not come in time, or the guest has ended.
    pub fn command(&mut self, command: &str, limit: Duration) -> Result<Vec<String>, Silence> {
        self.send(format!("{command}\n").as_bytes()).map_err(|_| Silence::Closed)?;
        self.finish(command, limit)
    }

    /// Waits for the end of a command that was sent; the lines it answers.
    ///
    /// # Errors
    /// It does not come in time, or the guest has ended.
    pub fn finish(&mut self, command: &str, limit: Duration) -> Result<Vec<String>, Silence> {
        let from = self.at;
        let (at, answer) = self.wait(from, limit, |text| answer(text, 0, command))?;
        self.at = from + at;
        Ok(answer)
    }
}

/// Bytes as text of the same length: the shell speaks ASCII, firmware need not.
fn ascii(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| if byte.is_ascii() { char::from(byte) } else { '?' }).collect()
}

/// Calls `attempt` until it succeeds or `limit` is over.
///
/// # Errors
/// That of the last attempt.
pub fn retry<T>(limit: Duration, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let end = Instant::now() + limit;
    loop {
        match attempt() {
            Err(_) if Instant::now() < end => thread::sleep(Duration::from_millis(5)),
            result => return result,
        }
    }
}

/// The lines from byte `from` on, each with where it starts; the last one may be unfinished.
fn lines(text: &str, from: usize) -> impl Iterator<Item = (usize, &str)> {
    let mut at = from.min(text.len());
    text.get(at..).unwrap_or_default().split_inclusive('\n').map(move |line| {
        let start = at;
        at += line.len();
        (start, line)
    })
}

/// What a terminal shows of a line.
fn shown(line: &str) -> &str {
    let line = line.trim_end_matches(['\r', '\n']);
    line.rsplit_once(REMOVED).map_or(line, |(_, rest)| rest)
}

/// Where the first line starts that starts with the prompt.
fn prompt_at(text: &str, from: usize) -> Option<usize> {
    lines(text, from).find(|(_, line)| shown(line).starts_with(PROMPT)).map(|(at, _)| at)
}

/// The lines between the echo of `command` and the next prompt, and where that prompt's line starts.
fn answer(text: &str, from: usize, command: &str) -> Option<(usize, Vec<String>)> {
    let mut rest = lines(text, from);
    rest.find(|(_, line)| line.ends_with('\n') && shown(line).strip_prefix(PROMPT) == Some(command))?;
    let mut answer = Vec::new();
    for (at, line) in rest {
        if shown(line).starts_with(PROMPT) {
            return Some((at, answer));
        }
        answer.push(shown(line).to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that an answer is what stands between the echo and the next prompt, and that nothing
    /// is taken for an answer before that prompt is there.
    #[test]
    fn answers_end_at_the_prompt() {
        let text = "boot\r\ncarapace> check\r\nok\r\nall\r\ncarapace> ";
        let expected = vec!["ok".to_owned(), "all".to_owned()];
        assert_eq!(answer(text, 6, "check"), Some((text.len() - PROMPT.len(), expected)));
        assert_eq!(answer(&text[..text.len() - 1], 6, "check"), None);
        assert_eq!(answer(text, 6, "chec"), None);
    }

    /// Proves that a log line which comes while a command is typed does not hide the command's echo,
    /// nor is its prompt taken for the end of the command.
    #[test]
    fn log_lines_at_the_prompt() {
        let text = "carapace> che\r\x1b[K[1.0] info: x\r\ncarapace> check\r\nok\r\ncarapace> \r\x1b[K[2.0] y\r\ncarapace> ";
        let (at, lines) = answer(text, 0, "check").unwrap();
        assert_eq!(lines, ["ok", "[2.0] y"]);
        assert_eq!(at, text.len() - PROMPT.len());
        // with the second log line not yet there, the prompt that it later removes ends the answer
        let early = &text[..text.find("\r\x1b[K[2.0]").unwrap()];
        assert_eq!(answer(early, 0, "check").unwrap().1, ["ok"]);
    }

    /// Proves that the prompt's bytes count only at the start of a line.
    #[test]
    fn prompts_start_lines() {
        assert_eq!(prompt_at("say carapace> \r\n", 0), None);
        assert_eq!(prompt_at("x\r\ncarapace> ", 0), Some(3));
        assert_eq!(prompt_at("carapace> \r\nx", 4), None);
    }
}
