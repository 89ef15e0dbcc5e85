//! Stacks: the faults that cannot trust the stack they happen on have their own, on each CPU, and each stack has a guard
//! page below it.
//!
//! ```text
//!  CPU 0    ... .bss | hole | double fault | hole | NMI | hole | machine check |    kernel image, link.ld
//!           STACKS:    hole | the kernel's main stack ...................... |      mapped by the loader
//!  CPU n    STACKS + 2 MiB + (n - 1) * 256 KiB:                                     mapped by `memory::boot`
//!           hole | double fault | hole | NMI | hole | machine check | hole | main stack | unused
//! ```
//!
//! Invariants: link.ld gives each fault stack of CPU 0 a segment of its own and leaves the page below it out of every
//! segment, so no loader maps it. Each of the three is used by one kind of fault only, so none is entered twice except
//! by a fault of the same kind, which ends in the report of that fault anyway. No page between the stacks of the other
//! CPUs is ever mapped.

use carapace_mm::addr::{PAGE_SIZE, VirtAddr};
use carapace_mm::address_space::STACKS;
use carapace_mm::machine::CpuNr;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a fault stack (`FAULT_STACK` in link.ld): the report formats with `core::fmt` on it, and
/// leaves room for a backtrace.
const FAULT_STACK_BYTES: u64 = 8 * PAGE_SIZE;

/// Bytes of the first CPU's main stack, for which the loader is asked. AML nests to a bounded depth and the shell's
/// futures are pinned on it: profile `release` uses 190 KiB of it at boot, `fast` (less optimised) more than 256 KiB.
pub const MAIN_STACK_BYTES: u64 = if cfg!(large_frames) { 1024 * 1024 } else { 256 * 1024 };

/// Bytes of another CPU's main stack: the memory core runs on it, neither AML nor the shell.
const OTHER_STACK_BYTES: u64 = if cfg!(large_frames) { 128 * 1024 } else { 64 * 1024 };

/// Where the other CPUs' stacks begin, and bytes from one CPU's to the next one's.
const OTHERS: VirtAddr = STACKS.start.offset(2 << 20);
const SLOT: u64 = 256 * 1024;

const _: () = assert!(PAGE_SIZE + MAIN_STACK_BYTES <= 2 << 20);
const _: () = assert!(4 * PAGE_SIZE + 3 * FAULT_STACK_BYTES + OTHER_STACK_BYTES <= SLOT);

/// CPUs that have stacks.
static CPUS: AtomicUsize = AtomicUsize::new(1);

/// The exceptions with a separate stack. The numbers are indices into the interrupt stack table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FaultStack {
    /// Double fault: the stack pointer is probably bad.
    DoubleFault = 1,
    /// Non-maskable interrupt: comes between any two instructions.
    Nmi = 2,
    /// Machine check: the same.
    MachineCheck = 3,
}

/// All of them.
pub const FAULT_STACKS: [FaultStack; 3] =
    [FaultStack::DoubleFault, FaultStack::Nmi, FaultStack::MachineCheck];

#[cfg(target_os = "none")]
mod bounds {
    use super::FaultStack;

    // SAFETY: link.ld defines the three symbols; only their addresses are taken, so their type does not matter.
    unsafe extern "C" {
        static __stack_df_top: u8;
        static __stack_nmi_top: u8;
        static __stack_mce_top: u8;
    }

    /// One past the last byte of a stack of the first CPU, as link.ld placed it.
    pub fn top(stack: FaultStack) -> u64 {
        let symbol = match stack {
            FaultStack::DoubleFault => &raw const __stack_df_top,
            FaultStack::Nmi => &raw const __stack_nmi_top,
            FaultStack::MachineCheck => &raw const __stack_mce_top,
        };
        symbol as u64
    }
}

/// On the host the kernel is checked, not linked: there are no stacks.
#[cfg(not(target_os = "none"))]
mod bounds {
    pub fn top(_: super::FaultStack) -> u64 {
        0
    }
}

/// Where the stacks of a CPU other than the first begin.
fn slot(cpu: CpuNr) -> u64 {
    OTHERS.0 + (cpu.index() as u64 - 1) * SLOT
}

/// Where a fault's stack lies.
pub fn extent(cpu: CpuNr, stack: FaultStack) -> Range<u64> {
    if cpu == CpuNr::FIRST {
        let top = bounds::top(stack);
        return top.saturating_sub(FAULT_STACK_BYTES)..top;
    }
    let start = slot(cpu) + PAGE_SIZE + (stack as u64 - 1) * (FAULT_STACK_BYTES + PAGE_SIZE);
    start..start + FAULT_STACK_BYTES
}

/// One past the last byte of a fault's stack; 16-byte aligned.
pub fn top(cpu: CpuNr, stack: FaultStack) -> VirtAddr {
    VirtAddr(extent(cpu, stack).end)
}

/// Where the main stack of a CPU other than the first lies; the loader says where the first one's does.
pub fn main(cpu: CpuNr) -> Range<u64> {
    let start = slot(cpu) + PAGE_SIZE + 3 * (FAULT_STACK_BYTES + PAGE_SIZE);
    start..start + OTHER_STACK_BYTES
}

/// All stacks of a CPU other than the first: what has to be mapped for it.
pub fn of_other(cpu: CpuNr) -> [Range<u64>; 4] {
    let [double_fault, nmi, machine_check] = FAULT_STACKS.map(|stack| extent(cpu, stack));
    [double_fault, nmi, machine_check, main(cpu)]
}

/// Declares that the stacks of the CPUs below `cpus` are mapped.
pub fn mapped(cpus: usize) {
    CPUS.store(cpus, Ordering::Release);
}

/// The CPUs that have stacks.
pub fn cpus() -> impl Iterator<Item = CpuNr> {
    (0..CPUS.load(Ordering::Acquire)).filter_map(CpuNr::new)
}

/// All stacks except the main one of the first CPU.
pub fn extents() -> impl Iterator<Item = Range<u64>> {
    let faults = cpus().flat_map(|cpu| FAULT_STACKS.map(|stack| extent(cpu, stack)));
    faults.chain(cpus().skip(1).map(main))
}

/// The page below a stack.
fn guard_below(stack: Range<u64>) -> VirtAddr {
    VirtAddr(stack.start.saturating_sub(PAGE_SIZE))
}

/// The guard pages of all stacks.
pub fn guard_pages() -> impl Iterator<Item = VirtAddr> {
    core::iter::once(STACKS.start).chain(extents().map(guard_below))
}

/// The stack whose guard page holds `at`, in words for a fault report.
pub fn guard_page(at: VirtAddr) -> Option<&'static str> {
    let in_page = |page: VirtAddr| page.0 <= at.0 && at.0 - page.0 < PAGE_SIZE;
    if in_page(STACKS.start) || cpus().skip(1).any(|cpu| in_page(guard_below(main(cpu)))) {
        return Some("guard page below the kernel's main stack: it overflowed");
    }
    let below = |stack| cpus().any(|cpu| in_page(guard_below(extent(cpu, stack))));
    FAULT_STACKS.into_iter().find(|&stack| below(stack)).map(|stack| match stack {
        FaultStack::DoubleFault => "guard page below the double-fault stack: it overflowed",
        FaultStack::Nmi => "guard page below the NMI stack: it overflowed",
        FaultStack::MachineCheck => "guard page below the machine-check stack: it overflowed",
    })
}
