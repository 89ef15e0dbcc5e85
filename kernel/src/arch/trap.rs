//! Dispatches traps: an interrupt to its vector's handler, an exception to the kernel's hook.
//!
//! ```text
//!  idt: stub -> dispatch -- vector 32.. --> vectors: its handler -> end of interrupt -> Hooks::interrupted
//!                        |- page fault ---> Hooks::page_fault: by a migration? then the access is tried again
//!                        `- exception ----> Hooks::exception, which does not return
//! ```
//!
//! Invariant: the hooks are set before the first gate is loaded. They run on the CPU where it happened, with interrupts
//! off; so this folder needs nothing of the kernel above it. Neighbours: `main` hands the hooks in.

use super::interrupts;
use super::local_apic;
use super::percpu;
use super::vectors::{self, Oddity, Vector};
use carapace_mm::addr::VirtAddr;
use carapace_mm::fault::Fault;
use core::sync::atomic::Ordering;
use log::warn;
use spin::Once;
use x86_64::registers::control::Cr2;
use x86_64::registers::rflags::RFlags;
use x86_64::structures::idt::PageFaultErrorCode;

/// The registers at the moment of an interrupt or exception, in the order the stub pushes them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the field names are the registers' names")]
pub struct TrapFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    /// Pushed by the stub.
    pub vector: u64,
    /// Pushed by the CPU, or 0 by the stub.
    pub error_code: u64,
    // From here on pushed by the CPU (Intel SDM vol. 3, figure 6-9).
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

const _: () = {
    assert!(size_of::<TrapFrame>() == 22 * 8);
    // The CPU aligns the stack to 16 before it pushes, so the handler is called with the alignment the
    // C calling convention asks for.
    assert!(size_of::<TrapFrame>().is_multiple_of(16));
};

/// Exceptions for which the CPU pushes an error code: 8, 10 to 14, 17, 21, 29, 30 (Intel SDM vol. 3,
/// table 6-1; AMD APM vol. 2, section 8.2 for 29 and 30). The stubs test the same mask.
pub const HAS_ERROR_CODE: u32 = 1 << 8 | 0x1f << 10 | 1 << 17 | 1 << 21 | 1 << 29 | 1 << 30;
const _: () = assert!(HAS_ERROR_CODE == 0x6022_7d00);

/// The kernel's functions for each exception and after each interrupt.
#[derive(Clone, Copy, Debug)]
pub struct Hooks {
    /// Whether the page that is not present at this address is one that is being migrated. Takes no lock.
    pub page_fault: fn(VirtAddr) -> Fault,
    /// Serves an exception, NMI and machine check included: reports it, or stops this CPU.
    pub exception: fn(&TrapFrame) -> !,
    /// Runs after each interrupt's handler: wakes this CPU's executor.
    pub interrupted: fn(),
}

/// The vector of a page fault.
pub const PAGE_FAULT: u8 = 14;

static HOOKS: Once<Hooks> = Once::new();

/// Sets the hooks, before the gates are loaded.
pub(super) fn set_hooks(hooks: Hooks) {
    HOOKS.call_once(|| hooks);
}

/// Called by the stubs.
pub(super) extern "C" fn dispatch(frame: &TrapFrame) {
    let Some(hooks) = HOOKS.get() else { interrupts::park() };
    match u8::try_from(frame.vector) {
        Ok(vector @ 32..) => interrupt(Vector(vector), hooks),
        Ok(PAGE_FAULT) if is_tried_again(frame, hooks) => core::hint::spin_loop(),
        _ => (hooks.exception)(frame),
    }
}

/// Returns whether a page fault ends when the access is tried again. With interrupts off it does not: this CPU would
/// answer no request, and the one that migrates waits for all answers before it goes on.
fn is_tried_again(frame: &TrapFrame, hooks: &Hooks) -> bool {
    let code = PageFaultErrorCode::from_bits_retain(frame.error_code);
    let is_absent = !code.contains(PageFaultErrorCode::PROTECTION_VIOLATION);
    let interrupts_are_on = RFlags::from_bits_retain(frame.rflags).contains(RFlags::INTERRUPT_FLAG);
    is_absent && interrupts_are_on && (hooks.page_fault)(VirtAddr(Cr2::read_raw())) == Fault::Retry
}

fn interrupt(vector: Vector, hooks: &Hooks) {
    let depth = &percpu::this().interrupt_depth;
    depth.fetch_add(1, Ordering::Relaxed);
    if !vectors::is_spurious(vector) {
        match vectors::handler(vector) {
            Some(handler) => handler(),
            None if vectors::oddity() == Oddity::Log => {
                warn!("interrupt of vector {:#x}, which has no handler", vector.0);
            }
            None => {}
        }
        local_apic::end_of_interrupt();
    }
    // A request of another CPU is served by its handler: nothing is left for the executor.
    if vector != vectors::MAILBOX {
        (hooks.interrupted)();
    }
    depth.fetch_sub(1, Ordering::Relaxed);
}
