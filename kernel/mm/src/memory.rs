//! The facade: [`Memory`] is all of the memory core, for the kernel and for tests.
//!
//! ```text
//!  boot ---.                      .--- allocate, free      (allocate)
//!  add ----+--> slots + index ----+--- resources, page ... (query)
//!  remove -'\-> page tables        `-- check               (check)
//! ```
//!
//! Locks: [`carapace_lock::Rank`] has their order and what each protects. None is
//! taken by an interrupt handler, and none is held while a caller's `tell` runs, so that a shell may
//! print and allocate there. (What does run under a lock: the `clock` of an add, `left_out` of boot,
//! the work of `with_tables`.)
//!
//! Neighbours: `boot` and `hot_add` add resources, `hot_remove` removes them, `allocate` serves allocations, `query`
//! reports, `check` verifies every invariant. `hotplug_state`, `frame_cache`, `poison` and `zonelist` are the parts below.

use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use carapace_lock::{Mutex, Rank, RwLock};

use crate::addr::{Pfn, PfnRange};
use crate::boot_alloc::Occupied;
use crate::buddy::Buddy;
use crate::descriptor::SlotNr;
use crate::error::AddError;
use crate::fault_injection::Step;
use crate::frame_cache::FrameCache;
use crate::hotplug_state::Hotplug;
use crate::info::{BootRange, Policy, ResourceId};
use crate::machine::{CpuFeatures, Machine};
use crate::page_table::PageTables;
use crate::poison::{Mode, Poison};
use crate::region::{Entry, Index, MAX_REGIONS, Region, Slot};
use crate::zonelist::Nodes;

pub use crate::addr::Block;
pub use crate::hotplug_state::MAX_HOTPLUG_RANGES;

/// All of the memory core.
#[derive(Debug)]
pub struct Memory<M> {
    pub(crate) machine: M,
    /// Held by whatever adds or takes away a resource.
    pub(crate) hotplug: Mutex<Option<Hotplug>>,
    pub(crate) tables: Mutex<Option<PageTables>>,
    pub(crate) index: RwLock<Index>,
    pub(crate) slots: [Slot; MAX_REGIONS],
    pub(crate) nodes: Nodes,
    pub(crate) cache: FrameCache,
    pub(crate) poison: Poison,
    /// Frames of page tables outside of resources' own room.
    pub(crate) page_tables: AtomicU64,
    /// For each step: how many times it is to fail.
    fail: [AtomicU32; Step::ALL.len()],
    /// What becomes of memory that is added: its place in `Policy::ALL`.
    policy: AtomicU8,
}

/// What is known of memory at boot.
#[derive(Clone, Copy, Debug)]
pub struct BootMemory<'a> {
    /// The top page table (CR3), whose direct map covers the ranges.
    pub root: Pfn,
    /// The CPU.
    pub features: CpuFeatures,
    /// The usable ranges of the firmware's map, ascending.
    pub ranges: &'a [BootRange],
    /// What the loader and the kernel occupy in them, beside what the early frames gave out. Overlaps
    /// are allowed: the first owner keeps the frames.
    pub occupied: &'a [Occupied],
    /// Where memory may be hot-plugged (SRAT's hot-pluggable ranges), in any order and any pieces; empty: anywhere.
    pub hotplug: &'a [PfnRange],
}

impl<M: Machine> Memory<M> {
    /// A memory core that knows no memory yet.
    pub const fn new(machine: M) -> Self {
        Memory {
            machine,
            hotplug: Mutex::new(Rank::Hotplug, None),
            tables: Mutex::new(Rank::PageTables, None),
            index: RwLock::new(Rank::Index, Index::new()),
            slots: [const { Slot::new() }; MAX_REGIONS],
            nodes: Nodes::new(),
            cache: FrameCache::new(),
            poison: Poison::new(),
            page_tables: AtomicU64::new(0),
            fail: [const { AtomicU32::new(0) }; Step::ALL.len()],
            policy: AtomicU8::new(0),
        }
    }

    /// The machine: for host tests, where it is a simulated one. Elsewhere safe code must not have it, see
    /// [`Machine`].
    #[cfg(any(test, feature = "sim"))]
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Makes `step` of the next `times` adds or removals fail (0: of none).
    pub fn inject(&self, step: Step, times: u32) {
        self.fail[step as usize].store(times, Ordering::Relaxed);
    }

    /// How many times `step` is still to fail.
    pub fn injections_left(&self, step: Step) -> u32 {
        self.fail[step as usize].load(Ordering::Relaxed)
    }

    /// What becomes of memory that is added from now on.
    pub fn set_policy(&self, policy: Policy) {
        let place = Policy::ALL.iter().position(|&other| other == policy);
        self.policy.store(place.unwrap_or(0) as u8, Ordering::Relaxed);
    }

    /// What becomes of memory that is added.
    pub fn policy(&self) -> Policy {
        let place = usize::from(self.policy.load(Ordering::Relaxed));
        Policy::ALL.get(place).copied().unwrap_or(Policy::ALL[0])
    }

    /// The error of an add's step that was told to fail.
    pub(crate) fn check_injected(&self, step: Step) -> Result<(), AddError> {
        self.should_fail(step).map_err(|step| AddError::Injected { step })
    }

    /// The step itself when it was told to fail, which counts once.
    pub(crate) fn should_fail(&self, step: Step) -> Result<(), Step> {
        let counted = self.fail[step as usize]
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |times| times.checked_sub(1));
        if counted.is_ok() { Err(step) } else { Ok(()) }
    }

    /// The index entry of resource `id`.
    pub(crate) fn entry(&self, id: ResourceId) -> Option<Entry> {
        self.index.read().entries().iter().find(|entry| entry.id == id).copied()
    }

    /// The index entry that comes after frame `after` (`None`: the first). To walk over resources
    /// without a lock held in between.
    pub(crate) fn entry_after(&self, after: Option<Pfn>) -> Option<Entry> {
        let index = self.index.read();
        let place = match after {
            Some(pfn) => index.entries().partition_point(|entry| entry.range.start <= pfn),
            None => 0,
        };
        index.entries().get(place).copied()
    }

    /// Runs `work` on a slot's region, under its lock; `None` when the slot is empty. No frame of it is
    /// cached then, and what becomes of its free frames is known to its node when the lock is dropped.
    #[inline]
    pub(crate) fn with_region<T>(
        &self,
        slot: SlotNr,
        work: impl FnOnce(&mut Region, &Buddy<'_, M>) -> T,
    ) -> Option<T> {
        self.drain(slot);
        self.locked(slot, work)
    }

    /// Drains the frame cache if its blocks belong to the region in `slot`.
    #[inline]
    fn drain(&self, slot: SlotNr) {
        if self.cache.has(slot) {
            self.drain_all();
        }
    }

    /// Returns all blocks of the frame cache to the buddy; `false` when there were none.
    pub(crate) fn drain_all(&self) -> bool {
        let had = self.cache.pages() > 0;
        if let Some(slot) = self.cache.slot() {
            self.locked(slot, |_, buddy| self.cache.flush_all(buddy));
            self.cache.detach();
        }
        had
    }

    /// Poisons frames that are freed from now on, or stops that and the watch over those that were poisoned.
    pub fn set_poison(&self, mode: Mode) {
        self.poison.set_mode(mode);
    }

    /// [`Memory::with_region`] that leaves cached frames in the cache.
    #[inline]
    pub(crate) fn locked<T>(
        &self,
        slot: SlotNr,
        work: impl FnOnce(&mut Region, &Buddy<'_, M>) -> T,
    ) -> Option<T> {
        let place = self.slots.get(slot.0 as usize)?;
        let mut region = place.region.lock();
        let region = region.as_mut()?;
        let buddy = region.buddy(&self.machine, slot, &place.summary);
        let result = work(region, &buddy);
        self.nodes.changed(slot, &place.summary);
        Some(result)
    }
}

#[cfg(test)]
mod tests;
