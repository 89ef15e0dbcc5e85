//! The user's terminal: its settings, its size, whether it has colours.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};

use guest::qemu::Colours;
use rustix::termios::{self, OptionalActions, Termios};

/// Puts the terminal's settings back when dropped: a QEMU that is killed leaves them raw.
#[derive(Debug)]
pub struct TerminalSettings(Option<Termios>);

impl TerminalSettings {
    /// Remembers them, if standard input is a terminal.
    pub fn remember() -> Self {
        Self(termios::tcgetattr(io::stdin()).ok())
    }
}

impl Drop for TerminalSettings {
    fn drop(&mut self) {
        if let Some(settings) = &self.0 {
            // Nothing can be done about a failure here, and nothing depends on it.
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Drain, settings);
        }
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
