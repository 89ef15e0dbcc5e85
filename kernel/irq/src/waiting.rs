//! Waiting for other CPUs that count a word down to 0: spin for a moment, then sleep until the last one interrupts.
//!
//! ```text
//!  this CPU                                  the last of the others
//!  1 asleep = 1                              1 the word becomes 0
//!  2 fence                                   2 fence
//!  3 interrupts off; is the word 0? end      3 asleep? then interrupt this CPU
//!  4 sleep, which turns them on; again 3
//! ```
//!
//! Why no wake-up is lost: one of the two fences comes first, so this CPU sees 0 or the other one sees `asleep`. From the
//! look to the sleep no interrupt is served, so one that comes in between ends the sleep.
//!
//! Neighbours: `mailbox` and `jobs` use it and have the other side; their loom tests check both.

use core::sync::atomic::Ordering;

use crate::Cpu;
use crate::word::Word;

/// Waits until `word` is 0, by Acquire: looks `spins` times, then sleeps with `asleep` set. Interrupts are on.
pub(crate) fn sleep_until_zero<W: Word, C: Cpu>(word: &W, asleep: &W, spins: u32) {
    debug_assert!(C::are_on(), "a CPU that waits for others serves their interrupts meanwhile");
    for _ in 0..spins {
        if word.load(Ordering::Acquire) == 0 {
            return;
        }
        core::hint::spin_loop();
    }
    asleep.store(1, Ordering::Relaxed);
    W::fence();
    loop {
        C::off();
        if word.load(Ordering::Acquire) == 0 {
            C::on();
            break;
        }
        C::sleep();
    }
    asleep.store(0, Ordering::Relaxed);
}
