//! Stacks for the faults that cannot trust the stack they happen on, and what a guard page is called.
//!
//! ```text
//!  ... .bss | hole | double fault | hole | NMI | hole | machine check |      (kernel image, link.ld)
//!  STACKS:    hole | the kernel's main stack ....................... |      (mapped by the loader)
//! ```
//!
//! Invariants: link.ld gives each fault stack a segment of its own and leaves the page below it out of
//! every segment, so no loader maps it. Each of the three is used by one kind of fault only, so none is
//! entered twice except by a fault of the same kind, which ends in the report of that fault anyway.
//! One CPU runs; more CPUs would each need a set of their own here.

use carapace_mm::addr::{PAGE_SIZE, VirtAddr};
use carapace_mm::address_space::STACKS;
use core::ops::Range;

/// Bytes of a fault stack (`FAULT_STACK` in link.ld): the report formats with `core::fmt` on it, and
/// leaves room for a backtrace.
const FAULT_STACK_BYTES: u64 = 8 * PAGE_SIZE;

/// Bytes of the main stack that the loader is asked for. AML nests to a bounded depth and the shell's
/// futures are pinned on it: profile `release` uses 190 KiB of it at boot, `fast` (less optimised) more than 256 KiB.
pub const MAIN_STACK_BYTES: u64 = if cfg!(large_frames) { 1024 * 1024 } else { 256 * 1024 };

/// What has a stack of its own. The numbers are places in the interrupt stack table.
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

    unsafe extern "C" {
        static __stack_df_top: u8;
        static __stack_nmi_top: u8;
        static __stack_mce_top: u8;
    }

    /// One past the stack's last byte, as link.ld placed it.
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

/// One past the stack's last byte; 16-byte aligned.
pub fn top(stack: FaultStack) -> VirtAddr {
    VirtAddr(bounds::top(stack))
}

/// Where the stack lies.
pub fn extent(stack: FaultStack) -> Range<u64> {
    let top = top(stack).0;
    top.saturating_sub(FAULT_STACK_BYTES)..top
}

/// The page below the stack.
fn guard_below(stack: FaultStack) -> VirtAddr {
    VirtAddr(extent(stack).start.saturating_sub(PAGE_SIZE))
}

/// The guard pages of all stacks.
pub fn guard_pages() -> impl Iterator<Item = VirtAddr> {
    core::iter::once(STACKS.start).chain(FAULT_STACKS.into_iter().map(guard_below))
}

/// The stack whose guard page holds `at`, in words for a fault report.
pub fn guard_page(at: VirtAddr) -> Option<&'static str> {
    let in_page = |page: VirtAddr| page.0 <= at.0 && at.0 - page.0 < PAGE_SIZE;
    if in_page(STACKS.start) {
        return Some("guard page below the kernel's main stack: it overflowed");
    }
    FAULT_STACKS.into_iter().find(|&stack| in_page(guard_below(stack))).map(|stack| match stack {
        FaultStack::DoubleFault => "guard page below the double-fault stack: it overflowed",
        FaultStack::Nmi => "guard page below the NMI stack: it overflowed",
        FaultStack::MachineCheck => "guard page below the machine-check stack: it overflowed",
    })
}
