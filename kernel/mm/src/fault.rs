//! Page faults that a migration causes on other CPUs: the access is tried again.
//!
//! ```text
//!  the CPU that migrates           another CPU                        what it gets
//!  publish range, odd generation
//!  leaf -> migration entry         access: page fault                 in the range: retry
//!  flush, copy
//!  migration entry -> leaf         fault taken before, looks now      in the range: retry
//!  even generation                 fault taken before, looks now      another generation than at its last look for
//!                                                                     this address: retry, which succeeds
//!                                  the same again                     a real fault
//! ```
//!
//! So an access is a real fault when it faults twice while nothing migrated in between. The range is that from the lowest
//! to the highest address of a batch: an unmapped address in between waits for the end of the batch, no longer.
//!
//! Everything here is lock-free, since it runs in the page-fault handler. One CPU migrates at a time: the vmalloc lock is
//! held over a batch. That CPU itself touches no migrating page, so its faults are real.
//!
//! Why a fault on a migration entry is never reported as real: the CPU read an entry that was stored after the odd
//! generation G, and calls `look` later, so `look` reads G or a later generation:
//! * G: the range is that of G's batch, or already that of the next one. In the first case it retries. In the second its
//!   last look for this address was not at G, as a look at G at an address in the range of G leaves no record.
//! * A later generation L: it looked at this address at L before only if that look came before its fault. But then it had
//!   acquired L, whose publication came after the leaf was present again, and could not fault on the entry, unless
//!   the address migrates in a batch after L: then it reads a later generation than L.
//!
//! Neighbours: `vmalloc::batch` publishes; the kernel's page-fault handler looks.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::addr::VirtAddr;
use crate::machine::{CpuNr, MAX_CPUS};

/// What to do about a page fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Return from the handler: the access will succeed, now or when a migration has ended.
    Retry,
    /// The access is wrong.
    Real,
}

/// The addresses that migrate now. See the module's documentation.
#[derive(Debug)]
pub(crate) struct Migrating {
    /// Odd while pages migrate; 0 before the first time.
    generation: AtomicU64,
    start: AtomicU64,
    end: AtomicU64,
    /// The CPU that migrates them.
    by: AtomicU64,
    last: [LastLook; MAX_CPUS],
}

/// A CPU's last look that the range did not answer. Only that CPU reads and writes it.
#[derive(Debug)]
#[repr(align(64))]
struct LastLook {
    at: AtomicU64,
    generation: AtomicU64,
}

impl Migrating {
    /// Nothing migrates.
    pub(crate) const fn new() -> Migrating {
        Migrating {
            generation: AtomicU64::new(0),
            start: AtomicU64::new(0),
            end: AtomicU64::new(0),
            by: AtomicU64::new(0),
            last: [const { LastLook { at: AtomicU64::new(0), generation: AtomicU64::new(0) } }; MAX_CPUS],
        }
    }

    /// Publishes that the addresses in `start..end` migrate, before the first leaf changes.
    pub(crate) fn begin(&self, cpu: CpuNr, start: VirtAddr, end: VirtAddr) {
        let generation = self.generation.load(Ordering::Relaxed);
        debug_assert!(generation.is_multiple_of(2), "one batch at a time");
        // Release: who reads one of these by Acquire reads a generation no older than the one before this batch.
        self.by.store(cpu.index() as u64, Ordering::Release);
        self.start.store(start.0, Ordering::Release);
        self.end.store(end.0, Ordering::Release);
        // Release: who reads the odd generation by Acquire reads this range or a later one. The leaves change after it,
        // by stores that are Release as well: who reads a migration entry and then the generation reads this one or a
        // later one.
        self.generation.store(generation.wrapping_add(1), Ordering::Release);
    }

    /// Publishes that the pages of [`Migrating::begin`] are present again.
    pub(crate) fn end(&self) {
        let generation = self.generation.load(Ordering::Relaxed);
        // Release: who reads the even generation by Acquire finds the leaves present.
        self.generation.store(generation.wrapping_add(1), Ordering::Release);
    }

    /// What a page fault at `at` on `cpu` is.
    pub(crate) fn look(&self, cpu: CpuNr, at: VirtAddr) -> Fault {
        // Acquire: see `begin` and `end`.
        let generation = self.generation.load(Ordering::Acquire);
        if generation == 0 {
            return Fault::Real;
        }
        if !generation.is_multiple_of(2) {
            // Acquire: the retried access comes after them, and so after the end of the batch before.
            let (start, end) = (self.start.load(Ordering::Acquire), self.end.load(Ordering::Acquire));
            if self.by.load(Ordering::Acquire) == cpu.index() as u64 {
                return Fault::Real;
            }
            if (start..end).contains(&at.0) {
                return Fault::Retry;
            }
        }
        let Some(last) = self.last.get(cpu.index()) else { return Fault::Real };
        // Relaxed: this CPU's own.
        if last.at.load(Ordering::Relaxed) == at.0 && last.generation.load(Ordering::Relaxed) == generation {
            return Fault::Real;
        }
        last.at.store(at.0, Ordering::Relaxed);
        last.generation.store(generation, Ordering::Relaxed);
        Fault::Retry
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address_space::ALLOC;

    /// Proves the answers of the table above, address by address and CPU by CPU: a fault in the range is retried for as
    /// long as the batch lasts; one outside, or after it, once for each generation and address; before the first
    /// migration, and on the CPU that migrates, none. Fails when a generation or the range is not published, or when a
    /// real fault is retried for ever.
    #[test]
    fn a_fault_is_retried_while_something_migrates_and_once_after() {
        let migrating = Migrating::new();
        let [zero, one, two] = [0, 1, 2].map(|number| CpuNr::new(number).unwrap());
        let [inside, outside] = [0x5000, 0x9000].map(|offset| ALLOC.start.offset(offset));
        assert_eq!(migrating.look(one, inside), Fault::Real);
        for _ in 0..3 {
            migrating.begin(zero, ALLOC.start.offset(0x4000), ALLOC.start.offset(0x6000));
            assert_eq!(migrating.look(zero, inside), Fault::Real);
            for _ in 0..5 {
                assert_eq!(migrating.look(one, inside), Fault::Retry);
            }
            assert_eq!(migrating.look(one, outside), Fault::Retry);
            assert_eq!(migrating.look(one, outside), Fault::Real);
            migrating.end();
            for cpu in [one, two] {
                assert_eq!(migrating.look(cpu, inside), Fault::Retry);
                assert_eq!(migrating.look(cpu, inside), Fault::Real);
                assert_eq!(migrating.look(cpu, outside), Fault::Retry);
                assert_eq!(migrating.look(cpu, outside), Fault::Real);
            }
        }
    }
}
