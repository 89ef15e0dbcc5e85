//! Tests of every public function with extreme arguments: the smallest, the largest, those at and beyond each limit. Each
//! returns a result or an error and changes nothing else. None panics; these tests check overflows.

use std::string::ToString;
use std::vec::Vec;

use super::hot_remove::insert;
use super::*;
use crate::addr::{PhysAddr, VirtAddr};
use crate::address_space::{ALLOC, DIRECT_MAP, VA_REGIONS, VMEMMAP, descriptor, direct, va_region_of};
use crate::fault_injection::Step;
use crate::firmware_map::{EntryKind, FirmwareMap, MapEntry};
use crate::hot_remove::Target;
use crate::info::{Policy, ResourceId};
use crate::page_table::{LeafSize, Mapping, NoFrames};
use crate::poison::Mode;
use crate::section;
use crate::vmalloc::{AllocationId, Amount, Progress, Request, Shape, VmallocArena};

/// Numbers at which arithmetic may overflow.
fn numbers() -> Vec<u64> {
    let powers = [0, 1, 9, 12, 15, 18, 27, 33, 34, 35, 40, 46, 51, 52, 57, 58, 63];
    let around = powers.iter().flat_map(|&bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 1]);
    around.chain([0x9f, 0x100, 0x100000, 0x100010, 0x10ffff, 0x110000, u64::MAX - 1, u64::MAX]).collect()
}

fn nodes() -> [Option<NodeId>; 5] {
    [None, Some(NodeId(0)), Some(NodeId(7)), Some(NodeId(99)), Some(NodeId(u32::MAX))]
}

fn ranges() -> Vec<PfnRange> {
    let ends: Vec<u64> = numbers().into_iter().step_by(3).collect();
    let pairs = ends.iter().flat_map(|&start| ends.iter().map(move |&end| (Pfn(start), Pfn(end))));
    // Also with the end before the start, since the fields are public.
    pairs.flat_map(|(start, end)| [PfnRange { start, end }, PfnRange::of(start, end.0)]).collect()
}

fn memory() -> Memory<SimMachine> {
    let memory = booted(Support::No);
    insert(&memory, 1, PfnRange::of(Pfn(0x100000), 256 * MIB), 7);
    memory
}

/// Proves that the address types accept every number. Fails when one of them overflows.
#[test]
fn units() {
    for n in numbers() {
        let (pfn, phys, virt) = (Pfn(n), PhysAddr(n), VirtAddr(n));
        let _ = (phys.pfn(), pfn.start(), pfn.section(), SectionNr(n).start(), SectionNr(n).range());
        let _ = (direct(phys), descriptor(pfn), va_region_of(virt), Order::holding(n));
        let _ = VA_REGIONS.map(|region| region.contains(virt));
        let _ = (pfn.to_string(), phys.to_string(), virt.to_string(), SectionNr(n).to_string());
        for m in numbers() {
            let _ = (pfn.offset(m), virt.offset(m), PfnRange::new(pfn, Pfn(m)), PfnRange::of(pfn, m));
        }
        for order in 0..=u8::MAX {
            let _ = (Order(order).pages(), pfn.align_down(Order(order)), pfn.is_aligned(Order(order)));
        }
    }
    for range in ranges() {
        let _ = (range.pages(), range.is_empty(), section::touched_count(range), range.to_string());
        let _ = (range.each().next(), section::touched(range).next());
        let _ = [0, 1, 512, u64::MAX].map(|unit| section::whole_count(range, unit));
        for other in ranges().into_iter().step_by(7) {
            let _ = (range.contains_range(other), range.overlaps(other), range.intersection(other));
        }
    }
}

/// Proves that allocating and freeing accept every order, size, node and frame, return `None` or an error for impossible
/// ones, and leave everything free. Fails when an order or size indexes or shifts beyond the highest.
#[test]
fn allocating() {
    let memory = memory();
    let before = memory.totals();
    for node in nodes() {
        for mobility in [Mobility::Movable, Mobility::Pinned] {
            for order in 0..=u8::MAX {
                if let Some(block) = memory.allocate_block(Order(order), node, mobility) {
                    assert_eq!(memory.free_block(block.head), Ok(Order(order)));
                }
                if let Some(block) = memory.allocate_up_to(Order(order), node, mobility) {
                    assert_eq!(memory.free_block(block.head), Ok(block.order));
                }
            }
            for pages in numbers() {
                if let Some(run) = memory.allocate_run(pages, node, mobility) {
                    assert_eq!(run.pages(), pages);
                    memory.free_run(run).unwrap();
                }
            }
        }
    }
    for n in numbers() {
        assert!(memory.free_block(Pfn(n)).is_err());
        assert!(memory.set_mapping(Pfn(n), VirtAddr(n)).is_err());
        assert_eq!(memory.block_at(Pfn(n)), None);
    }
    for range in ranges() {
        assert!(memory.free_run(range).is_err() || range.is_empty());
    }
    assert_eq!(memory.totals(), before);
    assert_invariants(&memory);
}

/// Proves that queries accept every frame, section, range and resource. Fails when one of them panics.
#[test]
fn queries() {
    let memory = memory();
    let ids = [0, 1, 2, u32::MAX].map(ResourceId);
    for n in numbers() {
        let pfn = Pfn(n);
        let _ = (memory.page(pfn), memory.block(pfn), memory.resource_of(pfn));
        let _ = (memory.resource_after(Some(pfn)), memory.resource_after(None));
        for id in ids {
            let _ = memory.section(id, SectionNr(n));
            for most in [0, 1, u64::MAX] {
                let (_, next) = memory.check_poison(id, pfn, most, &mut |_| {});
                assert!(next.is_none_or(|next| next > pfn), "no progress");
            }
        }
        memory.with_tables(|tables, machine| {
            let virt = VirtAddr(n);
            let _ = (tables.translate(machine, virt), tables.missing_on_path(machine, virt));
            tables.path(machine, virt, &mut |_| {});
            for pages in numbers().into_iter().filter(|&pages| pages < 1 << 20) {
                tables.for_each_leaf(machine, virt, pages, &mut |_| {});
            }
            for most in [0, 1, 5] {
                let _ = crate::protection::leaves(tables, machine, virt, most, &mut |_| {});
            }
        });
    }
    for range in ranges() {
        memory.sections(range, &mut |_| {});
    }
    for id in ids {
        let _ = (memory.resource(id), memory.free_blocks(id), memory.first_pinned(id));
        memory.blocks(id, &mut |_| {});
        memory.check_resource(id, &mut |error| panic!("{error}"));
        let _ = memory.hold_region(id, || ());
    }
    let _ = (memory.try_stats(), memory.totals(), memory.poison_info(), memory.next_finding());
    assert_invariants(&memory);
}

/// Proves that adding, removing and offlining accept every device, range, node and target, and that a refusal changes
/// nothing. Fails when one of them panics.
#[test]
fn adding_and_removing() {
    let (memory, arena) = (memory(), VmallocArena::new());
    let before = memory.totals();
    memory.set_poison(Mode::On);
    memory.set_poison(Mode::Off);
    for step in Step::ALL {
        memory.inject(step, u32::MAX);
        assert_eq!(memory.injections_left(step), u32::MAX);
        memory.inject(step, 0);
    }
    Policy::ALL.into_iter().for_each(|policy| memory.set_policy(policy));
    memory.set_policy(Policy::Online(Zone::Any));
    for base in numbers() {
        for size in numbers() {
            let one = AddRequest { base: PhysAddr(base), size, node: NodeId(size as u32) };
            let outside =
                (1 << 32..1 << 43).contains(&base) && base.is_multiple_of(2 << 20) && size == 2 << 20;
            if !outside {
                let refused = memory.add(DeviceId(base as u32), &[one, one], &|| 0).unwrap_err();
                assert!(!refused.to_string().is_empty());
            }
        }
    }
    for device in [0, 2, u32::MAX - 1, u32::MAX].map(DeviceId) {
        assert!(memory.begin_remove(device, &|| u64::MAX).is_err());
        assert!(memory.surprise_remove(&arena, device).is_err());
        assert!(memory.add(device, &[], &|| 0).is_err());
        assert!(memory.add(device, &[request(0x200000, 512, 1); 40], &|| 0).is_err());
    }
    let targets = ranges().into_iter().map(Target::Frames);
    for target in targets.chain([0, 1, 2, u32::MAX].map(|id| Target::Resource(ResourceId(id)))) {
        for pages in [0, 1, u64::MAX] {
            if let Ok(mut offlining) = memory.begin_offline(target, &|| 0) {
                let mut steps = 0;
                let done = loop {
                    match memory.offline_step(&arena, &mut offlining, pages, &|| 0) {
                        Ok(Progress::More) if steps < 1000 => steps += 1,
                        other => break other,
                    }
                };
                match done {
                    Ok(Progress::Done) => drop(memory.finish_offline(&arena, offlining).unwrap().pages),
                    _ => memory.abort_offline(&arena, offlining),
                }
            }
            for zone in [None, Some(Zone::Any), Some(Zone::Kernel), Some(Zone::Movable)] {
                let _ = memory.online(target, zone);
            }
        }
    }
    let everything = Target::Frames(PfnRange::new(Pfn(0), Pfn(u64::MAX)));
    memory.online(everything, None).unwrap();
    assert_eq!(memory.totals(), before);
    assert_invariants(&memory);
}

/// Proves that the vmalloc arena accepts every request, number and address. Fails when one of them panics.
#[test]
fn the_arena() {
    let (memory, arena) = (memory(), VmallocArena::new());
    let before = memory.totals();
    let amounts = numbers().into_iter().map(Amount::Pages);
    for amount in amounts.filter(|amount| !matches!(amount, Amount::Pages(4097..200_000))) {
        for node in nodes() {
            for (mobility, shape) in [
                (Mobility::Movable, Shape::Scattered),
                (Mobility::Movable, Shape::Contiguous),
                (Mobility::Pinned, Shape::Contiguous),
            ] {
                let Ok(one) = arena.allocate(&memory, &Request { amount, node, mobility, shape }) else {
                    continue;
                };
                for from in numbers() {
                    for pages in [0, 1, u64::MAX - 1, u64::MAX] {
                        let within = from.checked_add(pages).is_some_and(|end| end <= one.pages);
                        assert_eq!(arena.verify(&memory, one.id, from, pages).is_ok(), within);
                        assert_eq!(arena.fill(&memory, one.id, from, pages).is_ok(), within);
                    }
                }
                while arena.free_step(&memory, one.id, 0).unwrap() == Progress::More {}
            }
        }
    }
    for n in numbers() {
        let id = AllocationId(n);
        let _ = (arena.holding(VirtAddr(n)), arena.holding(ALLOC.start.offset(n)));
        let _ = (arena.get(id), arena.next_after(Some(id)));
        assert!(arena.free(&memory, id).is_err() && arena.verify(&memory, id, n, n).is_err());
    }
    assert_eq!(memory.totals(), before);
    assert_invariants(&memory);
}

/// Proves that the firmware map, the boot allocator and page tables accept every range and address, and that a failed
/// mapping changes nothing. Fails when one of them panics.
#[test]
fn maps_and_tables() {
    let kinds = [EntryKind::Usable, EntryKind::Reserved, EntryKind::Occupied(Owner::Boot)];
    let mut entries = Vec::new();
    for (n, range) in ranges().into_iter().enumerate() {
        let (start, end) = (PhysAddr(range.start.0), PhysAddr(range.end.0));
        entries.push(MapEntry { start, end, kind: kinds[n % kinds.len()] });
        entries = entries.split_off(entries.len().saturating_sub(5));
        if let Ok(map) = FirmwareMap::new(entries.iter().copied()) {
            let mut early = BootAllocator::new(map.ranges(), map.occupied());
            for n in numbers() {
                let _ = (early.alloc_run(n, Owner::Heap), early.alloc_run(1, Owner::Heap));
            }
            let _ = (early.free_pages(), early.taken().count(), map.pages());
        }
    }
    let memory = memory();
    let leaves = memory.machine().leaves();
    let areas = numbers().into_iter().flat_map(|n| {
        [VirtAddr(n), ALLOC.start.offset(n), DIRECT_MAP.start.offset(n), VMEMMAP.start.offset(n)]
    });
    for virt in areas {
        for phys in numbers().into_iter().step_by(5) {
            for pages in numbers().into_iter().step_by(4) {
                let mapping = Mapping::data(virt, PhysAddr(phys), pages);
                for mapping in [mapping, mapping.largest(LeafSize::K4), mapping.permanent()] {
                    memory.with_tables(|tables, machine| {
                        // It succeeds where the tables exist.
                        if tables.map(machine, &mapping, &mut NoFrames).is_ok() {
                            tables.unmap(machine, virt, pages, &mut NoFrames).unwrap();
                        } else {
                            let _ = tables.unmap(machine, VirtAddr(virt.0 | 1), pages, &mut NoFrames);
                        }
                    });
                }
            }
        }
    }
    assert_eq!(memory.machine().leaves(), leaves);
    assert_invariants(&memory);
}
