//! A program on a terminal: an emulator's screen gives the text that a person sees.

use crate::guest::LIMIT;
use guest::task;
use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// Rows and columns at the beginning.
const SIZE: (u16, u16) = (24, 80);

/// The terminal. Dropping it ends the program.
pub struct Terminal {
    child: Child,
    pty: Arc<Pty>,
    shown: Arc<Shown>,
    /// Brings what the program writes to the screen; ends with the last program on the terminal.
    reader: JoinHandle<()>,
}

struct Shown {
    parser: Mutex<vt100::Parser>,
    more: Condvar,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").field("child", &self.child).finish_non_exhaustive()
    }
}

fn size(cells: u16) -> NonZeroU16 {
    NonZeroU16::new(cells).expect("a terminal has cells")
}

impl Terminal {
    /// `cargo xtask` with these words on a terminal of 80 by 24, in a UTF-8 locale with colours unless `environment`
    /// says otherwise.
    #[track_caller]
    pub fn start(words: &[&str], environment: &[(&str, &str)]) -> Terminal {
        let (pty, other_end) = open().expect("a pseudo-terminal");
        pty.resize(Size::new(SIZE.0, SIZE.1)).expect("it has a size");
        let command = Command::new("cargo").arg("xtask").args(words).current_dir(task::root());
        let command = command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR");
        let child = command.envs(environment.iter().copied()).spawn(other_end).expect("cargo can be started");
        let parser = Mutex::new(vt100::Parser::new(size(SIZE.0), size(SIZE.1), 0));
        let (pty, shown) = (Arc::new(pty), Arc::new(Shown { parser, more: Condvar::new() }));
        let reader = thread::spawn({
            let (pty, shown) = (Arc::clone(&pty), Arc::clone(&shown));
            move || {
                let mut bytes = [0; 4096];
                // The terminal is closed by an error when the last program on it has ended.
                while let Ok(count @ 1..) = (&*pty).read(&mut bytes) {
                    shown.parser.lock().unwrap_or_else(PoisonError::into_inner).process(&bytes[..count]);
                    shown.more.notify_all();
                }
            }
        });
        Terminal { child, pty, shown, reader }
    }

    /// Presses keys, as the bytes that a terminal sends for them.
    #[track_caller]
    pub fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Gives the terminal another size, as dragging a window's corner does.
    #[track_caller]
    pub fn resize(&self, rows: u16, columns: u16) {
        let mut parser = self.shown.parser.lock().unwrap_or_else(PoisonError::into_inner);
        parser.set_size(size(rows), size(columns));
        drop(parser);
        self.pty.resize(Size::new(rows, columns)).expect("it has a size");
    }

    /// The rows as they are shown.
    pub fn rows(&self) -> Vec<String> {
        let parser = self.shown.parser.lock().unwrap_or_else(PoisonError::into_inner);
        rows(parser.screen())
    }

    /// What `look` makes of the terminal.
    pub fn look<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        look(self.shown.parser.lock().unwrap_or_else(PoisonError::into_inner).screen())
    }

    /// Waits until `is` accepts the screen; returns its rows.
    #[track_caller]
    pub fn wait(&self, what: &str, is: impl Fn(&[String]) -> bool) -> Vec<String> {
        let end = Instant::now() + LIMIT;
        let mut parser = self.shown.parser.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let rows = rows(parser.screen());
            if is(&rows) {
                return rows;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the screen never shows {what}:\n{}", rows.join("\n"));
            let waited = self.shown.more.wait_timeout(parser, left);
            parser = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until some row has `text` in it; that row.
    #[track_caller]
    pub fn wait_text(&self, text: &str) -> String {
        let rows = self.wait(text, |rows| rows.iter().any(|row| row.contains(text)));
        rows.into_iter().find(|row| row.contains(text)).unwrap_or_default()
    }

    /// Waits until the program has ended and the screen shows all that it wrote; its exit status.
    #[track_caller]
    pub fn wait_exit(&mut self) -> Option<i32> {
        let end = Instant::now() + LIMIT;
        loop {
            let status = self.child.try_wait().expect("it can be waited for");
            if let Some(status) = status.filter(|_| self.reader.is_finished()) {
                return status.code();
            }
            assert!(
                Instant::now() < end,
                "the program or its terminal does not end:\n{}",
                self.rows().join("\n")
            );
            thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

fn rows(screen: &vt100::Screen) -> Vec<String> {
    screen.rows(0, screen.size().1.get()).map(|row| row.trim_end().to_owned()).collect()
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only where it has ended already. The view ends with its terminal.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
