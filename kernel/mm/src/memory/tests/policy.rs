//! Tests of the policies for added memory: zones, and memory that stays offline.

use std::vec::Vec;

use super::*;
use crate::addr::PAGE_SIZE;
use crate::info::{PageState, Policy, ResourceId, ResourceState};
use crate::machine::Machine;
use crate::vmalloc::FrameProvider;

fn plug_as(memory: &Memory<SimMachine>, policy: Policy, start: u64, node: u32) -> ResourceId {
    memory.set_policy(policy);
    assert_eq!(memory.policy(), policy);
    plug(memory, start, 256 * MIB, node).ids[0]
}

/// Allocates everything of a mobility and node. Returns the resources in the order in which they first served, and the
/// blocks' heads.
fn drain(memory: &Memory<SimMachine>, node: Option<u32>, mobility: Mobility) -> (Vec<u32>, Vec<Pfn>) {
    let (mut order, mut heads) = (Vec::new(), Vec::new());
    while let Some(block) = memory.allocate_up_to(Order(9), node.map(NodeId), mobility) {
        let id = memory.resource_of(block.head).unwrap().0;
        if !order.contains(&id) {
            order.push(id);
        }
        heads.push(block.head);
    }
    (order, heads)
}

/// Proves that the policies have the shell's names, that the policy at boot is `online`, and that each is found by its
/// name. Fails when a name or the default changes.
#[test]
fn names() {
    assert_eq!(Policy::ALL.map(Policy::name), ["online", "offline", "movable", "kernel"]);
    for policy in Policy::ALL {
        assert_eq!(Policy::named(policy.name()), Some(policy));
    }
    assert_eq!(Policy::named("Online"), None);
    assert_eq!(booted(Support::No).policy(), Policy::Online(Zone::Any));
}

/// Proves the order of zones: pinned allocations use boot memory, then the kernel zone, then any, and never a movable
/// zone; movable ones of a node use the movable zone first and boot memory last, to the last frame. Fails when a zone is
/// skipped or the order changes.
#[test]
fn zones_are_honoured() {
    let memory = booted(Support::No);
    let any = plug_as(&memory, Policy::Online(Zone::Any), 0x100000, 1).0;
    let movable = plug_as(&memory, Policy::Online(Zone::Movable), 0x110000, 1).0;
    let kernel = plug_as(&memory, Policy::Online(Zone::Kernel), 0x120000, 1).0;
    let zones: Vec<_> =
        [any, movable, kernel].map(|id| memory.resource(ResourceId(id)).unwrap().zone).to_vec();
    assert_eq!(zones, [Zone::Any, Zone::Movable, Zone::Kernel]);
    let before = memory.totals();

    let (order, heads) = drain(&memory, Some(1), Mobility::Pinned);
    let boot = order[0];
    assert_eq!(memory.resource(ResourceId(boot)).unwrap().device, DeviceId::BOOT);
    assert_eq!(order, [boot, kernel, any]);
    let left = memory.resource(ResourceId(movable)).unwrap();
    assert_eq!(left.free_pages, left.usable_pages, "the movable zone has no pinned frame");
    assert_eq!(memory.allocate_run(1, Some(NodeId(1)), Mobility::Pinned), None);
    let available = |node, mobility| FrameProvider::free_pages(&memory, node, mobility);
    assert_eq!(available(Some(NodeId(1)), Mobility::Pinned), 0);
    assert_eq!(available(Some(NodeId(1)), Mobility::Movable), left.free_pages);
    assert_eq!(available(None, Mobility::Movable) - available(None, Mobility::Pinned), left.free_pages);
    heads.into_iter().for_each(|head| assert!(memory.free_block(head).is_ok()));
    assert_eq!(memory.totals(), before);

    let (order, heads) = drain(&memory, Some(1), Mobility::Movable);
    assert_eq!(order, [movable, any, kernel, boot]);
    heads.into_iter().for_each(|head| assert!(memory.free_block(head).is_ok()));
    // Without a node, boot memory of all nodes comes first.
    let (order, _) = drain(&memory, None, Mobility::Pinned);
    assert_eq!(order[order.len() - 2..], [kernel, any]);
    assert_invariants(&memory);
}

/// Proves that memory added offline is present but not used: all figures say offline, none of it can be allocated, and
/// `check` finds nothing; and that memory added later with another policy is online. Fails when an offline frame counts
/// as free, or the add uses existing frames.
#[test]
fn offline_memory_is_present_but_not_used() {
    let memory = booted(Support::No);
    let before = memory.totals();
    memory.set_policy(Policy::Offline);
    let added = plug(&memory, 0x100000, 256 * MIB, 5);
    assert_eq!((added.usable_pages, added.stats.existing_pages_used), (64512, 0));
    let info = memory.resource(added.ids[0]).unwrap();
    assert_eq!((info.state, info.zone), (ResourceState::Offline, Zone::Any));
    assert_eq!((info.usable_pages, info.offline_pages), (64512, 64512));
    assert_eq!((info.free_pages, info.largest_free_pages, info.movable_pages), (0, 0, 0));
    assert_eq!((info.memmap_pages, info.add.descriptors_written), (1024, 2));
    let after = memory.totals();
    assert_eq!((after.free_pages, after.offline_pages), (before.free_pages, 64512));
    assert_eq!(after.usable_pages - before.usable_pages, 64512);
    assert!(memory.free_blocks(added.ids[0]).unwrap().iter().all(|&blocks| blocks == 0));
    memory.sections(info.range, &mut |row| {
        assert_eq!((row.state, row.free_pages), (SectionState::Offline, 0));
    });
    let page = memory.page(Pfn(0x108123));
    assert_eq!((page.state, page.head), (PageState::Offline, Some(Pfn(0x108000))));
    assert_eq!(memory.page(Pfn(0x100000)).state, PageState::Memmap);
    for mobility in [Mobility::Movable, Mobility::Pinned] {
        assert_eq!(memory.allocate_block(Order(0), Some(NodeId(5)), mobility), None);
        assert_eq!(memory.allocate_run(1, Some(NodeId(5)), mobility), None);
    }
    assert!(memory.free_block(Pfn(0x108000)).is_err());
    let (_, heads) = drain(&memory, None, Mobility::Movable);
    assert!(heads.iter().all(|&head| !info.range.contains(head)));
    // Its frames are mapped.
    memory.machine().store(crate::address_space::direct(Pfn(0x10ffff).start()), PAGE_SIZE);

    memory.set_policy(Policy::ALL[0]);
    let next = plug(&memory, 0x110000, 256 * MIB, 5);
    assert_eq!(memory.resource(next.ids[0]).unwrap().state, ResourceState::Online);
    assert!(memory.allocate_block(Order(0), Some(NodeId(5)), Mobility::Pinned).is_some());
    assert_invariants(&memory);
}
