//! The page tables compared with an oracle: `carapace_mm::page_table` on the simulated machine and the mapper of crate
//! `x86_64` on its own memory run the same random maps and unmaps. After each step every page near a border must have
//! the same translation. Fails when an index, an address, a leaf size or a right is wrong.
//!
//! Needs `unsafe` because the oracle's mapper works with pointers.

use std::cell::RefCell;

use carapace_mm::addr::{Pfn, PfnRange, VirtAddr};
use carapace_mm::address_space::ALLOC;
use carapace_mm::boot_alloc::{BootAllocator, Occupied, Owner};
use carapace_mm::machine::Support;
use carapace_mm::page_table::{Caching, LeafSize, Mapping, PageTables, Rights};
use carapace_mm::sim::SimMachine;
use proptest::prelude::*;
use x86_64::structures::paging::mapper::{CleanUp, MappedFrame, PageTableFrameMapping, TranslateResult};
use x86_64::structures::paging::{
    FrameAllocator, FrameDeallocator, MappedPageTable, Mapper, Page, PageTable, PageTableFlags, PhysFrame,
    Size1GiB, Size2MiB, Size4KiB, Translate,
};

/// The oracle's memory: frame n holds the nth table.
#[derive(Default)]
struct Arena {
    tables: RefCell<Vec<*mut PageTable>>,
}

impl Arena {
    fn add(&self) -> PhysFrame {
        let table = Box::into_raw(Box::new(PageTable::new()));
        let mut tables = self.tables.borrow_mut();
        tables.push(table);
        PhysFrame::containing_address(x86_64::PhysAddr::new((tables.len() as u64) << 12))
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        for table in self.tables.borrow().iter() {
            // SAFETY: each pointer came from `Box::into_raw` in `add`, and nothing keeps it after the arena.
            drop(unsafe { Box::from_raw(*table) });
        }
    }
}

// SAFETY: the pointer of a frame is that of a live, aligned `PageTable` (a box of the arena), and the mapper only asks
// for frames from `add`.
unsafe impl PageTableFrameMapping for &Arena {
    fn frame_to_pointer(&self, frame: PhysFrame) -> *mut PageTable {
        self.tables.borrow()[(frame.start_address().as_u64() >> 12) as usize - 1]
    }
}

// SAFETY: every call returns a new frame.
unsafe impl FrameAllocator<Size4KiB> for &Arena {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        Some(self.add())
    }
}

/// Ignores the oracle's empty tables, which the arena drops.
struct Leave;

impl FrameDeallocator<Size4KiB> for Leave {
    // SAFETY: nothing is done with the frame.
    unsafe fn deallocate_frame(&mut self, _frame: PhysFrame) {}
}

fn flags(rights: Rights) -> PageTableFlags {
    PageTableFlags::PRESENT
        | PageTableFlags::GLOBAL
        | match rights {
            Rights::Data => PageTableFlags::WRITABLE | PageTableFlags::NO_EXECUTE,
            Rights::ReadOnly => PageTableFlags::NO_EXECUTE,
            Rights::Code => PageTableFlags::empty(),
        }
}

/// Maps or unmaps one leaf in the oracle.
macro_rules! one_leaf {
    ($oracle:expr, $arena:expr, $size:ty, $virt:expr, $phys:expr) => {{
        let page = Page::<$size>::from_start_address(x86_64::VirtAddr::new($virt)).unwrap();
        match $phys {
            Some((phys, rights)) => {
                let frame = PhysFrame::from_start_address(x86_64::PhysAddr::new(phys)).unwrap();
                let parents = PageTableFlags::PRESENT | PageTableFlags::WRITABLE;
                let mut frames = $arena;
                // SAFETY: the tables are never loaded into a CPU.
                let mapped = unsafe {
                    $oracle.map_to_with_table_flags(page, frame, flags(rights), parents, &mut frames)
                };
                mapped.expect("the oracle maps").ignore();
            }
            None => $oracle.unmap(page).expect("the oracle unmaps").1.ignore(),
        }
    }};
}

/// The leaves of a mapping by the rule: at each address the largest that fits.
fn expected_leaves(mapping: &Mapping, largest: LeafSize, mut each: impl FnMut(u64, u64, LeafSize)) {
    let mut done = 0;
    while done < mapping.pages << 12 {
        let (virt, phys, left) = (mapping.virt.0 + done, mapping.phys.0 + done, (mapping.pages << 12) - done);
        let fits = |size: &LeafSize| {
            *size <= largest && (virt | phys) & (size.bytes() - 1) == 0 && left >= size.bytes()
        };
        let size = LeafSize::ALL.into_iter().rev().find(fits).unwrap();
        each(virt, phys, size);
        done += size.bytes();
    }
}

fn mapping() -> impl Strategy<Value = (u64, u64, u64, Rights)> {
    let start = prop_oneof![0u64..1200, 0x3_fe00u64..0x4_0100, Just(0x4_0000), Just(0x1ff_ffff - 600)];
    let pages = prop_oneof![1u64..40, 500u64..1100, Just(0x4_0000)];
    let shift = prop_oneof![Just(0u64), Just(512), 1u64..700];
    (start, pages, shift, prop_oneof![Just(Rights::Data), Just(Rights::ReadOnly), Just(Rights::Code)])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn translations_equal_those_of_the_x86_64_crate(
        gib in prop_oneof![Just(Support::Yes), Just(Support::No)],
        steps in prop::collection::vec((mapping(), 0u8..3, any::<prop::sample::Index>()), 1..12),
    ) {
        let ranges = [PfnRange::new(Pfn(0x100), Pfn(0x2000))];
        let sim = SimMachine::boot(3, gib, &ranges);
        let mut early =
            BootAllocator::new(&ranges, &[Occupied { range: sim.boot_tables(), owner: Owner::PageTables }]);
        let mut tables = PageTables::new(sim.root(), sim.features());
        tables.prepare_hotplug(&sim, PfnRange::default(), &mut early).unwrap();
        let largest = tables.largest_leaf();

        let arena = Arena::default();
        let root = arena.add();
        let root = (&arena).frame_to_pointer(root);
        // SAFETY: the pointer is the arena's first table, alive as long as the arena and used by the mapper alone.
        let root = unsafe { &mut *root };
        // SAFETY: the arena's pointers are those of the tables, and the tables are never loaded into a CPU.
        let mut oracle = unsafe { MappedPageTable::new(root, &arena) };

        let mut list: Vec<Mapping> = Vec::new();
        let mut probes: Vec<u64> = vec![ALLOC.start.0];
        for ((start, pages, shift, rights), action, pick) in steps {
            if action == 0 && !list.is_empty() {
                let mapping = list.swap_remove(pick.index(list.len()));
                tables.unmap(&sim, mapping.virt, mapping.pages, &mut early).unwrap();
                expected_leaves(&mapping, largest, |virt, _, size| match size {
                    LeafSize::K4 => one_leaf!(oracle, &arena, Size4KiB, virt, None::<(u64, Rights)>),
                    LeafSize::M2 => one_leaf!(oracle, &arena, Size2MiB, virt, None::<(u64, Rights)>),
                    LeafSize::G1 => one_leaf!(oracle, &arena, Size1GiB, virt, None::<(u64, Rights)>),
                });
                // The oracle keeps empty tables, which would prevent a larger leaf later.
                let range = Page::range_inclusive(
                    Page::<Size4KiB>::containing_address(x86_64::VirtAddr::new(ALLOC.start.0)),
                    Page::containing_address(x86_64::VirtAddr::new(ALLOC.last().0)),
                );
                // SAFETY: only the oracle uses the tables, and each came from the arena.
                unsafe { oracle.clean_up_addr_range(range, &mut Leave) };
            } else {
                let virt = VirtAddr(ALLOC.start.0 + (start << 12));
                let phys = Pfn((1 << 20) + start + shift).start();
                let mapping = Mapping::data(virt, phys, pages).with(rights, Caching::Memory);
                let overlaps = |other: &Mapping| {
                    virt.0 < other.virt.0 + (other.pages << 12) && other.virt.0 < virt.0 + (pages << 12)
                };
                let clash = list.iter().any(overlaps);
                prop_assert_eq!(tables.map(&sim, &mapping, &mut early).is_err(), clash);
                if clash {
                    continue;
                }
                expected_leaves(&mapping, largest, |virt, phys, size| {
                    let found = tables.translate(&sim, VirtAddr(virt)).expect("just mapped");
                    assert_eq!(found.size, size);
                    let target = Some((phys, rights));
                    match size {
                        LeafSize::K4 => one_leaf!(oracle, &arena, Size4KiB, virt, target),
                        LeafSize::M2 => one_leaf!(oracle, &arena, Size2MiB, virt, target),
                        LeafSize::G1 => one_leaf!(oracle, &arena, Size1GiB, virt, target),
                    }
                });
                list.push(mapping);
                let end = virt.0 + (pages << 12);
                let middle = virt.0 + ((pages / 2) << 12) + 0x128;
                probes.extend([virt.0, end - 1, end, middle, virt.0.saturating_sub(1).max(ALLOC.start.0)]);
            }
            for &at in &probes {
                let ours = tables.translate(&sim, VirtAddr(at));
                match oracle.translate(x86_64::VirtAddr::new(at)) {
                    TranslateResult::Mapped { frame, offset, flags: theirs } => {
                        let ours = ours.expect("the oracle maps it");
                        prop_assert_eq!(ours.phys.0, frame.start_address().as_u64() + offset);
                        let size = match frame {
                            MappedFrame::Size4KiB(_) => LeafSize::K4,
                            MappedFrame::Size2MiB(_) => LeafSize::M2,
                            MappedFrame::Size1GiB(_) => LeafSize::G1,
                        };
                        prop_assert_eq!(ours.size, size);
                        let expected = flags(ours.rights.expect("never writable and executable"));
                        prop_assert_eq!(theirs & !PageTableFlags::HUGE_PAGE, expected);
                    }
                    _ => prop_assert_eq!(ours, None),
                }
            }
        }
    }
}
