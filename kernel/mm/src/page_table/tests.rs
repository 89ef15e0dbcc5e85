//! Tests of the page tables on the simulated machine. `tests/page_table_oracle.rs` compares them with the crate
//! `x86_64`.

mod migration;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::addr::PfnRange;
use crate::address_space::{ALLOC, FIXMAP, descriptor, direct};
use crate::boot_alloc::{BootAllocator, Occupied, Owner};
use crate::machine::Machine;
use crate::sim::SimMachine;

const GIB: u64 = 1 << 30;
/// DIMMs are added at 4 GiB and above.
const DIMM: Pfn = Pfn(1 << 20);

/// A source of frames that were never mapped.
struct Pool {
    free: Vec<Pfn>,
}

impl Pool {
    fn of(range: PfnRange) -> Pool {
        Pool { free: (range.start.0..range.end.0).rev().map(Pfn).collect() }
    }

    fn limited(start: Pfn, pages: u64) -> Pool {
        Pool::of(PfnRange::of(start, pages))
    }
}

impl FrameSource for Pool {
    fn alloc_frame(&mut self) -> Option<Pfn> {
        self.free.pop()
    }

    fn free_frame(&mut self, frame: Pfn) {
        assert!(!self.free.contains(&frame), "{frame:?} was freed twice");
        self.free.push(frame);
    }
}

/// A machine with 31 MiB, with tables prepared for DIMMs up to 2 TiB.
fn machine(gib_leaves: Support) -> (SimMachine, PageTables) {
    let ranges = [PfnRange::new(Pfn(0x100), Pfn(0x2000))];
    let sim = SimMachine::boot(7, gib_leaves, &ranges);
    let mut early =
        BootAllocator::new(&ranges, &[Occupied { range: sim.boot_tables(), owner: Owner::PageTables }]);
    let mut tables = PageTables::new(sim.root(), sim.features());
    let window = PfnRange::new(DIMM, Pfn(1 << 29));
    tables.prepare_hotplug(&sim, window, &mut early).unwrap();
    (sim, tables)
}

fn direct_map(range: PfnRange) -> Mapping {
    Mapping::data(direct(range.start.start()), range.start.start(), range.pages())
}

/// Adds the memory `range` to the machine and maps it, with tables from its last frames.
fn plug(sim: &SimMachine, tables: &mut PageTables, range: PfnRange) {
    sim.plug(range);
    let mut own = Pool::limited(Pfn(range.end.0 - 16), 16);
    tables.map(sim, &direct_map(range), &mut own).unwrap();
}

/// Returns whether all fixmap slots are empty, as they must be between calls.
fn fixmap_is_empty(sim: &SimMachine) -> bool {
    !sim.leaves().iter().any(|leaf| FIXMAP.contains(leaf.virt))
}

fn faults(access: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(access)).is_err()
}

/// Proves that a DIMM can hold the tables of its own mapping, in frames that are unmapped and full of junk when the
/// tables are filled, and that all of it can be unmapped again. Fails when a new table is written through the direct
/// map, or is not zeroed.
#[test]
fn a_dimm_holds_the_tables_of_its_own_mapping() {
    let (sim, mut tables) = machine(Support::No);
    // Across the 5 GiB border: two new page directories, the second in memory that the first maps.
    let range = PfnRange::of(DIMM.offset(0x3_8000), 0x1_0000);
    sim.plug(range);
    let before = sim.leaves();
    let mut pool = Pool::limited(range.start.offset(16), 8);
    let need = tables.tables_needed(&sim, &direct_map(range));
    assert_eq!(need, TableNeed { new: 2, shared: 0 });
    let stats = tables.map(&sim, &direct_map(range), &mut pool).unwrap();
    assert_eq!(stats, MapStats { entries_written: 128 + 2, tables: 2 });
    assert!(fixmap_is_empty(&sim));
    for page in (0..range.pages()).step_by(511) {
        let at = direct(range.start.offset(page).start());
        sim.store(at, page);
        assert_eq!(sim.physical(range.start.offset(page).start()), page);
    }
    // Unmap it: the tables that map themselves are detached first and read through the fixmap.
    let mapping = direct_map(range);
    assert_eq!(tables.unmap(&sim, mapping.virt, mapping.pages, &mut pool).unwrap().tables, 2);
    assert_eq!(pool.free.len(), 8);
    assert_eq!(sim.leaves(), before);
    assert!(fixmap_is_empty(&sim));
    sim.unplug(range);
    assert!(faults(|| {
        sim.load(mapping.virt);
    }));
}

/// Proves that `map` uses the largest leaf that alignment, length, request and CPU allow. Fails when it uses a smaller
/// or a misaligned one.
#[test]
fn leaves_are_as_large_as_fit() {
    for (gib_leaves, expected) in [(Support::Yes, (0, 514, 1)), (Support::No, (0, 514 + 512, 0))] {
        let (sim, mut tables) = machine(gib_leaves);
        let range = PfnRange::of(DIMM.offset(0x2_0000 - 512), 0x8_0000 + 1024);
        plug(&sim, &mut tables, PfnRange::of(DIMM, 0x40_0000));
        let mut pool = Pool::limited(DIMM, 64);
        // Congruent with the physical address: the vmalloc region starts at a multiple of 512 GiB.
        let even =
            Mapping::data(ALLOC.start.offset(range.start.start().0), range.start.start(), range.pages());
        tables.map(&sim, &even, &mut pool).unwrap();
        // 512 frames and half a GiB, a whole GiB, half a GiB and 512 frames.
        let leaves: Vec<_> = sim.leaves().into_iter().filter(|leaf| ALLOC.contains(leaf.virt)).collect();
        let count = |bytes| leaves.iter().filter(|leaf| leaf.bytes == bytes).count();
        assert_eq!((count(4096), count(2 << 20), count(1 << 30)), expected);
        // The same memory at an address that is not congruent, and with a smaller leaf size.
        let odd = Mapping::data(ALLOC.start.offset(4096), range.start.start(), 1024);
        tables.map(&sim, &odd, &mut pool).unwrap();
        tables.for_each_leaf(&sim, odd.virt, odd.pages, &mut |leaf| assert_eq!(leaf.size, LeafSize::K4));
        let small = Mapping::data(ALLOC.start.offset(GIB), DIMM.start(), 512).largest(LeafSize::K4);
        tables.map(&sim, &small, &mut pool).unwrap();
        assert_eq!(tables.translate(&sim, small.virt).unwrap().size, LeafSize::K4);
    }
}

/// Proves that `map` with too few frames, at any count, changes nothing and frees what it allocated, and that it
/// succeeds with exactly the number that `tables_needed` returns; some of the tables exist already. Fails when an undo
/// forgets an entry or a table.
#[test]
fn running_out_of_frames_undoes_everything() {
    let (sim, mut tables) = machine(Support::No);
    plug(&sim, &mut tables, PfnRange::of(DIMM, 0x20_0000));
    // 4 KiB leaves, whole entries of 2 MiB, and three PDs; the first two tables exist already.
    let first = Mapping::data(ALLOC.start, DIMM.start(), 3);
    tables.map(&sim, &first, &mut Pool::limited(DIMM, 2)).unwrap();
    let frames = DIMM.offset(100);
    let mapping = Mapping::data(ALLOC.start.offset(3 * 4096), DIMM.offset(3).start(), 0x8_0000 + 700);
    let need = tables.tables_needed(&sim, &mapping);
    assert_eq!(need.shared, 2);
    let before = (sim.leaves(), sim.tables(), sim.snapshot(&[PfnRange::of(frames, 64)]));
    for count in 0..need.new {
        let mut pool = Pool::limited(frames, count);
        let error = tables.map(&sim, &mapping, &mut pool).unwrap_err();
        assert!(matches!(error, MapError::OutOfFrames { .. }), "{count}: {error}");
        assert_eq!(pool.free.len() as u64, count);
        assert_eq!((sim.leaves(), sim.tables(), sim.snapshot(&[PfnRange::of(frames, 64)])), before);
    }
    let mut pool = Pool::limited(frames, need.new);
    assert_eq!(tables.map(&sim, &mapping, &mut pool).unwrap().tables, need.new);
    assert!(pool.free.is_empty());
}

/// Proves that a present entry anywhere in the range, even at its end, makes `map` refuse the range without side
/// effects. Fails when `map` overwrites an entry.
#[test]
fn present_entries_are_not_overwritten() {
    let (sim, mut tables) = machine(Support::Yes);
    plug(&sim, &mut tables, PfnRange::of(DIMM, 0x20_0000));
    let mut pool = Pool::limited(DIMM, 64);
    let last = ALLOC.start.offset(3 * GIB + 77 * 4096);
    tables.map(&sim, &Mapping::data(last, DIMM.start(), 1), &mut pool).unwrap();
    let (leaves, frames) = (sim.leaves(), pool.free.len());
    let mapping = Mapping::data(ALLOC.start, DIMM.start(), ((3 * GIB) >> 12) + 78);
    assert_eq!(tables.map(&sim, &mapping, &mut pool), Err(MapError::AlreadyMapped { at: last }));
    assert_eq!((sim.leaves(), pool.free.len()), (leaves, frames));
    // A large leaf counts as well.
    let mapping = Mapping::data(direct(Pfn(0x400).start()), DIMM.start(), 1);
    assert!(matches!(tables.map(&sim, &mapping, &mut pool), Err(MapError::AlreadyMapped { .. })));
}

/// Proves that unaligned, empty, overflowing and out-of-range requests are errors. Fails when a check is missing: the
/// walk would then read or write an unrelated entry.
#[test]
fn invalid_ranges_are_refused() {
    let (sim, mut tables) = machine(Support::Yes);
    let ok = Mapping::data(ALLOC.start, PhysAddr(0x10_0000), 1);
    let wrong = [
        Mapping { virt: VirtAddr(ALLOC.start.0 + 8), ..ok },
        Mapping { phys: PhysAddr(0x10_0008), ..ok },
        Mapping { pages: 0, ..ok },
        Mapping { pages: u64::MAX, ..ok },
        Mapping { virt: VirtAddr(0xffff_ffff_ffff_f000), pages: 2, ..ok },
        Mapping { virt: VirtAddr(0x1000), ..ok },
        Mapping { phys: PhysAddr(1 << 46), ..ok },
    ];
    for mapping in wrong {
        assert!(tables.map(&sim, &mapping, &mut NoFrames).is_err(), "{mapping:?}");
        assert_eq!(tables.tables_needed(&sim, &mapping), TableNeed::default());
    }
    assert!(matches!(tables.unmap(&sim, ALLOC.start, 0, &mut NoFrames), Err(UnmapError::Range(_))));
}

/// Proves that `unmap` leaves no stale translation, for one leaf and for many: the address faults, and after another
/// `map` it reaches the new frame. Fails when a flush is missing (the simulated TLB never evicts).
#[test]
fn unmap_flushes() {
    for pages in [1, 32, 33, 600] {
        let (sim, mut tables) = machine(Support::No);
        plug(&sim, &mut tables, PfnRange::of(DIMM, 4096));
        let mut pool = Pool::limited(DIMM.offset(3000), 64);
        let mapping = Mapping::data(ALLOC.start.offset(5 * 4096), DIMM.offset(1).start(), pages);
        // Another mapping keeps the tables linked, so that only the leaves' flush is tested.
        tables.map(&sim, &Mapping::data(ALLOC.start, DIMM.start(), 1), &mut pool).unwrap();
        tables.map(&sim, &mapping, &mut pool).unwrap();
        let last = ALLOC.start.offset((4 + pages) * 4096);
        sim.store(mapping.virt, 11);
        sim.store(last, 12);
        tables.unmap(&sim, mapping.virt, pages, &mut pool).unwrap();
        assert!(faults(|| sim.store(mapping.virt, 1)) && faults(|| sim.store(last, 1)), "{pages}");
        let other = Mapping { phys: DIMM.offset(1000).start(), ..mapping };
        tables.map(&sim, &other, &mut pool).unwrap();
        sim.store(mapping.virt, 13);
        assert_eq!(sim.physical(DIMM.offset(1000).start()), 13);
    }
}

/// Proves that a table is freed after the paging-structure caches are flushed: reused at once, it is not walked any
/// more. Fails when the flush comes after the free.
#[test]
fn a_freed_table_is_not_walked() {
    let (sim, mut tables) = machine(Support::No);
    plug(&sim, &mut tables, PfnRange::of(DIMM, 4096));
    let mut pool = Pool::limited(DIMM.offset(3000), 64);
    let mapping = Mapping::data(ALLOC.start, DIMM.start(), 4);
    tables.map(&sim, &mapping, &mut pool).unwrap();
    sim.store(ALLOC.start, 1);
    tables.unmap(&sim, ALLOC.start, 4, &mut pool).unwrap();
    // The next mapping gets the same frames in another order; a stale link would reach the wrong one.
    pool.free.reverse();
    let other = Mapping::data(ALLOC.start.offset(4096), DIMM.offset(9).start(), 1);
    tables.map(&sim, &other, &mut pool).unwrap();
    sim.store(other.virt, 5);
    assert_eq!(sim.physical(DIMM.offset(9).start()), 5);
}

/// Proves that `unmap` of a range with an unmapped page or a partial leaf changes nothing. Fails when it clears entries
/// before it has checked them all.
#[test]
fn unmap_is_all_or_nothing() {
    let (sim, mut tables) = machine(Support::No);
    plug(&sim, &mut tables, PfnRange::of(DIMM, 8192));
    let mut pool = Pool::limited(DIMM, 64);
    tables.map(&sim, &Mapping::data(ALLOC.start, DIMM.start(), 1024), &mut pool).unwrap();
    let leaves = sim.leaves();
    let size = LeafSize::M2;
    let at = ALLOC.start.offset(2 << 20);
    assert_eq!(tables.unmap(&sim, ALLOC.start, 700, &mut pool), Err(UnmapError::PartOfLeaf { at, size }));
    let at = ALLOC.start.offset(4 << 20);
    assert_eq!(tables.unmap(&sim, ALLOC.start, 1025, &mut pool), Err(UnmapError::NotMapped { at }));
    assert_eq!(sim.leaves(), leaves);
}

/// Proves that permanent tables stay, that others are freed with their last entry, and that another mapping's entry
/// keeps them. Fails when `unmap` frees a used table or leaks an empty one.
#[test]
fn empty_tables_are_freed() {
    let (sim, mut tables) = machine(Support::No);
    let (one, two) = (PfnRange::of(DIMM, 0x8000), PfnRange::of(DIMM.offset(0x8000), 0x8000));
    sim.plug(one);
    sim.plug(two);
    let before = sim.tables();
    let mut pool = Pool::limited(two.start, 4);
    tables.map(&sim, &direct_map(two), &mut pool).unwrap();
    assert_eq!(tables.tables_needed(&sim, &direct_map(one)), TableNeed { new: 0, shared: 1 });
    tables.map(&sim, &direct_map(one), &mut NoFrames).unwrap();
    assert_eq!(pool.free.len(), 3);
    tables.unmap(&sim, direct_map(one).virt, 0x8000, &mut pool).unwrap();
    assert_eq!(pool.free.len(), 3, "the other mapping still uses the page directory");
    tables.unmap(&sim, direct_map(two).virt, 0x8000, &mut pool).unwrap();
    assert_eq!((pool.free.len(), sim.tables()), (4, before));
}

/// Proves that `prepare_hotplug` made the upper tables: mapping vmemmap needs PTs only, and for whole sections no table
/// at all. Fails when a hot add would need more tables than its layout reserves.
#[test]
fn upper_tables_exist_since_boot() {
    let (sim, tables) = machine(Support::Yes);
    let section = Mapping::data(descriptor(DIMM), DIMM.start(), 512).largest(LeafSize::M2);
    assert_eq!(tables.tables_needed(&sim, &section), TableNeed::default());
    let part = Mapping::data(descriptor(DIMM.offset(512)), DIMM.start(), 8);
    assert_eq!(tables.tables_needed(&sim, &part), TableNeed { new: 1, shared: 0 });
    let four_tib = PfnRange::of(Pfn(1 << 28), 1 << 28);
    assert_eq!(tables.tables_needed(&sim, &direct_map(four_tib)), TableNeed::default());
    assert_eq!(tables.tables_needed(&sim, &direct_map(four_tib).largest(LeafSize::M2)).new, 1024);
}

/// Proves that code is not writable, that data is not executable, that read-only memory is neither, and that every leaf
/// is global. Fails when an entry has other bits.
#[test]
fn rights_and_caching_reach_the_entries() {
    let (sim, mut tables) = machine(Support::No);
    plug(&sim, &mut tables, PfnRange::of(DIMM, 64));
    let mut pool = Pool::limited(DIMM, 64);
    let cases = [
        (Rights::Data, Caching::Memory),
        (Rights::ReadOnly, Caching::Device),
        (Rights::Code, Caching::Memory),
    ];
    for (page, (rights, caching)) in (0..).zip(cases) {
        let at = ALLOC.start.offset(page * 4096);
        tables
            .map(&sim, &Mapping::data(at, DIMM.offset(40).start(), 1).with(rights, caching), &mut pool)
            .unwrap();
        let found = tables.translate(&sim, at.offset(24)).unwrap();
        assert_eq!((found.rights, found.caching), (Some(rights), caching));
        assert_eq!(found.phys, PhysAddr(DIMM.offset(40).start().0 + 24));
        let leaf = sim.leaves().into_iter().find(|leaf| leaf.virt == at).unwrap();
        assert_eq!(leaf.flags >> 63 == 0, rights == Rights::Code);
        assert_eq!(leaf.flags & 2 != 0, rights == Rights::Data);
        assert!(leaf.flags & 1 << 8 != 0);
        assert_eq!(faults(|| sim.store(at, 1)), rights != Rights::Data);
    }
}

/// Proves that `view_page` accesses an unmapped frame, and that the frame is unreachable afterwards. Fails when the slot
/// is not cleared or not flushed.
#[test]
fn a_view_is_temporary() {
    let (sim, mut tables) = machine(Support::No);
    sim.plug(PfnRange::of(DIMM, 2));
    let at = tables.view_page(&sim, DIMM, |at| {
        sim.store(at, 3);
        at
    });
    tables.view_page(&sim, DIMM.offset(1), |at| sim.store(at, 4));
    assert_eq!((sim.physical(DIMM.start()), sim.physical(DIMM.offset(1).start())), (3, 4));
    assert!(faults(|| {
        sim.load(at);
    }));
}

/// Ranges near borders of all leaf sizes: pages around the first and second GiB of the vmalloc region.
fn page_range() -> impl Strategy<Value = (u64, u64, u64)> {
    let start =
        prop_oneof![0u64..2000, 0x3_fe00u64..0x4_0200, (0u64..6).prop_map(|m| m * 512), Just(0x4_0000)];
    let pages = prop_oneof![1u64..40, Just(512), Just(1536), 500u64..1500, Just(0x4_0000), Just(0x4_0200)];
    (start, pages, prop_oneof![Just(0u64), Just(512), Just(0x4_0000), 0u64..3000])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Proves for random maps and unmaps that the leaves in memory (read by the simulation's own walk) equal those of a
    /// plain list of mappings, that `tables_needed` predicts the frames used, that exactly the overlapping requests are
    /// refused, and that at the end every table frame is free. Fails when tables and list disagree.
    #[test]
    fn maps_and_unmaps_agree_with_a_list(
        gib in prop_oneof![Just(Support::Yes), Just(Support::No)],
        steps in prop::collection::vec((page_range(), 0usize..4, any::<prop::sample::Index>()), 1..24),
    ) {
        let (sim, mut tables) = machine(gib);
        plug(&sim, &mut tables, PfnRange::of(DIMM, 0x40_0000));
        let mut pool = Pool::limited(DIMM, 2048);
        let empty = (sim.leaves(), sim.tables());
        let mut list: BTreeMap<u64, Mapping> = BTreeMap::new();
        for ((start, pages, shift), action, pick) in steps {
            if action == 0 && !list.is_empty() {
                let key = *list.keys().nth(pick.index(list.len())).unwrap();
                let mapping = list.remove(&key).unwrap();
                tables.unmap(&sim, mapping.virt, mapping.pages, &mut pool).unwrap();
            } else {
                let phys = DIMM.offset(start + shift).start();
                let mapping = Mapping::data(ALLOC.start.offset(start << 12), phys, pages);
                let clash = list.iter().any(|(s, m)| *s < start + pages && start < s + m.pages);
                let need = tables.tables_needed(&sim, &mapping);
                let free = pool.free.len();
                match tables.map(&sim, &mapping, &mut pool) {
                    Ok(stats) => {
                        prop_assert!(!clash);
                        prop_assert_eq!(stats.tables, need.new);
                        prop_assert_eq!(pool.free.len() as u64, free as u64 - need.new);
                        list.insert(start, mapping);
                    }
                    Err(error) => {
                        prop_assert!(clash && matches!(error, MapError::AlreadyMapped { .. }), "{}", error);
                        prop_assert_eq!(pool.free.len(), free);
                    }
                }
            }
            let mut runs: Vec<(u64, u64, u64)> = Vec::new();
            for leaf in sim.leaves().into_iter().filter(|leaf| ALLOC.contains(leaf.virt)) {
                match runs.last_mut() {
                    Some(run) if run.0 + run.2 == leaf.virt.0 && run.1 + run.2 == leaf.phys.0 => run.2 += leaf.bytes,
                    _ => runs.push((leaf.virt.0, leaf.phys.0, leaf.bytes)),
                }
            }
            let mut expected: Vec<(u64, u64, u64)> = Vec::new();
            for mapping in list.values() {
                let (virt, phys, bytes) = (mapping.virt.0, mapping.phys.0, mapping.pages << 12);
                match expected.last_mut() {
                    Some(run) if run.0 + run.2 == virt && run.1 + run.2 == phys => run.2 += bytes,
                    _ => expected.push((virt, phys, bytes)),
                }
            }
            prop_assert_eq!(runs, expected);
            prop_assert!(fixmap_is_empty(&sim));
        }
        for mapping in list.values() {
            tables.unmap(&sim, mapping.virt, mapping.pages, &mut pool).unwrap();
        }
        prop_assert_eq!(pool.free.len(), 2048);
        prop_assert_eq!((sim.leaves(), sim.tables()), empty);
    }
}

/// Proves that `path` reports each table of the walk down to the leaf, that the attributes match the leaf's bits, and
/// that the walk of an unmapped address ends with the absent entry. Fails when a step or an attribute is wrong.
#[test]
fn path_reports_each_table() {
    let (sim, mut tables) = machine(Support::No);
    let range = PfnRange::of(DIMM, 65536);
    plug(&sim, &mut tables, range);
    let steps = |at| {
        let mut steps = Vec::new();
        tables.path(&sim, at, &mut |step| steps.push(step));
        steps
    };
    let at = direct(DIMM.start()).offset((5 << 21) + 24);
    let found = steps(at);
    assert_eq!(found.iter().map(|step| step.level.name()).collect::<Vec<_>>(), ["PML4", "PDPT", "PD"]);
    assert_eq!(found.iter().map(|step| step.index).collect::<Vec<_>>(), [256, 4, 5]);
    assert_eq!(found[2].target, EntryTarget::Leaf(LeafSize::M2, PhysAddr(DIMM.start().0 + (5 << 21))));
    assert!(found.windows(2).all(|pair| pair[0].target == EntryTarget::Table(pair[1].table)));
    let mut words = Vec::new();
    found[2].attributes(&mut |word| words.push(word));
    assert_eq!(words, ["writable", "no execute", "global", "write-back"]);
    let nothing = steps(direct(Pfn(DIMM.0 + 65536).start()));
    assert_eq!(nothing.last().map(|step| (step.level, step.target)), Some((Level::Pd, EntryTarget::Absent)));
}
