//! The user's terminal, shared by the guest's shell and QEMU's monitor: Ctrl-a c gives the keyboard to the other one.
//!
//! ```text
//!  keys ── Keys ──> the one with the keyboard      shell    QEMU's standard input and output
//!  screen <── Screen ── both                       monitor  a socket
//! ```
//!
//! QEMU can do this itself (`mux=on`), but then both write to one stream: a log line has the kernel's prompt printed again
//! while the monitor has the keyboard, and nothing is printed when the shell has it back. Here the one without the
//! keyboard adds whole lines only, above the line of the other, whose beginning is shown again.
//!
//! Invariant: bytes of the one with the keyboard pass unchanged. Neighbour: `run` starts the guest.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use guest::launch::{Qemu, exit_code};

use crate::terminal::TerminalSettings;

/// The prefix of our own keys, as QEMU has it: Ctrl-a.
const PREFIX: u8 = 0x01;
/// What Ctrl-a h prints.
const KEYS: &[u8] =
    b"\r\nCtrl-a c  shell or QEMU's monitor\r\nCtrl-a x  end QEMU\r\nCtrl-a Ctrl-a  a Ctrl-a\r\n";
/// To the start of the line, which is erased.
const ERASE: &[u8] = b"\r\x1b[K";

/// The two that share the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Shell,
    Monitor,
}

impl Side {
    const fn other(self) -> Side {
        match self {
            Side::Shell => Side::Monitor,
            Side::Monitor => Side::Shell,
        }
    }
}

/// What a key does.
#[derive(Debug, PartialEq, Eq)]
enum Action {
    Type(u8),
    Switch,
    Help,
    End,
}

/// Finds our own keys among those typed.
#[derive(Debug, Default)]
struct Keys {
    after_prefix: bool,
}

impl Keys {
    fn feed(&mut self, byte: u8) -> Option<Action> {
        if !std::mem::take(&mut self.after_prefix) {
            self.after_prefix = byte == PREFIX;
            return (byte != PREFIX).then_some(Action::Type(byte));
        }
        match byte {
            PREFIX => Some(Action::Type(PREFIX)),
            b'c' => Some(Action::Switch),
            b'h' | b'?' => Some(Action::Help),
            b'x' => Some(Action::End),
            _ => None,
        }
    }
}

/// The output of one side.
#[derive(Debug, Default)]
struct Output {
    /// Its unfinished line, so that it can be shown again.
    line: Vec<u8>,
    after_return: bool,
    /// Finished lines that are not shown yet.
    finished: Vec<u8>,
}

impl Output {
    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' => {
                    self.finished.append(&mut self.line);
                    self.finished.extend(b"\r\n");
                }
                b'\r' => {}
                _ => {
                    // A line that is written anew from its start.
                    if after_return {
                        self.line.clear();
                    }
                    self.line.push(byte);
                    if self.line.ends_with(b"\x1b[2J") {
                        self.line.clear();
                        self.finished.clear();
                    }
                }
            }
        }
    }
}

/// What the screen shows.
#[derive(Debug)]
struct Screen {
    focus: Side,
    shell: Output,
    monitor: Output,
}

impl Screen {
    fn new() -> Screen {
        Screen { focus: Side::Shell, shell: Output::default(), monitor: Output::default() }
    }

    fn of(&mut self, side: Side) -> &mut Output {
        match side {
            Side::Shell => &mut self.shell,
            Side::Monitor => &mut self.monitor,
        }
    }

    /// What to print for the output of a side.
    fn output(&mut self, side: Side, bytes: &[u8]) -> Vec<u8> {
        let focus = self.focus;
        let output = self.of(side);
        output.take(bytes);
        if side == focus {
            output.finished.clear();
            return bytes.to_vec();
        }
        // The monitor says nothing by itself but its greeting, which is for later.
        if side == Side::Monitor || output.finished.is_empty() {
            return Vec::new();
        }
        let lines = std::mem::take(&mut output.finished);
        [ERASE, &lines, &self.of(focus).line].concat()
    }

    /// Gives the keyboard to the other side; what to print.
    fn switch(&mut self) -> Vec<u8> {
        self.focus = self.focus.other();
        let output = self.of(self.focus);
        let lines = std::mem::take(&mut output.finished);
        [b"\r\n", lines.as_slice(), &output.line].concat()
    }
}

/// Starts QEMU with its shell on this terminal and its monitor, which listens at `monitor`, behind Ctrl-a c; its exit status.
///
/// # Errors
/// QEMU cannot be started.
pub fn attach(line: &[String], monitor: &Path) -> Result<u8> {
    let mut qemu = Qemu::start(line, Stdio::piped(), Stdio::piped(), Stdio::inherit())?;
    let (shell_input, shell_output) = qemu.pipes().context("QEMU is on pipes")?;
    let settings = TerminalSettings::raw();
    let screen = Arc::new(Mutex::new(Screen::new()));
    show(&screen, Side::Shell, shell_output);
    let to_shell = writer(shell_input);
    let to_monitor = monitor_of(monitor.to_owned(), &screen);
    let ended = Arc::new(AtomicBool::new(false));
    let (end, pid) = (Arc::clone(&ended), qemu.id());
    thread::spawn(move || {
        let mut keys = Keys::default();
        for byte in io::stdin().lock().bytes().map_while(Result::ok) {
            let Some(action) = keys.feed(byte) else { continue };
            let mut screen = screen.lock().unwrap_or_else(PoisonError::into_inner);
            // A side that has ended takes nothing any more.
            match (action, screen.focus) {
                (Action::Type(byte), Side::Shell) => drop(to_shell.send(byte)),
                (Action::Type(byte), Side::Monitor) => drop(to_monitor.send(byte)),
                (Action::Switch, _) => print(&screen.switch()),
                (Action::Help, focus) => print(&[KEYS, &screen.of(focus).line].concat()),
                (Action::End, _) => {
                    end.store(true, Ordering::Relaxed);
                    crate::terminal::kill(pid);
                }
            }
        }
    });
    let status = qemu.wait()?;
    drop(settings);
    Ok(if ended.load(Ordering::Relaxed) {
        println!();
        0
    } else {
        exit_code(status)
    })
}

/// Shows what a side writes, on a thread of its own.
fn show(screen: &Arc<Mutex<Screen>>, side: Side, mut from: impl Read + Send + 'static) {
    let screen = Arc::clone(screen);
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let mut screen = screen.lock().unwrap_or_else(PoisonError::into_inner);
            print(&screen.output(side, &bytes[..count]));
        }
    });
}

/// A place for keys. A side that does not read keeps its keys waiting, not the keyboard.
fn writer(mut to: impl Write + Send + 'static) -> Sender<u8> {
    let (sender, keys) = mpsc::channel();
    thread::spawn(move || {
        while let Ok(key) = keys.recv() {
            if to.write_all(&[key]).and_then(|()| to.flush()).is_err() {
                return;
            }
        }
    });
    sender
}

/// Connects to the monitor as soon as QEMU listens there.
fn monitor_of(path: std::path::PathBuf, screen: &Arc<Mutex<Screen>>) -> Sender<u8> {
    let (sender, keys) = mpsc::channel();
    let screen = Arc::clone(screen);
    thread::spawn(move || {
        let stream = loop {
            match UnixStream::connect(&path) {
                Ok(stream) => break stream,
                // The process ends with QEMU.
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        };
        if let Ok(from) = stream.try_clone() {
            show(&screen, Side::Monitor, from);
        }
        let mut stream = stream;
        while let Ok(key) = keys.recv() {
            if stream.write_all(&[key]).is_err() {
                return;
            }
        }
    });
    sender
}

fn print(bytes: &[u8]) {
    let mut output = io::stdout().lock();
    // Without a terminal the guest still runs to its end.
    let _ = output.write_all(bytes).and_then(|()| output.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// Proves that the keys behind Ctrl-a do what QEMU's do, that Ctrl-a itself can be typed, and that all other keys pass.
    #[test]
    fn keys() {
        let mut keys = Keys::default();
        let mut actions = |bytes: &[u8]| bytes.iter().filter_map(|byte| keys.feed(*byte)).collect::<Vec<_>>();
        assert_eq!(actions(b"a\x03"), [Action::Type(b'a'), Action::Type(3)]);
        assert_eq!(actions(b"\x01cc"), [Action::Switch, Action::Type(b'c')]);
        assert_eq!(actions(b"\x01\x01\x01h\x01q\x01x"), [Action::Type(1), Action::Help, Action::End]);
    }

    /// Proves that a log line appears above the monitor's half-typed line without the kernel's prompt, that the shell's
    /// prompt and typed text come back with the keyboard, and that the monitor's greeting waits for it. Fails when the
    /// screen shows `carapace> device_del`.
    #[test]
    fn a_log_line_while_the_monitor_has_the_keyboard() {
        let mut screen = Screen::new();
        assert_eq!(screen.output(Side::Monitor, b"QEMU monitor\r\n(qemu) "), b"");
        assert_eq!(
            text(&screen.output(Side::Shell, b"[1] log\r\ncarapace> pol")),
            "[1] log\r\ncarapace> pol"
        );
        assert_eq!(text(&screen.switch()), "\r\nQEMU monitor\r\n(qemu) ");
        assert_eq!(text(&screen.output(Side::Monitor, b"device_d")), "device_d");
        let log = screen.output(Side::Shell, b"\r\x1b[K[2] online\r\ncarapace> pol");
        assert_eq!(text(&log), "\r\x1b[K\x1b[K[2] online\r\n(qemu) device_d");
        assert_eq!(text(&screen.output(Side::Monitor, b"el x\r\n(qemu) ")), "el x\r\n(qemu) ");
        assert_eq!(text(&screen.switch()), "\r\ncarapace> pol");
        assert_eq!(text(&screen.switch()), "\r\n(qemu) ");
    }

    /// Proves that half a line of the side without the keyboard waits for its end, and a cleared screen is not cleared
    /// again. Fails when output of both mixes within a line.
    #[test]
    fn half_lines_wait() {
        let mut screen = Screen::new();
        screen.output(Side::Shell, b"\x1b[H\x1b[2Jcarapace> ");
        screen.switch();
        assert_eq!(screen.output(Side::Shell, b"verify\r"), b"");
        assert_eq!(text(&screen.output(Side::Shell, b"\nok: 3 pa")), "\r\x1b[Kcarapace> verify\r\n");
        assert_eq!(text(&screen.switch()), "\r\nok: 3 pa");
    }
}
