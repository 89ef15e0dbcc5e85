//! What may be done with memory, seen by a walk of the page tables themselves.
//!
//! ```text
//!  lower half   nothing mapped: a null pointer faults
//!  image        text: read and execute | constants: read | data: read and write      executable here alone
//!  direct map   the image's frames once more: text and constants must not be writable there either
//!  guard pages  absent; which they are the caller says
//! ```
//!
//! Invariant: nothing here changes anything. Neighbours: `page_table` walks; the kernel's `memory::protection` adds its
//! guard pages and the CPU's switches, its `check` and `ptdump` ask.

use core::fmt;
use core::ops::ControlFlow;

use crate::addr::{PAGE_SIZE, PhysAddr, VirtAddr};
use crate::address_space::{KERNEL, direct};
use crate::machine::Machine;
use crate::page_table::{Leaf, LeafSize, PageTables, Rights};

/// The first address of the upper half (48 bits of virtual address, SDM vol. 1 section 3.3.7.1).
const UPPER_HALF: u64 = 0xffff_8000_0000_0000;
/// Pages of a half.
const HALF_PAGES: u64 = (1 << 47) / PAGE_SIZE;

/// A protection that is missing in the page tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unprotected {
    /// A leaf may be written and executed.
    WritableExecutable(VirtAddr),
    /// A leaf outside of the kernel's image may be executed.
    Executable(VirtAddr),
    /// A frame of the kernel's text or constants may be written through the direct map.
    Alias {
        /// Where the image has it.
        image: VirtAddr,
        /// Where it lies.
        phys: PhysAddr,
    },
    /// Something is mapped in the lower half, where null pointers lead.
    LowerHalf(VirtAddr),
    /// A guard page is mapped.
    Guard(VirtAddr),
}

impl fmt::Display for Unprotected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unprotected::WritableExecutable(at) => write!(f, "{at} may be written and executed"),
            Unprotected::Executable(at) => {
                write!(f, "{at} may be executed, and is no part of the kernel's image")
            }
            Unprotected::Alias { image, phys } => {
                write!(
                    f,
                    "the kernel's read-only page {image} may be written through the direct map, at {phys}"
                )
            }
            Unprotected::LowerHalf(at) => write!(f, "{at} is mapped, in the half that belongs to nobody"),
            Unprotected::Guard(at) => write!(f, "the guard page {at} is mapped"),
        }
    }
}

/// Calls `each` with the next `most` leaves from `from` on; where the one behind them is, if there is one.
pub fn leaves<M: Machine>(
    tables: &PageTables,
    machine: &M,
    from: VirtAddr,
    most: usize,
    each: &mut dyn FnMut(Leaf),
) -> Option<VirtAddr> {
    let (mut left, mut next) = (most, None);
    // Without the last page, behind which there is no address.
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

/// How many leaves there are of each size, and how many of them may be executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeafCounts {
    /// 4 KiB.
    pub small: u64,
    /// 2 MiB.
    pub large: u64,
    /// 1 GiB.
    pub huge: u64,
    /// May be executed.
    pub executable: u64,
    /// May be written and executed.
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

/// Looks at the next `most` leaves from `from` on; how many there were, and where the one behind them is, if there is
/// one.
pub fn verify_leaves<M: Machine>(
    tables: &PageTables,
    machine: &M,
    from: VirtAddr,
    most: usize,
    report: &mut dyn FnMut(Unprotected),
) -> (u64, Option<VirtAddr>) {
    let mut looked = 0;
    let next = leaves(tables, machine, from, most, &mut |leaf| {
        looked += 1;
        if let Some(missing) = fault_of(&leaf) {
            report(missing);
        }
    });
    (looked, next)
}

/// Looks at other mappings of the image's read-only frames and at `guards`; how many things were looked at.
pub fn verify_rest<M: Machine>(
    tables: &PageTables,
    machine: &M,
    guards: impl Iterator<Item = VirtAddr>,
    report: &mut dyn FnMut(Unprotected),
) -> u64 {
    let mut looked = 0;
    tables.for_each_leaf(machine, KERNEL.start, KERNEL.size / PAGE_SIZE - 1, &mut |leaf| {
        if matches!(leaf.rights, Some(Rights::ReadOnly | Rights::Code)) {
            looked += leaf.size.pages();
            read_only_everywhere(tables, machine, &leaf, report);
        }
    });
    for guard in guards {
        looked += 1;
        if tables.translate(machine, guard).is_some() {
            report(Unprotected::Guard(guard));
        }
    }
    looked
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

/// Looks for the frames of a read-only leaf in the direct map.
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

    /// Bits of an entry.
    const NO_EXECUTE: u64 = 1 << 63;
    const WRITABLE: u64 = 1 << 1;

    /// Where the image's text, its constants and its data lie, a page each.
    const IMAGE: [(u64, Rights); 3] =
        [(0x400, Rights::Code), (0x401, Rights::ReadOnly), (0x402, Rights::Data)];

    struct Kernel {
        sim: SimMachine,
        tables: PageTables,
        early: BootAllocator,
    }

    impl Kernel {
        /// As the kernel is when it runs: an image of three pages, a page of heap, the direct map tidied.
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
        fn spoil(&self, at: VirtAddr, change: impl Fn(u64) -> u64) {
            let mut last = None;
            self.tables.path(&self.sim, at, &mut |step| last = Some(step));
            let step = last.unwrap();
            self.sim.store(direct(step.table.start()).offset(step.index * 8), change(step.entry));
            self.sim.flush_all();
        }

        /// Leaves that may be executed, and those of them that may be written.
        fn executable(&self) -> (u64, u64) {
            let mut counts = LeafCounts::default();
            let all = leaves(&self.tables, &self.sim, VirtAddr(0), usize::MAX, &mut |leaf| counts.add(&leaf));
            // Some at a time, they are the same.
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
            let (mut looked, mut from) = (0, Some(VirtAddr(0)));
            while let Some(at) = from {
                let mut report = |missing| all.push(missing);
                let (some, next) = verify_leaves(&self.tables, &self.sim, at, 3, &mut report);
                (looked, from) = (looked + some, next);
            }
            looked += verify_rest(&self.tables, &self.sim, guards, &mut |missing| all.push(missing));
            assert!(looked > 4);
            all
        }
    }

    /// Proves that a kernel as it should be has nothing missing, and that each protection which is taken away is told,
    /// by its own name and address, and nothing else. Fails when `check` would not see a page that may be written and
    /// executed, code outside of the image, a second way to write the kernel's text or constants, a guard page that is
    /// there, or a null pointer that leads somewhere.
    #[test]
    fn what_is_not_protected_is_told() {
        assert_eq!((Kernel::new().missing(), Kernel::new().executable()), (Vec::new(), (1, 0)));
        let image = |page: u64| KERNEL.start.offset(page * PAGE_SIZE);

        let kernel = Kernel::new();
        kernel.spoil(image(2), |entry| entry & !NO_EXECUTE);
        assert_eq!(kernel.missing(), [Unprotected::WritableExecutable(image(2))]);
        assert_eq!(kernel.executable(), (2, 1));

        let kernel = Kernel::new();
        let heap = HEAP.start.offset(PAGE_SIZE);
        kernel.spoil(heap, |entry| entry & !(NO_EXECUTE | WRITABLE));
        assert_eq!(kernel.missing(), [Unprotected::Executable(heap)]);

        for page in [0, 1] {
            let kernel = Kernel::new();
            let phys = Pfn(IMAGE[page].0).start();
            kernel.spoil(direct(phys), |entry| entry | WRITABLE);
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
