//! The wake flag of the main loop. Invariant: no wake-up is lost, and none is seen twice.

use core::sync::atomic::{AtomicBool, Ordering};

use crate::Cpu;

/// Set when there may be work to do.
#[derive(Debug)]
pub struct WakeFlag(AtomicBool);

impl Default for WakeFlag {
    fn default() -> WakeFlag {
        WakeFlag::new()
    }
}

impl WakeFlag {
    /// A flag that is set.
    pub const fn new() -> WakeFlag {
        WakeFlag(AtomicBool::new(true))
    }

    /// Sets the flag. Callable from anywhere, interrupt handlers included.
    pub fn wake(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Clears the flag and returns whether it was set. Writes made before [`WakeFlag::wake`] are visible after it.
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::Acquire)
    }

    /// Sleeps until the next interrupt, unless the flag is set. Runs `before` just before sleeping, with interrupts
    /// off. Interrupts are on afterwards.
    pub fn sleep_unless_awake<C: Cpu>(&self, before: impl FnOnce()) {
        // Between the load and the halt no handler can set the flag.
        C::off();
        if self.0.load(Ordering::Acquire) {
            C::on();
            return;
        }
        before();
        C::sleep();
    }
}
