//! What becomes of a memory device: its states, what leads from one to another, and whose turn it is to leave.
//!
//! ```text
//!              came             leave                   vacated
//!   Absent ──────────> Online ─────────> Leaving(turn) ─────────> Absent
//!      '──> Refused     |  ^                  | stay
//!              | leave  |  '──────────────────'
//!              v        '─> Vanished ─> Absent     gone without having been asked for
//!           Leaving(turn)
//! ```
//!
//! Invariants: a device that is `Online` or `Vanished` has memory in the memory core, one that is `Absent` or
//! `Refused` has none; no two devices have the same turn, and of those that leave the first is the one that was asked
//! for first. Neighbour: the kernel's `hotplug` keeps the devices, and does what leads from one state to another.

use core::fmt;

/// What became of a device. `E` says why one was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State<E> {
    /// Nothing is plugged.
    Absent,
    /// All its memory is there.
    Online,
    /// It was refused; none of its memory is in use.
    Refused(E),
    /// It was asked for back, and is not gone yet: nor is its memory, if it had any.
    Leaving(Turn),
    /// It is gone, and its memory cannot be forgotten yet.
    Vanished,
}

/// When a device was asked for back: those asked for earlier have lower ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Turn(u64);

/// What becomes of a request for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It is served when its turn comes ([`first`]).
    Begins,
    /// One is under way already.
    UnderWay,
    /// There is no device.
    Absent,
}

/// Whether the memory core knows any of a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Memory {
    /// None of it.
    None,
    /// All of it, or some.
    Some,
}

impl<E> State<E> {
    /// When it was asked for, if it is leaving.
    pub const fn turn(&self) -> Option<Turn> {
        match self {
            State::Leaving(turn) => Some(*turn),
            _ => None,
        }
    }

    /// Whether the device is online or on its way out.
    pub const fn is_in_use(&self) -> bool {
        matches!(self, State::Online | State::Leaving(_))
    }

    /// Whether the device is gone and its memory is still to be forgotten.
    pub const fn is_vanished(&self) -> bool {
        matches!(self, State::Vanished)
    }

    /// Somebody asks for the device back; a request that begins has this turn.
    pub fn leave(&mut self, turn: Turn) -> Leave {
        match self {
            State::Online | State::Refused(_) => {
                *self = State::Leaving(turn);
                Leave::Begins
            }
            State::Leaving(_) => Leave::UnderWay,
            State::Absent | State::Vanished => Leave::Absent,
        }
    }

    /// The device was asked for and is not given back: what it was before.
    pub fn stay(&mut self, memory: Memory, why: E) {
        if self.turn().is_some() {
            *self = match memory {
                Memory::None => State::Refused(why),
                Memory::Some => State::Online,
            };
        }
    }

    /// The device is gone without having been asked for, and this is left of its memory. Whoever asked for it is
    /// answered when its turn comes.
    pub fn forgotten(&mut self, left: Memory) {
        if self.turn().is_none() {
            *self = match left {
                Memory::None => State::Absent,
                Memory::Some => State::Vanished,
            };
        }
    }
}

impl<E: fmt::Display> fmt::Display for State<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Absent => f.write_str("absent"),
            State::Online => f.write_str("online"),
            State::Refused(error) => write!(f, "refused: {error}"),
            State::Leaving(_) => f.write_str("leaving"),
            State::Vanished => f.write_str("gone, still to be forgotten"),
        }
    }
}

/// The turn of a request that comes now.
pub fn next_turn<'a, E: 'a>(states: impl Iterator<Item = &'a State<E>>) -> Turn {
    let last = states.filter_map(State::turn).max();
    last.map_or(Turn(0), |Turn(last)| Turn(last.saturating_add(1)))
}

/// The place of the device that was asked for first, of those that are not gone yet.
pub fn first<'a, E: 'a>(states: impl Iterator<Item = &'a State<E>>) -> Option<usize> {
    let leaving = states.enumerate().filter_map(|(at, state)| Some((state.turn()?, at)));
    leaving.min().map(|(_, at)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::vec::Vec;

    const DEVICES: usize = 3;

    /// The devices as they are, and what an observer has written down.
    #[derive(Clone, PartialEq, Eq, Hash)]
    struct World {
        states: [State<()>; DEVICES],
        memory: [Memory; DEVICES],
        /// Who was asked for and has had no end, oldest first.
        asked: Vec<usize>,
    }

    /// What can happen to one device, or to the one whose turn it is.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        /// Its slot is looked at and there is one; the memory core takes it, or refuses it.
        Came(Memory),
        /// Its slot is looked at and there is none; memory that it had can be forgotten, or not yet.
        Gone(Memory),
        /// What could not be forgotten before can be.
        Forgotten,
        /// The firmware asks for it.
        Asked,
        /// Its memory is refused to go.
        Refused,
        /// Its memory is given up, and it is let go.
        LetGo,
        /// Its memory is given up, and it is still there: looked at again it is taken, refused, or gone after all.
        NotLetGo(Option<Memory>),
    }

    const EVENTS: [Event; 11] = [
        Event::Came(Memory::None),
        Event::Came(Memory::Some),
        Event::Gone(Memory::None),
        Event::Gone(Memory::Some),
        Event::Forgotten,
        Event::Asked,
        Event::Refused,
        Event::LetGo,
        Event::NotLetGo(None),
        Event::NotLetGo(Some(Memory::None)),
        Event::NotLetGo(Some(Memory::Some)),
    ];

    impl World {
        /// As `hotplug::add` and `refuse`.
        fn add(&mut self, at: usize, taken: Memory) {
            self.memory[at] = taken;
            self.states[at] = match taken {
                Memory::None => State::Refused(()),
                Memory::Some => State::Online,
            };
        }

        /// As the kernel does it; what cannot happen to this device now changes nothing.
        fn happen(&mut self, at: usize, event: Event) {
            let state = self.states[at];
            let has_turn = first(self.states.iter()) == Some(at);
            match event {
                Event::Came(taken) if !state.is_in_use() && !state.is_vanished() => self.add(at, taken),
                Event::Gone(left) if state.is_in_use() || state.is_vanished() => {
                    if left == Memory::None {
                        self.memory[at] = Memory::None;
                    }
                    self.states[at].forgotten(self.memory[at]);
                }
                Event::Gone(_) => self.states[at] = State::Absent,
                Event::Forgotten if state.is_vanished() => {
                    self.memory[at] = Memory::None;
                    self.states[at].forgotten(Memory::None);
                }
                Event::Asked => self.ask(at),
                Event::Refused if has_turn => {
                    self.states[at].stay(self.memory[at], ());
                    self.end(at);
                }
                Event::LetGo | Event::NotLetGo(_) if has_turn => {
                    (self.memory[at], self.states[at]) = (Memory::None, State::Absent);
                    if let Event::NotLetGo(Some(taken)) = event {
                        self.add(at, taken);
                    }
                    let looked_at = self.states[at];
                    if matches!(event, Event::NotLetGo(_)) {
                        self.states[at].stay(self.memory[at], ());
                    }
                    assert_eq!(self.states[at], looked_at, "it is what was found");
                    self.end(at);
                }
                _ => {}
            }
        }

        fn ask(&mut self, at: usize) {
            let (before, turn) = (self.states[at], next_turn(self.states.iter()));
            let leave = self.states[at].leave(turn);
            let expected = match before {
                _ if self.asked.contains(&at) => Leave::UnderWay,
                State::Absent | State::Vanished => Leave::Absent,
                _ => Leave::Begins,
            };
            assert_eq!(leave, expected, "asked for in {before:?}");
            if leave == Leave::Begins {
                self.asked.push(at);
            }
        }

        /// A request has its end: it was the oldest.
        fn end(&mut self, at: usize) {
            assert_eq!(self.asked.remove(0), at, "served before an older one");
            assert_eq!(self.states[at].turn(), None, "leaves on after its end");
        }

        fn check(&self) {
            for at in 0..DEVICES {
                match self.states[at] {
                    State::Online | State::Vanished => assert_eq!(self.memory[at], Memory::Some),
                    State::Absent | State::Refused(()) => assert_eq!(self.memory[at], Memory::None),
                    State::Leaving(_) => {}
                }
                assert_eq!(self.states[at].turn().is_some(), self.asked.contains(&at));
            }
            assert_eq!(first(self.states.iter()), self.asked.first().copied());
        }

        /// Turns that are told apart by nothing but their order, as small as can be: so there are finitely many worlds.
        fn ranked(mut self) -> World {
            for (rank, &at) in (0..).zip(&self.asked) {
                self.states[at] = State::Leaving(Turn(rank));
            }
            self
        }
    }

    /// Proves for three devices and every order of events, of any length: a device has memory exactly in the states
    /// that say so, each request that begins has one end, none is answered as begun twice, and they are served in the
    /// order in which they came.
    #[test]
    fn every_order_of_events() {
        let start =
            World { states: [State::Absent; DEVICES], memory: [Memory::None; DEVICES], asked: Vec::new() };
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
        // Each device alone: absent, refused, online, vanished, leaving with and without memory.
        assert!(seen.len() > 6_usize.pow(3), "{} worlds", seen.len());
    }
}
