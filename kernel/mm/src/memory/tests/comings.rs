//! Random comings and goings: DIMMs of awkward sizes added and removed while memory is in use, with the simple truth
//! kept beside.

use std::vec::Vec;

use proptest::prelude::*;

use super::migrate::{intact, reverse_map};
use super::*;
use crate::info::{DeviceId, Holder, ResourceState};
use crate::remove::{Offlining, Removal, RemoveError, Target};
use crate::window::{AllocError, AllocationId, Amount, Progress, Request, Shape, Window};

/// One behind the other from 4 GiB on, in units of 2 MiB: sections and GiBs are shared in every way.
const UNITS: [u64; 7] = [1, 50, 31, 64, 14, 128, 5];

fn dimm(number: usize) -> PfnRange {
    let before: u64 = UNITS[..number].iter().sum();
    PfnRange::of(Pfn(0x100000 + before * 512), UNITS[number] * 512)
}

#[derive(Clone, Debug)]
enum Op {
    Plug(usize),
    /// Begins to take a DIMM away.
    Remove(usize),
    /// Begins to take a section of it out of use.
    Offline(usize, u64),
    /// Goes on with what was begun, so many frames at a time.
    Steps(u8, u64),
    GiveUp,
    Online(usize),
    Allocate(u64, Kind, Shape, Option<u32>),
    Free(usize),
    Verify,
}

fn op() -> impl Strategy<Value = Op> {
    let number = || 0..UNITS.len();
    let kind = prop_oneof![9 => Just(Kind::Movable), 1 => Just(Kind::Pinned)];
    let shape = prop_oneof![2 => Just(Shape::Scattered), 1 => Just(Shape::Contiguous)];
    let pages = prop_oneof![1u64..600, 500u64..20_000];
    let node = prop_oneof![Just(None), (7u32..9).prop_map(Some)];
    prop_oneof![
        6 => number().prop_map(Op::Plug),
        4 => number().prop_map(Op::Remove),
        2 => (number(), 0u64..3).prop_map(|(number, section)| Op::Offline(number, section)),
        8 => (1u8..20, prop_oneof![Just(64u64), Just(700), Just(9000)]).prop_map(|(n, pages)| Op::Steps(n, pages)),
        1 => Just(Op::GiveUp),
        2 => number().prop_map(Op::Online),
        8 => (pages, kind, shape, node).prop_map(|(pages, kind, shape, node)| Op::Allocate(pages, kind, shape, node)),
        5 => any::<usize>().prop_map(Op::Free),
        1 => Just(Op::Verify),
    ]
}

/// What is under way.
enum Going {
    Nothing,
    Removal(Removal, usize),
    Offlining(Offlining),
}

struct World {
    memory: Memory<SimMachine>,
    window: Window,
    present: [bool; UNITS.len()],
    held: Vec<(AllocationId, Kind)>,
    going: Going,
}

impl World {
    fn new(gib_leaves: Support) -> World {
        let (memory, window) = (booted(gib_leaves), Window::new());
        World { memory, window, present: [false; UNITS.len()], held: Vec::new(), going: Going::Nothing }
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Plug(number) if !self.present[number] => {
                let range = dimm(number);
                self.memory.machine().plug(range);
                let request = request(range.start.0, range.pages(), 7 + number as u32 % 2);
                let added = self.memory.add(DeviceId(number as u32), &[request], &|| 0).unwrap();
                assert_eq!(added.stats.existing_pages_used, 0);
                self.present[number] = true;
            }
            Op::Plug(_) => {}
            Op::Remove(number) => match self.memory.begin_remove(DeviceId(number as u32), &|| 0) {
                Ok(removal) => self.going = Going::Removal(removal, number),
                Err(error) => self.expect(&error, Some(number)),
            },
            Op::Offline(number, section) => {
                let first = dimm(number).start.section().0;
                let target = Target::Frames(SectionNr(first + section).range());
                match self.memory.begin_offline(target, &|| 0) {
                    Ok(offlining) => self.going = Going::Offlining(offlining),
                    Err(error) => self.expect(&error, None),
                }
            }
            Op::Steps(steps, pages) => (0..steps).for_each(|_| self.step(pages)),
            Op::GiveUp => match core::mem::replace(&mut self.going, Going::Nothing) {
                Going::Nothing => {}
                Going::Removal(removal, _) => self.memory.abort_remove(&self.window, removal),
                Going::Offlining(offlining) => self.memory.abort_offline(&self.window, offlining),
            },
            Op::Online(number) => {
                let result = self.memory.online(Target::Frames(dimm(number)), None);
                assert!(result.is_ok() || !self.present[number] || !matches!(self.going, Going::Nothing));
            }
            Op::Allocate(pages, kind, shape, node) => {
                let request = Request { amount: Amount::Pages(pages), node: node.map(NodeId), kind, shape };
                match self.window.allocate(&self.memory, &request) {
                    Ok(one) => {
                        self.window.fill(&self.memory, one.id, 0, pages.min(5)).unwrap();
                        self.held.push((one.id, kind));
                    }
                    Err(AllocError::Map(_) | AllocError::Corrupt { .. }) => panic!(),
                    Err(_) => {}
                }
            }
            Op::Free(place) if !self.held.is_empty() => {
                let (id, _) = self.held.swap_remove(place % self.held.len());
                self.window.free(&self.memory, id).unwrap();
            }
            Op::Free(_) => {}
            Op::Verify => intact(&self.memory, &self.window),
        }
    }

    fn step(&mut self, pages: u64) {
        self.going = match core::mem::replace(&mut self.going, Going::Nothing) {
            Going::Nothing => Going::Nothing,
            Going::Removal(mut removal, number) => {
                match self.memory.remove_step(&self.window, &mut removal, pages, &|| 0) {
                    Ok(Progress::More) => Going::Removal(removal, number),
                    Ok(Progress::Done) => {
                        self.memory.finish_remove(removal, &|| 0).unwrap();
                        // Old bytes or new ones: what is plugged next must not care.
                        match number % 2 {
                            0 => self.memory.machine().pull(dimm(number)),
                            _ => self.memory.machine().unplug(dimm(number)),
                        }
                        self.present[number] = false;
                        Going::Nothing
                    }
                    Err(error) => {
                        self.expect(&error, Some(number));
                        Going::Nothing
                    }
                }
            }
            Going::Offlining(mut offlining) => {
                match self.memory.offline_step(&self.window, &mut offlining, pages, &|| 0) {
                    Ok(Progress::More) => Going::Offlining(offlining),
                    Ok(Progress::Done) => {
                        self.memory.finish_offline(offlining);
                        Going::Nothing
                    }
                    Err(error) => {
                        self.expect(&error, None);
                        Going::Nothing
                    }
                }
            }
        }
    }

    /// A refusal is a true one.
    fn expect(&self, error: &RemoveError, number: Option<usize>) {
        let idle = matches!(self.going, Going::Nothing);
        match *error {
            RemoveError::Unknown { .. } => assert!(number.is_some_and(|number| !self.present[number])),
            RemoveError::UnderWay { .. } => assert!(!idle),
            RemoveError::Absent { .. } => {}
            RemoveError::Pinned(pinned) => {
                let Holder::Mapping(at) = pinned.holder else { panic!("{pinned}") };
                let id = self.window.holding(at).unwrap().id;
                assert!(self.held.contains(&(id, Kind::Pinned)), "{pinned}");
                assert_eq!(self.memory.resource_of(pinned.pfn), Some(pinned.resource));
            }
            RemoveError::NoRoom { needed, free } => assert!(needed > free),
            RemoveError::NoRun { pages, longest, .. } => assert!(pages > longest),
            ref other => panic!("{other}"),
        }
    }

    /// Every usable frame is free, offline, in an allocation, or a page table of one.
    fn balance(&self) {
        let totals = self.memory.totals();
        let mut allocated = 0;
        let mut last = None;
        while let Some(one) = self.window.next_after(last) {
            last = Some(one.id);
            allocated += one.pages;
        }
        let (mut movable, mut pinned) = (0, 0);
        self.memory.resources(&mut |info| {
            movable += info.movable_pages;
            pinned += info.pinned_pages;
        });
        assert_eq!(totals.free_pages + totals.offline_pages + movable + pinned, totals.usable_pages);
        // A contiguous allocation on its way has two runs.
        assert!(movable + pinned >= allocated);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Proves that over any sequence of adds, removals, offlinings, allocations and frees, finished, given up or refused
    /// half way, no byte of any allocation is lost, every frame is accounted for, `check` holds, a refusal is true,
    /// and that at the end, when all is freed and taken away, leaves, tables, sums and boot memory's blocks are as at
    /// the start. Memory that was taken away panics when it is touched. Fails when anything of the removal is wrong.
    #[test]
    fn nothing_is_lost(
        gib_leaves in prop_oneof![Just(Support::No), Just(Support::Yes)],
        ops in prop::collection::vec(op(), 1..70),
    ) {
        let mut world = World::new(gib_leaves);
        let state = |memory: &Memory<SimMachine>| {
            let mut blocks = Vec::new();
            memory.resources(&mut |info| blocks.push((info.id, memory.free_blocks(info.id))));
            (memory.machine().leaves(), memory.machine().tables(), memory.totals(), blocks)
        };
        let before = state(&world.memory);
        for op in &ops {
            world.run(op);
            world.balance();
            if matches!(world.going, Going::Nothing) {
                reverse_map(&world.memory);
            }
            sound(&world.memory);
        }
        intact(&world.memory, &world.window);
        for (id, _) in core::mem::take(&mut world.held) {
            world.window.free(&world.memory, id).unwrap();
        }
        world.run(&Op::GiveUp);
        for number in 0..UNITS.len() {
            world.run(&Op::Remove(number));
            world.run(&Op::Steps(200, 9000));
            prop_assert!(!world.present[number]);
        }
        let mut offline = Vec::new();
        world.memory.resources(&mut |info| if info.state != ResourceState::Online { offline.push(info.id) });
        prop_assert_eq!(offline, Vec::new());
        prop_assert!(state(&world.memory) == before);
    }
}
