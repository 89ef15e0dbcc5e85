//! `cargo xtask sh`: commands for the shell of a running guest, over its second serial line.
//!
//! A command's output goes to standard output, its error to standard error; the exit status is the command's:
//!
//! ```text
//!  0  done        1  the kernel refused or stopped it        2  no guest, or no answer
//! ```
//!
//! So pipes, filters and loops are those of the user's own shell. Ctrl-C stops the command in the kernel; so does a
//! closed output (`| head`).

use std::io::{self, BufRead, ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use guest::discovery;
use guest::rpc::{self, Message, Requests};
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

use crate::cli::ShArgs;

/// How long the kernel may take to say that it is there.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// A machine that has not refused a restart in this time restarts.
const RESTART: Duration = Duration::from_secs(3);
/// Exit statuses, beside 0.
const REFUSED: u8 = 1;
const NOT_ASKED: u8 = 2;
/// A shell's status for a program that wrote to a closed pipe: 128 and the signal's number.
const SIGPIPE_STATUS: u8 = 128 + 13;

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Done,
    Refused(String),
    /// Standard output is closed.
    Unread,
}

/// Runs the command, or the lines of standard input; the exit status.
pub fn sh(args: &ShArgs) -> u8 {
    let status = connect(args.qmp.as_deref()).and_then(|mut shell| {
        if args.command.is_empty() {
            shell.lines(io::stdin().lock())
        } else {
            shell.one(&args.command.join(" "))
        }
    });
    status.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        NOT_ASKED
    })
}

/// On a terminal, how long a command without output has run.
struct Waiting<'a> {
    command: &'a str,
    since: Instant,
    is_shown: bool,
    is_wanted: bool,
}

impl Waiting<'_> {
    fn new(command: &str) -> Waiting<'_> {
        let is_wanted = io::stderr().is_terminal();
        Waiting { command, since: Instant::now(), is_shown: false, is_wanted }
    }

    /// The next message; `None` if there will be none.
    fn next(&mut self, messages: &Receiver<Message>) -> Option<Message> {
        loop {
            let message = messages.recv_timeout(Duration::from_secs(1));
            if self.is_shown {
                eprint!("\r\x1b[K");
                self.is_shown = false;
            }
            match message {
                Ok(message) => {
                    // Behind output the line would be in the middle of it.
                    self.is_wanted &= !matches!(message, Message::Text(..));
                    return Some(message);
                }
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if self.is_wanted => {
                    eprint!("{}: {} s; Ctrl-C stops it", self.command, self.since.elapsed().as_secs());
                    self.is_shown = true;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

struct Shell {
    requests: Requests,
    /// Read by a thread as they arrive: the kernel does not wait for who reads our output, a person with a pager say.
    messages: Receiver<Message>,
    interrupted: Arc<AtomicBool>,
}

fn connect(qmp: Option<&Path>) -> Result<Shell> {
    let Some(socket) = discovery::second_port(&discovery::find(qmp)?)? else {
        bail!("this guest has no second serial port; `cargo xtask run` gives one to those that it starts");
    };
    let (requests, mut incoming) = rpc::connect(&socket, None)?;
    let (sender, messages) = mpsc::channel();
    // Ends with the connection, or with the program. Then the channel is closed.
    thread::spawn(move || {
        while let Ok(Some(message)) = incoming.next_message() {
            if sender.send(message).is_err() {
                return;
            }
        }
    });
    let interrupted = Arc::new(AtomicBool::new(false));
    let mut shell = Shell { requests, messages, interrupted };
    shell.greet()?;
    shell.hand_on_interrupts()?;
    Ok(shell)
}

impl Shell {
    /// Finds out that the kernel answers. QEMU accepts one client at a time; another one waits without a word.
    fn greet(&mut self) -> Result<()> {
        let id = self.requests.ask("uptime")?;
        let deadline = Instant::now() + FIRST_ANSWER;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(left) {
                Ok(Message::Answer(of, _)) if of == id => return Ok(()),
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("the guest has ended"),
                Err(RecvTimeoutError::Timeout) => bail!(
                    "the kernel does not answer on its second serial line; is another program connected to it, \
                     `cargo xtask watch` for instance?"
                ),
            }
        }
    }

    /// From now on Ctrl-C stops the command in the kernel. The second one ends this program, whatever the kernel does.
    fn hand_on_interrupts(&self) -> Result<()> {
        let (mut requests, interrupted) = (self.requests.try_clone()?, Arc::clone(&self.interrupted));
        let mut signals = Signals::new([SIGINT])?;
        thread::spawn(move || {
            for signal in signals.forever() {
                if interrupted.swap(true, Ordering::Relaxed) || requests.stop().is_err() {
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
            }
        });
        Ok(())
    }

    fn one(&mut self, command: &str) -> Result<u8> {
        Ok(match self.run(command)? {
            Ended::Done => 0,
            Ended::Unread => SIGPIPE_STATUS,
            Ended::Refused(why) => {
                eprintln!("error: {why}");
                REFUSED
            }
        })
    }

    /// A line after the other. One that is refused ends a script; on a terminal the next one can be typed.
    fn lines(&mut self, input: impl BufRead) -> Result<u8> {
        let by_hand = io::stdin().is_terminal();
        let mut status = 0;
        for (number, line) in (1..).zip(input.lines()) {
            let line = line.with_context(|| format!("line {number} of standard input"))?;
            let command = line.trim();
            if command.is_empty() || command.starts_with('#') {
                continue;
            }
            match self.run(command).with_context(|| format!("line {number}, `{command}`"))? {
                Ended::Done => {}
                Ended::Unread => return Ok(SIGPIPE_STATUS),
                Ended::Refused(why) => {
                    eprintln!("error: line {number}, `{command}`: {why}");
                    status = REFUSED;
                    if !by_hand {
                        break;
                    }
                }
            }
        }
        Ok(status)
    }

    /// Runs a command, and prints its output.
    fn run(&mut self, command: &str) -> Result<Ended> {
        self.interrupted.store(false, Ordering::Relaxed);
        let word = command.split_whitespace().next().unwrap_or_default();
        let id = self.requests.ask(&format!("sh {command}")).context("the guest's second serial line")?;
        let mut output = io::stdout().lock();
        let mut unread = false;
        let mut waiting = Waiting::new(word);
        loop {
            let message = if word == "reboot" {
                match self.messages.recv_timeout(RESTART) {
                    Err(RecvTimeoutError::Timeout) => return Ok(Ended::Done),
                    message => message.ok(),
                }
            } else {
                waiting.next(&self.messages)
            };
            let Some(message) = message else {
                // A machine that is off has nothing to answer with.
                ensure!(word == "poweroff", "the guest has ended");
                return Ok(Ended::Done);
            };
            match message {
                Message::Text(of, text) if of == id && !unread => {
                    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
                        Ok(()) => {}
                        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                            unread = true;
                            self.requests.stop()?;
                        }
                        Err(error) => return Err(error).context("standard output"),
                    }
                }
                Message::Answer(of, _) if of == id && unread => return Ok(Ended::Unread),
                Message::Answer(of, Ok(_)) if of == id => return Ok(Ended::Done),
                Message::Answer(of, Err(why)) if of == id => return Ok(Ended::Refused(why)),
                _ => {}
            }
        }
    }
}
