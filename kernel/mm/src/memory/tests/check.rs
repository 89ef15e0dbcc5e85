//! Tests that `check` reports each kind of damage.

use std::vec::Vec;

use super::*;
use crate::address_space::{ALLOC, descriptor, direct};
use crate::buddy::{Group, MetadataLayout};
use crate::check::CheckError;
use crate::page_table::{Mapping, NoFrames};

const DIMM: u64 = 0x100000;
/// Byte offsets of a group's words: see `buddy::group`.
const FIRST: u64 = 0;
const SECOND: u64 = 8;
const LINK: u64 = 32;
/// The byte offset of the lists in the header, behind 8 counters: see `buddy`.
const LISTS: u64 = 8 * 9;

/// Adds 256 MiB, runs `damage`, and returns the errors of `check`.
fn damaged(damage: impl FnOnce(&Memory<SimMachine>)) -> Vec<CheckError> {
    let memory = booted(Support::No);
    plug(&memory, DIMM, 256 * MIB, 7);
    damage(&memory);
    let mut errors = Vec::new();
    memory.check(&mut |error| errors.push(error));
    errors
}

fn change(memory: &Memory<SimMachine>, at: crate::addr::VirtAddr, change: impl FnOnce(u64) -> u64) {
    let machine = memory.machine();
    machine.store(at, change(machine.load(at)));
}

/// Proves that `check` reports damage to a counter, a list, a link, a descriptor, a group's bits, a mapping, and a node's
/// total, each as its own error. Fails when `check` misses one.
#[test]
fn each_kind_of_damage_is_reported() {
    let range = PfnRange::of(Pfn(DIMM), 256 * MIB);
    let Layout { header, usable, .. } =
        Layout::plan(range, booted(Support::No).machine().features()).unwrap();
    let first = usable.start;
    // The usable run starts inside a group of level 1, whose largest block is of order 13.
    let metadata = MetadataLayout::of(usable, header);
    let [single, group] = [0, 1].map(|level| metadata.group(Group::of(first, level)));
    let is = |errors: &[CheckError], expected: fn(&CheckError) -> bool| {
        assert!(errors.iter().any(expected), "{errors:?}");
    };
    is(&damaged(|m| change(m, header.offset(LISTS + 16 * 10 + 8), |n| n + 1)), |error| {
        matches!(error, CheckError::List { order: Order(10), listed: 2, found: 1, .. })
    });
    is(&damaged(|m| change(m, header.offset(LISTS + 16 * 13), |_| u64::MAX)), |error| {
        matches!(error, CheckError::Link { order: Order(13), .. })
    });
    is(&damaged(|m| change(m, header.offset(LISTS + 16 * 13), |_| u64::MAX)), |error| {
        matches!(error, CheckError::Counter { name: "free frames in lists", found: 49152, .. })
    });
    is(&damaged(|m| change(m, group.offset(LINK), |link| link & !(0xff << 28))), |error| {
        matches!(error, CheckError::Link { pfn: Pfn(0x100000), order: Order(13), .. })
    });
    // Counters of movable frames.
    is(&damaged(|m| change(m, header.offset(8 * 2), |n| n + 1)), |error| {
        matches!(error, CheckError::Counter { name: "movable and cached frames", counted: 1, found: 0, .. })
    });
    // A block that is neither free nor held.
    is(
        &damaged(|m| {
            (0..8).for_each(|word| m.machine().store(descriptor(first).offset(8 * word), 0));
            change(m, group.offset(FIRST), |bits| bits & !(1 << 8));
        }),
        |error| matches!(error, CheckError::NoDescriptor { pfn: Pfn(0x100400), .. }),
    );
    // An allocated block: without a tag, with another order, marked free, with a part that is free or heads a block.
    let held = |damage: &dyn Fn(&Memory<SimMachine>)| {
        damaged(|m| {
            let block = m.allocate_block(Order(3), Some(NodeId(7)), Mobility::Movable).unwrap();
            assert_eq!(block.head, first);
            // With an rmap it has a descriptor.
            m.set_mapping(first, ALLOC.start).unwrap();
            damage(m);
        })
    };
    is(&held(&|m| change(m, descriptor(first), |_| 0)), |error| {
        matches!(error, CheckError::NoDescriptor { pfn: Pfn(0x100400), .. })
    });
    is(&held(&|m| change(m, descriptor(first), |tag| tag + 0x100)), |error| {
        matches!(error, CheckError::BadBlock { pfn: Pfn(0x100400), order: Order(4), .. })
    });
    is(&held(&|m| change(m, descriptor(first), |tag| tag - 1)), |error| {
        matches!(error, CheckError::NoDescriptor { pfn: Pfn(0x100400), .. })
    });
    for words in [FIRST, SECOND] {
        is(&held(&|m| change(m, single.offset(words), |bits| bits | 4)), |error| {
            matches!(error, CheckError::BadBlock { pfn: Pfn(0x100400), order: Order(3), .. })
        });
    }
    // A split group without an allocated block.
    is(
        &held(&|m| {
            (0..4).for_each(|word| change(m, single.offset(8 * word), |_| [u64::MAX, 0][word as usize % 2]))
        }),
        |error| matches!(error, CheckError::Unmerged { pfn: Pfn(0x100400), order: Order(7), .. }),
    );
    // A hole in the direct map, and descriptors mapped to another frame.
    let unmap = |m: &Memory<SimMachine>, at, pages| {
        m.with_tables(|tables, machine| tables.unmap(machine, at, pages, &mut NoFrames)).unwrap().unwrap();
    };
    is(&damaged(|m| unmap(m, direct(Pfn(DIMM + 512).start()), 512)), |error| {
        matches!(error, CheckError::Mapping { .. })
    });
    is(
        &damaged(|m| {
            let leaf = SectionNr(33).start();
            unmap(m, descriptor(leaf), 512);
            let wrong = Mapping::data(descriptor(leaf), Pfn(DIMM + 1024).start(), 512);
            m.with_tables(|tables, machine| tables.map(machine, &wrong, &mut NoFrames)).unwrap().unwrap();
            // The walk reads these descriptors.
            (0..2).for_each(|page| {
                let at = descriptor(leaf).offset(4096 * page);
                (0..512).for_each(|word| m.machine().store(at.offset(8 * word), 0));
            });
        }),
        |error| matches!(error, CheckError::Mapping { .. }),
    );
    is(
        &damaged(|m| {
            m.nodes.miscount(m.nodes.find(NodeId(7)).unwrap(), 1);
        }),
        |error| matches!(error, CheckError::Node { node: NodeId(7), counted: 64513, found: 64512 }),
    );
}
