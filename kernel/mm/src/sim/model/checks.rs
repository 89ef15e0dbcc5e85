//! Checks of a [`Model`] after each operation, and of any memory core in tests.

use std::vec::Vec;

use super::super::SimMachine;
use super::Model;
use crate::Memory;
use crate::addr::Pfn;
use crate::descriptor::Mobility;
use crate::hot_remove::RemoveError;
use crate::info::{Holder, PageState};
use crate::vmalloc::{AllocError, AllocationState, NoRun, Verified, VmallocArena};

impl Model {
    /// Checks that the refusal `error` states a true reason.
    pub(super) fn assert_justified(&mut self, error: &RemoveError, number: Option<usize>) {
        let present = number.is_some_and(|number| self.present[number]);
        match *error {
            RemoveError::Unknown { .. } => assert!(!present),
            RemoveError::UnderWay { .. } => assert!(self.evacuation.is_some()),
            RemoveError::InUse { resource, pages } => {
                let info = self.memory.resource(resource).expect("the refusal names a present resource");
                // Steps may have migrated some since: a contiguous allocation migrates to its end.
                assert!(pages > 0 && pages <= info.usable_pages);
            }
            RemoveError::Absent { .. } => {}
            RemoveError::Pinned(pinned) => {
                match pinned.holder {
                    Holder::Mapping(at) => {
                        // A growing allocation may hold a run that is not mapped yet.
                        let held = self.arena.holding(at).map(|one| one.id);
                        let is_pinned =
                            held.is_some_and(|id| self.allocations.contains(&(id, Mobility::Pinned)));
                        assert!(is_pinned || !self.growing.is_empty(), "{pinned}");
                    }
                    Holder::None => {
                        assert!(self.blocks.iter().any(|block| block.contains(pinned.pfn)), "{pinned}");
                    }
                    _ => panic!("{pinned}"),
                }
                assert_eq!(self.memory.resource_of(pinned.pfn), Some(pinned.resource));
            }
            RemoveError::NotEnoughFree { needed, free }
            | RemoveError::NotEnoughForTables { needed, free } => {
                assert!(needed > free);
            }
            RemoveError::NoRun(NoRun { pages, longest, .. }) => assert!(pages > longest),
            RemoveError::Injected { step } => self.consume_injection(step),
            ref other => panic!("{other}"),
        }
    }

    pub(super) fn lost_allocations(&self) -> u64 {
        let mut lost = 0;
        let mut last = None;
        while let Some(one) = self.arena.next_after(last) {
            last = Some(one.id);
            lost += u64::from(one.state == AllocationState::Lost);
        }
        lost
    }

    /// Checks that every usable frame is free, offline, or held by an allocation, a block or an allocation's page tables.
    pub(super) fn assert_accounting(&self) {
        let totals = self.memory.totals();
        let mut taken: u64 = self.blocks.iter().map(|block| block.pages()).sum();
        let mut last = None;
        while let Some(one) = self.arena.next_after(last) {
            last = Some(one.id);
            taken += if one.state == AllocationState::Lost { 0 } else { one.pages };
        }
        let (mut movable, mut pinned) = (0, 0);
        self.memory.resources(&mut |info| {
            movable += info.movable_pages;
            pinned += info.pinned_pages;
        });
        assert_eq!(totals.free_pages + totals.offline_pages + movable + pinned, totals.usable_pages);
        // A contiguous allocation that is being migrated has two runs.
        assert!(movable + pinned >= taken);
    }
}

/// Checks that an allocation failed only for lack of memory, addresses or table entries.
pub(super) fn assert_shortage(error: &AllocError) {
    let is_shortage = matches!(
        error,
        AllocError::Empty
            | AllocError::TooManyAllocations
            | AllocError::NoAddresses { .. }
            | AllocError::NotEnough { .. }
            | AllocError::RanOut { .. }
            | AllocError::NoRun { .. }
    );
    assert!(is_shortage, "{error}");
}

/// Runs `check`, which must find no error.
///
/// # Panics
/// When it finds one, or checks nothing.
pub fn assert_invariants(memory: &Memory<SimMachine>) {
    let mut errors = Vec::new();
    let checked = memory.check(&mut |error| errors.push(error));
    assert!(errors.is_empty(), "{errors:?}");
    assert!(checked > 0);
}

/// Verifies the filled bytes of every allocation. A lost or unfinished one must refuse.
///
/// # Panics
/// When one has other bytes or another error.
pub fn assert_contents(memory: &Memory<SimMachine>, arena: &VmallocArena) {
    let mut last = None;
    while let Some(one) = arena.next_after(last) {
        last = Some(one.id);
        let expected = match one.state {
            AllocationState::Ready => Ok(Verified { pages: one.filled, bad: None }),
            AllocationState::Lost => Err(AllocError::Lost { id: one.id }),
            AllocationState::Allocating | AllocationState::Freeing => Err(AllocError::Busy { id: one.id }),
        };
        assert_eq!(arena.verify(memory, one.id, 0, one.pages), expected, "{one:?}");
    }
}

/// Checks that the rmap of every movable block is an address that maps the block. `is_unmapped` excepts blocks that
/// have no mapping. Not valid while a contiguous allocation is growing or migrating.
///
/// # Panics
/// When an address maps another frame.
pub fn assert_rmap(memory: &Memory<SimMachine>, is_unmapped: &dyn Fn(Pfn) -> bool) {
    let mut ids = Vec::new();
    memory.resources(&mut |info| ids.push(info.id));
    for id in ids {
        let mut movable = Vec::new();
        memory.blocks(id, &mut |block| {
            if block.state == PageState::Movable && !is_unmapped(block.range.start) {
                movable.push(block);
            }
        });
        for block in movable {
            let Holder::Mapping(at) = block.holder else { panic!("{block:?} has no rmap entry") };
            let found = memory.with_tables(|tables, machine| tables.translate(machine, at)).flatten();
            assert_eq!(found.map(|found| found.phys), Some(block.range.start.start()), "{block:?}");
        }
    }
}
