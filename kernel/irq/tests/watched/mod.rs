//! A word that loom watches, for the models of several CPUs.

use carapace_irq::Cpu;
use carapace_irq::word::Word;
use core::marker::PhantomData;
use core::sync::atomic::Ordering;
use loom::sync::atomic::{AtomicU64, fence};

/// The word. `C` is the CPU that uses it: wherever its interrupts are on when it loads, a handler may run.
#[derive(Debug)]
pub struct Watched<C>(AtomicU64, PhantomData<C>);

impl<C: Cpu> Word for Watched<C> {
    fn new(value: u64) -> Watched<C> {
        Watched(AtomicU64::new(value), PhantomData)
    }

    fn load(&self, order: Ordering) -> u64 {
        let value = self.0.load(order);
        if C::are_on() {
            C::on();
        }
        value
    }

    fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, order);
    }

    fn fetch_and(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_and(value, order)
    }

    fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_add(value, order)
    }

    fn fence() {
        fence(Ordering::SeqCst);
    }
}
