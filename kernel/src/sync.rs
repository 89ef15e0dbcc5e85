//! Locks, and the one order in which they are taken.
//!
//! ```text
//!  hotplug > page tables > node > region > heap (general, reserve) > devices window > remote > news > console
//!          > log > IO APIC > serial > serial output
//! ```
//!
//! A lock may be taken while locks to its left are held, never the other way round. The first five are
//! `spin::Mutex`es of the memory core and the heap and are never touched by interrupt handlers. Those
//! that handlers share (log, IO APIC, serial and its output) are [`IrqMutex`]es: interrupts are off
//! while one is held, so that a handler on the same CPU cannot wait for what it interrupted. A fatal
//! report (exception, panic) waits for no lock at all.
//!
//! So no handler ever waits: on the one CPU that runs, a lock that a handler finds taken would be held by what it
//! interrupted, for ever. `ThisCpu` makes that a panic with a backtrace instead of a silent end.

use crate::arch::interrupts::ThisCpu;

/// A spinning lock that keeps this CPU's interrupts off while it is held.
pub type IrqMutex<T> = carapace_irq::IrqMutex<T, ThisCpu>;
