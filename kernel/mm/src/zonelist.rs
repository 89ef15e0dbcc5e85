//! Nodes: which regions a node has and how much of them is free, for the choice of a region.
//!
//! ```text
//!  members of a node, of one rank   0110 1000 ...     a bit a slot
//!  slots with a block of order 9    0100 1100 ...     a bit a slot, for each order
//!  the candidates                   0100 1000 ...     both, a word at a time
//! ```
//!
//! A node is its regions. The choice reads only what is here, without a lock, and costs the same for one
//! region as for hundreds. What it reads may be old by the time the region's lock is held, so whoever
//! chose tries, and goes on with the next candidate when the region has nothing left.
//!
//! Invariants: a node, once named, keeps its place for good (a node without memory is just empty);
//! a slot belongs to at most one node; free frames of a node are the sum over its regions, and the bits of
//! the orders what the regions' summaries say, whenever no region's lock is held ([`Nodes::changed`] is
//! told under that lock). Neighbours: `memory` asks and tells, `hotplug` and `boot` tell about slots.

use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use crate::addr::{NodeId, Order};
use crate::buddy::Summary;
use crate::descriptor::{Kind, SlotNr};
use crate::info::{DeviceId, Zone};
use crate::region::{MAX_REGIONS, Slot};

/// Nodes there can be. Numbers may be any; so many different ones fit.
pub const MAX_NODES: usize = 64;

/// No node, no rank.
const NONE: u8 = u8::MAX;

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
    /// Its slots of each rank, and how many they are: no search for a rank it has not.
    members: [SlotSet; ZonePreference::COUNT],
    ranks: [AtomicU16; ZonePreference::COUNT],
}

/// A set of slots, a bit each.
#[derive(Debug)]
struct SlotSet([AtomicU64; WORDS]);

/// Words of a set of slots.
const WORDS: usize = MAX_REGIONS.div_ceil(64);

impl SlotSet {
    const fn new() -> Self {
        SlotSet([const { AtomicU64::new(0) }; WORDS])
    }

    fn put(&self, slot: SlotNr) {
        self.0[slot.0 as usize / 64].fetch_or(1 << (slot.0 % 64), Ordering::Relaxed);
    }

    fn take(&self, slot: SlotNr) {
        self.0[slot.0 as usize / 64].fetch_and(!(1 << (slot.0 % 64)), Ordering::Relaxed);
    }

    fn word(&self, n: usize) -> u64 {
        self.0[n].load(Ordering::Relaxed)
    }

    #[inline]
    fn has(&self, slot: SlotNr) -> bool {
        self.0
            .get(slot.0 as usize / 64)
            .is_some_and(|word| word.load(Ordering::Relaxed) >> (slot.0 % 64) & 1 == 1)
    }
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
    /// For each slot: how many free frames of it its node counts.
    counted: [AtomicU64; MAX_REGIONS],
    /// For each slot: one more than the highest order it has a free block of, 0 for none.
    highest_of: [AtomicU8; MAX_REGIONS],
    /// For each order: the slots that have a free block of it or of a higher one.
    having: [SlotSet; Order::COUNT],
}

const _: () = assert!(MAX_NODES < NONE as usize);

/// Where a region stands in the choice: its zone, and boot memory apart from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ZonePreference {
    /// Boot memory, whose zone is `Kernel`.
    Boot,
    /// Hot-added, pinned allocations are welcome.
    Kernel,
    /// Hot-added, movable allocations only.
    Movable,
    /// Hot-added, every kind of allocation.
    Any,
}

impl ZonePreference {
    const COUNT: usize = 4;
    /// In a node, from the one whose memory is of least use to others.
    const FOR_MOVABLE: [ZonePreference; 4] =
        [ZonePreference::Movable, ZonePreference::Any, ZonePreference::Kernel, ZonePreference::Boot];
    /// Over all nodes: a frame of a movable zone is never pinned.
    const FOR_PINNED: [ZonePreference; 3] =
        [ZonePreference::Boot, ZonePreference::Kernel, ZonePreference::Any];

    /// The rank of a region.
    pub fn of(device: DeviceId, zone: Zone) -> ZonePreference {
        match zone {
            Zone::Kernel if device == DeviceId::BOOT => ZonePreference::Boot,
            Zone::Kernel => ZonePreference::Kernel,
            Zone::Movable => ZonePreference::Movable,
            Zone::Any => ZonePreference::Any,
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
                    members: [const { SlotSet::new() }; ZonePreference::COUNT],
                    ranks: [const { AtomicU16::new(0) }; ZonePreference::COUNT],
                }
            }; MAX_NODES],
            named: AtomicU8::new(0),
            node_of: [const { AtomicU8::new(NONE) }; MAX_REGIONS],
            rank_of: [const { AtomicU8::new(NONE) }; MAX_REGIONS],
            counted: [const { AtomicU64::new(0) }; MAX_REGIONS],
            highest_of: [const { AtomicU8::new(0) }; MAX_REGIONS],
            having: [const { SlotSet::new() }; Order::COUNT],
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
    pub fn truncate(&self, count: u8) {
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
        let wanted = self.named().filter(|&nr| node.is_none_or(|id| self.id(nr) == id));
        let free = |slot: SlotNr| slots.get(slot.0 as usize).map_or(0, |slot| slot.summary.free());
        wanted.map(|nr| self.candidates(nr, ZonePreference::Movable, Order(0)).map(free).sum::<u64>()).sum()
    }

    /// Puts a slot on its node's list: once [`Nodes::changed`] was told, it may be chosen.
    pub fn attach(&self, slot: SlotNr, nr: NodeNr, rank: ZonePreference) {
        self.rank_of[slot.0 as usize].store(rank as u8, Ordering::Relaxed);
        self.node_of[slot.0 as usize].store(nr.0, Ordering::Release);
        let node = &self.nodes[nr.0 as usize];
        node.members[rank as usize].put(slot);
        node.ranks[rank as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a slot is on a node's list.
    pub fn lists(&self, slot: SlotNr) -> bool {
        self.node_of[slot.0 as usize].load(Ordering::Acquire) != NONE
    }

    /// Takes a slot off its node's list.
    pub fn detach(&self, slot: SlotNr) {
        let nr = self.node_of[slot.0 as usize].swap(NONE, Ordering::AcqRel);
        let rank = self.rank_of[slot.0 as usize].swap(NONE, Ordering::Relaxed);
        if let Some(node) = self.nodes.get(nr as usize) {
            let counted = self.counted[slot.0 as usize].swap(0, Ordering::Relaxed);
            node.free.fetch_sub(counted, Ordering::Relaxed);
            if let Some(members) = node.members.get(rank as usize) {
                members.take(slot);
                node.ranks[rank as usize].fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Notes what a slot has free now. To be called under the region's lock.
    #[inline]
    pub fn changed(&self, slot: SlotNr, summary: &Summary) {
        self.note_highest(slot, summary.highest());
        let (now, counted) = (summary.free(), &self.counted[slot.0 as usize]);
        let before = counted.load(Ordering::Relaxed);
        if now != before
            && let Some(node) = self.node(slot)
        {
            counted.store(now, Ordering::Relaxed);
            // The difference, which may be negative: the counter wraps.
            node.free.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
        }
    }

    /// Makes a node's sum wrong, for the test of `check`.
    #[cfg(test)]
    pub(crate) fn miscount(&self, nr: NodeNr, more: u64) {
        self.nodes[nr.0 as usize].free.fetch_add(more, Ordering::Relaxed);
    }

    #[inline]
    fn note_highest(&self, slot: SlotNr, highest: Option<Order>) {
        let now = highest.map_or(0, |order| order.0 + 1);
        let known = &self.highest_of[slot.0 as usize];
        let before = known.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        known.store(now, Ordering::Relaxed);
        self.having[before as usize..(now as usize).max(before as usize)]
            .iter()
            .for_each(|set| set.put(slot));
        self.having[now as usize..(before as usize).max(now as usize)].iter().for_each(|set| set.take(slot));
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
        want: &Constraints,
        mut try_slot: impl FnMut(SlotNr) -> Option<T>,
    ) -> Option<T> {
        match want.kind {
            Kind::Movable => self.each_node(want.node, |nr| {
                self.of_node(slots, want, nr, &ZonePreference::FOR_MOVABLE, &mut try_slot)
            }),
            Kind::Pinned => ZonePreference::FOR_PINNED.iter().find_map(|&rank| {
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
        want: &Constraints,
        nr: NodeNr,
        ranks: &[ZonePreference],
        try_slot: &mut impl FnMut(SlotNr) -> Option<T>,
    ) -> Option<T> {
        let node = &self.nodes[nr.0 as usize];
        let present = ranks.iter().filter(|&&rank| node.ranks[rank as usize].load(Ordering::Relaxed) > 0);
        for &rank in present {
            for amount in want.amount.passes().into_iter().flatten() {
                let mut try_slot = |slot: SlotNr| {
                    if !slots.get(slot.0 as usize).is_some_and(|slot| amount.may_be_in(slot)) {
                        return None;
                    }
                    let got = try_slot(slot);
                    if got.is_some() {
                        node.hint.store(slot.0, Ordering::Relaxed);
                    }
                    got
                };
                let hint = SlotNr(node.hint.load(Ordering::Relaxed));
                let least = amount.least();
                if node.members[rank as usize].has(hint)
                    && self.having[least.0 as usize].has(hint)
                    && let Some(got) = try_slot(hint)
                {
                    return Some(got);
                }
                if let Some(got) = self.candidates(nr, rank, least).find_map(&mut try_slot) {
                    return Some(got);
                }
            }
        }
        None
    }

    /// The slots of a node and rank that have a free block of `least` or more.
    fn candidates(&self, nr: NodeNr, rank: ZonePreference, least: Order) -> impl Iterator<Item = SlotNr> {
        let members = &self.nodes[nr.0 as usize].members[rank as usize];
        let having = &self.having[least.0 as usize];
        (0..WORDS).flat_map(move |n| {
            let mut left = members.word(n) & having.word(n);
            core::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(SlotNr((n as u32 * 64 + bit) as u16))
            })
        })
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
pub struct Constraints {
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
            // A run inside of one block first: a region has it or not, and nothing is searched.
            Amount::Pages(pages) => match Order::holding(pages) {
                Some(order) => [Some(Amount::Order(order)), Some(self)],
                None => [Some(self), None],
            },
            Amount::Order(_) => [Some(self), None],
        }
    }

    /// The order of the smallest block that must be there.
    const fn least(self) -> Order {
        match self {
            Amount::Order(order) => order,
            Amount::UpTo(_) => Order(0),
            // See `Buddy::find_run`: a run has an aligned block of at least a quarter of it.
            Amount::Pages(pages) => Order((63 - (pages | 1).leading_zeros()).saturating_sub(1) as u8),
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
