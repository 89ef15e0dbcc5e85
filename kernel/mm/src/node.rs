//! Nodes: which regions a node has and how much of them is free, for the choice of a region.
//!
//! A node is its regions. The choice reads only what is here and the regions' summaries, without a
//! lock: what it reads may be old by the time the region's lock is held, so whoever chose tries, and
//! goes on with the next candidate when the region has nothing left.
//!
//! Invariants: a node, once named, keeps its place for good (a node without memory is just empty);
//! a slot belongs to at most one node; free frames of a node are the sum over its regions whenever no
//! region's lock is held. Neighbours: `memory` asks, `hotplug` and `boot` tell about slots.

use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use crate::addr::{NodeId, Order};
use crate::info::{DeviceId, Zone};
use crate::page::{Kind, SlotNr};
use crate::region::{MAX_REGIONS, Slot};

/// Nodes there can be. Numbers may be any; so many different ones fit.
pub const MAX_NODES: usize = 64;

/// No node, no rank.
const NOBODY: u8 = u8::MAX;

/// A node's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeNr(u8);

#[derive(Debug)]
struct Node {
    /// The node's number, meaningful below `Nodes::named`.
    id: AtomicU32,
    /// Free frames of its regions.
    free: AtomicU64,
    /// The slot that served last.
    hint: AtomicU16,
    /// How many of its slots have each rank: no search for a rank it has not.
    ranks: [AtomicU16; Rank::COUNT],
}

/// All nodes, and each slot's node and rank.
#[derive(Debug)]
pub struct Nodes {
    nodes: [Node; MAX_NODES],
    named: AtomicU8,
    /// For each slot: its node's place.
    node_of: [AtomicU8; MAX_REGIONS],
    /// For each slot: its rank.
    rank_of: [AtomicU8; MAX_REGIONS],
}

const _: () = assert!(MAX_NODES < NOBODY as usize);

/// Where a region stands in the choice: its zone, and boot memory apart from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Rank {
    /// Boot memory, whose zone is `Kernel`.
    Boot,
    /// Hot-added, pinned allocations are welcome.
    Kernel,
    /// Hot-added, movable allocations only.
    Movable,
    /// Hot-added, every kind of allocation.
    Any,
}

impl Rank {
    const COUNT: usize = 4;
    /// In a node, from the one whose memory is of least use to others.
    const FOR_MOVABLE: [Rank; 4] = [Rank::Movable, Rank::Any, Rank::Kernel, Rank::Boot];
    /// Over all nodes: a frame of a movable zone is never pinned.
    const FOR_PINNED: [Rank; 3] = [Rank::Boot, Rank::Kernel, Rank::Any];

    /// The rank of a region.
    pub fn of(device: DeviceId, zone: Zone) -> Rank {
        match zone {
            Zone::Kernel if device == DeviceId::BOOT => Rank::Boot,
            Zone::Kernel => Rank::Kernel,
            Zone::Movable => Rank::Movable,
            Zone::Any => Rank::Any,
        }
    }
}

impl Nodes {
    /// No node.
    pub const fn new() -> Self {
        Nodes {
            nodes: [const {
                Node {
                    id: AtomicU32::new(0),
                    free: AtomicU64::new(0),
                    hint: AtomicU16::new(0),
                    ranks: [const { AtomicU16::new(0) }; Rank::COUNT],
                }
            }; MAX_NODES],
            named: AtomicU8::new(0),
            node_of: [const { AtomicU8::new(NOBODY) }; MAX_REGIONS],
            rank_of: [const { AtomicU8::new(NOBODY) }; MAX_REGIONS],
        }
    }

    /// The place of node `id`.
    pub fn find(&self, id: NodeId) -> Option<NodeNr> {
        self.named().find(|&nr| self.id(nr) == id)
    }

    /// The place of node `id`, which is given one if it has none. `None` when all are taken. To be
    /// called under the hotplug lock.
    pub fn name(&self, id: NodeId) -> Option<NodeNr> {
        if let Some(nr) = self.find(id) {
            return Some(nr);
        }
        let place = self.named.load(Ordering::Acquire);
        self.nodes.get(place as usize)?.id.store(id.0, Ordering::Relaxed);
        self.named.store(place + 1, Ordering::Release);
        Some(NodeNr(place))
    }

    /// Forgets the nodes named after there were `count` of them: the add that named them failed. To
    /// be called under the hotplug lock.
    pub fn forget_after(&self, count: u8) {
        self.named.store(count, Ordering::Release);
    }

    /// How many nodes are named.
    pub fn count(&self) -> u8 {
        self.named.load(Ordering::Acquire)
    }

    /// All nodes that have been named.
    pub fn named(&self) -> impl Iterator<Item = NodeNr> {
        (0..self.named.load(Ordering::Acquire)).map(NodeNr)
    }

    /// A node's number.
    pub fn id(&self, nr: NodeNr) -> NodeId {
        NodeId(self.nodes[nr.0 as usize].id.load(Ordering::Relaxed))
    }

    /// Free frames of a node.
    pub fn free(&self, nr: NodeNr) -> u64 {
        self.nodes[nr.0 as usize].free.load(Ordering::Relaxed)
    }

    /// Free frames in movable zones, of a node or of all.
    pub fn movable_only(&self, slots: &[Slot; MAX_REGIONS], node: Option<NodeId>) -> u64 {
        let wanted = |slot: usize| {
            let nr = self.node_of[slot].load(Ordering::Acquire);
            self.rank_of[slot].load(Ordering::Relaxed) == Rank::Movable as u8
                && nr != NOBODY
                && node.is_none_or(|id| self.id(NodeNr(nr)) == id)
        };
        (0..MAX_REGIONS).filter(|&slot| wanted(slot)).map(|slot| slots[slot].summary.free()).sum()
    }

    /// Puts a slot with `free` free frames on its node's list: from now on it may be chosen.
    pub fn attach(&self, slot: SlotNr, nr: NodeNr, rank: Rank, free: u64) {
        let node = &self.nodes[nr.0 as usize];
        node.free.fetch_add(free, Ordering::Relaxed);
        node.ranks[rank as usize].fetch_add(1, Ordering::Relaxed);
        self.rank_of[slot.0 as usize].store(rank as u8, Ordering::Relaxed);
        self.node_of[slot.0 as usize].store(nr.0, Ordering::Release);
    }

    /// Whether a slot is on a node's list.
    pub fn lists(&self, slot: SlotNr) -> bool {
        self.node_of[slot.0 as usize].load(Ordering::Acquire) != NOBODY
    }

    /// Takes a slot with `free` free frames off its node's list.
    pub fn detach(&self, slot: SlotNr, free: u64) {
        let nr = self.node_of[slot.0 as usize].swap(NOBODY, Ordering::AcqRel);
        if let Some(node) = self.nodes.get(nr as usize) {
            node.free.fetch_sub(free, Ordering::Relaxed);
            let rank = self.rank_of[slot.0 as usize].swap(NOBODY, Ordering::Relaxed);
            if let Some(slots) = node.ranks.get(rank as usize) {
                slots.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Notes that a slot has `less` fewer free frames.
    #[inline]
    pub fn took(&self, slot: SlotNr, less: u64) {
        if let Some(node) = self.node(slot) {
            node.free.fetch_sub(less, Ordering::Relaxed);
            node.hint.store(slot.0, Ordering::Relaxed);
        }
    }

    /// Notes that a slot has `more` more free frames.
    #[inline]
    pub fn gave(&self, slot: SlotNr, more: u64) {
        if let Some(node) = self.node(slot) {
            node.free.fetch_add(more, Ordering::Relaxed);
        }
    }

    #[inline]
    fn node(&self, slot: SlotNr) -> Option<&Node> {
        self.nodes.get(self.node_of[slot.0 as usize].load(Ordering::Acquire) as usize)
    }

    /// Offers slots that may have what is asked for to `try_slot` until it takes one, best first:
    /// strictly those of `node` if one is named. Pinned: boot memory first, then zones for the kernel, then
    /// for any; never a movable one. Movable: nodes by their free frames, in a node first what is for
    /// movable allocations alone, boot memory last. Among equals the slot that served last.
    pub fn choose<T>(
        &self,
        slots: &[Slot; MAX_REGIONS],
        want: &Want,
        mut try_slot: impl FnMut(SlotNr) -> Option<T>,
    ) -> Option<T> {
        match want.kind {
            Kind::Movable => self
                .each_node(want.node, |nr| self.of_node(slots, want, nr, &Rank::FOR_MOVABLE, &mut try_slot)),
            Kind::Pinned => Rank::FOR_PINNED.iter().find_map(|&rank| {
                self.each_node(want.node, |nr| self.of_node(slots, want, nr, &[rank], &mut try_slot))
            }),
        }
    }

    /// Calls `try_node` with each node, or the named one alone, most free frames first, until it has something.
    fn each_node<T>(&self, only: Option<NodeId>, mut try_node: impl FnMut(NodeNr) -> Option<T>) -> Option<T> {
        let mut tried: u64 = 0;
        while let Some(nr) = self.best(only, tried) {
            tried |= 1 << nr.0;
            if let Some(got) = try_node(nr) {
                return Some(got);
            }
        }
        None
    }

    /// Offers a node's slots, by rank.
    fn of_node<T>(
        &self,
        slots: &[Slot; MAX_REGIONS],
        want: &Want,
        nr: NodeNr,
        ranks: &[Rank],
        try_slot: &mut impl FnMut(SlotNr) -> Option<T>,
    ) -> Option<T> {
        let node = &self.nodes[nr.0 as usize];
        let present = ranks.iter().filter(|&&rank| node.ranks[rank as usize].load(Ordering::Relaxed) > 0);
        for &rank in present {
            for amount in want.amount.passes().into_iter().flatten() {
                let fits = |slot: usize| {
                    self.node_of[slot].load(Ordering::Acquire) == nr.0
                        && amount.may_be_in(&slots[slot])
                        && self.rank_of[slot].load(Ordering::Relaxed) == rank as u8
                };
                let hint = node.hint.load(Ordering::Relaxed) as usize;
                if hint < MAX_REGIONS
                    && fits(hint)
                    && let Some(got) = try_slot(SlotNr(hint as u16))
                {
                    return Some(got);
                }
                for slot in (0..MAX_REGIONS).filter(|&slot| fits(slot)) {
                    if let Some(got) = try_slot(SlotNr(slot as u16)) {
                        return Some(got);
                    }
                }
            }
        }
        None
    }

    /// The node with most free frames among those not yet tried (bit n: the nth), or the named one.
    fn best(&self, only: Option<NodeId>, tried: u64) -> Option<NodeNr> {
        self.named()
            .filter(|&nr| tried & 1 << nr.0 == 0 && only.is_none_or(|id| self.id(nr) == id))
            .max_by_key(|&nr| (self.free(nr), core::cmp::Reverse(nr.0)))
    }
}

impl Default for Nodes {
    fn default() -> Self {
        Nodes::new()
    }
}

/// What an allocation needs of a region.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    /// Strictly this node.
    pub node: Option<NodeId>,
    /// What it is for.
    pub kind: Kind,
    /// How much of it.
    pub amount: Amount,
}

/// How much of a region an allocation needs.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    /// A block of at least this order.
    Order(Order),
    /// A block of this order, or else any.
    UpTo(Order),
    /// So many free frames, wherever they lie.
    Pages(u64),
}

impl Amount {
    /// What to look for in a node's regions, first and second.
    const fn passes(self) -> [Option<Amount>; 2] {
        match self {
            Amount::UpTo(most) => [Some(Amount::Order(most)), Some(Amount::Order(Order(0)))],
            _ => [Some(self), None],
        }
    }

    #[inline]
    fn may_be_in(self, slot: &Slot) -> bool {
        match self {
            Amount::Order(order) => slot.summary.orders() >> order.0 != 0,
            Amount::UpTo(_) => slot.summary.orders() != 0,
            Amount::Pages(pages) => slot.summary.free() >= pages,
        }
    }
}
