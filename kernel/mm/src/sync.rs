//! The cheap half of an asymmetric barrier, and how to wait for another CPU.

use core::sync::atomic::{Ordering, compiler_fence};

/// The cheap half of a barrier whose expensive half is [`Machine::fence_all`](crate::Machine::fence_all): a CPU that
/// stores a word, passes this, and loads another one, is ordered with each CPU that stores the second word, calls
/// `fence_all`, and loads the first. The barrier that `fence_all` makes this CPU execute falls before or after this
/// point, so the compiler's order is all that is needed here.
#[inline(always)]
pub(crate) fn light_fence() {
    compiler_fence(Ordering::SeqCst);
}

/// Waits a moment for another CPU.
#[inline]
pub(crate) fn spin() {
    core::hint::spin_loop();
}
