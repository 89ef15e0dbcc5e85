//! A flush is a batch: edits collect the addresses whose translations must go, and one request tells every CPU.
//!
//! ```text
//!  edit, edit, edit        no CPU is asked anything; each may still use what it translated before
//!  run                     at most one request; when it returns, no CPU uses an old translation
//!  free frames and tables  only after it
//! ```
//!
//! Up to [`SINGLE_PAGES`] addresses are flushed one by one, more of them all together. Asking costs microseconds to
//! milliseconds (every CPU must answer), an address a fraction of one. Invariant: the batch runs before a page or
//! table of a cleared entry is freed. Neighbours: all files of `page_table` that clear or change present entries. Corresponds to Linux
//! `struct mmu_gather`.

use arrayvec::ArrayVec;

use crate::addr::VirtAddr;
use crate::machine::Machine;

/// The most addresses that are flushed one by one.
const SINGLE_PAGES: usize = 32;

/// Translations that no CPU may use after [`FlushBatch::run`].
#[derive(Debug)]
#[must_use = "translations stay in the CPUs' caches until it is run"]
pub(crate) struct FlushBatch {
    pages: ArrayVec<VirtAddr, SINGLE_PAGES>,
    everything: bool,
}

impl Default for FlushBatch {
    fn default() -> FlushBatch {
        FlushBatch::new()
    }
}

impl FlushBatch {
    /// An empty batch.
    pub(crate) const fn new() -> FlushBatch {
        FlushBatch { pages: ArrayVec::new_const(), everything: false }
    }

    /// Adds the leaf that maps the page at `at`, whatever its size.
    pub(crate) fn page(&mut self, at: VirtAddr) {
        if !self.everything && self.pages.try_push(at).is_err() {
            self.everything();
        }
    }

    /// Adds all translations, and all links between tables that a CPU may have cached.
    pub(crate) fn everything(&mut self) {
        self.everything = true;
        self.pages.clear();
    }

    /// Flushes the added addresses on every CPU, by at most one request; an empty batch needs none. The batch is empty
    /// then.
    pub(crate) fn run<M: Machine>(&mut self, machine: &M) {
        if core::mem::take(&mut self.everything) {
            machine.flush_all();
        } else if !self.pages.is_empty() {
            machine.flush(&self.pages);
        }
        self.pages.clear();
    }
}
