//! The states of a memory device, the transitions between them, and the order in which eject requests are served.
//!
//! ```text
//!              added       request_eject                 mark_absent
//!   Absent ──────────> Online ─────────> Leaving(ticket) ─────────> Absent
//!      '──> Refused     |  ^                  | eject_failed
//!              |        |  '──────────────────'
//!              |        '─ surprise_removed ─> Absent     gone without an eject request
//!              '─ request_eject ─> Leaving(ticket)
//! ```
//!
//! Invariants: an `Online` device has memory in the memory core, an `Absent` or `Refused` one has none. No two devices have the same ticket; requests are served in the order of their tickets, which is the order in
//! which they were made. Neighbour: the kernel's `hotplug` keeps the devices and does the work of each transition.

use core::fmt;

/// The state of a device. `E` is the reason of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceState<E> {
    /// The slot is empty.
    Absent,
    /// All its memory is in the memory core.
    Online,
    /// It was refused; none of its memory is in the memory core.
    Refused(E),
    /// The firmware requested ejection; the device, and its memory if it had any, is still there.
    Leaving(Ticket),
}

/// The place of an eject request in the queue: earlier requests have lower tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// The outcome of an eject request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EjectRequest {
    /// It is served once it is the oldest one ([`oldest_request`]).
    Queued,
    /// The device has an earlier request, which is still pending.
    Duplicate,
    /// The slot is empty.
    NoDevice,
}

/// Whether any of a device's memory is in the memory core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CoreMemory {
    /// None is.
    None,
    /// All of it, or a part.
    Some,
}

impl<E> DeviceState<E> {
    /// The ticket of its eject request, if it has one.
    pub const fn ticket(&self) -> Option<Ticket> {
        match self {
            DeviceState::Leaving(ticket) => Some(*ticket),
            _ => None,
        }
    }

    /// Whether the device is online or leaving.
    pub const fn is_in_use(&self) -> bool {
        matches!(self, DeviceState::Online | DeviceState::Leaving(_))
    }

    /// The firmware requests ejection; a request that is queued gets `ticket`.
    pub fn request_eject(&mut self, ticket: Ticket) -> EjectRequest {
        match self {
            DeviceState::Online | DeviceState::Refused(_) => {
                *self = DeviceState::Leaving(ticket);
                EjectRequest::Queued
            }
            DeviceState::Leaving(_) => EjectRequest::Duplicate,
            DeviceState::Absent => EjectRequest::NoDevice,
        }
    }

    /// The ejection failed: restores the state before the request.
    pub fn eject_failed(&mut self, memory: CoreMemory, why: E) {
        if self.ticket().is_some() {
            *self = match memory {
                CoreMemory::None => DeviceState::Refused(why),
                CoreMemory::Some => DeviceState::Online,
            };
        }
    }

    /// The device was removed without an eject request, and the memory core dropped its memory. A pending request stays
    /// in the queue and gets its answer there.
    pub fn surprise_removed(&mut self) {
        if self.ticket().is_none() {
            *self = DeviceState::Absent;
        }
    }
}

impl<E: fmt::Display> fmt::Display for DeviceState<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceState::Absent => f.write_str("absent"),
            DeviceState::Online => f.write_str("online"),
            DeviceState::Refused(error) => write!(f, "refused: {error}"),
            DeviceState::Leaving(_) => f.write_str("leaving"),
        }
    }
}

/// The ticket of the next request.
pub fn next_ticket<'a, E: 'a>(states: impl Iterator<Item = &'a DeviceState<E>>) -> Ticket {
    let last = states.filter_map(DeviceState::ticket).max();
    last.map_or(Ticket(0), |Ticket(last)| Ticket(last.saturating_add(1)))
}

/// The index of the device with the oldest pending request.
pub fn oldest_request<'a, E: 'a>(states: impl Iterator<Item = &'a DeviceState<E>>) -> Option<usize> {
    let leaving = states.enumerate().filter_map(|(at, state)| Some((state.ticket()?, at)));
    leaving.min().map(|(_, at)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::vec::Vec;

    const DEVICES: usize = 3;

    /// The devices, and what an observer has recorded.
    #[derive(Clone, PartialEq, Eq, Hash)]
    struct World {
        states: [DeviceState<()>; DEVICES],
        memory: [CoreMemory; DEVICES],
        /// The devices with pending requests, oldest first.
        requested: Vec<usize>,
    }

    /// An event of one device, or of the one with the oldest request.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        /// `_STA` finds it present; the memory core adds it, or refuses it.
        Added(CoreMemory),
        /// `_STA` finds it absent; the memory core drops its memory.
        Removed,
        /// The firmware requests ejection.
        Requested,
        /// The memory core refuses to remove its memory.
        RemoveRefused,
        /// Its memory is removed, and `_EJ0` ejects it.
        Ejected,
        /// Its memory is removed, but `_EJ0` fails: the next scan adds it, refuses it, or finds it absent.
        NotEjected(Option<CoreMemory>),
    }

    const EVENTS: [Event; 9] = [
        Event::Added(CoreMemory::None),
        Event::Added(CoreMemory::Some),
        Event::Removed,
        Event::Requested,
        Event::RemoveRefused,
        Event::Ejected,
        Event::NotEjected(None),
        Event::NotEjected(Some(CoreMemory::None)),
        Event::NotEjected(Some(CoreMemory::Some)),
    ];

    impl World {
        /// As the kernel's `hotplug::add` and `refuse`.
        fn add(&mut self, at: usize, taken: CoreMemory) {
            self.memory[at] = taken;
            self.states[at] = match taken {
                CoreMemory::None => DeviceState::Refused(()),
                CoreMemory::Some => DeviceState::Online,
            };
        }

        /// As the kernel does it; an event that cannot happen to this device in its state changes nothing.
        fn happen(&mut self, at: usize, event: Event) {
            let state = self.states[at];
            let is_oldest = oldest_request(self.states.iter()) == Some(at);
            match event {
                Event::Added(taken) if !state.is_in_use() => self.add(at, taken),
                Event::Removed if state.is_in_use() => {
                    self.memory[at] = CoreMemory::None;
                    self.states[at].surprise_removed();
                }
                Event::Removed => self.states[at] = DeviceState::Absent,
                Event::Requested => self.request(at),
                Event::RemoveRefused if is_oldest => {
                    self.states[at].eject_failed(self.memory[at], ());
                    self.answer(at);
                }
                Event::Ejected | Event::NotEjected(_) if is_oldest => {
                    (self.memory[at], self.states[at]) = (CoreMemory::None, DeviceState::Absent);
                    if let Event::NotEjected(Some(taken)) = event {
                        self.add(at, taken);
                    }
                    let scanned = self.states[at];
                    if matches!(event, Event::NotEjected(_)) {
                        self.states[at].eject_failed(self.memory[at], ());
                    }
                    assert_eq!(self.states[at], scanned, "the state that the scan found");
                    self.answer(at);
                }
                _ => {}
            }
        }

        fn request(&mut self, at: usize) {
            let (before, ticket) = (self.states[at], next_ticket(self.states.iter()));
            let outcome = self.states[at].request_eject(ticket);
            let expected = match before {
                _ if self.requested.contains(&at) => EjectRequest::Duplicate,
                DeviceState::Absent => EjectRequest::NoDevice,
                _ => EjectRequest::Queued,
            };
            assert_eq!(outcome, expected, "requested in {before:?}");
            if outcome == EjectRequest::Queued {
                self.requested.push(at);
            }
        }

        /// A request gets its answer: it was the oldest.
        fn answer(&mut self, at: usize) {
            assert_eq!(self.requested.remove(0), at, "served before an older one");
            assert_eq!(self.states[at].ticket(), None, "still leaving after its answer");
        }

        fn check(&self) {
            for at in 0..DEVICES {
                match self.states[at] {
                    DeviceState::Online => assert_eq!(self.memory[at], CoreMemory::Some),
                    DeviceState::Absent | DeviceState::Refused(()) => {
                        assert_eq!(self.memory[at], CoreMemory::None)
                    }
                    DeviceState::Leaving(_) => {}
                }
                assert_eq!(self.states[at].ticket().is_some(), self.requested.contains(&at));
            }
            assert_eq!(oldest_request(self.states.iter()), self.requested.first().copied());
        }

        /// Renumbers the tickets from 0 on, so that there are finitely many worlds.
        fn ranked(mut self) -> World {
            for (rank, &at) in (0..).zip(&self.requested) {
                self.states[at] = DeviceState::Leaving(Ticket(rank));
            }
            self
        }
    }

    /// Proves for three devices and every sequence of events, of any length: a device has memory exactly in the states
    /// that say so, each queued request gets exactly one answer, no device is queued twice, and requests are served in
    /// the order in which they were made. Fails when a transition loses a request or leaves a wrong state.
    #[test]
    fn every_order_of_events() {
        let start = World {
            states: [DeviceState::Absent; DEVICES],
            memory: [CoreMemory::None; DEVICES],
            requested: Vec::new(),
        };
        let mut seen = HashSet::from([start.clone()]);
        let mut left = Vec::from([start]);
        while let Some(world) = left.pop() {
            for at in 0..DEVICES {
                for event in EVENTS {
                    let mut next = world.clone();
                    next.happen(at, event);
                    next.check();
                    let next = next.ranked();
                    if seen.insert(next.clone()) {
                        left.push(next);
                    }
                }
            }
        }
        // Each device alone: absent, refused, online, leaving with and without memory.
        assert!(seen.len() > 5_usize.pow(3), "{} worlds", seen.len());
    }
}
