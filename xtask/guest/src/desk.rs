//! What the guest's own shell asks the host for: `plug`, `unplug` and `dimms` arrive as events on the second serial line,
//! are carried out by QMP, and are answered by `host NUMBER ...` (crate `carapace-cli`, module `rpc`).
//!
//! Invariant: one request at a time, each answered once. Neighbours: `relay` passes events in and answers on; `dimm` does
//! the work.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use carapace_cli::editor::LINE_MAX;
use serde_json::Value;

use crate::dimm::{Dimms, Outcome};
use crate::schema::Event;

/// How long the kernel may take to answer a DIMM: a removal may migrate much.
const LIMIT: Duration = Duration::from_secs(120);
/// Bytes of a list of names: the request before it, and its number, fit in a line too.
const NAMES_MAX: usize = LINE_MAX - 64;

/// The desk of one guest.
#[derive(Clone, Debug)]
pub struct Desk {
    qmp: PathBuf,
    remote: PathBuf,
    /// The request under way.
    busy: Arc<Mutex<Option<u32>>>,
    /// The same until its last answer has been sent.
    answering: Arc<AtomicBool>,
}

/// What the guest asks for.
enum Wanted {
    Plug { size: u64, node: u32 },
    Unplug { id: String },
    Dimms,
}

/// The request that an event is, with its number.
fn wanted(event: &Value) -> Option<(u32, Wanted)> {
    Some(match serde_json::from_value(event.clone()).ok()? {
        Event::<String>::Plug { request, size, node } => (request, Wanted::Plug { size, node }),
        Event::Unplug { request, id } => (request, Wanted::Unplug { id: id.to_string() }),
        Event::Dimms { request } => (request, Wanted::Dimms),
        _ => return None,
    })
}

impl Desk {
    /// A desk that has the QMP socket at `qmp` for itself, and the second serial line at `remote`.
    pub fn new(qmp: PathBuf, remote: PathBuf) -> Desk {
        Desk { qmp, remote, busy: Arc::default(), answering: Arc::default() }
    }

    /// Whether a request is under way, or its last answer still to be sent.
    pub fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Relaxed)
    }

    /// Carries out what the event asks for, on a thread of its own, and gives `answer` each line for the kernel. `false`
    /// if it asks for nothing.
    pub fn take(&self, event: &Value, answer: impl Fn(&str) + Send + 'static) -> bool {
        let Some((number, wanted)) = wanted(event) else { return false };
        if let Some(earlier) = *self.busy() {
            // The kernel asks again until it hears that the request is taken.
            if earlier != number {
                answer(&format!("host {number} refused the host is still at work on an earlier request"));
            }
            return true;
        }
        *self.busy() = Some(number);
        self.answering.store(true, Ordering::Relaxed);
        answer(&format!("host {number} taken"));
        let desk = self.clone();
        thread::spawn(move || {
            let result = desk.carry_out(number, &wanted, &answer);
            *desk.busy() = None;
            answer(&match result {
                Ok(Outcome::Done(text)) => format!("host {number} done {}", one_line(&text)),
                Ok(Outcome::Refused(why)) => format!("host {number} refused {}", one_line(&why)),
                Err(error) => format!("host {number} refused {}", one_line(&format!("{error:#}"))),
            });
            // Unless the next one has begun.
            if desk.busy().is_none() {
                desk.answering.store(false, Ordering::Relaxed);
            }
        });
        true
    }

    fn busy(&self) -> MutexGuard<'_, Option<u32>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carry_out(&self, number: u32, wanted: &Wanted, answer: &impl Fn(&str)) -> Result<Outcome> {
        let mut dimms = Dimms::over(&self.qmp, Some(self.remote.clone()), LIMIT)?;
        let outcome = match wanted {
            Wanted::Plug { size, node } => {
                let id = dimms.free_id()?;
                match dimms.add(&id, crate::size::ByteSize::new(*size), u64::from(*node))? {
                    Outcome::Done(state) => Outcome::Done(format!("{id} {state}")),
                    Outcome::Refused(why) => Outcome::Refused(format!("{id}: the kernel refuses it: {why}")),
                }
            }
            Wanted::Unplug { id } => match dimms.remove(id)? {
                Outcome::Done(_) => Outcome::Done(String::new()),
                Outcome::Refused(why) => Outcome::Refused(format!("{id}: the kernel keeps it: {why}")),
            },
            Wanted::Dimms => Outcome::Done(String::new()),
        };
        for (first, names) in lines(&dimms.names()?).iter().enumerate() {
            let word = if first == 0 { "slots" } else { "more" };
            answer(&format!("host {number} {word} {names}"));
        }
        Ok(outcome)
    }
}

/// `SLOT=NAME` pairs, in as many lines as they need; one at least.
fn lines(names: &[(i64, String)]) -> Vec<String> {
    let mut lines = vec![String::new()];
    for (slot, name) in names {
        let pair = format!("{slot}={name} ");
        match lines.last_mut() {
            Some(line) if line.len() + pair.len() <= NAMES_MAX => *line += &pair,
            _ => lines.push(pair),
        }
    }
    lines
}

/// The text without line ends, short enough for a line.
fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().filter(|character| !character.is_control()).take(LINE_MAX / 4).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Proves that 256 names arrive, each once, in lines that the kernel takes. Fails when a line is too long for it.
    #[test]
    fn names_in_lines() {
        let names: Vec<_> = (0..256).map(|slot| (slot, format!("a-name-of-a-dimm-{slot}"))).collect();
        let lines = lines(&names);
        assert!(lines.len() > 1 && lines.iter().all(|line| line.len() <= NAMES_MAX));
        let read: Vec<_> = lines.iter().flat_map(|line| carapace_cli::rpc::slots(line)).collect();
        assert_eq!(read.len(), 256);
        assert_eq!(read[255], (255, "a-name-of-a-dimm-255"));
        assert_eq!(super::lines(&[]), [""]);
    }

    /// Proves that a request that the kernel sends again, since the first one was lost before we had connected, is answered
    /// once, and that another one is refused meanwhile. Fails when a slow answer makes `plug` fail.
    #[test]
    fn asked_again() {
        let desk = Desk::new(PathBuf::from("/nowhere"), PathBuf::from("/nowhere"));
        *desk.busy() = Some(7);
        let (sender, answers) = std::sync::mpsc::channel();
        let ask = |request: u32| {
            let sender = sender.clone();
            let event = json!({"event": "dimms", "request": request});
            assert!(desk.take(&event, move |line| drop(sender.send(line.to_owned()))));
            answers.try_recv().ok()
        };
        assert_eq!(ask(7), None);
        assert!(ask(8).is_some_and(|line| line.starts_with("host 8 refused ")));
    }

    /// Proves which events are requests, and that a reason of several lines becomes one.
    #[test]
    fn requests() {
        let plug = json!({"event": "plug", "request": 3, "size": 1 << 28, "node": 1});
        assert!(matches!(wanted(&plug), Some((3, Wanted::Plug { size: 0x1000_0000, node: 1 }))));
        let unplug = json!({"event": "unplug", "request": 4, "id": "d0"});
        assert!(matches!(wanted(&unplug), Some((4, Wanted::Unplug { id })) if id == "d0"));
        assert!(matches!(wanted(&json!({"event": "dimms", "request": 5})), Some((5, Wanted::Dimms))));
        assert!(wanted(&json!({"event": "lost", "pieces": 5})).is_none());
        assert!(wanted(&json!({"event": "plug", "size": 5})).is_none());
        assert_eq!(one_line("a\n b\u{3}c"), "a bc");
    }
}
