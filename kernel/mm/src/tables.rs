//! The owner of the kernel's page tables, from before boot memory is taken over until the end.
//!
//! ```text
//!  take_tables      take over the loader's root; sanitize the direct map; map kernel regions   (caller's frames)
//!  boot             populate the tables that hot add needs                                     (caller's frames)
//!  add, vmalloc ..  with_tables, under the tables' lock
//!  translate, path, leaves, verify_*    read only
//! ```
//!
//! Invariant: a root has one [`PageTables`], edited only under its lock. The kernel's own mappings (devices, heap) go
//! through [`Memory::edit_tables`]. Neighbours: `page_table` edits, `protection` verifies.

use crate::addr::{Pfn, VirtAddr};
use crate::machine::{CpuFeatures, Machine};
use crate::memory::Memory;
use crate::page_table::{Leaf, PageTables, PathStep, Translation};
use crate::protection::{self, Unprotected};

impl<M: Machine> Memory<M> {
    /// Takes over the loader's tables below `root`, so that the kernel can map its own regions before [`Memory::boot`].
    /// Does nothing when it already owns tables.
    ///
    /// # Safety
    ///
    /// `root` is the CPU's root table. The direct map covers the frames of all tables below it. No other code edits
    /// them from now on. `features` are the CPU's.
    #[expect(unsafe_code, reason = "a declaration: no unsafe block")]
    pub unsafe fn take_tables(&self, root: Pfn, features: CpuFeatures) {
        self.tables.lock().get_or_insert_with(|| PageTables::new(root, features));
    }

    /// Runs `work` on the kernel's page tables and the machine, under the tables' lock. `None` before
    /// [`Memory::take_tables`]. This is the only access to the machine from outside of the memory core. `work` must not
    /// call the facade.
    ///
    /// # Safety
    ///
    /// `work` maps and unmaps only in address regions that the memory core does not use, and maps no frame that the
    /// core owns or will own. It gives only unused frames to tables. It accesses only memory without Rust references
    /// through the machine, and leaks no reference to the machine.
    #[expect(unsafe_code, reason = "a declaration: no unsafe block")]
    pub unsafe fn edit_tables<T>(&self, work: impl FnOnce(&mut PageTables, &M) -> T) -> Option<T> {
        self.with_tables(work)
    }

    /// [`Memory::edit_tables`] for the core itself. `work` may call the facade only to allocate and free.
    pub(crate) fn with_tables<T>(&self, work: impl FnOnce(&mut PageTables, &M) -> T) -> Option<T> {
        let mut tables = self.tables.lock();
        tables.as_mut().map(|tables| work(tables, &self.machine))
    }

    /// Runs `work` under the tables' lock, to provoke errors there.
    pub fn hold_tables<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        self.with_tables(|_, _| work())
    }

    /// The translation of `at`.
    pub fn translate(&self, at: VirtAddr) -> Option<Translation> {
        self.with_tables(|tables, machine| tables.translate(machine, at)).flatten()
    }

    /// Calls `each` with the entry of each level of the walk to `at`, under the tables' lock.
    pub fn path(&self, at: VirtAddr, each: &mut dyn FnMut(PathStep)) {
        self.with_tables(|tables, machine| tables.path(machine, at, each));
    }

    /// Calls `each` with the next `most` leaves from `from` on, under the tables' lock. Returns the address of the leaf
    /// after them, if any.
    pub fn leaves(&self, from: VirtAddr, most: usize, each: &mut dyn FnMut(Leaf)) -> Option<VirtAddr> {
        self.with_tables(|tables, machine| protection::leaves(tables, machine, from, most, each)).flatten()
    }

    /// Verifies the protection of the next `most` leaves from `from` on, and calls `report`, under the tables' lock.
    /// Returns the number of leaves and the address of the leaf after them, if any.
    pub fn verify_leaves(
        &self,
        from: VirtAddr,
        most: usize,
        report: &mut dyn FnMut(Unprotected),
    ) -> (u64, Option<VirtAddr>) {
        self.with_tables(|tables, machine| protection::verify_leaves(tables, machine, from, most, report))
            .unwrap_or_default()
    }

    /// Verifies the other mappings of the image's read-only frames and that `guards` are unmapped, and calls `report`,
    /// under the tables' lock. Returns the number of checks.
    pub fn verify_rest(
        &self,
        guards: impl Iterator<Item = VirtAddr>,
        report: &mut dyn FnMut(Unprotected),
    ) -> u64 {
        self.with_tables(|tables, machine| protection::verify_rest(tables, machine, guards, report))
            .unwrap_or(0)
    }
}
