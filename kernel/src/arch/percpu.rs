//! What each CPU has of its own, behind one accessor.
//!
//! One CPU runs (the others stay parked in their firmware's or hypervisor's wait-for-start state), so
//! the accessor returns the one instance there is. When others are started, [`this`] is what changes:
//! it then finds its instance through the GS base.

use core::sync::atomic::{AtomicU32, AtomicU64};
use spin::Once;
use x86_64::structures::gdt::GlobalDescriptorTable;
use x86_64::structures::tss::TaskStateSegment;

/// State of one CPU.
#[derive(Debug)]
pub struct PerCpu {
    /// Its descriptor table; the CPU reads it at each change of segment.
    pub gdt: Once<GlobalDescriptorTable>,
    /// Its task state: the interrupt stack table.
    pub tss: Once<TaskStateSegment>,
    /// How many interrupt handlers are under way (0 or 1: gates switch interrupts off). Written on
    /// this CPU only.
    pub interrupt_depth: AtomicU32,
    /// How many fatal reports (exception or panic) have been begun: a second one means that reporting
    /// itself failed.
    pub reports: AtomicU32,
    /// How many evaluations of AML under way on this CPU may take from the heap's reserve.
    pub reserve_open: AtomicU32,
    /// The ranks of the locks held on this CPU, one bit each: only in builds that check their order (`sync`).
    pub held_ranks: AtomicU64,
}

static BOOT_CPU: PerCpu = PerCpu {
    gdt: Once::new(),
    tss: Once::new(),
    interrupt_depth: AtomicU32::new(0),
    reports: AtomicU32::new(0),
    reserve_open: AtomicU32::new(0),
    held_ranks: AtomicU64::new(0),
};

/// The state of the CPU that asks.
pub fn this() -> &'static PerCpu {
    &BOOT_CPU
}
