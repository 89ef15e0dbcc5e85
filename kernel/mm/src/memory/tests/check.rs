//! `check` notices: each kind of damage, done by hand, is told.

use std::vec::Vec;

use super::*;
use crate::address_space::{DESCRIPTOR_SIZE, descriptor, direct};
use crate::check::CheckError;
use crate::page_table::{Mapping, NoFrames};

const DIMM: u64 = 0x100000;
/// The first word of a list in the header is behind 8 counters: see `buddy`.
const LISTS: u64 = 8 * 8;

/// A machine with 256 MiB added, damaged by `damage`, and what `check` says.
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

/// Proves that damage to a counter, a list's length, a link, a descriptor, a mapping, the page's order or
/// state, and a node's sum is each told as what it is. Fails when `check` looks away.
#[test]
fn each_kind_of_damage_is_told() {
    let first = Pfn(DIMM + 1024);
    let header = descriptor(Pfn(DIMM));
    let is = |errors: &[CheckError], wanted: fn(&CheckError) -> bool| {
        assert!(errors.iter().any(wanted), "{errors:?}");
    };
    // Order 10's list: its length, then its first block.
    is(&damaged(|m| change(m, header.offset(LISTS + 16 * 10 + 8), |n| n + 1)), |error| {
        matches!(error, CheckError::List { order: Order(10), listed: 2, found: 1, .. })
    });
    is(&damaged(|m| change(m, header.offset(LISTS + 16 * 10), |_| u64::MAX)), |error| {
        matches!(error, CheckError::List { order: Order(10), listed: 1, found: 0, .. })
    });
    // Counters of movable frames.
    is(&damaged(|m| change(m, header.offset(8 * 2), |n| n + 1)), |error| {
        matches!(error, CheckError::Counter { name: "movable frames", counted: 1, found: 0, .. })
    });
    // The descriptor of the first block: gone, of another order, allocated, with a bad link back.
    is(&damaged(|m| change(m, descriptor(first), |_| 0)), |error| {
        matches!(error, CheckError::NoDescriptor { pfn: Pfn(0x100400), .. })
    });
    is(&damaged(|m| change(m, descriptor(first), |tag| tag + 0x100)), |error| {
        matches!(error, CheckError::BadBlock { pfn: Pfn(0x100400), order: Order(11), .. })
    });
    is(&damaged(|m| change(m, descriptor(first), |tag| tag + 1)), |error| {
        matches!(error, CheckError::Link { pfn: Pfn(0x100400), order: Order(10), .. })
    });
    is(&damaged(|m| change(m, descriptor(first).offset(16), |_| DIMM)), |error| {
        matches!(error, CheckError::Link { pfn: Pfn(0x100400), order: Order(10), .. })
    });
    // Two halves of a block, both free.
    is(
        &damaged(|m| {
            change(m, descriptor(first), |tag| tag - 0x100);
            let (tag, half) = (m.machine().load(descriptor(first)), descriptor(first.offset(512)));
            (0..DESCRIPTOR_SIZE / 8).for_each(|word| m.machine().store(half.offset(8 * word), tag));
        }),
        |error| matches!(error, CheckError::Unmerged { pfn: Pfn(0x100400), order: Order(9), .. }),
    );
    // A hole in the direct map, a descriptor page that shows another frame.
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
            // What the walk needs to read there.
            (0..2).for_each(|page| {
                let at = descriptor(leaf).offset(4096 * page);
                (0..512).for_each(|word| m.machine().store(at.offset(8 * word), 0));
            });
        }),
        |error| matches!(error, CheckError::Mapping { .. }),
    );
    is(
        &damaged(|m| {
            let slot = m.index.read().find(first).unwrap().slot;
            m.nodes.gave(slot, 1);
        }),
        |error| matches!(error, CheckError::Node { node: NodeId(7), counted: 64513, found: 64512 }),
    );
}
