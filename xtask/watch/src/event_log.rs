//! The guest's events and log lines in words, in the order of its clock.

use std::collections::VecDeque;

use carapace_cli::format_size::ShortSize;
use guest::dimm::words;

use crate::model::{Event, short};

/// Entries that are kept.
const KEPT: usize = 1000;

/// How something is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// It went well.
    Good,
    /// It did not.
    Bad,
    /// It matters less.
    Quiet,
}

/// An entry of the list of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Microseconds since the guest's start.
    pub at: u64,
    /// What happened.
    pub text: String,
    /// How it is shown.
    pub tone: Tone,
    /// Whether it is a line that only the full log shows.
    pub chatter: bool,
}

/// The list, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    list: VecDeque<Entry>,
}

impl Entries {
    /// The entries, the newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Entry> {
        self.list.iter().rev()
    }

    /// Enters an event, or a line of the log.
    pub fn take(&mut self, event: Event) {
        let last = self.last();
        let (at, tone, text) = match event {
            Event::Notify { uptime_us, device, value } => {
                let word = match value {
                    0 => "bus check",
                    1 => "device check",
                    3 => "eject request",
                    _ => "unknown",
                };
                (uptime_us, Tone::Plain, format!("{}: Notify {value}, {word}", short(&device)))
            }
            Event::Ost { uptime_us, device, source, status } => {
                let told = words(i64::try_from(source).unwrap_or(-1), i64::try_from(status).unwrap_or(-1));
                let tone = match status {
                    0 => Tone::Good,
                    0x84 => Tone::Plain,
                    _ => Tone::Bad,
                };
                (uptime_us, tone, format!("{}: _OST {source},{status:#x} {told}", short(&device)))
            }
            Event::Added { uptime_us, device, resource, base, size, node } => (
                uptime_us,
                Tone::Good,
                format!(
                    "{}: +{} node {node} at {base:#x}, resource {resource}",
                    short(&device),
                    ShortSize(size)
                ),
            ),
            Event::Removed { uptime_us, device, size } => {
                (uptime_us, Tone::Good, format!("{}: -{} given up", short(&device), ShortSize(size)))
            }
            Event::Plugged { uptime_us, device, resource, base, size, node } => (
                uptime_us,
                Tone::Good,
                format!(
                    "{device}: plugged {} node {node} at {base:#x}, resource {resource}",
                    ShortSize(size)
                ),
            ),
            Event::Unplugged { uptime_us, device, base, size } => {
                (uptime_us, Tone::Good, format!("{device}: unplugged {} at {base:#x}", ShortSize(size)))
            }
            Event::Reported { uptime_us, device, size } => {
                (uptime_us, Tone::Good, format!("{device}: {} reported as free", ShortSize(size)))
            }
            Event::Held { uptime_us, device, reason } => {
                (uptime_us, Tone::Bad, format!("{device}: held up: {reason}"))
            }
            Event::Lost { pieces } => (last, Tone::Bad, format!("{pieces} or more events missing")),
            // The host's own: they do not reach this program.
            Event::Plug { .. } | Event::Unplug { .. } | Event::Dimms { .. } => return,
            Event::Log { line } => return self.log(&line),
        };
        self.enter(Entry { at, text, tone, chatter: false });
    }

    /// A line of the log: `[    0.141466] WARN  text`.
    fn log(&mut self, line: &str) {
        let parts = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
        let (time, text) = parts.unwrap_or(("0", line));
        let micros = |time: &str| {
            let (seconds, micros) = time.trim().split_once('.')?;
            Some(seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?)
        };
        let at = micros(time).unwrap_or_else(|| self.last());
        let (level, text) = text.split_once(' ').unwrap_or(("", text));
        let (tone, chatter) = match level {
            "ERROR" | "WARN" => (Tone::Bad, false),
            _ => (Tone::Quiet, true),
        };
        let text = if chatter { text.trim().to_owned() } else { format!("{level} {}", text.trim()) };
        self.enter(Entry { at, text, tone, chatter });
    }

    /// When the last one happened.
    fn last(&self) -> u64 {
        self.list.back().map_or(0, |entry| entry.at)
    }

    /// Puts an entry where its time says: the log and the events come by different ways.
    fn enter(&mut self, entry: Entry) {
        // The clock of a restarted guest starts from zero again: sort entries of close times only.
        let near = |other: &&Entry| other.at > entry.at && other.at - entry.at < 1_000_000;
        let later = self.list.iter().rev().take_while(near).count();
        self.list.insert(self.list.len() - later, entry);
        if self.list.len() > KEPT {
            self.list.pop_front();
        }
    }
}
