//! A million random operations on the whole core, compared with a simple model of each region.
//!
//! DIMMs of awkward sizes and addresses, full of junk or of their old contents, are added and removed; sections go offline
//! and online; blocks of every order, runs and single frames are allocated and freed. Each resource has the buddy tests'
//! [`Model`]. The core chooses the resource; the models say whether an allocation must succeed and which frames are free
//! afterwards. The simulation panics when a memmap word is read before it was written.
//!
//! For the seed and the number of operations see `buddy`'s `random`.

use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::println;
use std::vec::Vec;

use super::*;
use crate::buddy::tests::model::Model;
use crate::buddy::tests::random::{Random, setting};
use crate::hot_remove::{RemoveError, Target};
use crate::info::{DeviceId, PageState};
use crate::vmalloc::{Progress, VmallocArena};

/// The number of operations, unless the environment sets it.
const OPERATIONS: u64 = 1_000_000;
/// Operations on one machine.
const ON_ONE_MACHINE: u64 = 50_000;
/// Operations between comparisons with the models, and between runs of `check`.
const BETWEEN_COMPARISONS: u64 = 500;
const BETWEEN_CHECKS: u64 = 10_000;
/// The most resources.
const MAX_PARTS: u64 = 12;
/// Remembered heads, which are freed twice.
const PAST: usize = 500;

/// A resource and its model.
struct Part {
    id: ResourceId,
    device: DeviceId,
    node: NodeId,
    range: PfnRange,
    usable: PfnRange,
    model: Model,
}

struct World {
    memory: Box<Memory<SimMachine>>,
    arena: VmallocArena,
    random: Random,
    parts: Vec<Part>,
    /// The allocated blocks.
    allocated: BTreeMap<Pfn, (Order, Mobility)>,
    /// The offline blocks.
    offline: BTreeSet<Pfn>,
    /// Heads of past allocations in present memory.
    past: VecDeque<Pfn>,
    devices: u32,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random(seed);
        let gib_leaves = if random.below(2) == 0 { Support::No } else { Support::Yes };
        let memory = Box::new(booted(gib_leaves));
        let mut parts = Vec::new();
        memory.resources(&mut |info| {
            let mut model = Model::new(info.range);
            memory.blocks(info.id, &mut |block| {
                if block.state != PageState::Free {
                    model.take(block.range.start, Order::holding(block.range.pages()).unwrap());
                }
            });
            let (id, device, node, range) = (info.id, info.device, info.node, info.range);
            parts.push(Part { id, device, node, range, usable: range, model });
        });
        World {
            memory,
            arena: VmallocArena::new(),
            random,
            parts,
            allocated: BTreeMap::new(),
            offline: BTreeSet::new(),
            past: VecDeque::new(),
            devices: 0,
        }
    }

    fn part(&mut self, pfn: Pfn) -> &mut Part {
        self.parts.iter_mut().find(|part| part.range.contains(pfn)).expect("present memory")
    }

    /// A random part, if it is hot-added.
    fn any_hot(&mut self) -> Option<usize> {
        let index = self.random.below(self.parts.len() as u64) as usize;
        (self.parts[index].device != DeviceId::BOOT).then_some(index)
    }

    /// Runs one operation. `free` of 8 single-block operations free, the others allocate.
    fn step(&mut self, free: u64) {
        match self.random.below(2000) {
            0 | 1 => self.plug(),
            2 => self.unplug(),
            3 => self.offline(),
            4 | 5 => self.online(),
            6..36 => self.query_page(),
            36..76 => self.free_wrongly(),
            76..92 => self.allocate_run(),
            92..110 => self.allocate_up_to(),
            _ if self.random.below(8) < free => self.free_any(),
            _ => self.allocate(),
        }
    }

    /// Plugs a DIMM of a random multiple of 2 MiB, behind another one or at a random address.
    fn plug(&mut self) {
        if self.parts.len() as u64 >= MAX_PARTS {
            return;
        }
        let units = [1 + self.random.below(8), 1 + self.random.below(130)][self.random.below(2) as usize];
        let index = self.random.below(self.parts.len() as u64) as usize;
        let start = match self.random.below(2) {
            0 if self.parts[index].range.start >= HOTPLUGGABLE.start => self.parts[index].range.end,
            _ => HOTPLUGGABLE.start.offset(512 * self.random.below(3000)),
        };
        let range = PfnRange::of(start, 512 * units);
        if self.parts.iter().any(|part| part.range.overlaps(range)) {
            return;
        }
        self.memory.machine().plug(range);
        let (device, node) = (DeviceId(self.devices), NodeId(self.random.below(4) as u32));
        self.devices += 1;
        let added = self.memory.add(device, &[request(start.0, range.pages(), node.0)], &|| 0).unwrap();
        assert_eq!(added.stats.existing_pages_used, 0);
        let info = self.memory.resource(added.ids[0]).unwrap();
        let usable = PfnRange::new(info.usable_start, range.end);
        assert_eq!((info.range, usable.pages()), (range, info.usable_pages));
        let (id, model) = (info.id, Model::new(usable));
        self.parts.push(Part { id, device, node, range, usable, model });
    }

    /// Removes a DIMM. While it holds pinned frames, the removal is refused and changes nothing.
    fn unplug(&mut self) {
        let Some(index) = self.any_hot() else { return };
        let (device, range) = (self.parts[index].device, self.parts[index].range);
        if self.allocated.range(range.start..range.end).next().is_some() {
            let mut removal = self.memory.begin_remove(device, &|| 0).unwrap();
            // A pinned block refuses it; a movable one without an owner is waited for, by name, until the caller gives up.
            let refused = loop {
                match self.memory.remove_step(&self.arena, &mut removal, 1 << 20, &|| 0) {
                    Ok(Progress::More) if removal.waiting().is_none() => {}
                    Ok(Progress::More) => {
                        let waited_for = removal.waiting();
                        self.memory.abort_remove(&self.arena, removal);
                        break waited_for;
                    }
                    other => break other.err(),
                }
            };
            assert!(matches!(refused, Some(RemoveError::Pinned(_))), "{refused:?}");
            self.compare();
            self.free_within(range);
        }
        let mut removal = self.memory.begin_remove(device, &|| 0).unwrap();
        while self.memory.remove_step(&self.arena, &mut removal, 1 << 20, &|| 0).unwrap() == Progress::More {}
        self.memory.finish_remove(&self.arena, removal, &|| 0).unwrap();
        // The next DIMM there has the old contents or junk.
        match self.random.below(2) {
            0 => self.memory.machine().unplug_keeping(range),
            _ => self.memory.machine().unplug(range),
        }
        self.parts.swap_remove(index);
        self.past.retain(|head| !range.contains(*head));
        self.offline.retain(|head| !range.contains(*head));
    }

    /// Frees the blocks of a section and offlines it.
    fn offline(&mut self) {
        let Some(index) = self.any_hot() else { return };
        let range = self.parts[index].range;
        let range = range.start.offset(self.random.below(range.pages())).section().range();
        self.free_within(range);
        let target = Target::Frames(range);
        let begun = self.memory.begin_offline(target, &|| 0);
        // A section that holds only memmap has no frame to offline.
        if self.parts.iter().all(|part| part.usable.intersection(range).is_empty()) {
            assert!(matches!(begun, Err(RemoveError::Absent { range: refused }) if refused == range));
            return;
        }
        let mut offlining = begun.unwrap();
        while self.memory.offline_step(&self.arena, &mut offlining, 1 << 20, &|| 0).unwrap() == Progress::More
        {
        }
        self.memory.finish_offline(&self.arena, offlining).unwrap();
        for part in &mut self.parts {
            let part_of_it = part.usable.intersection(range);
            let mut at = part_of_it.start;
            while at < part_of_it.end {
                let Some((head, order)) = part.model.free_at(at) else {
                    // Already offline.
                    let (head, order) = part.model.held_at(at).unwrap();
                    at = head.offset(order.pages());
                    continue;
                };
                let end = head.offset(order.pages()).min(part_of_it.end);
                let fits = |order: &Order| at.is_aligned(*order) && at.offset(order.pages()) <= end;
                let order = (0..=order.0).rev().map(Order).find(fits).unwrap();
                part.model.take(at, order);
                self.offline.insert(at);
                at = at.offset(order.pages());
            }
        }
    }

    /// Onlines a DIMM's offline blocks.
    fn online(&mut self) {
        let Some(index) = self.any_hot() else { return };
        let part = &mut self.parts[index];
        let heads: Vec<Pfn> = self.offline.range(part.range.start..part.range.end).copied().collect();
        let pages: u64 = heads.iter().map(|&head| part.model.give(head).pages()).sum();
        heads.iter().for_each(|head| assert!(self.offline.remove(head)));
        let online = self.memory.online(Target::Resource(part.id), None).unwrap();
        assert_eq!(online.pages, pages);
    }

    /// Compares what `page` says about a random frame.
    fn query_page(&mut self) {
        let index = self.random.below(self.parts.len() as u64) as usize;
        let Part { id, device, range, usable, ref model, .. } = self.parts[index];
        let pfn = range.start.offset(self.random.below(range.pages() + 10));
        // A cached block is free, but joins its neighbours only when the cache is drained.
        let cached = self.memory.page(pfn);
        self.memory.drain_all();
        let page = self.memory.page(pfn);
        assert_eq!((cached.state, cached.resource), (page.state, page.resource));
        if !range.contains(pfn) {
            return;
        }
        assert_eq!(page.resource, Some(id));
        if !usable.contains(pfn) {
            assert_eq!((page.state, page.head), (PageState::Memmap, None));
        } else if let Some((head, order)) = model.free_at(pfn) {
            assert_eq!((page.state, page.head, page.order), (PageState::Free, Some(head), Some(order)));
        } else {
            let (head, order) = model.held_at(pfn).unwrap();
            let state = match self.allocated.get(&head) {
                Some((_, Mobility::Movable)) => PageState::Movable,
                Some((_, Mobility::Pinned)) => PageState::Pinned,
                None if self.offline.contains(&head) => PageState::Offline,
                None => {
                    assert_eq!(device, DeviceId::BOOT);
                    return;
                }
            };
            if state == PageState::Offline {
                assert_eq!(page.state, state);
            } else {
                assert_eq!((page.state, page.head, page.order), (state, Some(head), Some(order)));
            }
        }
    }

    /// Frees a freed block again, and a random frame that heads no allocation: both must be refused.
    fn free_wrongly(&mut self) {
        let past = self.past.get(self.random.below(PAST as u64) as usize).copied();
        let range = self.parts[self.random.below(self.parts.len() as u64) as usize].range;
        let any = range.start.offset(self.random.below(range.pages() + 10));
        for head in past.into_iter().chain([any]).filter(|head| !self.allocated.contains_key(head)) {
            assert!(self.memory.free_block(head).is_err(), "{head:?} is not allocated");
        }
    }

    /// A random node, or none, and whether a region that it allows satisfies `fits`.
    fn pick_node(&mut self, fits: impl Fn(&Model) -> bool) -> (Option<NodeId>, bool) {
        let node = (self.random.below(4) == 0).then(|| NodeId(self.random.below(4) as u32));
        let mut allowed = self.parts.iter().filter(|part| node.is_none_or(|node| part.node == node));
        (node, allowed.any(|part| fits(&part.model)))
    }

    fn mobility(&mut self) -> Mobility {
        if self.random.below(4) == 0 { Mobility::Pinned } else { Mobility::Movable }
    }

    /// Records an allocated block. All of it must have been free, in a region of `node`.
    fn record(&mut self, block: Block, mobility: Mobility, node: Option<NodeId>) {
        let part = self.part(block.head);
        assert!(node.is_none_or(|node| part.node == node));
        part.model.take(block.head, block.order);
        self.allocated.insert(block.head, (block.order, mobility));
        self.past.push_front(block.head);
        self.past.truncate(PAST);
    }

    fn allocate(&mut self) {
        let order = Order(self.random.next().trailing_zeros().min(16) as u8);
        let (node, fits) = self.pick_node(|model| model.highest() >= Some(order));
        let mobility = self.mobility();
        let got = self.memory.allocate_block(order, node, mobility);
        assert_eq!(got.is_some(), fits, "a block of {order:?} of {node:?}");
        if let Some(block) = got {
            assert_eq!(block.order, order);
            self.record(block, mobility, node);
        }
    }

    fn allocate_up_to(&mut self) {
        let most = Order(self.random.below(17) as u8);
        let (node, fits) = self.pick_node(|model| model.free_pages() > 0);
        let mobility = self.mobility();
        let got = self.memory.allocate_up_to(most, node, mobility);
        assert_eq!(got.is_some(), fits, "up to {most:?} of {node:?}");
        if let Some(block) = got {
            assert!(block.order <= most);
            self.record(block, mobility, node);
        }
    }

    fn allocate_run(&mut self) {
        let magnitude = self.random.below(15);
        let pages = (1 << magnitude) + self.random.below(1 << magnitude);
        let (node, fits) = self.pick_node(|model| model.longest() >= pages);
        let mobility = self.mobility();
        let got = self.memory.allocate_run(pages, node, mobility);
        assert_eq!(got.is_some(), fits, "a run of {pages} of {node:?}");
        let Some(run) = got else { return };
        assert_eq!(run.pages(), pages);
        let mut at = run.start;
        while at < run.end {
            let block = self.memory.block_at(at).unwrap();
            self.record(block, mobility, node);
            at = block.range().end;
        }
        assert_eq!(at, run.end);
        if self.random.below(2) == 0 {
            self.memory.free_run(run).unwrap();
            for head in self.allocated.range(run.start..run.end).map(|(&head, _)| head).collect::<Vec<_>>() {
                self.freed(head);
            }
        }
    }

    fn freed(&mut self, head: Pfn) -> Order {
        let (order, _) = self.allocated.remove(&head).unwrap();
        assert_eq!(self.part(head).model.give(head), order);
        order
    }

    fn free(&mut self, head: Pfn) {
        let order = self.freed(head);
        assert_eq!(self.memory.free_block(head), Ok(order), "{head:?}");
    }

    /// The allocated block behind a random frame.
    fn free_any(&mut self) {
        let index = self.random.below(self.parts.len() as u64) as usize;
        let range = self.parts[index].range;
        let pfn = range.start.offset(self.random.below(range.pages()));
        let head = self.allocated.range(pfn..).next().or_else(|| self.allocated.iter().next());
        if let Some(head) = head.map(|(&head, _)| head) {
            self.free(head);
        }
    }

    /// Frees all blocks that have a frame of `range`.
    fn free_within(&mut self, range: PfnRange) {
        let reaching = |(&head, &(order, _)): (&Pfn, &(Order, Mobility))| {
            PfnRange::of(head, order.pages()).overlaps(range).then_some(head)
        };
        let heads: Vec<Pfn> = self.allocated.range(..range.end).filter_map(reaching).collect();
        heads.into_iter().for_each(|head| self.free(head));
    }

    /// Compares all figures of all regions with the models: the free frames also while some are cached.
    fn compare(&self) {
        for Part { id, model, .. } in &self.parts {
            assert_eq!(self.memory.resource(*id).unwrap().free_pages, model.free_pages(), "{id:?}, cached");
        }
        self.memory.drain_all();
        for Part { id, node, range, model, .. } in &self.parts {
            let info = self.memory.resource(*id).unwrap();
            assert_eq!((info.range, info.node), (*range, *node));
            assert_eq!(info.free_pages, model.free_pages(), "{id:?}");
            let offline = self.offline.range(range.start..range.end).map(|&head| model.held_at(head));
            assert_eq!(info.offline_pages, offline.flatten().map(|(_, order)| order.pages()).sum::<u64>());
            assert_eq!(info.largest_free_pages, model.highest().map_or(0, Order::pages));
            assert_eq!(self.memory.free_blocks(*id).as_ref(), Some(model.blocks()), "{id:?}");
        }
    }
}

/// Proves that over a million operations the core and the models agree: an allocation succeeds exactly when a region can
/// serve it, no frame is allocated twice, only allocated blocks can be freed, every frame has the model's state, and the
/// totals are as at the start when everything is freed and removed. Fails on any error between the frame cache and a
/// region's bits, or when an unwritten word is read.
#[test]
fn a_million_operations_match_the_models() {
    let seed = setting("MM_SEED", std::process::id().into());
    let operations = setting("MM_OPERATIONS", OPERATIONS);
    println!("MM_SEED={seed} MM_OPERATIONS={operations}");
    let mut done = 0;
    while done < operations {
        println!("from operation {done} on");
        let mut world = World::new(seed.wrapping_add(done));
        let before = world.memory.totals();
        for n in 0..ON_ONE_MACHINE.min(operations - done) {
            // Memory fills, empties and stays about as full, in turns.
            world.step([1, 7, 4, 4, 2, 6][(n / 4000 % 6) as usize]);
            if n % BETWEEN_COMPARISONS == 0 {
                world.compare();
            }
            if n % BETWEEN_CHECKS == 0 {
                assert_invariants(&world.memory);
            }
            done += 1;
        }
        world.compare();
        world.free_within(PfnRange::new(Pfn(0), HOTPLUGGABLE.end));
        while world.parts.iter().any(|part| part.device != DeviceId::BOOT) {
            world.unplug();
        }
        world.compare();
        assert_invariants(&world.memory);
        assert_eq!(world.memory.totals(), before);
    }
}
