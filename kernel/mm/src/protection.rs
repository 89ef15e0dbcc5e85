//! Access rights of mapped memory, verified by a walk of the page tables.
//!
//! ```text
//!  lower half   nothing mapped: a null pointer faults
//!  image        text: read and execute | constants: read | data: read and write      executable here alone
//!  direct map   the image's frames again: text and constants must not be writable there either
//!  guard pages  not mapped; the caller names them
//! ```
//!
//! Invariant: read-only. Linux's counterpart is `CONFIG_DEBUG_WX`. Neighbours: `page_table` walks; the kernel's
//! `memory::protection` adds its guard pages and the CPU's settings; its `check` and `ptdump` are the callers.

use core::fmt;
use core::ops::ControlFlow;

use crate::addr::{PAGE_SIZE, PhysAddr, VirtAddr};
use crate::address_space::{KERNEL, direct};
use crate::machine::Machine;
use crate::page_table::{Leaf, LeafSize, PageTables, Rights};

/// First address of the upper half (48-bit virtual addresses, Intel SDM vol. 1, 3.3.7.1).
const UPPER_HALF: u64 = 0xffff_8000_0000_0000;
/// Pages in one half.
const HALF_PAGES: u64 = (1 << 47) / PAGE_SIZE;

/// A missing protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unprotected {
    /// A leaf is writable and executable.
    WritableExecutable(VirtAddr),
    /// A leaf outside the kernel image is executable.
    Executable(VirtAddr),
    /// A frame of the kernel's text or constants is writable through the direct map.
    Alias {
        /// Its address in the image.
        image: VirtAddr,
        /// Its physical address.
        phys: PhysAddr,
    },
    /// The lower half, where null pointers point, has a mapping.
    LowerHalf(VirtAddr),
    /// A guard page is mapped.
    Guard(VirtAddr),
}

impl fmt::Display for Unprotected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unprotected::WritableExecutable(at) => write!(f, "{at} is writable and executable"),
            Unprotected::Executable(at) => {
                write!(f, "{at} is executable, but not part of the kernel image")
            }
            Unprotected::Alias { image, phys } => {
                write!(f, "the kernel's read-only page {image} is writable through the direct map, at {phys}")
            }
            Unprotected::LowerHalf(at) => write!(f, "{at} is mapped, but the lower half must be empty"),
            Unprotected::Guard(at) => write!(f, "the guard page {at} is mapped"),
        }
    }
}

/// Calls `each` with the next `most` leaves from `from` on. Returns the address after them; `None` at the end.
pub fn leaves<M: Machine>(
    tables: &PageTables,
    machine: &M,
    from: VirtAddr,
    most: usize,
    each: &mut dyn FnMut(Leaf),
) -> Option<VirtAddr> {
    let (mut left, mut next) = (most, None);
    // Without the last page: no address follows it.
    let _ = [(0, HALF_PAGES), (UPPER_HALF, HALF_PAGES - 1)].into_iter().try_for_each(|(start, pages)| {
        let at = VirtAddr(from.0.max(start));
        let pages = pages.saturating_sub((at.0 - start) / PAGE_SIZE);
        tables.try_for_each_leaf(machine, at, pages, &mut |leaf| {
            if left == 0 {
                next = Some(leaf.virt);
                return ControlFlow::Break(());
            }
            left -= 1;
            each(leaf);
            ControlFlow::Continue(())
        })
    });
    next
}

/// Leaves by size, and how many of them are executable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeafCounts {
    /// 4 KiB.
    pub small: u64,
    /// 2 MiB.
    pub large: u64,
    /// 1 GiB.
    pub huge: u64,
    /// Executable.
    pub executable: u64,
    /// Writable and executable.
    pub writable_executable: u64,
}

impl LeafCounts {
    /// Counts a leaf.
    pub fn add(&mut self, leaf: &Leaf) {
        match leaf.size {
            LeafSize::K4 => self.small += 1,
            LeafSize::M2 => self.large += 1,
            LeafSize::G1 => self.huge += 1,
        }
        match leaf.rights {
            None => {
                self.writable_executable += 1;
                self.executable += 1;
            }
            Some(Rights::Code) => self.executable += 1,
            Some(Rights::Data | Rights::ReadOnly) => {}
        }
    }
}

/// Verifies the next `most` leaves from `from` on. Returns their number and the address after them; `None` at the end.
pub fn verify_leaves<M: Machine>(
    tables: &PageTables,
    machine: &M,
    from: VirtAddr,
    most: usize,
    report: &mut dyn FnMut(Unprotected),
) -> (u64, Option<VirtAddr>) {
    let mut checked = 0;
    let next = leaves(tables, machine, from, most, &mut |leaf| {
        checked += 1;
        if let Some(missing) = fault_of(&leaf) {
            report(missing);
        }
    });
    (checked, next)
}

/// Verifies the other mappings of the image's read-only frames, and that `guards` are unmapped. Returns the number of
/// checks.
pub fn verify_rest<M: Machine>(
    tables: &PageTables,
    machine: &M,
    guards: impl Iterator<Item = VirtAddr>,
    report: &mut dyn FnMut(Unprotected),
) -> u64 {
    let mut checked = 0;
    tables.for_each_leaf(machine, KERNEL.start, KERNEL.size / PAGE_SIZE - 1, &mut |leaf| {
        if matches!(leaf.rights, Some(Rights::ReadOnly | Rights::Code)) {
            checked += leaf.size.pages();
            read_only_everywhere(tables, machine, &leaf, report);
        }
    });
    for guard in guards {
        checked += 1;
        if tables.translate(machine, guard).is_some() {
            report(Unprotected::Guard(guard));
        }
    }
    checked
}

fn fault_of(leaf: &Leaf) -> Option<Unprotected> {
    if leaf.virt.0 < UPPER_HALF {
        return Some(Unprotected::LowerHalf(leaf.virt));
    }
    match leaf.rights {
        None => Some(Unprotected::WritableExecutable(leaf.virt)),
        Some(Rights::Code) if !KERNEL.contains(leaf.virt) => Some(Unprotected::Executable(leaf.virt)),
        Some(Rights::Code | Rights::Data | Rights::ReadOnly) => None,
    }
}

/// Checks that the direct map has the frames of a read-only leaf read-only too.
fn read_only_everywhere<M: Machine>(
    tables: &PageTables,
    machine: &M,
    leaf: &Leaf,
    report: &mut dyn FnMut(Unprotected),
) {
    for offset in (0..leaf.size.bytes()).step_by(PAGE_SIZE as usize) {
        let (image, phys) = (leaf.virt.offset(offset), PhysAddr(leaf.phys.0 + offset));
        let alias = tables.translate(machine, direct(phys));
        if alias.is_some_and(|alias| alias.rights != Some(Rights::ReadOnly)) {
            report(Unprotected::Alias { image, phys });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::addr::{Pfn, PfnRange};
    use crate::address_space::{DIRECT_MAP, HEAP};
    use crate::boot_alloc::{BootAllocator, Occupied, Owner};
    use crate::machine::Support;
    use crate::page_table::{Caching, Mapping};
    use crate::sim::SimMachine;

    /// Bit of a page-table entry (Intel SDM vol. 3, 4.5: XD).
    const NO_EXECUTE: u64 = 1 << 63;
    const WRITABLE: u64 = 1 << 1;

    /// Addresses of the image's text, constants and data, one page each.
    const IMAGE: [(u64, Rights); 3] =
        [(0x400, Rights::Code), (0x401, Rights::ReadOnly), (0x402, Rights::Data)];

    struct Kernel {
        sim: SimMachine,
        tables: PageTables,
        early: BootAllocator,
    }

    impl Kernel {
        /// A correctly protected kernel: an image of three pages, a page of heap, a sanitised direct map.
        fn new() -> Kernel {
            let ranges = [PfnRange::new(Pfn(0x100), Pfn(0x2000))];
            let sim = SimMachine::boot(7, Support::No, &ranges);
            let taken = [
                Occupied { range: sim.boot_tables(), owner: Owner::PageTables },
                Occupied { range: PfnRange::new(Pfn(0x400), Pfn(0x410)), owner: Owner::Boot },
            ];
            let early = BootAllocator::new(&ranges, &taken);
            let tables = PageTables::new(sim.root(), sim.features());
            let mut kernel = Kernel { sim, tables, early };
            for (page, (pfn, rights)) in (0u64..).zip(IMAGE) {
                kernel.map(KERNEL.start.offset(page * PAGE_SIZE), Pfn(pfn), rights);
            }
            kernel.map(HEAP.start.offset(PAGE_SIZE), Pfn(0x403), Rights::Data);
            kernel.tables.sanitize_direct_map(&kernel.sim, &ranges, &mut kernel.early).unwrap();
            kernel
        }

        fn map(&mut self, at: VirtAddr, pfn: Pfn, rights: Rights) {
            let mapping = Mapping::data(at, pfn.start(), 1).with(rights, Caching::Memory);
            self.tables.map(&self.sim, &mapping, &mut self.early).unwrap();
        }

        /// Changes the entry of the leaf that maps `at`.
        fn change_entry(&self, at: VirtAddr, change: impl Fn(u64) -> u64) {
            let mut last = None;
            self.tables.path(&self.sim, at, &mut |step| last = Some(step));
            let step = last.unwrap();
            self.sim.store(direct(step.table.start()).offset(step.index * 8), change(step.entry));
            self.sim.flush_all();
        }

        /// Executable leaves, and those of them that are writable.
        fn executable(&self) -> (u64, u64) {
            let mut counts = LeafCounts::default();
            let all = leaves(&self.tables, &self.sim, VirtAddr(0), usize::MAX, &mut |leaf| counts.add(&leaf));
            // A walk in steps must give the same counts.
            let (mut steps, mut from) = (LeafCounts::default(), Some(VirtAddr(0)));
            while let Some(at) = from {
                from = leaves(&self.tables, &self.sim, at, 3, &mut |leaf| steps.add(&leaf));
            }
            assert_eq!((all, steps), (None, counts));
            assert!(counts.small > 4 && counts.large > 4 && counts.huge == 0, "{counts:?}");
            (counts.executable, counts.writable_executable)
        }

        fn missing(&self) -> Vec<Unprotected> {
            let mut all = Vec::new();
            let guards = [HEAP.start, HEAP.start.offset(2 * PAGE_SIZE)].into_iter();
            let (mut checked, mut from) = (0, Some(VirtAddr(0)));
            while let Some(at) = from {
                let mut report = |missing| all.push(missing);
                let (some, next) = verify_leaves(&self.tables, &self.sim, at, 3, &mut report);
                (checked, from) = (checked + some, next);
            }
            checked += verify_rest(&self.tables, &self.sim, guards, &mut |missing| all.push(missing));
            assert!(checked > 4);
            all
        }
    }

    /// Proves that a correctly protected kernel has no violation, and that each protection removed is reported by its
    /// name and address and nothing else is. Fails when `check` misses a writable and executable page, code outside the
    /// image, a writable alias of the kernel's text or constants, a mapped guard page, or a mapping in the lower half.
    #[test]
    fn missing_protections_are_reported() {
        assert_eq!((Kernel::new().missing(), Kernel::new().executable()), (Vec::new(), (1, 0)));
        let image = |page: u64| KERNEL.start.offset(page * PAGE_SIZE);

        let kernel = Kernel::new();
        kernel.change_entry(image(2), |entry| entry & !NO_EXECUTE);
        assert_eq!(kernel.missing(), [Unprotected::WritableExecutable(image(2))]);
        assert_eq!(kernel.executable(), (2, 1));

        let kernel = Kernel::new();
        let heap = HEAP.start.offset(PAGE_SIZE);
        kernel.change_entry(heap, |entry| entry & !(NO_EXECUTE | WRITABLE));
        assert_eq!(kernel.missing(), [Unprotected::Executable(heap)]);

        for page in [0, 1] {
            let kernel = Kernel::new();
            let phys = Pfn(IMAGE[page].0).start();
            kernel.change_entry(direct(phys), |entry| entry | WRITABLE);
            let image = image(page as u64);
            assert_eq!(kernel.missing(), [Unprotected::Alias { image, phys }]);
        }

        let mut kernel = Kernel::new();
        let guard = HEAP.start.offset(2 * PAGE_SIZE);
        kernel.map(guard, Pfn(0x404), Rights::Data);
        assert_eq!(kernel.missing(), [Unprotected::Guard(guard)]);

        let kernel = Kernel::new();
        let root = direct(kernel.sim.root().start());
        let upper = kernel.sim.load(root.offset(256 * 8));
        kernel.sim.store(root, upper);
        kernel.sim.flush_all();
        let lower = kernel.missing();
        let first = VirtAddr(0x100 * PAGE_SIZE);
        assert_eq!((lower.first(), DIRECT_MAP.start.0), (Some(&Unprotected::LowerHalf(first)), UPPER_HALF));
        assert!(lower.iter().all(|missing| matches!(missing, Unprotected::LowerHalf(_))), "{lower:?}");
    }
}
