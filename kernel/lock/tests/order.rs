//! The check of the lock order itself. (Debug builds only: without `debug_assertions` nothing is checked.)
#![cfg(debug_assertions)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use carapace_lock::{Mutex, Rank, RwLock};

/// Whether a lock of `second` may be taken while one of `first` is held.
fn may_follow(first: Rank, second: Rank) -> bool {
    let (outer, inner) = (Mutex::new(first, ()), Mutex::new(second, ()));
    catch_unwind(AssertUnwindSafe(|| {
        let _outer = outer.lock();
        let _inner = inner.lock();
    }))
    .is_ok()
}

/// Proves for every pair of ranks that a lock is taken under another exactly when its rank is a later one: an inversion
/// panics, and so do two locks of one rank. Fails when the check accepts an inversion, or refuses the order.
#[test]
fn a_lock_is_taken_under_earlier_ranks_only() {
    for first in Rank::ALL {
        for second in Rank::ALL {
            assert_eq!(may_follow(first, second), first < second, "{second} under {first}");
        }
    }
}

/// Proves that readers and writers of an `RwLock` are checked as a mutex is, a second read by the same thread too.
/// Fails when `read` or `write` is not checked.
#[test]
fn readers_are_checked_too() {
    let (index, region) = (RwLock::new(Rank::Index, 0), Mutex::new(Rank::Region, 0));
    for take in [|lock: &RwLock<i32>| drop(lock.read()), |lock: &RwLock<i32>| drop(lock.write())] {
        let under = |held: &dyn Fn() -> bool| held();
        assert!(under(&|| catch_unwind(AssertUnwindSafe(|| take(&index))).is_ok()));
        assert!(!under(&|| {
            let _region = region.lock();
            catch_unwind(AssertUnwindSafe(|| take(&index))).is_ok()
        }));
        assert!(!under(&|| {
            let _index = index.read();
            catch_unwind(AssertUnwindSafe(|| take(&index))).is_ok()
        }));
    }
}

/// Proves that `try_lock` is allowed in any order, that it counts as held afterwards, and that a rank is free again
/// when the guard that took it is gone, in whatever order guards go. Fails when a bit stays, or goes too early.
#[test]
fn what_is_tried_is_recorded() {
    let [tables, first, second] =
        [Rank::PageTables, Rank::Region, Rank::Region].map(|rank| Mutex::new(rank, ()));
    let region = first.lock();
    let tried = tables.try_lock().expect("it is free");
    let other = second.try_lock().expect("it is free");
    // The second of the rank did not set the bit, so it does not clear it.
    drop(other);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(second.lock()))).is_err());
    drop(region);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(second.lock()))).is_ok());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(tables.lock()))).is_err(), "still held by `tried`");
    drop(tried);
    drop(tables.lock());
}

/// Proves that the panic names the rank that is taken and those that are held. Fails when a report would leave the
/// reader to guess.
#[test]
#[should_panic(expected = "lock order violated: Hotplug is taken while these are held: PageTables, Region")]
fn the_panic_names_the_ranks() {
    let [hotplug, tables, region] =
        [Rank::Hotplug, Rank::PageTables, Rank::Region].map(|rank| Mutex::new(rank, ()));
    let _tables = tables.lock();
    let _region = region.lock();
    let _hotplug = hotplug.lock();
}

/// Proves that threads are checked each for itself. Fails when what one thread holds counts against another.
#[test]
fn threads_have_ranks_of_their_own() {
    let (tables, region) = (Mutex::new(Rank::PageTables, ()), Mutex::new(Rank::Region, ()));
    let _region = region.lock();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| drop(tables.lock()));
        assert!(other.join().is_ok());
    });
}
