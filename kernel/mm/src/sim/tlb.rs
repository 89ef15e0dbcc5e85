//! Simulated translation: the page walk and the caches in front of it (SDM vol. 3 sections 4.5, 4.10).
//!
//! The TLB and the paging-structure caches are unbounded and keep every entry until it is flushed, so a missing flush
//! always shows. INVLPG drops the page's translation, whatever its size, and all paging-structure caches (section
//! 4.10.4.1). Non-present entries are never cached.

use core::fmt;

use rustc_hash::FxHashMap;

use crate::addr::{PAGE_SHIFT, Pfn, PfnRange, PhysAddr, VirtAddr};
use crate::sim::memory::Memory;

pub(super) const PRESENT: u64 = 1;
pub(super) const WRITABLE: u64 = 1 << 1;
pub(super) const ACCESSED: u64 = 1 << 5;
pub(super) const DIRTY: u64 = 1 << 6;
pub(super) const LARGE: u64 = 1 << 7;
pub(super) const NO_EXECUTE: u64 = 1 << 63;
pub(super) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// The number of address bits below an entry of `level` (4: root).
pub(super) const fn shift(level: u32) -> u32 {
    PAGE_SHIFT + 9 * (level - 1)
}

/// The table that an entry links.
pub(super) const fn table_of(entry: u64) -> Pfn {
    Pfn((entry & ADDRESS) >> PAGE_SHIFT)
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Load,
    Store,
}

/// Why an access faults.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing is mapped: the entry of this level is absent.
    Absent {
        /// The level.
        level: u32,
    },
    /// The access is a store, and the leaf is read-only.
    ReadOnly,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Absent { level } => write!(f, "nothing is mapped (level {level})"),
            Fault::ReadOnly => f.write_str("write to read-only memory"),
        }
    }
}

#[derive(Clone, Copy)]
struct Cached {
    phys: u64,
    writable: bool,
}

/// An entry of a small direct-mapped copy of the TLB, which makes the simulation faster.
#[derive(Clone, Copy, Default)]
struct Fast {
    page: u64,
    frame: u64,
    writable: bool,
}

const FAST: usize = 256;

pub(super) struct Tlb {
    /// Leaves by level (1 to 3) and virtual address in units of the leaf's size.
    leaves: [FxHashMap<u64, Cached>; 3],
    /// Tables by level (1 to 3) and virtual address in units of the range that the table maps.
    tables: [FxHashMap<u64, Pfn>; 3],
    fast: [Fast; FAST],
}

impl Default for Tlb {
    fn default() -> Tlb {
        Tlb { leaves: Default::default(), tables: Default::default(), fast: [Fast::default(); FAST] }
    }
}

impl Tlb {
    pub(super) fn translate(
        &mut self,
        memory: &mut Memory,
        root: Pfn,
        at: VirtAddr,
        access: Access,
    ) -> Result<PhysAddr, Fault> {
        let page = at.0 >> PAGE_SHIFT;
        let offset = at.0 & ((1 << PAGE_SHIFT) - 1);
        let fast = self.fast[page as usize % FAST];
        if fast.page == page && (fast.writable || access == Access::Load) {
            return Ok(PhysAddr(fast.frame << PAGE_SHIFT | offset));
        }
        let cached = (1..=3).find_map(|level| {
            let cached = self.leaves[level as usize - 1].get(&(at.0 >> shift(level)))?;
            Some((level, *cached))
        });
        let (level, leaf) = match cached {
            Some((_, leaf)) if !leaf.writable && access == Access::Store => {
                // The fault drops the cached translation (SDM vol. 3 section 4.10.4.1), so the next attempt walks.
                self.flush(at);
                return Err(Fault::ReadOnly);
            }
            Some(cached) => cached,
            None => self.walk(memory, root, at, access)?,
        };
        let phys = leaf.phys | at.0 & ((1 << shift(level)) - 1);
        self.fast[page as usize % FAST] = Fast { page, frame: phys >> PAGE_SHIFT, writable: leaf.writable };
        Ok(PhysAddr(phys))
    }

    fn walk(
        &mut self,
        memory: &mut Memory,
        root: Pfn,
        at: VirtAddr,
        access: Access,
    ) -> Result<(u32, Cached), Fault> {
        let sign = (at.0 as i64) >> 47;
        assert!(sign == 0 || sign == -1, "address {at} is not canonical");
        let cached = (1..=3).find_map(|level| {
            Some((level, *self.tables[level as usize - 1].get(&(at.0 >> shift(level + 1)))?))
        });
        let (mut level, mut table) = cached.unwrap_or((4, root));
        loop {
            let address = PhysAddr(table.start().0 + (at.0 >> shift(level)) % 512 * 8);
            let entry = memory.load(address);
            if entry & PRESENT == 0 {
                return Err(Fault::Absent { level });
            }
            let leaf = level == 1 || entry & LARGE != 0;
            if leaf && access == Access::Store && entry & WRITABLE == 0 {
                return Err(Fault::ReadOnly);
            }
            let dirty = if leaf && access == Access::Store { DIRTY } else { 0 };
            memory.store(address, entry | ACCESSED | dirty);
            if leaf {
                assert!(level < 4, "reserved bit 7 in a root entry, for {at}");
                let phys = entry & ADDRESS;
                assert!(phys & ((1 << shift(level)) - 1) == 0, "misaligned leaf for {at}");
                let cached = Cached { phys, writable: entry & WRITABLE != 0 };
                self.leaves[level as usize - 1].insert(at.0 >> shift(level), cached);
                return Ok((level, cached));
            }
            table = table_of(entry);
            level -= 1;
            self.tables[level as usize - 1].insert(at.0 >> shift(level + 1), table);
        }
    }

    pub(super) fn flush(&mut self, at: VirtAddr) {
        for level in 1..=3 {
            self.leaves[level as usize - 1].remove(&(at.0 >> shift(level)));
        }
        self.tables.iter_mut().for_each(FxHashMap::clear);
        // An entry may be any page of a large leaf.
        self.fast = [Fast::default(); FAST];
    }

    /// Whether a cached leaf or table is in `range`.
    pub(super) fn refers_to(&self, range: PfnRange) -> bool {
        let leaf = |level: usize, leaf: &Cached| {
            let frames = 1 << (shift(level as u32 + 1) - PAGE_SHIFT);
            PfnRange::of(PhysAddr(leaf.phys).pfn(), frames).overlaps(range)
        };
        let mut leaves = self.leaves.iter().enumerate();
        leaves.any(|(level, leaves)| leaves.values().any(|cached| leaf(level, cached)))
            || self.tables.iter().any(|tables| tables.values().any(|&table| range.contains(table)))
    }

    pub(super) fn flush_all(&mut self) {
        *self = Tlb::default();
    }
}
