//! The numbers of the nodes, in the order in which they came.
//!
//! Invariants: a number below the count is written; only a failed add takes numbers back, which no region has. Reading
//! takes no lock, writing is done under the hotplug lock. Neighbour: `zonelist` has the nodes' memory.

use core::sync::atomic::{AtomicU64, Ordering};

use super::NodeNr;
use crate::addr::{MAX_NODES, NodeId};
use crate::sync::Word;

/// The numbers.
#[derive(Debug)]
pub(super) struct Names<W = AtomicU64, const NODES: usize = MAX_NODES> {
    ids: [W; NODES],
    count: W,
}

impl Names {
    /// None.
    pub(super) const fn new() -> Names {
        Names { ids: [const { AtomicU64::new(0) }; MAX_NODES], count: AtomicU64::new(0) }
    }
}

impl<W: Word, const NODES: usize> Names<W, NODES> {
    /// How many there are.
    pub(super) fn count(&self) -> u8 {
        // Acquire: sees the numbers below. At most `NODES`.
        self.count.load(Ordering::Acquire) as u8
    }

    /// All nodes.
    pub(super) fn all(&self) -> impl Iterator<Item = NodeNr> + use<W, NODES> {
        (0..self.count()).map(NodeNr)
    }

    /// The number of a node that [`Names::all`] returned.
    pub(super) fn id(&self, nr: NodeNr) -> NodeId {
        // Relaxed: who has `nr` has acquired the count.
        NodeId(self.ids.get(usize::from(nr.0)).map_or(0, |id| id.load(Ordering::Relaxed)) as u32)
    }

    /// The node with this number.
    pub(super) fn find(&self, id: NodeId) -> Option<NodeNr> {
        self.all().find(|&nr| self.id(nr) == id)
    }

    /// The node with this number, which is added if it is new. `None` when there are too many. Requires the hotplug lock.
    pub(super) fn add(&self, id: NodeId) -> Option<NodeNr> {
        if let Some(nr) = self.find(id) {
            return Some(nr);
        }
        let next = self.count();
        self.ids.get(usize::from(next))?.store(u64::from(id.0), Ordering::Relaxed);
        // Release: who sees the count sees the number.
        self.count.store(u64::from(next) + 1, Ordering::Release);
        Some(NodeNr(next))
    }

    /// Takes back the nodes added after there were `count` of them. Requires the hotplug lock.
    pub(super) fn truncate(&self, count: u8) {
        // Release: who sees this count sees the numbers below, as those who saw the larger one.
        self.count.store(u64::from(count), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::sync::tests::{Watched, every_interleaving};

    fn names() -> Names<Watched, 2> {
        Names { ids: [Watched::new(0), Watched::new(0)], count: Watched::new(0) }
    }

    /// Proves, in every interleaving and order of memory, that each node that a CPU finds has the number that it was added
    /// with, while others are added and taken back. Fails when the count is stored first, or an Acquire or Release is left
    /// out.
    #[test]
    fn a_node_has_its_number() {
        every_interleaving(|| {
            let names = Arc::new(names());
            let other = {
                let names = names.clone();
                thread::spawn(move || {
                    names.add(NodeId(7)).unwrap();
                    names.add(NodeId(9)).unwrap();
                    names.truncate(1);
                })
            };
            for nr in names.all() {
                assert_eq!(names.id(nr), NodeId([7, 9][usize::from(nr.0)]));
            }
            other.join().unwrap();
            assert_eq!((names.count(), names.find(NodeId(9))), (1, None));
        });
    }

    /// Proves that a node is added once, and that one too many is refused. Fails when a number is added twice.
    #[test]
    fn a_node_is_added_once() {
        loom::model(|| {
            let names = names();
            assert_eq!(names.add(NodeId(5)), Some(NodeNr(0)));
            assert_eq!(names.add(NodeId(6)), Some(NodeNr(1)));
            assert_eq!(names.add(NodeId(5)), Some(NodeNr(0)));
            assert_eq!(names.add(NodeId(4)), None);
        });
    }
}
