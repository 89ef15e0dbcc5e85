//! [`Memory`], the facade of the memory core.
//!
//! ```text
//!  boot ---.                      .--- allocate, free      (allocate)
//!  add ----+--> slots + index ----+--- resources, page ... (query)
//!  remove -'\-> page tables        `-- check               (check)
//! ```
//!
//! Locks: [`carapace_lock::Rank`] defines their order and what each protects. Interrupt handlers take none. No lock is
//! held while a caller's `report` or `each` runs, unless its function's documentation says so: a shell may print and
//! allocate there. [`carapace_lock::Rank`] lists the exceptions.
//!
//! Neighbours: `boot` and `hot_add` add resources, `hot_remove` removes them, `allocate` serves allocations, `query`
//! reports, `check` verifies every invariant. `hotplug_state`, `frame_cache`, `poison` and `zonelist` are the parts below.

use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use carapace_lock::{Mutex, Rank, RwLock};

use crate::access::Accesses;
use crate::addr::{NodeId, Pfn, PfnRange, VirtAddr};
use crate::address_space::ALLOC;
use crate::boot_alloc::Occupied;
use crate::buddy::{Buddy, End};
use crate::descriptor::SlotNr;
use crate::error::AddError;
use crate::fault::{Fault, Migrating};
use crate::fault_injection::Step;
use crate::frame_cache::FrameCaches;
use crate::hotplug_state::Hotplug;
use crate::info::{BootRange, NodeChoice, Policy, ResourceId};
use crate::machine::{CpuFeatures, CpuNr, MAX_CPUS, Machine};
use crate::page_table::PageTables;
use crate::poison::{Mode, Poison};
use crate::publish;
use crate::region::{Index, IndexEntry, MAX_REGIONS, Region, RegionSlot};
use crate::zonelist::Nodes;

pub use crate::addr::Block;
pub use crate::hotplug_state::MAX_HOTPLUG_RANGES;

/// No CPU has this node.
const NO_NODE: u32 = u32::MAX;

/// The memory core.
#[derive(Debug)]
pub struct Memory<M> {
    pub(crate) machine: M,
    /// Held while a resource is added or removed. `None` before [`Memory::boot`].
    pub(crate) hotplug: Mutex<Option<Hotplug>>,
    pub(crate) tables: Mutex<Option<PageTables>>,
    pub(crate) index: RwLock<Index>,
    pub(crate) slots: [RegionSlot; MAX_REGIONS],
    pub(crate) nodes: Nodes,
    pub(crate) migrating: Migrating,
    pub(crate) accesses: Accesses,
    /// The node of each CPU, or [`NO_NODE`].
    cpu_nodes: [AtomicU32; MAX_CPUS],
    pub(crate) caches: FrameCaches,
    pub(crate) poison: Poison,
    /// Frames of page tables outside of the resources' own metadata.
    pub(crate) page_tables: AtomicU64,
    /// Above 0 while a region's missing end may be unreported: see `probe`.
    pub(crate) missing_ends: AtomicU32,
    /// For each step: how many more times it fails.
    injections: [AtomicU32; Step::ALL.len()],
    /// The policy for memory that is added, as an index into `Policy::ALL`.
    policy: AtomicU8,
}

/// The memory at boot, as the loader and the firmware describe it.
#[derive(Clone, Copy, Debug)]
pub struct BootMemory<'a> {
    /// The root page table (CR3). Its direct map covers the ranges.
    pub root: Pfn,
    /// The CPU.
    pub features: CpuFeatures,
    /// The usable ranges of the firmware's memory map, ascending.
    pub ranges: &'a [BootRange],
    /// What the loader and the kernel occupy in them, in addition to the boot allocator's frames. Where entries
    /// overlap, the first owner keeps the frames.
    pub occupied: &'a [Occupied],
    /// Where memory may be hot-plugged (hot-pluggable ranges of the SRAT), in any order. Empty: anywhere.
    pub hotplug: &'a [PfnRange],
}

impl<M: Machine> Memory<M> {
    /// A memory core without memory.
    pub const fn new(machine: M) -> Self {
        Memory {
            machine,
            hotplug: Mutex::new(Rank::Hotplug, None),
            tables: Mutex::new(Rank::PageTables, None),
            index: RwLock::new(Rank::Index, Index::new()),
            slots: [const { RegionSlot::new() }; MAX_REGIONS],
            nodes: Nodes::new(),
            migrating: Migrating::new(),
            accesses: Accesses::new(),
            cpu_nodes: [const { AtomicU32::new(NO_NODE) }; MAX_CPUS],
            caches: FrameCaches::new(),
            poison: Poison::new(),
            page_tables: AtomicU64::new(0),
            missing_ends: AtomicU32::new(0),
            injections: [const { AtomicU32::new(0) }; Step::ALL.len()],
            policy: AtomicU8::new(0),
        }
    }

    /// The simulated machine of a host test. Elsewhere safe code must not have the machine, see [`Machine`].
    #[cfg(any(test, feature = "sim"))]
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Makes `step` fail in the next `times` adds or removals. 0 cancels the injection.
    pub fn inject(&self, step: Step, times: u32) {
        self.injections[step as usize].store(times, Ordering::Relaxed);
    }

    /// How many more times `step` will fail.
    pub fn injections_left(&self, step: Step) -> u32 {
        self.injections[step as usize].load(Ordering::Relaxed)
    }

    /// Sets the node of a CPU: its allocations without a node prefer it. Without a call none is preferred.
    pub fn set_cpu_node(&self, cpu: CpuNr, node: NodeId) {
        self.cpu_nodes[cpu.index()].store(node.0, Ordering::Relaxed);
    }

    /// The node of the CPU that runs.
    pub(crate) fn own_node(&self) -> Option<NodeId> {
        let node = self.cpu_nodes[self.machine.cpu().index()].load(Ordering::Relaxed);
        (node != NO_NODE).then_some(NodeId(node))
    }

    /// Records how fast the memory of node `target` is for a CPU of node `initiator`: `rank` nodes are faster. `false` if
    /// there are too many nodes. Movable allocations without a node prefer what is faster; without a call all nodes are
    /// equal.
    pub fn set_speed(&self, initiator: NodeId, target: NodeId, rank: u8) -> bool {
        let _hotplug = self.hotplug.lock();
        self.nodes.speeds.set(initiator, target, rank)
    }

    /// Sets how the node of a movable allocation is chosen from now on.
    pub fn set_node_choice(&self, choice: NodeChoice) {
        self.nodes.speeds.choose(choice);
    }

    /// How the node of a movable allocation is chosen.
    pub fn node_choice(&self) -> NodeChoice {
        self.nodes.speeds.choice()
    }

    /// Sets the policy for memory that is added from now on.
    pub fn set_policy(&self, policy: Policy) {
        let index = Policy::ALL.iter().position(|&other| other == policy);
        self.policy.store(index.unwrap_or(0) as u8, Ordering::Relaxed);
    }

    /// The policy for memory that is added.
    pub fn policy(&self) -> Policy {
        let index = usize::from(self.policy.load(Ordering::Relaxed));
        Policy::ALL.get(index).copied().unwrap_or(Policy::ALL[0])
    }

    /// [`Memory::should_fail`] for a step of an add.
    pub(crate) fn check_injected(&self, step: Step) -> Result<(), AddError> {
        self.should_fail(step).map_err(|step| AddError::Injected { step })
    }

    /// Returns `Err(step)` when a failure of `step` is injected, and counts it down.
    pub(crate) fn should_fail(&self, step: Step) -> Result<(), Step> {
        let counted =
            self.injections[step as usize]
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |times| times.checked_sub(1));
        if counted.is_ok() { Err(step) } else { Ok(()) }
    }

    /// The index entry of resource `id`.
    pub(crate) fn entry(&self, id: ResourceId) -> Option<IndexEntry> {
        self.index.read().entries().iter().find(|entry| entry.id == id).copied()
    }

    /// The index entry of the resource that contains `pfn`.
    #[inline(always)]
    pub(crate) fn entry_of(&self, pfn: Pfn) -> Option<IndexEntry> {
        publish::find(&self.index, pfn)
    }

    /// The first index entry that starts after frame `after` (`None`: the first of all). Walks over the resources
    /// without holding a lock in between.
    pub(crate) fn entry_after(&self, after: Option<Pfn>) -> Option<IndexEntry> {
        let index = self.index.read();
        let next = match after {
            Some(pfn) => index.entries().partition_point(|entry| entry.range.start <= pfn),
            None => 0,
        };
        index.entries().get(next).copied()
    }

    /// Whether a page fault at `at` on this CPU comes from a migration: then the handler returns, and the access is
    /// tried again. It must be able to answer requests in between: no memory of the vmalloc region is accessed with
    /// interrupts off.
    pub fn fault(&self, at: VirtAddr) -> Fault {
        if !ALLOC.contains(at) {
            return Fault::Real;
        }
        self.migrating.look(self.machine.cpu(), at)
    }

    /// Poisons frames that are freed from now on, or stops that and the watch over those that were poisoned.
    pub fn set_poison(&self, mode: Mode) {
        self.poison.set_mode(mode);
    }

    /// Runs `work` on the region of an index entry, under its lock. `None` when that region is gone, even if another one
    /// has its slot by now. The node's statistics are updated before the lock is released. Blocks in frame caches stay
    /// there.
    #[inline]
    pub(crate) fn with_region<T>(
        &self,
        entry: IndexEntry,
        work: impl FnOnce(&mut Region, &Buddy<'_, M>) -> T,
    ) -> Option<T> {
        self.locked_as(entry.slot, entry.id, work)
    }

    /// [`Memory::with_region`] by slot and resource.
    #[inline]
    pub(crate) fn locked_as<T>(
        &self,
        slot: SlotNr,
        id: ResourceId,
        work: impl FnOnce(&mut Region, &Buddy<'_, M>) -> T,
    ) -> Option<T> {
        let entry = self.slots.get(slot.0 as usize)?;
        publish::with_region(&entry.region, id, |region| self.work_on(slot, region, work))
    }

    /// Runs `work` on the region that a slot has now, under its lock. `None` when the slot is empty.
    #[inline]
    pub(crate) fn locked<T>(
        &self,
        slot: SlotNr,
        work: impl FnOnce(&mut Region, &Buddy<'_, M>) -> T,
    ) -> Option<T> {
        let mut region = self.slots.get(slot.0 as usize)?.region.lock();
        region.as_mut().map(|region| self.work_on(slot, region, work))
    }

    /// Runs `work` on a slot's region, whose lock is held.
    #[inline(always)]
    fn work_on<T>(
        &self,
        slot: SlotNr,
        region: &mut Region,
        work: impl FnOnce(&mut Region, &Buddy<'_, M>) -> T,
    ) -> T {
        let summary = &self.slots[slot.0 as usize].summary;
        let buddy = region.buddy(&self.machine, slot, summary);
        let result = work(region, &buddy);
        self.nodes.changed(slot, summary);
        result
    }

    /// [`Memory::locked`] to allocate: `None` also for a region that is isolated as a whole, which may have become so
    /// since it was chosen, and for one whose last frame turns out not to answer.
    #[inline]
    pub(crate) fn locked_in_use<T>(
        &self,
        slot: SlotNr,
        work: impl FnOnce(&Region, &Buddy<'_, M>) -> Option<T>,
    ) -> Option<T> {
        self.locked(slot, |region, buddy| {
            (!region.is_fully_isolated() && self.has_end(region, buddy)).then(|| work(region, buddy))
        })??
    }

    /// Whether memory answers at the region's last frame, which is probed before the first allocation.
    #[inline(always)]
    pub(crate) fn has_end(&self, region: &Region, buddy: &Buddy<'_, M>) -> bool {
        buddy.summary.end() == End::Answers || self.probe_end(region, buddy)
    }
}

#[cfg(test)]
mod tests;
