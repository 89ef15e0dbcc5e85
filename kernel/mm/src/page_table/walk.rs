//! Looking without touching: translation of an address, and the leaves of a range in order.
//!
//! Neighbours: `check`, `window` and the shell's `ptwalk` and `ptdump` read through it. Reads linked
//! tables through the direct map.

use crate::addr::{PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use crate::address_space::direct;
use crate::machine::Machine;
use crate::page_table::entry::{Entry, Kind, Level, VaRange};
use crate::page_table::{Caching, LeafSize, PageTables, Rights};
use core::ops::ControlFlow;

/// What an address translates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The physical address of the very byte.
    pub phys: PhysAddr,
    /// The size of the leaf that maps it.
    pub size: LeafSize,
    /// What may be done there; `None`: writable and executable (left by a loader).
    pub rights: Option<Rights>,
    /// How it is cached.
    pub caching: Caching,
}

/// A leaf that is present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The first address it maps.
    pub virt: VirtAddr,
    /// What it maps that to.
    pub phys: PhysAddr,
    /// Its size.
    pub size: LeafSize,
    /// What may be done there; `None`: writable and executable (left by a loader).
    pub rights: Option<Rights>,
    /// How it is cached.
    pub caching: Caching,
}

/// A step on the way to an address: the entry that it chooses in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathStep {
    /// The table's level.
    pub level: Level,
    /// The table.
    pub table: Pfn,
    /// Which entry of it.
    pub index: u64,
    /// What stands there.
    pub entry: u64,
    /// Where that leads.
    pub leads: EntryTarget,
}

/// Where an entry leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryTarget {
    /// Nowhere: nothing is mapped.
    Nowhere,
    /// To a table of the next level.
    Table(Pfn),
    /// To memory: a leaf of that size, which begins there.
    Leaf(LeafSize, PhysAddr),
}

impl PathStep {
    /// Tells what the entry's bits say, a word for each.
    pub fn words(&self, report: &mut dyn FnMut(&'static str)) {
        let entry = Entry(self.entry);
        match self.leads {
            EntryTarget::Nowhere => {}
            EntryTarget::Table(_) => entry.table_words(report),
            EntryTarget::Leaf(..) => entry.leaf_words(report),
        }
    }
}

/// The entry of `table` (linked, of `level`) that covers `at`, as an address to load and store.
pub(super) fn slot_of(table: Pfn, level: Level, at: VirtAddr) -> VirtAddr {
    direct(table.start()).offset(level.index(at) * 8)
}

/// Loads the entry of the linked `table` that covers `at`.
pub(super) fn entry_of<M: Machine>(machine: &M, table: Pfn, level: Level, at: VirtAddr) -> Entry {
    Entry(machine.load(slot_of(table, level, at)))
}

impl PageTables {
    /// What `at` translates to; `None` where nothing is mapped.
    pub fn translate<M: Machine>(&self, machine: &M, at: VirtAddr) -> Option<Translation> {
        let (mut table, mut level) = (self.root, Level::Pml4);
        loop {
            let entry = entry_of(machine, table, level, at);
            match entry.kind(level) {
                Kind::Absent => return None,
                Kind::Leaf(size) => {
                    let phys = PhysAddr(entry.leaf_phys(size).0 + (at.0 & (size.bytes() - 1)));
                    return Some(Translation {
                        phys,
                        size,
                        rights: entry.rights(),
                        caching: entry.caching(),
                    });
                }
                Kind::Table(next) => {
                    table = next;
                    level = level.below()?;
                }
            }
        }
    }

    /// Calls `each` with every step on the way to `at`, from the topmost table down, the last one included.
    pub fn path<M: Machine>(&self, machine: &M, at: VirtAddr, each: &mut dyn FnMut(PathStep)) {
        let (mut table, mut level) = (self.root, Level::Pml4);
        loop {
            let entry = entry_of(machine, table, level, at);
            let leads = match entry.kind(level) {
                Kind::Absent => EntryTarget::Nowhere,
                Kind::Leaf(size) => EntryTarget::Leaf(size, entry.leaf_phys(size)),
                Kind::Table(next) => EntryTarget::Table(next),
            };
            each(PathStep { level, table, index: level.index(at), entry: entry.0, leads });
            match (leads, level.below()) {
                (EntryTarget::Table(next), Some(below)) => (table, level) = (next, below),
                _ => return,
            }
        }
    }

    /// Calls `each` with every leaf that maps a part of the `pages` pages from `virt` on, in ascending
    /// order; a leaf at the border is given whole.
    pub fn leaves<M: Machine>(&self, machine: &M, virt: VirtAddr, pages: u64, each: &mut dyn FnMut(Leaf)) {
        let _ = self.leaves_until(machine, virt, pages, &mut |leaf| {
            each(leaf);
            ControlFlow::Continue(())
        });
    }

    /// As [`PageTables::leaves`], as long as `each` goes on.
    pub fn leaves_until<M: Machine>(
        &self,
        machine: &M,
        virt: VirtAddr,
        pages: u64,
        each: &mut dyn FnMut(Leaf) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        leaves_of(machine, self.root, Level::Pml4, VaRange::of(virt, pages), each)
    }

    /// The tables that the path to a 4 KiB leaf at `virt` still lacks (0 to 3; 0 too when a larger leaf
    /// is there).
    pub fn missing_on_path<M: Machine>(&self, machine: &M, virt: VirtAddr) -> usize {
        let (mut table, mut level) = (self.root, Level::Pml4);
        loop {
            let Some(below) = level.below() else { return 0 };
            match entry_of(machine, table, level, virt).kind(level) {
                Kind::Absent => return level as usize,
                Kind::Leaf(_) => return 0,
                Kind::Table(next) => (table, level) = (next, below),
            }
        }
    }
}

fn leaves_of<M: Machine>(
    machine: &M,
    table: Pfn,
    level: Level,
    piece: VaRange,
    each: &mut dyn FnMut(Leaf) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for part in piece.entries(level) {
        let entry = entry_of(machine, table, level, part.virt);
        match (entry.kind(level), level.below()) {
            (Kind::Leaf(size), _) => each(Leaf {
                virt: VirtAddr(part.virt.0 & !(size.bytes() - 1)),
                phys: entry.leaf_phys(size),
                size,
                rights: entry.rights(),
                caching: entry.caching(),
            })?,
            (Kind::Table(next), Some(below)) => leaves_of(machine, next, below, part, each)?,
            _ => {}
        }
    }
    ControlFlow::Continue(())
}

const _: () = assert!(PAGE_SIZE == 512 * 8, "a table is one page of 512 entries");
