//! The user's terminal: its settings, its size, whether it has colours.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};

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

/// Whether colours are welcome on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// They are.
    Welcome,
    /// Nobody would see them, or somebody does not want them.
    Unwelcome,
}

impl Colours {
    /// By standard output and the environment: `NO_COLOR` (<https://no-color.org>) and `TERM`.
    pub fn wanted() -> Colours {
        let value = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self::of(io::stdout().is_terminal(), value("NO_COLOR").is_some(), value("TERM").as_deref())
    }

    fn of(terminal: bool, refused: bool, term: Option<&OsStr>) -> Colours {
        if terminal && !refused && term.is_some_and(|term| term != "dumb") {
            Colours::Welcome
        } else {
            Colours::Unwelcome
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Colours go to a terminal that has them, unless somebody has said that there are to be none.
    #[test]
    fn colours() {
        for (terminal, refused, term, wanted) in [
            (true, false, Some("xterm"), Colours::Welcome),
            (false, false, Some("xterm"), Colours::Unwelcome),
            (true, true, Some("xterm"), Colours::Unwelcome),
            (true, false, Some("dumb"), Colours::Unwelcome),
            (true, false, None, Colours::Unwelcome),
        ] {
            assert_eq!(Colours::of(terminal, refused, term.map(OsStr::new)), wanted, "{term:?}");
        }
    }
}
