//! The CPU's interrupt flag: off for a while, on, and the sleep that misses no interrupt.

pub use x86_64::instructions::interrupts::{are_enabled, disable, enable};

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

/// The flag as crate `carapace-irq` wants it.
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
        0
    }

    fn sleep() {
        sleep_until_interrupt();
    }
}
