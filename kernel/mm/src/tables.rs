//! The one owner of the kernel's page tables, from before boot memory is taken over until the end.
//!
//! ```text
//!  take_tables    the loader's root: tidied direct map, the kernel's own windows     (frames: the caller's)
//!  boot           the same tables, and what hotplug needs in them                    (frames: the caller's)
//!  add, window..  with_tables, under the tables' lock
//!  translate, path, leaves, verify_*    read only, safe for everybody
//! ```
//!
//! Invariant: there is one [`PageTables`] for a root, and it is edited under its lock. What the kernel maps in windows
//! of its own (devices, heap) goes through [`Memory::edit_tables`]. Neighbours: `page_table` edits, `protection` judges.

use crate::addr::{Pfn, VirtAddr};
use crate::machine::{CpuFeatures, Machine};
use crate::memory::Memory;
use crate::page_table::{Leaf, PageTables, PathStep, Translation};
use crate::protection::{self, Unprotected};

impl<M: Machine> Memory<M> {
    /// Takes over the tables below `root`, as a loader left them, so that a kernel can map its own windows before
    /// [`Memory::boot`]. Does nothing when tables were taken over before.
    ///
    /// # Safety
    ///
    /// `root` is the table that the CPU uses, its tables lie in frames that the direct map covers, nobody else edits
    /// them from now on, and `features` are the CPU's.
    #[expect(unsafe_code, reason = "a declaration: no unsafe block")]
    pub unsafe fn take_tables(&self, root: Pfn, features: CpuFeatures) {
        self.tables.lock().get_or_insert_with(|| PageTables::new(root, features));
    }

    /// Runs `work` on the kernel's page tables and the machine, under the tables' lock; `None` before
    /// [`Memory::take_tables`]. This is the only way to the machine from outside of the memory core. `work` must not
    /// call back into the facade.
    ///
    /// # Safety
    ///
    /// `work` maps and unmaps only in windows that the memory core does not use, maps no frame that the core owns
    /// or will own, gives tables only frames that nobody uses, and touches through the machine only memory that
    /// nothing refers to. It lets no reference to the machine out.
    #[expect(unsafe_code, reason = "a declaration: no unsafe block")]
    pub unsafe fn edit_tables<T>(&self, work: impl FnOnce(&mut PageTables, &M) -> T) -> Option<T> {
        self.with_tables(work)
    }

    /// The same for the core itself. `work` must not call back into the facade, except for allocating and freeing.
    pub(crate) fn with_tables<T>(&self, work: impl FnOnce(&mut PageTables, &M) -> T) -> Option<T> {
        let mut tables = self.tables.lock();
        tables.as_mut().map(|tables| work(tables, &self.machine))
    }

    /// Runs `work` under the tables' lock, to see what happens when something goes wrong there.
    pub fn hold_tables<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        self.with_tables(|_, _| work())
    }

    /// What `at` is mapped to.
    pub fn translate(&self, at: VirtAddr) -> Option<Translation> {
        self.with_tables(|tables, machine| tables.translate(machine, at)).flatten()
    }

    /// Calls `each` with the entry of each level on the way to `at`, under the tables' lock.
    pub fn path(&self, at: VirtAddr, each: &mut dyn FnMut(PathStep)) {
        self.with_tables(|tables, machine| tables.path(machine, at, each));
    }

    /// Calls `each` with the next `most` leaves from `from` on, under the tables' lock. Returns where the one after
    /// them is, if there is one.
    pub fn leaves(&self, from: VirtAddr, most: usize, each: &mut dyn FnMut(Leaf)) -> Option<VirtAddr> {
        self.with_tables(|tables, machine| protection::leaves(tables, machine, from, most, each)).flatten()
    }

    /// Checks the protection of the next `most` leaves from `from` on. Returns how many there were, and where the one
    /// after them is, if there is one.
    pub fn verify_leaves(
        &self,
        from: VirtAddr,
        most: usize,
        tell: &mut dyn FnMut(Unprotected),
    ) -> (u64, Option<VirtAddr>) {
        self.with_tables(|tables, machine| protection::verify_leaves(tables, machine, from, most, tell))
            .unwrap_or_default()
    }

    /// Checks the protection of what has no leaves: the lower half and `guards`. Returns how many things it checked.
    pub fn verify_rest(
        &self,
        guards: impl Iterator<Item = VirtAddr>,
        tell: &mut dyn FnMut(Unprotected),
    ) -> u64 {
        self.with_tables(|tables, machine| protection::verify_rest(tables, machine, guards, tell))
            .unwrap_or(0)
    }
}
