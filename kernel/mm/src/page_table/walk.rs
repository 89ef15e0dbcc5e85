//! Reading the tables: the translation of an address, the path to it, the leaves of a range.
//!
//! Reads linked tables through the direct map. Neighbours: `check`, `vmalloc` and the shell's `ptwalk` and `ptdump`
//! use it.

use crate::addr::{PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use crate::address_space::direct;
use crate::machine::Machine;
use crate::page_table::entry::{Entry, EntryKind, Level, VaRange};
use crate::page_table::{Caching, LeafSize, PageTables, Rights};
use core::ops::ControlFlow;

/// The translation of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The physical address of the byte.
    pub phys: PhysAddr,
    /// The size of the leaf.
    pub size: LeafSize,
    /// The access rights; `None` for writable and executable, which only a loader makes.
    pub rights: Option<Rights>,
    /// The memory type.
    pub caching: Caching,
}

/// A present leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The first virtual address.
    pub virt: VirtAddr,
    /// The first physical address.
    pub phys: PhysAddr,
    /// The size.
    pub size: LeafSize,
    /// The access rights; `None` for writable and executable, which only a loader makes.
    pub rights: Option<Rights>,
    /// The memory type.
    pub caching: Caching,
}

/// One step of a page walk: an entry of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathStep {
    /// The table's level.
    pub level: Level,
    /// The table's frame.
    pub table: Pfn,
    /// The entry's index, 0 to 511.
    pub index: u64,
    /// The entry's raw bits.
    pub entry: u64,
    /// The decoded entry.
    pub target: EntryTarget,
}

/// The target of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryTarget {
    /// None: the entry is not present.
    Absent,
    /// A table of the level below.
    Table(Pfn),
    /// A leaf of this size at this physical address.
    Leaf(LeafSize, PhysAddr),
}

impl PathStep {
    /// Reports the entry's attributes, one word for each.
    pub fn attributes(&self, report: &mut dyn FnMut(&'static str)) {
        let entry = Entry(self.entry);
        match self.target {
            EntryTarget::Absent => {}
            EntryTarget::Table(_) => entry.link_attributes(report),
            EntryTarget::Leaf(..) => entry.leaf_attributes(report),
        }
    }
}

/// Returns the address of the entry that covers `at` in the linked `table` of `level`.
pub(super) fn entry_addr(table: Pfn, level: Level, at: VirtAddr) -> VirtAddr {
    direct(table.start()).offset(level.index(at) * 8)
}

/// Loads the entry of the linked `table` that covers `at`.
pub(super) fn load_entry<M: Machine>(machine: &M, table: Pfn, level: Level, at: VirtAddr) -> Entry {
    Entry(machine.load(entry_addr(table, level, at)))
}

impl PageTables {
    /// Translates `at`; `None` when it is not mapped.
    pub fn translate<M: Machine>(&self, machine: &M, at: VirtAddr) -> Option<Translation> {
        let (mut table, mut level) = (self.root, Level::Pml4);
        loop {
            let entry = load_entry(machine, table, level, at);
            match entry.kind(level) {
                EntryKind::Absent | EntryKind::Migrating(_) => return None,
                EntryKind::Leaf(size) => {
                    let phys = PhysAddr(entry.leaf_phys(size).0 + (at.0 & (size.bytes() - 1)));
                    return Some(Translation {
                        phys,
                        size,
                        rights: entry.rights(),
                        caching: entry.caching(),
                    });
                }
                EntryKind::Table(next) => {
                    table = next;
                    level = level.below()?;
                }
            }
        }
    }

    /// Calls `each` with every step of the page walk to `at`, from the PML4 down to the leaf or absent entry.
    pub fn path<M: Machine>(&self, machine: &M, at: VirtAddr, each: &mut dyn FnMut(PathStep)) {
        let (mut table, mut level) = (self.root, Level::Pml4);
        loop {
            let entry = load_entry(machine, table, level, at);
            let target = match entry.kind(level) {
                EntryKind::Absent | EntryKind::Migrating(_) => EntryTarget::Absent,
                EntryKind::Leaf(size) => EntryTarget::Leaf(size, entry.leaf_phys(size)),
                EntryKind::Table(next) => EntryTarget::Table(next),
            };
            each(PathStep { level, table, index: level.index(at), entry: entry.0, target });
            match (target, level.below()) {
                (EntryTarget::Table(next), Some(below)) => (table, level) = (next, below),
                _ => return,
            }
        }
    }

    /// Calls `each` with every leaf that maps any of the `pages` pages at `virt`, in ascending order. A leaf that
    /// crosses the border is reported whole.
    pub fn for_each_leaf<M: Machine>(
        &self,
        machine: &M,
        virt: VirtAddr,
        pages: u64,
        each: &mut dyn FnMut(Leaf),
    ) {
        let _ = self.try_for_each_leaf(machine, virt, pages, &mut |leaf| {
            each(leaf);
            ControlFlow::Continue(())
        });
    }

    /// Like [`PageTables::for_each_leaf`], until `each` breaks.
    pub fn try_for_each_leaf<M: Machine>(
        &self,
        machine: &M,
        virt: VirtAddr,
        pages: u64,
        each: &mut dyn FnMut(Leaf) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        leaves_below(machine, self.root, Level::Pml4, VaRange::of(virt, pages), each)
    }

    /// Counts the tables that mapping a 4 KiB leaf at `virt` would add: 0 to 3; also 0 when a larger leaf is present.
    pub fn missing_on_path<M: Machine>(&self, machine: &M, virt: VirtAddr) -> usize {
        let (mut table, mut level) = (self.root, Level::Pml4);
        loop {
            let Some(below) = level.below() else { return 0 };
            match load_entry(machine, table, level, virt).kind(level) {
                EntryKind::Absent => return level as usize,
                EntryKind::Leaf(_) | EntryKind::Migrating(_) => return 0,
                EntryKind::Table(next) => (table, level) = (next, below),
            }
        }
    }
}

fn leaves_below<M: Machine>(
    machine: &M,
    table: Pfn,
    level: Level,
    range: VaRange,
    each: &mut dyn FnMut(Leaf) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for part in range.entries(level) {
        let entry = load_entry(machine, table, level, part.virt);
        match (entry.kind(level), level.below()) {
            (EntryKind::Leaf(size), _) => each(Leaf {
                virt: VirtAddr(part.virt.0 & !(size.bytes() - 1)),
                phys: entry.leaf_phys(size),
                size,
                rights: entry.rights(),
                caching: entry.caching(),
            })?,
            (EntryKind::Table(next), Some(below)) => leaves_below(machine, next, below, part, each)?,
            _ => {}
        }
    }
    ControlFlow::Continue(())
}

const _: () = assert!(PAGE_SIZE == 512 * 8, "a table is one page of 512 entries");
