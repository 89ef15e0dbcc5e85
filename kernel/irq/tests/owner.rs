//! A lock between CPUs: another CPU's is waited for, one's own is a panic. A CPU is a thread here.

use carapace_irq::{Cpu, IrqMutex};
use carapace_lock::Rank;
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

struct Thread;

static NUMBERS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static NUMBER: usize = NUMBERS.fetch_add(1, Ordering::Relaxed);
    static ON: Cell<bool> = const { Cell::new(true) };
}

impl Cpu for Thread {
    const CHECKS_LOCK_ORDER: bool = false;

    fn number() -> usize {
        NUMBER.with(|number| *number)
    }

    fn are_on() -> bool {
        ON.get()
    }

    fn off() {
        ON.set(false);
    }

    fn on() {
        ON.set(true);
    }

    fn sleep() {
        unreachable!("a lock is not slept for");
    }
}

/// Proves that a CPU that finds the lock held by another one waits for it, also with interrupts off as in a handler, and
/// that no increment is lost. Fails when a held lock is taken for the CPU's own.
#[test]
fn another_cpus_lock_is_waited_for() {
    let counter = IrqMutex::<u32, Thread>::new(Rank::Log, 0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    *counter.lock() += 1;
                    if let Some(mut counter) = counter.try_lock() {
                        *counter += 1;
                        Thread::off();
                    }
                    Thread::on();
                }
            });
        }
    });
    let total = *counter.lock();
    assert!((30_000..=60_000).contains(&total), "{total}");
}

/// Proves that a CPU which would wait for its own lock panics, also a second time, and not after it released the lock.
/// Fails (hangs) without the owner, or fails when a release leaves the owner behind.
#[test]
fn ones_own_lock_is_a_panic() {
    let lock = IrqMutex::<u32, Thread>::new(Rank::Log, 0);
    for _ in 0..2 {
        let held = lock.lock();
        let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(lock.lock())));
        let message = again.expect_err("it would wait for ever");
        assert!(message.downcast_ref::<&str>().is_some_and(|text| text.contains("a lock that it holds")));
        drop(held);
        drop(lock.lock());
        drop(lock.try_lock().expect("it is free"));
        drop(lock.lock());
    }
}
