//! The interrupt descriptor table: 256 gates to 256 tiny stubs, and the way from a stub to Rust.
//!
//! ```text
//!  vector n -> gate n -> stub n: push 0 (where the CPU pushed no error code), push n, jump
//!                                    -> save every register: a TrapFrame on the stack
//!                                    -> dispatch(&mut TrapFrame) in Rust
//!                                    -> restore, iretq
//! ```
//!
//! `extern "x86-interrupt"` is not stable, hence the stubs. Invariants: gates are interrupt gates, so
//! handlers run with interrupts off; the three faults of `stacks` switch stacks, everything else runs
//! on the stack it interrupted (the target has no red zone). Handlers use no SSE registers (the target
//! has soft floats), so none are saved. Neighbours: `trap` has the frame and dispatches, `stacks` the stacks.

use super::stacks::FaultStack;
use super::trap::dispatch;
use core::sync::atomic::{AtomicU64, Ordering};
use x86_64::instructions::segmentation::{CS, Segment};
use x86_64::instructions::tables::lidt;
use x86_64::structures::DescriptorTablePointer;

/// Bytes from one stub to the next.
const STUB_BYTES: u64 = 16;

/// The stubs of all 256 vectors, [`STUB_BYTES`] apart. Never called: gates point into it.
// SAFETY: nothing calls it, so no calling convention is broken: the CPU enters it by a gate, with the frame of an interrupt
// on the stack, which each stub completes with an error code and its vector, as `common` expects them.
#[unsafe(naked)]
extern "C" fn stubs() {
    core::arch::naked_asm!(
        ".set .Lvector, 0",
        ".rept 256",
        ".balign 16",
        ".if .Lvector >= 32 || (0x60227d00 >> .Lvector) & 1 == 0",
        "push 0",
        ".endif",
        ".byte 0x68", // push imm32: the same length for every vector
        ".long .Lvector",
        "jmp {common}",
        ".set .Lvector, .Lvector + 1",
        ".endr",
        common = sym common,
    )
}

/// Saves all registers, calls [`dispatch`], restores them and returns from the interrupt.
// SAFETY: only the stubs jump here, with error code and vector on the CPU's frame; it saves all registers before it calls, and
// restores them before it returns by `iretq`.
#[unsafe(naked)]
extern "C" fn common() {
    core::arch::naked_asm!(
        "push rax",
        "push rbx",
        "push rcx",
        "push rdx",
        "push rsi",
        "push rdi",
        "push rbp",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "cld",
        "mov rdi, rsp",
        "call {dispatch}",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rbp",
        "pop rdi",
        "pop rsi",
        "pop rdx",
        "pop rcx",
        "pop rbx",
        "pop rax",
        "add rsp, 16", // vector and error code
        "iretq",
        dispatch = sym dispatch,
    )
}

/// Whether the function that begins at `address` is the one that saves a `TrapFrame` and calls Rust with it: what
/// lies above its return address on the stack is then the frame.
pub fn saves_frame(address: u64) -> bool {
    address == common as *const () as u64
}

/// The gates, two words each; atomics because the CPU reads them while they are `static`.
static GATES: [[AtomicU64; 2]; 256] = [const { [AtomicU64::new(0), AtomicU64::new(0)] }; 256];

/// An interrupt gate of ring 0 (Intel SDM vol. 3, figure 6-8): present, type 14.
fn gate(handler: u64, code_segment: u16, stack: Option<FaultStack>) -> [u64; 2] {
    const PRESENT: u64 = 1 << 47;
    const INTERRUPT_GATE: u64 = 0xe << 40;
    let stack = stack.map_or(0, |stack| stack as u64) << 32;
    let low = handler & 0xffff
        | u64::from(code_segment) << 16
        | stack
        | INTERRUPT_GATE
        | PRESENT
        | (handler >> 16 & 0xffff) << 48;
    [low, handler >> 32]
}

/// Fills the table and loads it. The code segment of `descriptors` must be loaded.
pub fn load() {
    let code_segment = CS::get_reg().0;
    let first = stubs as *const () as u64;
    for (vector, place) in (0u8..).zip(&GATES) {
        let stack = match vector {
            2 => Some(FaultStack::Nmi),
            8 => Some(FaultStack::DoubleFault),
            18 => Some(FaultStack::MachineCheck),
            _ => None,
        };
        let words = gate(first + STUB_BYTES * u64::from(vector), code_segment, stack);
        for (word, value) in place.iter().zip(words) {
            word.store(value, Ordering::Relaxed);
        }
    }
    let pointer = DescriptorTablePointer {
        limit: (size_of_val(&GATES) - 1) as u16,
        base: x86_64::VirtAddr::new(GATES.as_ptr() as u64),
    };
    // SAFETY: the table is static, every gate points to a stub that saves and restores all registers,
    // the code segment is the one in use, and the stacks of the three switched gates are in the TSS
    // (`descriptors::load` comes first).
    unsafe { lidt(&pointer) };
}
