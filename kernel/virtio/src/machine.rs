//! What a driver of virtio-mem does next: a total state machine over configuration, responses and the memory core.
//!
//! ```text
//!  plugged < requested   Memory::next_to_plug -> PLUG -> ACK -> Memory::plug          core refuses: UNPLUG again
//!  plugged > requested   Memory::unplug_unused -> UNPLUG -> ACK                       else: Memory::plug again
//!                        nothing unused: Action::Evacuate -> unplug_unused
//!  at the start          the device has blocks that this kernel does not: UNPLUG_ALL
//! ```
//!
//! What is plugged is what the memory core has: the device's own number decides nothing but `UNPLUG_ALL`. Invariants:
//! * At most one request is in flight; each response belongs to it.
//! * After each response the core has exactly the blocks that the device has, except for runs that the device has and the
//!   core refuses ([`Machine::strays`]): they are unplugged before anything else.
//! * A refusal is not repeated before something changed: the requested size after NACK, ERROR and garbage; time after
//!   BUSY; memory after a shrink that could not go on.
//!
//! Neighbours: `mem` has the bytes; the kernel's `virtio` calls [`Machine::next`] whenever the device or memory changed.

use arrayvec::ArrayVec;
use core::fmt;

use crate::mem::{Config, Request, Response, Run};

/// The most runs that wait to be unplugged.
pub const MAX_RUNS: usize = 32;
/// Pauses after BUSY, in nanoseconds: the first, and the longest.
const BUSY_PAUSE: u64 = 20_000_000;
const LONGEST_PAUSE: u64 = 2_000_000_000;
/// The pause before a shrink that could not go on is tried again after memory changed.
const RETRY_PAUSE: u64 = 20_000_000;

/// The memory behind the driver.
pub trait Memory {
    /// Why it refuses to use memory.
    type Error: Clone + fmt::Display + fmt::Debug;

    /// Bytes of the device's region that are in use by the core.
    fn plugged(&self) -> u64;

    /// The run to plug next: at most `want` bytes that end at or below `limit`.
    fn next_to_plug(&mut self, want: u64, limit: u64) -> Option<Run>;

    /// Puts a run into use that the device has plugged.
    ///
    /// # Errors
    /// Why it refuses, and the rest of the run, which is not in use; what lies before is.
    fn plug(&mut self, run: Run) -> Result<(), (Self::Error, Run)>;

    /// Takes at most `want` unused bytes out of use: nothing accesses them any more. Runs ascend; those of a list can be put
    /// into use again in that order, also without those at its end. Empty when nothing is unused.
    fn unplug_unused(&mut self, want: u64) -> ArrayVec<Run, MAX_RUNS>;

    /// The device has unplugged a run that was taken out of use.
    fn unplugged(&mut self, run: Run);

    /// A number that changes when a shrink that could not go on may be possible.
    fn version(&self) -> u64;
}

/// What stands in the way of the requested size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble<E> {
    /// The device does not want the request now.
    Nack,
    /// The device is busy.
    Busy,
    /// The device calls the request wrong.
    Error,
    /// The device's answer made no sense.
    Garbage,
    /// No place is left to plug memory.
    NoPlace,
    /// The memory core refuses to use a plugged run.
    Memory(E),
    /// No more memory can be taken out of use.
    InUse,
}

impl<E: fmt::Display> fmt::Display for Trouble<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Nack => f.write_str("the device refuses for now (NACK)"),
            Trouble::Busy => f.write_str("the device is busy"),
            Trouble::Error => f.write_str("the device refuses (ERROR)"),
            Trouble::Garbage => f.write_str("the device's answer makes no sense"),
            Trouble::NoPlace => f.write_str("no block is left that can be plugged"),
            Trouble::Memory(error) => error.fmt(f),
            Trouble::InUse => f.write_str("the rest is in use"),
        }
    }
}

/// How many requests were sent and refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// PLUG requests.
    pub plug: u64,
    /// UNPLUG and UNPLUG_ALL requests.
    pub unplug: u64,
    /// Answered with NACK.
    pub nack: u64,
    /// Answered with BUSY.
    pub busy: u64,
    /// Answered with ERROR, or with garbage.
    pub error: u64,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this request; call again with its response.
    Send(Request),
    /// Wait for a response, for a change of the configuration, or of memory.
    Wait,
    /// Wait for one of these, but at most until then.
    WaitUntil(u64),
    /// Migrate content so that this many bytes become unused; then call [`Machine::evacuated`].
    Evacuate(u64),
}

/// Whether an evacuation made memory unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evacuated {
    /// It did.
    Some,
    /// Nothing more can migrate.
    None,
}

/// What must change before the next attempt; another requested size always does.
#[derive(Clone, Copy, Debug)]
enum Until {
    /// Nothing else.
    Requested,
    /// Time.
    Time(u64),
    /// Memory's version, but not before a time.
    Version(u64, u64),
}

/// A trouble and what must change before the next attempt.
#[derive(Clone, Debug)]
struct Held<E> {
    trouble: Trouble<E>,
    /// The requested size at that time.
    requested: u64,
    until: Until,
}

/// The driver of one device.
#[derive(Debug)]
pub struct Machine<E> {
    block: u64,
    /// Bytes of a unit, the least that memory plugs.
    unit: u64,
    in_flight: Option<Request>,
    /// The requested size when that was sent: an answer to it says nothing about another size.
    sent_for: u64,
    /// The device may have blocks that this kernel does not know.
    fresh: bool,
    /// Runs out of use, ascending, to be unplugged one after the other.
    leaving: ArrayVec<Run, MAX_RUNS>,
    /// Runs that the device may have plugged and the core does not use.
    strays: ArrayVec<Run, MAX_RUNS>,
    held: Option<Held<E>>,
    pause: u64,
    counts: Counts,
}

impl<E: Clone + fmt::Display + fmt::Debug> Machine<E> {
    /// A device that was just found, with blocks of `block` bytes, whose memory is plugged by units of `unit` bytes.
    pub const fn new(block: u64, unit: u64) -> Self {
        Machine {
            block,
            unit,
            in_flight: None,
            sent_for: 0,
            fresh: true,
            leaving: ArrayVec::new_const(),
            strays: ArrayVec::new_const(),
            held: None,
            pause: BUSY_PAUSE,
            counts: Counts { plug: 0, unplug: 0, nack: 0, busy: 0, error: 0 },
        }
    }

    /// The requests so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What stands in the way of the requested size.
    pub fn trouble(&self) -> Option<&Trouble<E>> {
        self.held.as_ref().map(|held| &held.trouble)
    }

    /// Memory's version at which a shrink could not go on: another one is a reason to call [`Machine::next`].
    pub fn waits_for_memory(&self) -> Option<u64> {
        match self.held.as_ref()?.until {
            Until::Version(version, _) => Some(version),
            Until::Requested | Until::Time(_) => None,
        }
    }

    /// The request in flight.
    pub fn in_flight(&self) -> Option<Request> {
        self.in_flight
    }

    /// Runs that the device may have plugged and the memory core does not use.
    pub fn strays(&self) -> &[Run] {
        &self.strays
    }

    /// Decides what to do. `response` is the answer to the request in flight, if it has come; `now` is in nanoseconds.
    pub fn next<M: Memory<Error = E>>(
        &mut self,
        memory: &mut M,
        config: &Config,
        response: Option<Response>,
        now: u64,
    ) -> Action {
        if let Some(response) = response
            && let Some(request) = self.in_flight.take()
        {
            self.answered(memory, config, request, response, now);
        }
        if self.in_flight.is_some() {
            return Action::Wait;
        }
        if let Some(held) = &self.held {
            match held.until {
                _ if held.requested != config.requested => self.held = None,
                // A stray need not wait for the reason why it is one.
                Until::Requested if !self.strays.is_empty() => {}
                Until::Requested => return Action::Wait,
                Until::Time(until) if now < until => return Action::WaitUntil(until),
                Until::Version(version, _) if version == memory.version() => return Action::Wait,
                Until::Version(_, until) if now < until => return Action::WaitUntil(until),
                _ => self.held = None,
            }
        }
        if let Some(&run) = self.strays.first() {
            return self.send(Request::Unplug(run), config);
        }
        if self.fresh {
            if config.plugged > 0 && memory.plugged() == 0 {
                return self.send(Request::UnplugAll, config);
            }
            self.fresh = false;
        }
        if !self.leaving.is_empty() && memory.plugged() < config.requested {
            // The host wants it after all.
            if let Some(trouble) = self.put_back(memory) {
                self.hold(trouble, config, Until::Requested);
                return self.next(memory, config, None, now);
            }
        }
        // From the top down, so that what is left can be put back: its memmap lies below.
        if let Some(&run) = self.leaving.last() {
            return self.send(Request::Unplug(run), config);
        }
        let plugged = memory.plugged();
        let missing = config.requested.saturating_sub(plugged);
        let surplus = plugged.saturating_sub(config.requested);
        let most = Request::most_bytes(self.block);
        if missing >= self.unit {
            return match memory.next_to_plug(missing.min(most), config.limit()) {
                Some(run) => self.send(Request::Plug(run), config),
                None => {
                    let until = Until::Version(memory.version(), now.saturating_add(RETRY_PAUSE));
                    self.hold(Trouble::NoPlace, config, until);
                    Action::Wait
                }
            };
        }
        if surplus < self.unit {
            return Action::Wait;
        }
        self.leaving = memory.unplug_unused(surplus.min(most));
        match self.leaving.last() {
            Some(&run) => self.send(Request::Unplug(run), config),
            None => Action::Evacuate(surplus),
        }
    }

    /// The result of [`Action::Evacuate`].
    pub fn evacuated<M: Memory<Error = E>>(
        &mut self,
        memory: &M,
        config: &Config,
        done: Evacuated,
        now: u64,
    ) {
        if done == Evacuated::None {
            let until = Until::Version(memory.version(), now.saturating_add(RETRY_PAUSE));
            self.hold(Trouble::InUse, config, until);
        }
    }

    fn hold(&mut self, trouble: Trouble<E>, config: &Config, until: Until) {
        self.held = Some(Held { trouble, requested: config.requested, until });
    }

    fn send(&mut self, request: Request, config: &Config) -> Action {
        match request {
            Request::Plug(_) => self.counts.plug = self.counts.plug.saturating_add(1),
            _ => self.counts.unplug = self.counts.unplug.saturating_add(1),
        }
        self.in_flight = Some(request);
        self.sent_for = config.requested;
        Action::Send(request)
    }

    fn answered<M: Memory<Error = E>>(
        &mut self,
        memory: &mut M,
        config: &Config,
        request: Request,
        response: Response,
        now: u64,
    ) {
        let add = |counter: &mut u64| *counter = counter.saturating_add(1);
        let trouble = match response {
            Response::Ack => None,
            Response::Nack => {
                add(&mut self.counts.nack);
                Some(Trouble::Nack)
            }
            Response::Busy => {
                add(&mut self.counts.busy);
                Some(Trouble::Busy)
            }
            Response::Error => {
                add(&mut self.counts.error);
                Some(Trouble::Error)
            }
            Response::Garbage => {
                add(&mut self.counts.error);
                Some(Trouble::Garbage)
            }
        };
        let mut is_stray_left = false;
        let refused = match request {
            Request::Plug(run) => match response {
                Response::Ack => memory.plug(run).err().map(|(error, rest)| {
                    self.stray(rest);
                    Trouble::Memory(error)
                }),
                // It may be plugged.
                Response::Garbage => {
                    self.stray(run);
                    None
                }
                _ => None,
            },
            Request::Unplug(run) if self.strays.contains(&run) => {
                // After an ERROR it is not plugged, unless the device has more than the core.
                let is_gone = match response {
                    Response::Ack => true,
                    Response::Error => config.plugged <= memory.plugged(),
                    Response::Nack | Response::Busy | Response::Garbage => false,
                };
                self.strays.retain(|stray| *stray != run);
                if !is_gone {
                    // Another one is tried first.
                    self.stray(run);
                    is_stray_left = true;
                }
                // The reason why it is one stays.
                if response == Response::Ack {
                    return;
                }
                None
            }
            Request::Unplug(run) => match response {
                Response::Ack => {
                    self.leaving.retain(|leaving| *leaving != run);
                    memory.unplugged(run);
                    None
                }
                // It may be unplugged, so nothing may touch it.
                Response::Garbage => {
                    self.leaving.retain(|leaving| *leaving != run);
                    self.stray(run);
                    self.put_back(memory)
                }
                _ => self.put_back(memory),
            },
            Request::UnplugAll => {
                self.fresh = response != Response::Ack;
                None
            }
        };
        let Some(trouble) = refused.or(trouble) else {
            self.pause = BUSY_PAUSE;
            return;
        };
        let until = if response == Response::Busy {
            let until = Until::Time(now.saturating_add(self.pause));
            self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
            until
        } else if is_stray_left {
            // Its UNPLUG was refused: not at once again.
            Until::Time(now.saturating_add(LONGEST_PAUSE))
        } else {
            Until::Requested
        };
        self.held = Some(Held { trouble, requested: self.sent_for, until });
    }

    fn stray(&mut self, run: Run) {
        // Never full: nothing is plugged or taken out of use while there are strays.
        let _ = self.strays.try_push(run);
    }

    /// Puts the runs that were not unplugged into use again. What the core refuses is a stray.
    fn put_back<M: Memory<Error = E>>(&mut self, memory: &mut M) -> Option<Trouble<E>> {
        let mut trouble = None;
        for run in core::mem::take(&mut self.leaving) {
            if let Err((error, rest)) = memory.plug(run) {
                self.stray(rest);
                trouble = Some(Trouble::Memory(error));
            }
        }
        trouble
    }
}

#[cfg(test)]
mod tests;
