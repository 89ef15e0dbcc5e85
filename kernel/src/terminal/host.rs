//! Requests to the host that runs this guest: `plug`, `unplug` and `dimms` typed in the guest's own shell.
//!
//! ```text
//!  commands::dimm ── ask ──> DESK ── next ──> terminal::reply -> COM2 -> {"event":"plug","request":3,...}
//!                 <── wait ──     <── answer ── shell::rpc <- COM2 <- @9 host 3 done d0 online
//! ```
//!
//! A guest has no way to plug memory into itself: QEMU does it, asked by `cargo xtask run`. A request is an event on the
//! second serial line, whether or not a program listens to the other events; its number tells a late answer from an
//! answer to the next one. Without a host the request is not taken in time, and the caller says what to type instead.
//!
//! QEMU's socket drops what the kernel sends before the host has connected to it: a request is sent again until the host
//! says that it is taken. A host that is announced (`opt/carapace/host`) is waited for longer.
//!
//! Invariants: one request at a time; no heap. Neighbours: `carapace_cli::rpc` has the host's answers, package `guest`
//! the host's side.

use super::{Failure, input};
use crate::arch::time;
use crate::drivers::fw_cfg;
use crate::drivers::serial::{self, Port};
use crate::executor;
use crate::sync::{Mutex, Rank};
use arrayvec::ArrayString;
use carapace_cli::rpc::{FromHost, Said, slots};
use carapace_schema::{Event, Text};
use core::time::Duration;
use spin::Once;

/// How long the host may take to say that it has begun, and one that is announced: it may be about to connect.
const PATIENCE: Duration = Duration::from_secs(2);
const ANNOUNCED_PATIENCE: Duration = Duration::from_secs(20);
/// When a request is sent again.
const AGAIN: Duration = Duration::from_millis(300);
/// The fw_cfg file of a host that starts guests: the bytes that it has to give, and `terminal` where a person reads.
const ANNOUNCEMENT: &str = "opt/carapace/host";
/// QEMU's most slots for DIMMs.
const SLOTS: usize = 256;

/// A name of QEMU's for a DIMM.
pub type Name = Text<48>;

/// What the host says of itself.
#[derive(Clone, Copy)]
pub struct Announced {
    /// The memory that it had to give when the guest started.
    pub free_bytes: u64,
    /// A person reads the first serial line.
    pub is_terminal: bool,
}

/// The host's announcement, if there is one.
pub fn announced() -> Option<Announced> {
    static ANNOUNCED: Once<Option<Announced>> = Once::new();
    *ANNOUNCED.call_once(|| {
        let bytes = fw_cfg::read::<40>(ANNOUNCEMENT)?;
        let text = str::from_utf8(bytes.split(|&byte| byte == 0).next()?).ok()?;
        let mut words = text.split_ascii_whitespace();
        Some(Announced {
            free_bytes: words.next()?.parse().ok()?,
            is_terminal: words.next() == Some("terminal"),
        })
    })
}

/// Whether the host announced that a person reads the first serial line.
pub fn is_terminal() -> bool {
    announced().is_some_and(|host| host.is_terminal)
}

static DESK: Mutex<Desk> = Mutex::new(
    Rank::Host,
    Desk { number: 0, stage: Stage::Free, names: [const { ArrayString::new_const() }; SLOTS] },
);

struct Desk {
    /// The number of the newest request.
    number: u32,
    stage: Stage,
    /// The names of the DIMMs by slot, as the host told them last; empty where there is none.
    names: [ArrayString<48>; SLOTS],
}

#[allow(clippy::large_enum_variant, reason = "an error's text is on the stack: there may be no heap")]
enum Stage {
    /// There is no request.
    Free,
    /// To be sent.
    Asked(Wanted),
    Sent(Wanted),
    /// The host has begun.
    Taken,
    Ended(Answer),
}

/// What the host can be asked for.
#[derive(Clone, Copy)]
pub enum Wanted {
    /// A DIMM of so many bytes in this node.
    Plug { size: u64, node: u32 },
    /// This DIMM unplugged.
    Unplug { id: Name },
    /// The names of the DIMMs.
    Names,
}

/// How a request ended: the host's words, or its refusal.
pub type Answer = Result<Text<300>, Text<300>>;

/// Why there is no answer.
#[allow(clippy::large_enum_variant, reason = "an error's text is on the stack: there may be no heap")]
pub enum NoAnswer {
    /// No program at the other end of the second serial line carries requests out.
    NoHost,
    /// Another request is under way.
    Busy,
    /// The command was stopped.
    Stopped(Failure),
}

/// Asks the host and waits for its answer.
pub async fn ask(wanted: Wanted) -> Result<Answer, NoAnswer> {
    if !serial::is_up(Port::Remote) {
        return Err(NoAnswer::NoHost);
    }
    {
        let mut desk = DESK.lock();
        if !matches!(desk.stage, Stage::Free) {
            return Err(NoAnswer::Busy);
        }
        desk.number = desk.number.wrapping_add(1);
        desk.stage = Stage::Asked(wanted);
    }
    executor::wake();
    let answer = wait().await;
    DESK.lock().stage = Stage::Free;
    answer
}

async fn wait() -> Result<Answer, NoAnswer> {
    let patience = if announced().is_some() { ANNOUNCED_PATIENCE } else { PATIENCE };
    let deadline = time::uptime().saturating_add(patience);
    let mut again = time::uptime().saturating_add(AGAIN);
    loop {
        input::step().await.map_err(NoAnswer::Stopped)?;
        // Nothing is awaited between this look and the wait: the answer's wake-up would be lost.
        let now = time::uptime();
        let mut desk = DESK.lock();
        match desk.stage {
            Stage::Ended(answer) => return Ok(answer),
            // For the progress line.
            Stage::Taken => executor::wake_at(now.saturating_add(Duration::from_secs(1))),
            _ if now >= deadline => return Err(NoAnswer::NoHost),
            Stage::Sent(wanted) if now >= again => {
                desk.stage = Stage::Asked(wanted);
                again = now.saturating_add(AGAIN);
                executor::wake();
                executor::wake_at(again);
            }
            _ => executor::wake_at(again.min(deadline)),
        }
        drop(desk);
        executor::wait_for_event().await;
    }
}

/// The request that is to be sent, once.
pub fn next() -> Option<Event<&'static str>> {
    let mut desk = DESK.lock();
    let request = desk.number;
    let Stage::Asked(wanted) = desk.stage else { return None };
    desk.stage = Stage::Sent(wanted);
    Some(match wanted {
        Wanted::Plug { size, node } => Event::Plug { request, size, node },
        Wanted::Unplug { id } => Event::Unplug { request, id },
        Wanted::Names => Event::Dimms { request },
    })
}

/// The host answers.
///
/// # Errors
/// There is no such request, or no longer.
pub fn answer(from: FromHost<'_>) -> Result<(), Failure> {
    let mut desk = DESK.lock();
    if from.request != desk.number || !matches!(desk.stage, Stage::Sent(_) | Stage::Taken) {
        return Err(Failure::of(format_args!("no command waits for an answer to request {}", from.request)));
    }
    match from.said {
        Said::Taken => desk.stage = Stage::Taken,
        Said::Slots(pairs) => {
            desk.names.iter_mut().for_each(ArrayString::clear);
            desk.name(pairs);
        }
        Said::More(pairs) => desk.name(pairs),
        Said::Done(text) => desk.stage = Stage::Ended(Ok(Text::of(&text))),
        Said::Refused(text) => desk.stage = Stage::Ended(Err(Text::of(&text))),
    }
    executor::wake();
    Ok(())
}

impl Desk {
    fn name(&mut self, pairs: &str) {
        for (slot, name) in slots(pairs) {
            if let Some(place) = self.names.get_mut(slot) {
                // A name that is too long stays unknown.
                *place = ArrayString::from(name).unwrap_or_default();
            }
        }
    }
}

/// The name of the DIMM in this slot, as the host told it last.
pub fn name(slot: u32) -> Option<Name> {
    let desk = DESK.lock();
    let name = desk.names.get(usize::try_from(slot).ok()?)?;
    (!name.is_empty()).then(|| Text::of(name))
}
