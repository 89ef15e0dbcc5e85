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
//! Everything here is lock-free, since it runs in the page-fault handler. One CPU migrates at a time: a batch holds
//! [`carapace_lock::Rank::Migration`]. That CPU itself touches no migrating page, so its faults are real.
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
use crate::sync::Word;

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
pub(crate) struct Migrating<W = AtomicU64, const CPUS: usize = MAX_CPUS> {
    /// Odd while pages migrate; 0 before the first time.
    generation: W,
    start: W,
    end: W,
    /// The CPU that migrates them.
    by: W,
    last: [LastLook<W>; CPUS],
}

/// A CPU's last look that the range did not answer. Only that CPU reads and writes it.
#[derive(Debug)]
#[repr(align(64))]
struct LastLook<W> {
    at: W,
    generation: W,
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
}

impl<W: Word, const CPUS: usize> Migrating<W, CPUS> {
    /// Publishes that the addresses in `start..end` migrate, before the first leaf changes.
    pub(crate) fn begin(&self, cpu: CpuNr, start: VirtAddr, end: VirtAddr) {
        let generation = self.generation.load(Ordering::Relaxed);
        debug_assert!(generation.is_multiple_of(2), "one batch at a time");
        // The leaves change after all of this, by stores that are Release, and a page walk's reads are in order: a CPU that
        // faulted on a migration entry finds this batch here, or a later one. So two of these are Relaxed.
        self.by.store(cpu.index() as u64, Ordering::Relaxed);
        // Release: who reads one of these by Acquire comes after the batch before.
        self.start.store(start.0, Ordering::Release);
        self.end.store(end.0, Ordering::Release);
        self.generation.store(generation.wrapping_add(1), Ordering::Relaxed);
    }

    /// Publishes that the pages of [`Migrating::begin`] are present again.
    pub(crate) fn end(&self) {
        let generation = self.generation.load(Ordering::Relaxed);
        // Release: who reads the even generation by Acquire finds the leaves present.
        self.generation.store(generation.wrapping_add(1), Ordering::Release);
    }

    /// What a page fault at `at` on `cpu` is.
    pub(crate) fn look(&self, cpu: CpuNr, at: VirtAddr) -> Fault {
        // Acquire: see `end`.
        let generation = self.generation.load(Ordering::Acquire);
        if generation == 0 {
            return Fault::Real;
        }
        if !generation.is_multiple_of(2) {
            // Acquire: see `begin`. The retried access comes after the end of the batch before, too.
            let (start, end) = (self.start.load(Ordering::Acquire), self.end.load(Ordering::Acquire));
            if self.by.load(Ordering::Relaxed) == cpu.index() as u64 {
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
    use loom::sync::Arc;

    use super::*;
    use crate::addr::PAGE_SIZE;
    use crate::address_space::ALLOC;
    use crate::sync::tests::{Watched, every_interleaving};

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

    /// A page of the vmalloc region that migrates, and two CPUs' use of it.
    struct Page {
        migrating: Migrating<Watched, 2>,
        at: VirtAddr,
        /// Whether its leaf is present. A page walk reads it in the order of the program, as x86 promises.
        present: Watched,
    }

    fn watched(at: VirtAddr) -> Arc<Page> {
        let word = || Watched::new(0);
        let last = || LastLook { at: word(), generation: word() };
        let migrating =
            Migrating { generation: word(), start: word(), end: word(), by: word(), last: [last(), last()] };
        Arc::new(Page { migrating, at, present: Watched::new(1) })
    }

    impl Page {
        /// CPU 0 migrates a batch from `from` pages above this one to `to`.
        fn migrate(&self, from: i64, to: i64) {
            self.migrate_on(CpuNr::FIRST, from, to);
        }

        fn migrate_on(&self, cpu: CpuNr, from: i64, to: i64) {
            let [start, end] =
                [from, to].map(|pages| VirtAddr(self.at.0.wrapping_add_signed(pages * PAGE_SIZE as i64)));
            self.migrating.begin(cpu, start, end);
            if from == 0 {
                self.present.store(0, Ordering::Release);
                self.present.store(1, Ordering::Release);
            }
            self.migrating.end();
        }

        /// CPU 1 reads the page: an access that faults is tried again.
        fn access(&self) {
            let one = CpuNr::new(1).unwrap();
            let mut tries = 0;
            while self.present.load(Ordering::Acquire) == 0 {
                assert_eq!(self.migrating.look(one, self.at), Fault::Retry);
                tries += 1;
                // What was read before it gives way, loom does not read again: an outdated word twice is a case.
                if tries > 1 {
                    loom::thread::yield_now();
                }
            }
        }

        /// CPU 1 reads an unmapped page, `pages` above this one, until the fault is real.
        fn access_unmapped(&self, pages: u64) {
            let one = CpuNr::new(1).unwrap();
            while self.migrating.look(one, self.at.offset(pages * PAGE_SIZE)) == Fault::Retry {
                loom::thread::yield_now();
            }
        }
    }

    /// Runs `migrate` on CPU 0 and `access` on CPU 1, in every interleaving and order of memory.
    fn at_once(migrate: fn(&Page), access: fn(&Page)) {
        every_interleaving(move || {
            let page = watched(ALLOC.start.offset(8 * PAGE_SIZE));
            let other = {
                let page = page.clone();
                loom::thread::spawn(move || migrate(&page))
            };
            access(&page);
            other.join().unwrap();
        });
    }

    /// Proves, in every interleaving and every order of memory, that no access to a page that migrates is called a real
    /// fault: with one batch, with two of it, with batches of other pages after it and before it, above and below it.
    /// Fails when `end` comes before the leaf, and when an Acquire or a Release of a protocol word is left out.
    #[test]
    fn no_fault_of_a_migration_is_real() {
        at_once(|page| page.migrate(0, 1), Page::access);
        at_once(
            |page| {
                page.migrate(0, 1);
                page.migrate(0, 1);
            },
            |page| {
                page.access();
                page.access();
            },
        );
        at_once(
            |page| {
                page.migrate(4, 5);
                page.migrate(0, 1);
            },
            Page::access,
        );
    }

    /// Proves the same when a batch of other pages, above or below, is published while the fault is looked at. Fails when
    /// the words of two batches are read as those of one, without an order.
    #[test]
    fn the_words_of_two_batches_are_told_apart() {
        at_once(
            |page| {
                page.migrate(0, 1);
                page.migrate(4, 5);
            },
            Page::access,
        );
        at_once(
            |page| {
                page.migrate(0, 1);
                page.migrate(-5, -4);
            },
            Page::access,
        );
    }

    /// Proves that a CPU which migrated before is not taken for the one that migrates now. Fails when the CPU's number is
    /// not published with a batch.
    #[test]
    fn a_cpu_that_migrated_before_tries_again() {
        every_interleaving(|| {
            let page = watched(ALLOC.start.offset(8 * PAGE_SIZE));
            page.migrate_on(CpuNr::new(1).unwrap(), 0, 1);
            let other = {
                let page = page.clone();
                loom::thread::spawn(move || {
                    page.migrate(4, 5);
                    page.migrate(0, 1);
                })
            };
            page.access();
            other.join().unwrap();
        });
    }

    /// Proves that a fault that no migration caused is called real in the end, also of an address in a range that migrates
    /// (loom reports an access that is tried again for ever). Fails when a look leaves no record.
    #[test]
    fn a_real_fault_ends() {
        for unmapped in [|page: &Page| page.access_unmapped(1), |page: &Page| page.access_unmapped(9)] {
            at_once(|page| page.migrate(0, 2), unmapped);
        }
    }
}
