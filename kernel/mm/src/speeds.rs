//! Which node's memory is faster for which CPU, as the firmware says (HMAT), and whether the choice of a node follows it.
//!
//! ```text
//!              target   0    1    2
//!  initiator 0          1    0    2      a rank per pair: how many targets are faster
//!  initiator 3          0    2    1
//! ```
//!
//! Invariants: a pair's rank is written before either node is listed; nothing is ever taken out. Without ranks, or with
//! [`NodeChoice::MostFree`], every node has the same rank. Neighbours: `zonelist` compares ranks.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use crate::addr::{MAX_NODES, NodeId};
use crate::info::NodeChoice;

/// The rank of a target about which nothing is known: behind all others.
const UNKNOWN: u8 = u8::MAX;

/// A list of nodes that only grows.
#[derive(Debug)]
struct List {
    ids: [AtomicU32; MAX_NODES],
    count: AtomicU8,
}

impl List {
    const fn new() -> List {
        List { ids: [const { AtomicU32::new(0) }; MAX_NODES], count: AtomicU8::new(0) }
    }

    fn find(&self, node: NodeId) -> Option<usize> {
        let count = usize::from(self.count.load(Ordering::Acquire));
        self.ids.iter().take(count).position(|id| id.load(Ordering::Relaxed) == node.0)
    }

    /// The place of `node`: its own, or the next free one.
    fn place(&self, node: NodeId) -> Option<usize> {
        let next = usize::from(self.count.load(Ordering::Relaxed));
        self.find(node).or((next < MAX_NODES).then_some(next))
    }

    fn put(&self, node: NodeId, place: usize) {
        if self.find(node).is_none() {
            self.ids[place].store(node.0, Ordering::Relaxed);
            self.count.store(place as u8 + 1, Ordering::Release);
        }
    }
}

/// The ranks of all pairs.
#[derive(Debug)]
pub struct Speeds {
    initiators: List,
    targets: List,
    /// By initiator, then by target.
    ranks: [[AtomicU8; MAX_NODES]; MAX_NODES],
    ignored: AtomicBool,
}

impl Speeds {
    /// No ranks.
    pub const fn new() -> Speeds {
        Speeds {
            initiators: List::new(),
            targets: List::new(),
            ranks: [const { [const { AtomicU8::new(UNKNOWN) }; MAX_NODES] }; MAX_NODES],
            ignored: AtomicBool::new(false),
        }
    }

    /// Records a rank; `false` if there are more than [`MAX_NODES`] nodes. Requires the hotplug lock.
    pub fn set(&self, initiator: NodeId, target: NodeId, rank: u8) -> bool {
        let (Some(row), Some(column)) = (self.initiators.place(initiator), self.targets.place(target)) else {
            return false;
        };
        self.ranks[row][column].store(rank, Ordering::Relaxed);
        self.targets.put(target, column);
        self.initiators.put(initiator, row);
        true
    }

    /// Sets how nodes are chosen.
    pub fn choose(&self, choice: NodeChoice) {
        self.ignored.store(choice == NodeChoice::MostFree, Ordering::Relaxed);
    }

    /// How nodes are chosen.
    pub fn choice(&self) -> NodeChoice {
        if self.ignored.load(Ordering::Relaxed) { NodeChoice::MostFree } else { NodeChoice::Fastest }
    }

    /// The ranks that count for a CPU of node `initiator`.
    #[inline]
    pub fn row(&self, initiator: Option<NodeId>) -> Row<'_> {
        let counts = !self.ignored.load(Ordering::Relaxed);
        Row(initiator.filter(|_| counts).and_then(|node| self.initiators.find(node)).map(|row| (self, row)))
    }
}

/// The ranks of the targets seen from one initiator, or none.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a>(Option<(&'a Speeds, usize)>);

impl Row<'_> {
    /// The rank of a target: 0 for the fastest.
    #[inline]
    pub fn rank(&self, target: NodeId) -> u8 {
        let Some((speeds, row)) = self.0 else { return 0 };
        let column = speeds.targets.find(target);
        column.map_or(UNKNOWN, |column| speeds.ranks[row][column].load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that a rank is found by its pair, that an unknown target comes last and an unknown initiator has no order,
    /// and that a full list refuses. Fails when a pair gets another's rank.
    #[test]
    fn ranks_by_pair() {
        let speeds = std::boxed::Box::new(Speeds::new());
        let ranks = |initiator: u32| {
            core::array::from_fn(|target| speeds.row(Some(NodeId(initiator))).rank(NodeId(target as u32)))
        };
        assert_eq!(ranks(0), [0; 4]);
        for (initiator, target, rank) in [(0, 0, 1), (0, 2, 0), (7, 2, 5), (7, 0, 6), (0, 2, 2)] {
            assert!(speeds.set(NodeId(initiator), NodeId(target), rank));
        }
        assert_eq!(ranks(0), [1, UNKNOWN, 2, UNKNOWN]);
        assert_eq!(ranks(7), [6, UNKNOWN, 5, UNKNOWN]);
        assert_eq!((ranks(1), speeds.row(None).rank(NodeId(1))), ([0; 4], 0));
        speeds.choose(NodeChoice::MostFree);
        assert_eq!((ranks(7), speeds.choice()), ([0; 4], NodeChoice::MostFree));
        let more = (0..80).filter(|&node| speeds.set(NodeId(0), NodeId(100 + node), 0)).count();
        assert_eq!(more, MAX_NODES - 2);
    }
}
