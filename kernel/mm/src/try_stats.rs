//! What can be told of memory in the midst of anything: for fatal reports.
//!
//! Invariant: nothing here waits for a lock; what a held lock guards is left out. Read are static tables, and of
//! memory itself only the headers of boot memory, which never goes. Neighbour: `inspect` tells all of it, under locks.

use core::fmt;

use crate::descriptor::State;
use crate::info::ResourceId;
use crate::machine::Machine;
use crate::memory::Memory;

/// Sums, as far as they can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TryStats {
    /// How many resources there are; `None` while the index changes.
    pub resources: Option<u64>,
    /// All present frames.
    pub total_pages: Option<u64>,
    /// Their usable ones; `None` when a region is locked too.
    pub usable_pages: Option<u64>,
    /// Frames that can be allocated, those of the frame cache too.
    pub free_pages: u64,
}

/// A lock of the memory core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// That of whoever adds or removes.
    Hotplug,
    /// That of the page tables.
    PageTables,
    /// That of the sorted ranges.
    Index,
    /// That of a region; its resource is not known while the index is locked.
    Region(Option<ResourceId>),
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lock::Hotplug => f.write_str("hotplug"),
            Lock::PageTables => f.write_str("page tables"),
            Lock::Index => f.write_str("index"),
            Lock::Region(Some(id)) => write!(f, "region of resource {id}"),
            Lock::Region(None) => f.write_str("region"),
        }
    }
}

impl<M: Machine> Memory<M> {
    /// What can be told now.
    pub fn glance(&self) -> TryStats {
        let cached = self.cache.pages();
        let free_pages = self.nodes.named().map(|nr| self.nodes.free(nr)).sum::<u64>() + cached;
        let Some(index) = self.index.try_read() else {
            return TryStats { resources: None, total_pages: None, usable_pages: None, free_pages };
        };
        let total = index.entries().iter().map(|entry| entry.range.pages()).sum();
        let usable = index.entries().iter().map(|entry| {
            let place = self.slots.get(entry.slot.0 as usize)?;
            let region = place.region.try_lock()?;
            let region = region.as_ref()?;
            let pinned = if region.layout.is_boot() {
                region.buddy(&self.machine, entry.slot, &place.summary).pages_in(State::Boot)
            } else {
                0
            };
            Some(region.layout.usable.pages() - pinned)
        });
        TryStats {
            resources: Some(index.entries().len() as u64),
            total_pages: Some(total),
            usable_pages: usable.sum(),
            free_pages,
        }
    }

    /// Calls `tell` with each lock that is held.
    pub fn held_locks(&self, report: &mut dyn FnMut(Lock)) {
        let index_held = self.index.try_write().is_none();
        let index = self.index.try_read();
        for (held, lock) in [
            (self.hotplug.is_locked(), Lock::Hotplug),
            (self.tables.is_locked(), Lock::PageTables),
            (index_held, Lock::Index),
        ] {
            if held {
                report(lock);
            }
        }
        for (number, _) in self.slots.iter().enumerate().filter(|(_, slot)| slot.region.is_locked()) {
            let entry = index.as_ref().and_then(|index| {
                index.entries().iter().find(|entry| usize::from(entry.slot.0) == number).copied()
            });
            report(Lock::Region(entry.map(|entry| entry.id)));
        }
    }

    /// Runs `work` under the lock of a resource's region, to see what can be told then; `None` when there is no such
    /// resource.
    pub fn hold_region<T>(&self, id: ResourceId, work: impl FnOnce() -> T) -> Option<T> {
        self.locked(self.entry(id)?.slot, |_, _| work())
    }
}
