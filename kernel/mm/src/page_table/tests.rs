//! Tests of the page tables over the simulated machine. The comparison with the crate `x86_64` is in
//! `tests/page_table_oracle.rs`.

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
/// Where DIMMs appear: 4 GiB and up.
const DIMM: Pfn = Pfn(1 << 20);

/// Frames that were never mapped, and a count of those outstanding.
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
        assert!(!self.free.contains(&frame), "{frame:?} came back twice");
        self.free.push(frame);
    }
}

/// A machine of 31 MiB whose tables are prepared for DIMMs up to 2 TiB.
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

/// Plugs `range` and maps it, with tables from its last frames.
fn plug(sim: &SimMachine, tables: &mut PageTables, range: PfnRange) {
    sim.plug(range);
    let mut own = Pool::limited(Pfn(range.end.0 - 16), 16);
    tables.map(sim, &direct_map(range), &mut own).unwrap();
}

/// Whether the fixmap maps nothing, as it must between calls.
fn fixmap_is_empty(sim: &SimMachine) -> bool {
    !sim.leaves().iter().any(|leaf| FIXMAP.contains(leaf.virt))
}

fn faults(access: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(access)).is_err()
}

/// A DIMM is mapped with tables that lie in itself, in frames that nothing maps when they are filled and
/// that hold junk; then every page of it can be reached, and the fixmap is empty again. Fails when a new
/// table is written through the direct map, or not zeroed.
#[test]
fn a_dimm_holds_the_tables_of_its_own_mapping() {
    let (sim, mut tables) = machine(Support::No);
    // Across the border of 5 GiB: two new page directories, the second in memory that the first maps.
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
    // And out again: the tables that map themselves are detached first and read through the fixmap.
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

/// The largest leaf that alignment, length, the wish and the CPU allow is used, and no other.
#[test]
fn leaves_are_as_large_as_fit() {
    for (gib_leaves, expected) in [(Support::Yes, (0, 514, 1)), (Support::No, (0, 514 + 512, 0))] {
        let (sim, mut tables) = machine(gib_leaves);
        let range = PfnRange::of(DIMM.offset(0x2_0000 - 512), 0x8_0000 + 1024);
        plug(&sim, &mut tables, PfnRange::of(DIMM, 0x40_0000));
        let mut pool = Pool::limited(DIMM, 64);
        // Congruent with the physical address: the window begins at a multiple of 512 GiB.
        let even =
            Mapping::data(ALLOC.start.offset(range.start.start().0), range.start.start(), range.pages());
        tables.map(&sim, &even, &mut pool).unwrap();
        // 512 frames and half a GiB, a whole GiB, half a GiB and 512 frames.
        let leaves: Vec<_> = sim.leaves().into_iter().filter(|leaf| ALLOC.contains(leaf.virt)).collect();
        let count = |bytes| leaves.iter().filter(|leaf| leaf.bytes == bytes).count();
        assert_eq!((count(4096), count(2 << 20), count(1 << 30)), expected);
        // The same memory at an address that is not congruent, and with a smaller wish.
        let odd = Mapping::data(ALLOC.start.offset(4096), range.start.start(), 1024);
        tables.map(&sim, &odd, &mut pool).unwrap();
        tables.leaves(&sim, odd.virt, odd.pages, &mut |leaf| assert_eq!(leaf.size, LeafSize::K4));
        let small = Mapping::data(ALLOC.start.offset(GIB), DIMM.start(), 512).largest(LeafSize::K4);
        tables.map(&sim, &small, &mut pool).unwrap();
        assert_eq!(tables.translate(&sim, small.virt).unwrap().size, LeafSize::K4);
    }
}

/// With any number of frames too few, nothing is changed and all frames are back; with exactly as many as
/// `tables_needed` says the mapping succeeds. Over tables that exist in part.
#[test]
fn running_out_of_frames_undoes_everything() {
    let (sim, mut tables) = machine(Support::No);
    plug(&sim, &mut tables, PfnRange::of(DIMM, 0x20_0000));
    // 4 KiB leaves, whole entries of 2 MiB, and three PDs; the first two tables are there already.
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

/// A present entry anywhere in the range, at its end too, refuses the whole mapping without a trace.
#[test]
fn nothing_present_is_overwritten() {
    let (sim, mut tables) = machine(Support::Yes);
    plug(&sim, &mut tables, PfnRange::of(DIMM, 0x20_0000));
    let mut pool = Pool::limited(DIMM, 64);
    let last = ALLOC.start.offset(3 * GIB + 77 * 4096);
    tables.map(&sim, &Mapping::data(last, DIMM.start(), 1), &mut pool).unwrap();
    let (leaves, frames) = (sim.leaves(), pool.free.len());
    let wish = Mapping::data(ALLOC.start, DIMM.start(), ((3 * GIB) >> 12) + 78);
    assert_eq!(tables.map(&sim, &wish, &mut pool), Err(MapError::AlreadyMapped { at: last }));
    assert_eq!((sim.leaves(), pool.free.len()), (leaves, frames));
    // A large leaf is no room either.
    let wish = Mapping::data(direct(Pfn(0x400).start()), DIMM.start(), 1);
    assert!(matches!(tables.map(&sim, &wish, &mut pool), Err(MapError::AlreadyMapped { .. })));
}

/// Wishes that make no sense are refused before any table is looked at.
#[test]
fn impossible_ranges_are_refused() {
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

/// After `unmap` no stale translation is left, for one leaf and for many: the address faults, and mapped
/// again it reaches the new frame. Fails when a flush is missing (the simulation never forgets by itself).
#[test]
fn unmap_flushes() {
    for pages in [1, 32, 33, 600] {
        let (sim, mut tables) = machine(Support::No);
        plug(&sim, &mut tables, PfnRange::of(DIMM, 4096));
        let mut pool = Pool::limited(DIMM.offset(3000), 64);
        let mapping = Mapping::data(ALLOC.start.offset(5 * 4096), DIMM.offset(1).start(), pages);
        // A neighbour keeps the tables, so that the flush of leaves alone is looked at.
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

/// A table is given back after the caches of links forgot it: reused at once as memory, it is not walked
/// any more.
#[test]
fn a_freed_table_is_forgotten() {
    let (sim, mut tables) = machine(Support::No);
    plug(&sim, &mut tables, PfnRange::of(DIMM, 4096));
    let mut pool = Pool::limited(DIMM.offset(3000), 64);
    let mapping = Mapping::data(ALLOC.start, DIMM.start(), 4);
    tables.map(&sim, &mapping, &mut pool).unwrap();
    sim.store(ALLOC.start, 1);
    tables.unmap(&sim, ALLOC.start, 4, &mut pool).unwrap();
    // The next mapping gets the same frames in another order; a stale link would lead into the wrong one.
    pool.free.reverse();
    let other = Mapping::data(ALLOC.start.offset(4096), DIMM.offset(9).start(), 1);
    tables.map(&sim, &other, &mut pool).unwrap();
    sim.store(other.virt, 5);
    assert_eq!(sim.physical(DIMM.offset(9).start()), 5);
}

/// What is not mapped, or a part of a leaf, is not unmapped, and nothing else is either.
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

/// Tables made at boot stay, used or not; those made later go with their last entry, and a neighbour's
/// entry keeps them.
#[test]
fn tables_go_when_they_are_empty() {
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
    assert_eq!(pool.free.len(), 3, "the neighbour still uses the page directory");
    tables.unmap(&sim, direct_map(two).virt, 0x8000, &mut pool).unwrap();
    assert_eq!((pool.free.len(), sim.tables()), (4, before));
}

/// The vmemmap of the window needs lowest tables only, and with whole sections none at all.
#[test]
fn upper_tables_are_there_since_boot() {
    let (sim, tables) = machine(Support::Yes);
    let section = Mapping::data(descriptor(DIMM), DIMM.start(), 512).largest(LeafSize::M2);
    assert_eq!(tables.tables_needed(&sim, &section), TableNeed::default());
    let part = Mapping::data(descriptor(DIMM.offset(512)), DIMM.start(), 8);
    assert_eq!(tables.tables_needed(&sim, &part), TableNeed { new: 1, shared: 0 });
    let four_tib = PfnRange::of(Pfn(1 << 28), 1 << 28);
    assert_eq!(tables.tables_needed(&sim, &direct_map(four_tib)), TableNeed::default());
    assert_eq!(tables.tables_needed(&sim, &direct_map(four_tib).largest(LeafSize::M2)).new, 1024);
}

/// Code is not writable, data not executable, read-only memory neither; every leaf is global.
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

/// A frame that nothing maps can be looked at, and afterwards no way leads to it.
#[test]
fn a_view_is_for_the_moment() {
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

/// AreaTree with borders of every kind near: pages around the first and second GiB of the alloc window.
fn page_place() -> impl Strategy<Value = (u64, u64, u64)> {
    let start =
        prop_oneof![0u64..2000, 0x3_fe00u64..0x4_0200, (0u64..6).prop_map(|m| m * 512), Just(0x4_0000)];
    let pages = prop_oneof![1u64..40, Just(512), Just(1536), 500u64..1500, Just(0x4_0000), Just(0x4_0200)];
    (start, pages, prop_oneof![Just(0u64), Just(512), Just(0x4_0000), 0u64..3000])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Random maps and unmaps: after each, the leaves in memory (read by the simulation's own walk) are
    /// those of a plain list of mappings, `tables_needed` told exactly what was taken, refusals are right,
    /// and at the end every table frame is back.
    #[test]
    fn maps_and_unmaps_agree_with_a_list(
        gib in prop_oneof![Just(Support::Yes), Just(Support::No)],
        steps in prop::collection::vec((page_place(), 0usize..4, any::<prop::sample::Index>()), 1..24),
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

// The way to an address has a step for each table, down to the leaf that `translate` finds; its words are those of
// the leaf's bits; and where nothing is mapped it ends with the entry that is not there.
#[test]
fn path() {
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
    assert_eq!(found[2].leads, EntryTarget::Leaf(LeafSize::M2, PhysAddr(DIMM.start().0 + (5 << 21))));
    assert!(found.windows(2).all(|pair| pair[0].leads == EntryTarget::Table(pair[1].table)));
    let mut words = Vec::new();
    found[2].words(&mut |word| words.push(word));
    assert_eq!(words, ["writable", "no execute", "global", "write-back"]);
    let nothing = steps(direct(Pfn(DIMM.0 + 65536).start()));
    assert_eq!(nothing.last().map(|step| (step.level, step.leads)), Some((Level::Pd, EntryTarget::Nowhere)));
}
