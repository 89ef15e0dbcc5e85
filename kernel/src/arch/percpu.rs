//! What each CPU has of its own, behind one accessor.
//!
//! ```text
//!  GS base -> PerCpu | its own address | its number | ... |       this() reads gs:0, number() reads gs:8
//! ```
//!
//! Invariants: a CPU's GS base is set before anything calls [`this`] on it, and stays; nothing moves from one CPU to
//! another, so what [`this`] returned stays true. Only the CPU itself writes its fields, except where a field says
//! otherwise.

use carapace_mm::machine::{CpuNr, MAX_CPUS};
use core::arch::asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use spin::Once;
use x86_64::VirtAddr;
use x86_64::registers::model_specific::GsBase;
use x86_64::structures::gdt::GlobalDescriptorTable;
use x86_64::structures::tss::TaskStateSegment;

/// State of one CPU, on cache lines of its own.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct PerCpu {
    /// The address of this struct.
    address: AtomicU64,
    /// The CPU's number.
    number: AtomicU64,
    /// Its descriptor table; the CPU reads it at each change of segment.
    pub gdt: Once<GlobalDescriptorTable>,
    /// Its task state: the interrupt stack table.
    pub tss: Once<TaskStateSegment>,
    /// How many interrupt handlers are under way (0 or 1: gates switch interrupts off).
    pub interrupt_depth: AtomicU32,
    /// How many fatal reports (exception or panic) have been begun: a second one means that reporting
    /// itself failed.
    pub reports: AtomicU32,
    /// How many evaluations of AML under way on this CPU may take from the heap's reserve.
    pub reserve_open: AtomicU32,
    /// The ranks of the locks held on this CPU, one bit each: only in builds that check their order (`sync`).
    pub held_ranks: AtomicU64,
}

impl PerCpu {
    const fn new() -> PerCpu {
        PerCpu {
            address: AtomicU64::new(0),
            number: AtomicU64::new(0),
            gdt: Once::new(),
            tss: Once::new(),
            interrupt_depth: AtomicU32::new(0),
            reports: AtomicU32::new(0),
            reserve_open: AtomicU32::new(0),
            held_ranks: AtomicU64::new(0),
        }
    }
}

const _: () = assert!(offset_of!(PerCpu, address) == 0 && offset_of!(PerCpu, number) == 8);

static CPUS: [PerCpu; MAX_CPUS] = [const { PerCpu::new() }; MAX_CPUS];

/// The state of a CPU, of which only atomics may be used on another CPU.
pub fn of(cpu: CpuNr) -> &'static PerCpu {
    &CPUS[cpu.index()]
}

/// Makes the CPU that runs this be `cpu`: from here on [`this`] works on it. To be called once on each CPU, after its
/// segment registers are loaded.
pub(super) fn install(cpu: CpuNr) {
    let state = of(cpu);
    let address = core::ptr::from_ref(state) as u64;
    state.address.store(address, Ordering::Relaxed);
    state.number.store(cpu.index() as u64, Ordering::Relaxed);
    GsBase::write(VirtAddr::new_truncate(address));
}

/// The state of the CPU that asks.
#[inline(always)]
pub fn this() -> &'static PerCpu {
    let address: *const PerCpu;
    // SAFETY: `install` made GS base the address of a `PerCpu`; its first word is read, nothing else happens.
    unsafe {
        asm!("mov {}, gs:[0]", out(reg) address, options(pure, readonly, nostack, preserves_flags));
    }
    // SAFETY: the word is the address of an element of `CPUS`, which is static and has only types that may be shared.
    unsafe { &*address }
}

/// The number of the CPU that asks.
#[inline(always)]
pub fn number() -> CpuNr {
    let number: u64;
    // SAFETY: `install` made GS base the address of a `PerCpu`; its second word is read, nothing else happens.
    unsafe {
        asm!("mov {}, gs:[8]", out(reg) number, options(pure, readonly, nostack, preserves_flags));
    }
    // `install` stored the index of a `CpuNr`, so it is one.
    CpuNr::new(number as usize).unwrap_or(CpuNr::FIRST)
}
