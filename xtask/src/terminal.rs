//! The user's terminal: its settings, its size, whether it has colours.

use std::io::{self, IsTerminal};
use std::thread;

use guest::qemu::{Depth, Host, Output};
use guest::size::ByteSize;
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

/// The colours that standard output shows, and the user wants.
pub fn colours() -> Depth {
    let value = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    if !io::stdout().is_terminal() {
        return Depth::None;
    }
    let refused = value("NO_COLOR").is_some();
    Depth::of_environment(refused, value("TERM").as_deref(), value("COLORTERM").as_deref())
}

/// This computer and the reader of the serial port, as the kernel learns them.
pub fn host(output: Output) -> Option<Host> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    Some(Host { free: available(&text)?, output })
}

/// The memory that Linux can give to programs, swap included, from the text of `/proc/meminfo`.
fn available(text: &str) -> Option<ByteSize> {
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let kib = kib("MemAvailable:")?.saturating_add(kib("SwapFree:").unwrap_or(0));
    Some(ByteSize::new(kib.saturating_mul(1024)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that memory and swap that are available count, and nothing else. Fails when all memory is taken for free.
    #[test]
    fn memory_of_the_host() {
        let text = "MemTotal: 9 kB\nMemAvailable:   3 kB\nSwapTotal: 7 kB\nSwapFree:  2 kB\n";
        assert_eq!(available(text), Some(ByteSize::new(5 * 1024)));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
    }
}
