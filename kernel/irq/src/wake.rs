//! The wake-up flag of the main loop. Invariant: no wake-up is slept through, and none is seen twice.

use core::sync::atomic::{AtomicBool, Ordering};

use crate::Cpu;

/// Whether there may be something to do.
#[derive(Debug)]
pub struct Wake(AtomicBool);

impl Default for Wake {
    fn default() -> Wake {
        Wake::new()
    }
}

impl Wake {
    /// Awake at first.
    pub const fn new() -> Wake {
        Wake(AtomicBool::new(true))
    }

    /// There is something to do. Callable from everywhere, interrupt handlers included.
    pub fn wake(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether there was something to do since the last time; what was done before the wake-up is seen.
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::Acquire)
    }

    /// Sleeps until the next interrupt, unless there is something to do. `before` is done when it comes to sleeping,
    /// with interrupts off. Interrupts are on afterwards.
    pub fn sleep_unless_awake<C: Cpu>(&self, before: impl FnOnce()) {
        // From the look at the flag until the CPU sleeps no handler can set it.
        C::off();
        if self.0.load(Ordering::Acquire) {
            C::on();
            return;
        }
        before();
        C::sleep();
    }
}
