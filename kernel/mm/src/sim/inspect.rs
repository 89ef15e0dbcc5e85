//! What the page tables of a simulated machine say: a walk of its own, without the translation caches.
//!
//! ```text
//!  root -> tables -> leaves()   every mapping        tables()   every linked table
//!  written frames -> snapshot() the contents, to compare two states
//! ```
//!
//! Invariant: it reads only, and counts no access. Neighbours: `tlb` has the format of entries, `memory` the words.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use super::{SimMachine, tlb};
use crate::addr::{Pfn, PfnRange, PhysAddr, VirtAddr};

/// A leaf found by the simulation's page walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SimLeaf {
    /// The first virtual address.
    pub virt: VirtAddr,
    /// The first physical address.
    pub phys: PhysAddr,
    /// The size in bytes.
    pub bytes: u64,
    /// The entry without its address, accessed and dirty bits.
    pub flags: u64,
}

impl SimMachine {
    /// Every leaf of the tables in memory, ascending. Ignores the translation caches.
    pub fn leaves(&self) -> Vec<SimLeaf> {
        let mut leaves = Vec::new();
        self.walk_tables(self.root, 4, 0, &mut |leaf| leaves.push(leaf), &mut |_| {});
        leaves
    }

    /// The frames of all linked tables.
    pub fn tables(&self) -> BTreeSet<Pfn> {
        let mut tables = BTreeSet::new();
        self.walk_tables(self.root, 4, 0, &mut |_| {}, &mut |table| {
            tables.insert(table);
        });
        tables
    }

    /// The contents of all written frames outside of `except`, to compare two states. Page tables without accessed and
    /// dirty bits.
    pub fn snapshot(&self, except: &[PfnRange]) -> BTreeMap<Pfn, Vec<u64>> {
        let tables = self.tables();
        let memory = &self.state().memory;
        let mask = |frame: &Pfn| if tables.contains(frame) { !(tlb::ACCESSED | tlb::DIRTY) } else { !0 };
        let frames = memory.written().into_iter();
        let frames = frames.filter(|frame| !except.iter().any(|range| range.contains(*frame)));
        frames
            .map(|frame| {
                let words = memory.page(frame).iter().map(|word| word & mask(&frame));
                (frame, words.collect())
            })
            .collect()
    }

    fn walk_tables(
        &self,
        table: Pfn,
        level: u32,
        virt: u64,
        leaf: &mut dyn FnMut(SimLeaf),
        each_table: &mut dyn FnMut(Pfn),
    ) {
        each_table(table);
        let words: Vec<u64> = {
            let memory = &mut self.state().memory;
            (0..512).map(|index| memory.load(PhysAddr(table.start().0 + index * 8))).collect()
        };
        for (index, entry) in (0u64..).zip(words) {
            let shift = tlb::shift(level);
            let sign = if level == 4 && index >= 256 { 0xffff_0000_0000_0000 } else { 0 };
            let virt = sign | virt | index << shift;
            if entry & tlb::PRESENT == 0 {
                continue;
            }
            if level > 1 && entry & tlb::LARGE == 0 {
                self.walk_tables(tlb::table_of(entry), level - 1, virt, leaf, each_table);
            } else {
                let flags = entry & !(tlb::ADDRESS | tlb::ACCESSED | tlb::DIRTY);
                let phys = PhysAddr(entry & tlb::ADDRESS);
                leaf(SimLeaf { virt: VirtAddr(virt), phys, bytes: 1 << shift, flags });
            }
        }
    }
}
