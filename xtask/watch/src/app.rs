//! The view's state: the model of the guest and the selection, and how keys and answers change them.
//!
//! ```text
//!  keys, answers, events --> App --> Action (ask the kernel, plug, unplug, leave)
//!                             |
//!                             '----> draw
//! ```
//!
//! Pure: nothing here waits, reads or writes; `main` carries out each [`Action`]. Neighbour: `keys` has what keys do.

mod keys;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use carapace_cli::format_size::{Matching, Size};
use guest::dimm::Dimm;
use guest::schema::{Alloc, Buddyinfo, Extent, Free, PAGE, Resource, Verify};
use guest::size::ByteSize;
use serde_json::Value;

use crate::event_log::{Entries, Tone};
use crate::model::{Event, Line};
use crate::theme::Theme;

/// The interval of polls; an event from the guest causes a poll at once.
const POLL: Duration = Duration::from_secs(1);
/// A kernel that does not answer for so long is asked again: it may have been started anew.
const SILENCE: Duration = Duration::from_secs(6);

/// Work for the main program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a command; the answer is for this.
    Ask(What, String),
    /// Stop the command that runs.
    Stop,
    /// Plug a DIMM.
    Plug {
        /// Its size.
        size: ByteSize,
        /// Its node.
        node: u64,
    },
    /// Unplug the DIMM of that name.
    Unplug(String),
    /// Ask QEMU which DIMMs there are.
    ListDimms,
    /// End.
    Quit,
}

/// What an answer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The table.
    Resources,
    /// The map.
    Map,
    /// The bars.
    Buddy,
    /// The subscription to events.
    Events,
    /// A command of the user's, as typed.
    Command(String),
}

/// The dialog in front of the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialog {
    /// Nothing.
    None,
    /// The keys.
    Help,
    /// A DIMM to add.
    Add(Choice),
    /// Memory to allocate.
    Allocate(Choice),
    /// An allocation to free: places in [`App::allocations`], behind "all".
    Free(usize),
    /// A DIMM to remove, once QEMU has said which there are.
    Remove(Option<(Vec<String>, usize)>),
}

/// A size and a node to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Place in the list of sizes.
    pub size: usize,
    /// The node; `None`: any.
    pub node: Option<u64>,
}

/// Sizes of DIMMs.
pub const DIMM_SIZES: [&str; 10] = ["128M", "256M", "512M", "1G", "2G", "4G", "8G", "16G", "64G", "256G"];
/// Sizes of allocations.
pub const ALLOCATION_SIZES: [&str; 9] = ["4K", "2M", "16M", "64M", "100M", "200M", "512M", "1G", "4G"];

/// The state.
#[derive(Debug)]
pub struct App {
    /// How it looks.
    pub theme: Theme,
    /// The machine's nodes.
    pub nodes: u64,
    /// The table.
    pub resources: Vec<Resource>,
    /// The map.
    pub map: Vec<Extent>,
    /// The bars.
    pub buddy: Vec<Buddyinfo>,
    /// The events and log lines.
    pub entries: Entries,
    /// Whether the whole log is shown among them.
    pub whole_log: bool,
    /// The open dialog.
    pub dialog: Dialog,
    /// The last thing that was done, or is being done.
    pub status: (Tone, String),
    /// Lines of the map, and of the table, that are scrolled away.
    pub scroll: (usize, usize),
    /// The allocations made here: number and bytes.
    pub allocations: Vec<(u64, u64)>,
    /// Whether the guest has ended.
    pub ended: bool,
    /// Since when the kernel has not answered, if it has been asked.
    pub asked: Option<Instant>,
    waiting: HashMap<u32, What>,
    /// Whether the status is only that an answer is missing: the next one takes it away.
    complaint: bool,
    /// Whether the user has asked for the end of a command, which has not come yet.
    stopping: bool,
    next_poll: Option<Instant>,
}

impl App {
    /// Nothing is known yet of a guest with so many nodes.
    pub fn new(theme: Theme, nodes: u64) -> Self {
        Self {
            theme,
            nodes,
            resources: Vec::new(),
            map: Vec::new(),
            buddy: Vec::new(),
            entries: Entries::default(),
            whole_log: false,
            dialog: Dialog::None,
            status: (Tone::Quiet, "asking the kernel ...".to_owned()),
            scroll: (0, 0),
            allocations: Vec::new(),
            ended: false,
            asked: None,
            waiting: HashMap::new(),
            complaint: true,
            stopping: false,
            next_poll: None,
        }
    }

    /// The requests to send now.
    pub fn poll(&mut self, now: Instant) -> Vec<Action> {
        if self.ended {
            return Vec::new();
        }
        if self.silent(now) {
            // The request of a late answer is gone.
            self.waiting.clear();
            self.stopping = false;
            self.next_poll = None;
            self.complain("no answer on the second serial port; is another view connected to it?".to_owned());
        }
        let busy = self.waiting.values().any(|what| !matches!(what, What::Command(_)));
        if busy || self.next_poll.is_some_and(|next| now < next) {
            return Vec::new();
        }
        self.next_poll = Some(now + POLL);
        self.asked = Some(now);
        let asked = [
            (What::Events, "events on"),
            (What::Resources, "resources"),
            (What::Map, "map"),
            (What::Buddy, "buddyinfo"),
        ];
        asked.map(|(what, command)| Action::Ask(what, command.to_owned())).to_vec()
    }

    /// A command of the user's may take as long as it likes, until it is to stop.
    fn silent(&self, now: Instant) -> bool {
        let patient = self.running().is_some() && !self.stopping;
        !patient && !self.waiting.is_empty() && self.asked.is_some_and(|asked| now > asked + SILENCE)
    }

    /// The command of the user's that runs.
    pub fn running(&self) -> Option<&str> {
        self.waiting.values().find_map(|what| match what {
            What::Command(command) => Some(command.as_str()),
            _ => None,
        })
    }

    /// A command was sent under this number.
    pub fn sent(&mut self, id: u32, what: What) {
        if let What::Command(command) = &what {
            self.tell(Tone::Plain, format!("{command} ..."));
        }
        self.waiting.insert(id, what);
    }

    /// A line has come.
    pub fn heard(&mut self, line: Line) {
        match line {
            Line::Answer(id, answer) => {
                if let Some(what) = self.waiting.remove(&id) {
                    self.answer(what, answer);
                }
            }
            Line::Event(event) => {
                if !matches!(*event, Event::Log { .. }) {
                    self.look_now();
                }
                self.entries.take(*event);
            }
        }
    }

    fn answer(&mut self, what: What, answer: Result<Value, String>) {
        self.asked = Some(Instant::now());
        self.stopping = false;
        let read = match (what, answer) {
            (What::Command(command), answer) => {
                self.done(&command, answer);
                Ok(())
            }
            // A look that was stopped along with a command, or that was too long: the next one comes soon.
            (_, Err(_)) | (What::Events, Ok(_)) => Ok(()),
            (What::Resources, Ok(value)) => serde_json::from_value(value).map(|rows| self.resources = rows),
            (What::Map, Ok(value)) => serde_json::from_value(value).map(|rows| self.map = rows),
            (What::Buddy, Ok(value)) => serde_json::from_value(value).map(|rows| self.buddy = rows),
        };
        if let Err(error) = read {
            self.complain(format!("an answer of the kernel's is not understood: {error}"));
        } else if self.complaint {
            self.tell(Tone::Quiet, String::new());
        }
    }

    /// Shows the last action, or the one under way.
    pub fn tell(&mut self, tone: Tone, text: String) {
        self.status = (tone, text);
        self.complaint = false;
    }

    fn complain(&mut self, text: String) {
        self.status = (Tone::Bad, text);
        self.complaint = true;
    }

    /// A command of the user's has ended.
    fn done(&mut self, command: &str, answer: Result<Value, String>) {
        self.look_now();
        let not_understood = |error: serde_json::Error| format!("the answer is not understood: {error}");
        let outcome = answer.and_then(|value| self.outcome(command, value).map_err(not_understood));
        let (tone, text) = outcome.unwrap_or_else(|error| (Tone::Bad, format!("{command}: {error}")));
        self.tell(tone, text);
    }

    /// What a command of the user's, `alloc`, `free` or `verify`, did.
    fn outcome(&mut self, command: &str, answer: Value) -> serde_json::Result<(Tone, String)> {
        if command.starts_with("alloc") {
            let Alloc { id, pages, .. } = serde_json::from_value(answer)?;
            self.allocations.push((id, pages * PAGE));
            return Ok((Tone::Good, format!("allocation {id}: {}", Size(pages * PAGE))));
        }
        if command.starts_with("free") {
            let Free { allocations, pages } = serde_json::from_value(answer)?;
            match command.split_whitespace().nth(1).and_then(|id| id.parse::<u64>().ok()) {
                Some(id) => self.allocations.retain(|(other, _)| *other != id),
                None => self.allocations.clear(),
            }
            let s = if allocations == 1 { "" } else { "s" };
            return Ok((Tone::Good, format!("{allocations} allocation{s} freed: {}", Size(pages * PAGE))));
        }
        let Verify { pages, bad_pages, .. } = serde_json::from_value(answer)?;
        Ok(match bad_pages {
            0 => (Tone::Good, format!("{command}: {}", Matching(pages))),
            bad => (Tone::Bad, format!("{command}: {bad} of {pages} pages do NOT match their pattern")),
        })
    }

    /// Looks at the guest as soon as nothing is being waited for.
    fn look_now(&mut self) {
        self.next_poll = None;
    }

    /// QEMU has closed the line.
    pub fn end(&mut self) {
        self.ended = true;
        self.waiting.clear();
        self.dialog = Dialog::None;
        self.tell(
            Tone::Bad,
            "the guest has ended; the next one that `cargo xtask run` starts is shown here".to_owned(),
        );
    }

    /// QEMU has plugged or unplugged a DIMM, or not.
    pub fn dimm_done(&mut self, result: Result<String, String>) {
        self.look_now();
        match result {
            Ok(text) => self.tell(Tone::Good, text),
            Err(text) => self.tell(Tone::Bad, text),
        }
    }

    /// QEMU has said which DIMMs there are.
    pub fn dimms(&mut self, result: Result<Vec<Dimm>, String>) {
        if !matches!(self.dialog, Dialog::Remove(_)) {
            return;
        }
        match result {
            Ok(dimms) if dimms.is_empty() => {
                self.dialog = Dialog::None;
                self.tell(Tone::Bad, "there is no DIMM to remove; a adds one".to_owned());
            }
            Ok(dimms) => {
                let rows = dimms.iter().map(|dimm| {
                    let Dimm { id, size, node, address, said, .. } = dimm;
                    format!("{id:<10} {size:>6}  node {node}  at {address:#x}  {said}")
                });
                self.dialog = Dialog::Remove(Some((rows.collect(), 0)));
            }
            Err(text) => {
                self.dialog = Dialog::None;
                self.tell(Tone::Bad, text);
            }
        }
    }
}
