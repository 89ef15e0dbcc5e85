//! Statistics for fatal reports, available at any time because they never wait for a lock.
//!
//! Invariant: nothing here waits for a lock; data behind a held lock is left out. Only static tables are read, and of
//! memory itself only the headers of boot memory, which is never removed. Neighbour: `query` has the full statistics,
//! under locks.

use core::fmt;

use crate::descriptor::BlockState;
use crate::info::ResourceId;
use crate::machine::Machine;
use crate::memory::Memory;

/// Totals, as far as they are available without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TryStats {
    /// Number of resources; `None` while the index is locked for writing.
    pub resources: Option<u64>,
    /// Present frames.
    pub total_pages: Option<u64>,
    /// Usable frames; `None` when a region is locked too.
    pub usable_pages: Option<u64>,
    /// Frames that can be allocated, including those in the frame cache.
    pub free_pages: u64,
}

/// A lock of the memory core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// The hotplug lock, held during add and remove.
    Hotplug,
    /// The lock of the page tables.
    PageTables,
    /// The lock of the index.
    Index,
    /// The lock of a region; its resource is unknown while the index is locked.
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
    /// The totals that are available now.
    pub fn try_stats(&self) -> TryStats {
        let cached = self.caches.pages();
        let free_pages = self.nodes.named().map(|nr| self.nodes.free(nr)).sum::<u64>() + cached;
        let Some(index) = self.index.try_read() else {
            return TryStats { resources: None, total_pages: None, usable_pages: None, free_pages };
        };
        let total = index.entries().iter().map(|entry| entry.range.pages()).sum();
        let usable = index.entries().iter().map(|entry| {
            let slot = self.slots.get(entry.slot.0 as usize)?;
            let region = slot.region.try_lock()?;
            let region = region.as_ref()?;
            let pinned = if region.layout.is_boot() {
                region.buddy(&self.machine, entry.slot, &slot.summary).pages_in(BlockState::Boot)
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

    /// Calls `report` with each lock that is held.
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

    /// Runs `work` while holding the lock of a resource's region, to test what is available then. `None` when there is
    /// no such resource.
    pub fn hold_region<T>(&self, id: ResourceId, work: impl FnOnce() -> T) -> Option<T> {
        self.with_region(self.entry(id)?, |_, _| work())
    }
}
