//! Rmap words, and blocks that have no descriptor until they get one.

use super::*;
use crate::descriptor::Mobility;

/// The orders of blocks that need no descriptor.
const LEAN: core::ops::RangeInclusive<u8> = 1..=6;

fn pair() -> Pair {
    Pair::new(PfnRange::new(Pfn(0x1000), Pfn(0x2000)))
}

impl Pair {
    fn has_descriptor(&self, pfn: Pfn) -> bool {
        self.machine.written[self.machine.index_of(descriptor(pfn))].get()
    }

    fn rmap(&self, head: Pfn) -> u64 {
        self.buddy().rmap(&self.buddy().find(head).unwrap())
    }
}

/// Proves that a movable block of order 1 to 6 without an rmap is allocated, found, split, isolated and freed without
/// its descriptor, which is neither read nor written. Fails when one of them accesses it.
#[test]
fn a_block_without_an_owner_needs_no_descriptor() {
    for order in LEAN.map(Order) {
        let pair = pair();
        let head = pair.buddy().allocate(order, BlockState::Movable, 0).unwrap();
        let tag = Tag { state: BlockState::Movable, order, slot: SlotNr(7) };
        assert_eq!(pair.buddy().find(head), Some(Found { head, tag }));
        assert_eq!(pair.rmap(head), 0);
        for inside in 1..order.pages() {
            assert_eq!(
                pair.buddy().free(head.offset(inside)),
                Err(PageState::Movable),
                "{inside} of {order:?}"
            );
        }
        assert!(!pair.has_descriptor(head), "{order:?}");
        let middle = head.offset(order.pages() / 2);
        let buddy = Buddy { isolated: PfnRange::new(middle, Pfn(0x2000)), ..pair.buddy() };
        assert_eq!(buddy.free(head), Ok(order));
        let states = [head, middle].map(|at| buddy.find(at).unwrap().tag.state);
        assert_eq!(states, [BlockState::Free, BlockState::Isolated], "{order:?}");
        // The isolated half has a tag and no rmap word: neither a look-up nor a split may read an owner there.
        assert_eq!(buddy.rmap(&buddy.find(middle).unwrap()), 0, "{order:?}");
        buddy.split_to(middle, Order(0), |rmap, _| rmap);
        assert_eq!(buddy.find(middle).map(|found| found.tag.state), Some(BlockState::Isolated));
        assert_eq!(buddy.rmap(&buddy.find(middle).unwrap()), 0, "{order:?}");
    }
}

/// Proves that such a block keeps an rmap that it is given, also when it is split, that it can lose it, and that the
/// next block there has none. Fails when the descriptor is not written with the rmap, or its bit outlives the block.
#[test]
fn a_block_with_an_owner_has_a_descriptor() {
    for order in LEAN.map(Order) {
        let pair = pair();
        let set = |head, order, rmap| pair.buddy().set_rmap(head, order, Mobility::Movable.state(), rmap);
        let head = pair.buddy().allocate(order, BlockState::Movable, 0).unwrap();
        set(head, order, 0x5000);
        assert_eq!((pair.rmap(head), pair.has_descriptor(head)), (0x5000, true));
        let half = Order(order.0 - 1);
        pair.buddy().split_to(head, half, |rmap, pages| rmap + (pages << 12));
        let other = head.offset(half.pages());
        assert_eq!([head, other].map(|head| pair.rmap(head)), [0x5000, 0x5000 + (half.pages() << 12)]);
        set(other, half, 0);
        assert_eq!([head, other].map(|head| pair.rmap(head)), [0x5000, 0]);
        for head in [head, other] {
            assert_eq!(pair.buddy().free(head), Ok(half));
        }
        assert_eq!(pair.buddy().allocate(order, BlockState::Movable, 0), Some(head));
        assert_eq!(pair.rmap(head), 0, "{order:?}");
    }
}

/// Proves that an allocation hints at the descriptor that it writes, and at none when it writes none. Fails when the
/// hint is left out, names another frame, or loads a descriptor that the allocation does not write.
#[test]
fn an_allocation_hints_at_the_descriptor_that_it_writes() {
    let pair = pair();
    for order in (0..10).map(Order) {
        for (state, rmap) in
            [(BlockState::Pinned, 0), (BlockState::Movable, 0), (BlockState::Movable, 1 << 12)]
        {
            pair.machine.hint.set(None);
            let head = pair.buddy().allocate(order, state, rmap).unwrap();
            let writes = rmap != 0 || state == BlockState::Pinned || !LEAN.contains(&order.0);
            assert_eq!(
                pair.machine.hint.get(),
                writes.then_some(descriptor(head)),
                "{order:?} {state:?} {rmap}"
            );
        }
    }
}
