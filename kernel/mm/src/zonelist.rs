//! Zonelists: the regions and free frames of each node, to choose the region for an allocation.
//!
//! ```text
//!  members of a node, of one preference   0110 1000 ...   a bit per slot
//!  slots with a block of order 9          0100 1100 ...   a bit per slot, for each order
//!  the candidates                         0100 1000 ...   both, a word at a time
//! ```
//!
//! A node consists of regions. The choice reads only this module's data, without a lock, and costs the same for one
//! region as for hundreds. The data may be outdated when the region's lock is taken; then the allocation fails there
//! and tries the next candidate.
//!
//! Invariants: a node keeps its index for good once it is known (without memory it is empty); a slot belongs to at most
//! one node; while no region's lock is held, a node's free frames are the sum over its regions and the order bits agree
//! with the regions' summaries ([`Nodes::changed`] runs under the region's lock).
//!
//! All accesses are Relaxed, but for those of the nodes' numbers (`names`): each word is a hint to the choice, which orders
//! nothing, or is written and read under the region's lock. Neighbours: `allocate` chooses here;
//! `memory`, `hot_add` and `boot` update it.

mod names;

use core::cmp::Reverse;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering};

use crate::addr::{MAX_NODES, NodeId, Order};
use crate::buddy::Summary;
use crate::descriptor::{Mobility, SlotNr};
use crate::info::{DeviceId, Zone};
use crate::region::{MAX_REGIONS, RegionSlot};
use crate::speeds::Speeds;
use names::Names;

/// No node, no preference.
const NONE: u8 = u8::MAX;

/// A node's index in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeNr(u8);

#[derive(Debug)]
struct Node {
    /// Free frames of its regions.
    free: AtomicU64,
    /// The slot of the last successful allocation.
    hint: AtomicU16,
    /// Its slots by preference, with their number, so that a preference without slots is not searched.
    members: [SlotSet; ZonePreference::COUNT],
    ranks: [AtomicU16; ZonePreference::COUNT],
}

/// A set of slots, one bit each.
#[derive(Debug)]
struct SlotSet([AtomicU64; WORDS]);

/// Words in a set of slots.
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

/// All nodes, and each slot's node and preference.
#[derive(Debug)]
pub struct Nodes {
    nodes: [Node; MAX_NODES],
    names: Names,
    /// Per slot: the index of its node.
    node_of: [AtomicU8; MAX_REGIONS],
    /// Per slot: its preference.
    rank_of: [AtomicU8; MAX_REGIONS],
    /// Per slot: the free frames that its node's total includes.
    counted: [AtomicU64; MAX_REGIONS],
    /// Per slot: one more than the highest order with a free block, 0 for none.
    highest_of: [AtomicU8; MAX_REGIONS],
    /// Per order: the slots with a free block of that order or a higher one.
    having: [SlotSet; Order::COUNT],
    /// Which nodes are faster.
    pub speeds: Speeds,
}

const _: () = assert!(MAX_NODES < NONE as usize);

/// A region's class in the choice: its zone, with boot memory apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ZonePreference {
    /// Boot memory (zone `Kernel`).
    Boot,
    /// Hot-added, preferred for pinned allocations.
    Kernel,
    /// Hot-added, movable allocations only.
    Movable,
    /// Hot-added, all allocations.
    Any,
}

impl ZonePreference {
    const COUNT: usize = 4;
    /// Within a node: regions first that serve the fewest other allocations.
    const FOR_MOVABLE: [ZonePreference; 4] =
        [ZonePreference::Movable, ZonePreference::Any, ZonePreference::Kernel, ZonePreference::Boot];
    /// Over all nodes. Pinned allocations never use a movable zone.
    const FOR_PINNED: [ZonePreference; 3] =
        [ZonePreference::Boot, ZonePreference::Kernel, ZonePreference::Any];

    /// The preference class of a region.
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
                    free: AtomicU64::new(0),
                    hint: AtomicU16::new(0),
                    members: [const { SlotSet::new() }; ZonePreference::COUNT],
                    ranks: [const { AtomicU16::new(0) }; ZonePreference::COUNT],
                }
            }; MAX_NODES],
            names: Names::new(),
            node_of: [const { AtomicU8::new(NONE) }; MAX_REGIONS],
            rank_of: [const { AtomicU8::new(NONE) }; MAX_REGIONS],
            counted: [const { AtomicU64::new(0) }; MAX_REGIONS],
            highest_of: [const { AtomicU8::new(0) }; MAX_REGIONS],
            having: [const { SlotSet::new() }; Order::COUNT],
            speeds: Speeds::new(),
        }
    }

    /// The index of node `id`.
    pub fn find(&self, id: NodeId) -> Option<NodeNr> {
        self.names.find(id)
    }

    /// The index of node `id`, assigned if it is new. `None` when the table is full. Requires the hotplug lock.
    pub fn name(&self, id: NodeId) -> Option<NodeNr> {
        self.names.add(id)
    }

    /// Removes the nodes added after there were `count` of them, because the add failed. Requires the hotplug lock.
    pub fn truncate(&self, count: u8) {
        self.names.truncate(count);
    }

    /// Number of known nodes.
    pub fn count(&self) -> u8 {
        self.names.count()
    }

    /// All known nodes.
    pub fn named(&self) -> impl Iterator<Item = NodeNr> {
        self.names.all()
    }

    /// A node's number.
    pub fn id(&self, nr: NodeNr) -> NodeId {
        self.names.id(nr)
    }

    /// Free frames of a node.
    pub fn free(&self, nr: NodeNr) -> u64 {
        self.nodes[nr.0 as usize].free.load(Ordering::Relaxed)
    }

    /// Free frames in movable zones, of one node or of all.
    pub fn movable_only(&self, slots: &[RegionSlot; MAX_REGIONS], node: Option<NodeId>) -> u64 {
        let wanted = self.named().filter(|&nr| node.is_none_or(|id| self.id(nr) == id));
        let free = |slot: SlotNr| slots.get(slot.0 as usize).map_or(0, |slot| slot.summary.free());
        wanted.map(|nr| self.candidates(nr, ZonePreference::Movable, Order(0)).map(free).sum::<u64>()).sum()
    }

    /// Adds a slot to a node. It can be chosen after the next [`Nodes::changed`]. Requires the region's lock.
    pub fn attach(&self, slot: SlotNr, nr: NodeNr, rank: ZonePreference) {
        self.rank_of[slot.0 as usize].store(rank as u8, Ordering::Relaxed);
        self.node_of[slot.0 as usize].store(nr.0, Ordering::Relaxed);
        let node = &self.nodes[nr.0 as usize];
        node.members[rank as usize].put(slot);
        node.ranks[rank as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The node that a slot belongs to.
    pub fn of(&self, slot: SlotNr) -> Option<NodeId> {
        let nr = self.node_of.get(slot.0 as usize)?.load(Ordering::Relaxed);
        (nr < self.count()).then(|| self.id(NodeNr(nr)))
    }

    /// Whether a slot belongs to a node.
    pub fn lists(&self, slot: SlotNr) -> bool {
        self.node_of[slot.0 as usize].load(Ordering::Relaxed) != NONE
    }

    /// Removes a slot from its node. Requires the region's lock.
    pub fn detach(&self, slot: SlotNr) {
        let nr = self.node_of[slot.0 as usize].swap(NONE, Ordering::Relaxed);
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

    /// Updates a slot's free frames and orders. Requires the region's lock.
    #[inline]
    pub fn changed(&self, slot: SlotNr, summary: &Summary) {
        self.note_highest(slot, summary.highest());
        let (now, counted) = (summary.free(), &self.counted[slot.0 as usize]);
        let before = counted.load(Ordering::Relaxed);
        if now != before
            && let Some(node) = self.node(slot)
        {
            counted.store(now, Ordering::Relaxed);
            // The difference may be negative: the counter wraps.
            node.free.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
        }
    }

    /// Corrupts a node's total, for the test of `check`.
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
        self.nodes.get(self.node_of[slot.0 as usize].load(Ordering::Relaxed) as usize)
    }

    /// Offers candidate slots to `try_slot` until it succeeds, best first; only those of `node` if given. Pinned: boot
    /// memory, then zone `Kernel`, then `Any`; never `Movable`. Movable: the faster node where the firmware tells, then the
    /// CPU's node, then nodes by free frames; within a node zone `Movable` first and boot memory last. Among equals, the slot of the last successful allocation.
    pub fn choose<T>(
        &self,
        slots: &[RegionSlot; MAX_REGIONS],
        constraints: &Constraints,
        mut try_slot: impl FnMut(SlotNr) -> Option<T>,
    ) -> Option<T> {
        match constraints.mobility {
            Mobility::Movable => self.each_node(constraints, |nr| {
                self.of_node(slots, constraints, nr, &ZonePreference::FOR_MOVABLE, &mut try_slot)
            }),
            Mobility::Pinned => ZonePreference::FOR_PINNED.iter().find_map(|&rank| {
                self.each_node(constraints, |nr| self.of_node(slots, constraints, nr, &[rank], &mut try_slot))
            }),
        }
    }

    /// Calls `try_node` with each node (or only the given one) until it returns a value, the best first.
    fn each_node<T>(
        &self,
        constraints: &Constraints,
        mut try_node: impl FnMut(NodeNr) -> Option<T>,
    ) -> Option<T> {
        let mut tried: u64 = 0;
        while let Some(nr) = self.best(constraints, tried) {
            tried |= 1 << nr.0;
            if let Some(got) = try_node(nr) {
                return Some(got);
            }
        }
        None
    }

    /// Offers a node's slots, by preference.
    fn of_node<T>(
        &self,
        slots: &[RegionSlot; MAX_REGIONS],
        constraints: &Constraints,
        nr: NodeNr,
        ranks: &[ZonePreference],
        try_slot: &mut impl FnMut(SlotNr) -> Option<T>,
    ) -> Option<T> {
        let node = &self.nodes[nr.0 as usize];
        let present = ranks.iter().filter(|&&rank| node.ranks[rank as usize].load(Ordering::Relaxed) > 0);
        for &rank in present {
            for amount in constraints.amount.passes().into_iter().flatten() {
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

    /// The slots of a node and preference with a free block of order `least` or higher.
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

    /// The best node that is not yet in `tried` (bit n: node n), or the given one.
    fn best(&self, constraints: &Constraints, tried: u64) -> Option<NodeNr> {
        let row = self.speeds.row(constraints.fast_for);
        self.named()
            .filter(|&nr| tried & 1 << nr.0 == 0 && constraints.node.is_none_or(|id| self.id(nr) == id))
            .max_by_key(|&nr| {
                let id = self.id(nr);
                (Reverse(row.rank(id)), constraints.near == Some(id), self.free(nr), Reverse(nr.0))
            })
    }
}

impl Default for Nodes {
    fn default() -> Self {
        Nodes::new()
    }
}

/// The constraints of an allocation.
#[derive(Clone, Copy, Debug)]
pub struct Constraints {
    /// Only this node.
    pub node: Option<NodeId>,
    /// The fastest memory first, seen from this node: the CPU's.
    pub fast_for: Option<NodeId>,
    /// Among equals this node first: the CPU's.
    pub near: Option<NodeId>,
    /// Movable or pinned.
    pub mobility: Mobility,
    /// The amount.
    pub amount: Amount,
}

/// The amount of memory that an allocation needs from one region.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    /// A block of at least this order.
    Order(Order),
    /// A block of this order, or else any smaller one.
    UpTo(Order),
    /// A run of this many frames, across blocks; a candidate must have at least as many free.
    Pages(u64),
}

impl Amount {
    /// The amounts to search a node's regions for, first and second.
    const fn passes(self) -> [Option<Amount>; 2] {
        match self {
            Amount::UpTo(most) => [Some(Amount::Order(most)), Some(Amount::Order(Order(0)))],
            // A run inside one block first, which needs no search.
            Amount::Pages(pages) => match Order::holding(pages) {
                Some(order) => [Some(Amount::Order(order)), Some(self)],
                None => [Some(self), None],
            },
            Amount::Order(_) => [Some(self), None],
        }
    }

    /// The smallest order of which a candidate must have a free block.
    const fn least(self) -> Order {
        match self {
            Amount::Order(order) => order,
            Amount::UpTo(_) => Order(0),
            // See `Buddy::find_run`: a run contains an aligned block of at least a quarter of its size.
            Amount::Pages(pages) => Order((63 - (pages | 1).leading_zeros()).saturating_sub(1) as u8),
        }
    }

    #[inline]
    fn may_be_in(self, slot: &RegionSlot) -> bool {
        match self {
            Amount::Order(order) => slot.summary.orders() >> order.0 != 0,
            Amount::UpTo(_) => slot.summary.orders() != 0,
            Amount::Pages(pages) => slot.summary.free() >= pages,
        }
    }
}
