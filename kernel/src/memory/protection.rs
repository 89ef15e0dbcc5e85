//! What may be done with memory, seen by a walk of the page tables themselves.
//!
//! ```text
//!  lower half   nothing mapped: a null pointer faults
//!  image        text: read and execute | constants: read | data: read and write      executable here alone
//!  direct map   the image's frames once more: text and constants must not be writable there either
//!  stacks       the page below each is absent
//!  heap         so are the pages in front of, between and behind its two parts
//! ```
//!
//! Invariant: nothing here changes anything. Neighbours: the loader made the image's leaves and the direct map of
//! boot memory, `mm::page_table` everything else; `check` and `ptdump` ask.

use super::{core, heap};
use crate::arch::{cpu, stacks};
use ::core::fmt;
use mm::addr::{PAGE_SIZE, PhysAddr, VirtAddr};
use mm::address_space::{KERNEL, direct};
use mm::page_table::{Leaf, PageTables, Rights};

/// The first address of the upper half (48 bits of virtual address, SDM vol. 1 section 3.3.7.1).
const UPPER_HALF: u64 = 0xffff_8000_0000_0000;
/// Pages of a half.
const HALF_PAGES: u64 = (1 << 47) / PAGE_SIZE;

/// A protection that is missing.
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
    /// A protection that the CPU has is off.
    Off(&'static str),
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
            Unprotected::Off(name) => write!(f, "the CPU has {name}, and it is off"),
        }
    }
}

/// Calls `each` with every leaf there is; nothing before boot memory was taken over.
pub fn leaves(each: &mut dyn FnMut(Leaf)) {
    core().with_tables(|tables, machine| {
        // Without the last page, behind which there is no address.
        for (start, pages) in [(0, HALF_PAGES), (UPPER_HALF, HALF_PAGES - 1)] {
            tables.leaves(machine, VirtAddr(start), pages, each);
        }
    });
}

/// Looks at every leaf and at the CPU's switches; how many things were looked at.
pub fn verify(tell: &mut dyn FnMut(Unprotected)) -> u64 {
    let mut looked = 0;
    leaves(&mut |leaf| {
        looked += 1;
        if let Some(missing) = fault_of(&leaf) {
            tell(missing);
        }
    });
    core().with_tables(|tables, machine| {
        tables.leaves(machine, KERNEL.start, KERNEL.size / PAGE_SIZE - 1, &mut |leaf| {
            if matches!(leaf.rights, Some(Rights::ReadOnly | Rights::Code)) {
                looked += leaf.size.pages();
                read_only_everywhere(tables, machine, &leaf, tell);
            }
        });
        for guard in stacks::guard_pages().chain(heap::guard_pages()) {
            looked += 1;
            if tables.translate(machine, guard).is_some() {
                tell(Unprotected::Guard(guard));
            }
        }
    });
    cpu::switched_off(&mut |name| tell(Unprotected::Off(name)));
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
fn read_only_everywhere(
    tables: &PageTables,
    machine: &super::KernelMachine,
    leaf: &Leaf,
    tell: &mut dyn FnMut(Unprotected),
) {
    for offset in (0..leaf.size.bytes()).step_by(PAGE_SIZE as usize) {
        let (image, phys) = (leaf.virt.offset(offset), PhysAddr(leaf.phys.0 + offset));
        let alias = tables.translate(machine, direct(phys));
        if alias.is_some_and(|alias| alias.rights != Some(Rights::ReadOnly)) {
            tell(Unprotected::Alias { image, phys });
        }
    }
}
