//! The CPU's interrupt flag: off for a while, on, and the sleep that misses no interrupt; whether a handler runs.

use super::percpu;
use core::sync::atomic::Ordering;

pub use x86_64::instructions::interrupts::{are_enabled, disable, enable};

/// Whether the code that asks runs in an interrupt handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterruptContext {
    /// In a handler: it must not wait for anything that the interrupted code may hold.
    Handler,
    /// In the main program.
    Main,
}

/// Where the code that asks runs.
pub fn context() -> InterruptContext {
    match percpu::this().interrupt_depth.load(Ordering::Relaxed) {
        0 => InterruptContext::Main,
        _ => InterruptContext::Handler,
    }
}

/// Runs `work` with interrupts off and restores the flag as it was.
pub fn without<R>(work: impl FnOnce() -> R) -> R {
    x86_64::instructions::interrupts::without_interrupts(work)
}

/// Sleeps until the next interrupt and returns with interrupts on. To be called with interrupts off,
/// after the last look at what could be awake: `sti` takes effect only after the instruction behind
/// it, so that no interrupt comes between that look and `hlt` (Intel SDM vol. 2, STI).
pub fn sleep_until_interrupt() {
    x86_64::instructions::interrupts::enable_and_hlt();
}

/// Stops this CPU for good; only an NMI or a machine check can interrupt it.
pub fn park() -> ! {
    loop {
        disable();
        x86_64::instructions::hlt();
    }
}

/// A spinning lock that keeps this CPU's interrupts off while it is held.
pub type IrqMutex<T> = carapace_irq::IrqMutex<T, ThisCpu>;

/// The CPU as crate `carapace-irq` wants it.
#[derive(Clone, Copy, Debug)]
pub struct ThisCpu;

impl carapace_irq::Cpu for ThisCpu {
    fn are_on() -> bool {
        are_enabled()
    }

    fn off() {
        disable();
    }

    fn on() {
        enable();
    }

    fn number() -> usize {
        percpu::number().index()
    }

    fn sleep() {
        sleep_until_interrupt();
    }
}
