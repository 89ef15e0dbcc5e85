//! The user's terminal: its settings, its size, whether it has colours.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::thread;

use guest::qemu::Colours;
use rustix::process::{Pid, Signal};
use rustix::termios::{self, OptionalActions, Termios};
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::iterator::Signals;

/// Puts the terminal's settings back when dropped: a QEMU that is killed leaves them raw.
#[derive(Debug)]
pub struct TerminalSettings(Option<Termios>);

impl TerminalSettings {
    /// Remembers them, if standard input is a terminal.
    pub fn remember() -> Self {
        Self(termios::tcgetattr(io::stdin()).ok())
    }

    /// The same, and each key arrives as it is, Ctrl-C too. A signal that ends this program puts the settings back first.
    pub fn raw() -> Self {
        let before = Self::remember();
        if let Some(settings) = &before.0 {
            let mut raw = settings.clone();
            raw.make_raw();
            // Lines that programs print here still end as usual.
            raw.output_modes = settings.output_modes;
            before.set(&raw);
            let on_signal = Self(Some(settings.clone()));
            if let Ok(mut signals) = Signals::new([SIGTERM, SIGHUP]) {
                thread::spawn(move || {
                    for signal in signals.forever() {
                        on_signal.put_back();
                        let _ = signal_hook::low_level::emulate_default_handler(signal);
                    }
                });
            }
        }
        before
    }

    fn set(&self, settings: &Termios) {
        // Nothing can be done about a failure here, and nothing depends on it.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Drain, settings);
    }

    fn put_back(&self) {
        if let Some(settings) = &self.0 {
            self.set(settings);
        }
    }
}

impl Drop for TerminalSettings {
    fn drop(&mut self) {
        self.put_back();
    }
}

/// Ends a process of ours at once.
pub fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It has ended already.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

/// Whether standard output shows colours, and the environment does not refuse them by `NO_COLOR`
/// (<https://no-color.org>) or `TERM`.
pub fn colours() -> Colours {
    let value = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    colours_of(io::stdout().is_terminal(), value("NO_COLOR").is_some(), value("TERM").as_deref())
}

fn colours_of(terminal: bool, refused: bool, term: Option<&OsStr>) -> Colours {
    if terminal && !refused && term.is_some_and(|term| term != "dumb") {
        Colours::Welcome
    } else {
        Colours::Unwelcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal with colours gets colours, unless the environment switches them off.
    #[test]
    fn colours() {
        for (terminal, refused, term, wanted) in [
            (true, false, Some("xterm"), Colours::Welcome),
            (false, false, Some("xterm"), Colours::Unwelcome),
            (true, true, Some("xterm"), Colours::Unwelcome),
            (true, false, Some("dumb"), Colours::Unwelcome),
            (true, false, None, Colours::Unwelcome),
        ] {
            assert_eq!(colours_of(terminal, refused, term.map(OsStr::new)), wanted, "{term:?}");
        }
    }
}
