//! Fatal reports: what an exception or a panic was, in words, with every register and a backtrace, on the
//! serial line; then the end ([`exit`]).
//!
//! A report waits for no lock and allocates nothing: it may have interrupted anything. First comes what needs
//! nothing but the CPU, last what is read out of the rest of the kernel ([`crate::situation`]). A fault in the
//! midst of a report ends at once with one line.

use super::backtrace::Here;
use super::idt::{HAS_ERROR_CODE, TrapFrame};
use super::serial::{self, Emergency};
use super::{backtrace, cpu, exit, interrupts, machine_check, percpu, stacks};
use crate::memory::heap;
use crate::situation;
use carapace_mm::addr::{Pfn, PhysAddr, VirtAddr};
use carapace_mm::address_space::{DESCRIPTOR_SIZE, DIRECT_MAP, VMEMMAP, va_region_of};
use core::arch::asm;
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::Ordering;
use x86_64::registers::control::Cr2;
use x86_64::structures::idt::{PageFaultErrorCode, SelectorErrorCode};

const PAGE_FAULT: u64 = 14;
const DOUBLE_FAULT: u64 = 8;
const MACHINE_CHECK: u64 = 18;

/// The exceptions' names (Intel SDM vol. 3, table 6-1; AMD APM vol. 2, section 8.2 from 28 on).
const NAMES: [&str; 32] = [
    "divide error",
    "debug exception",
    "non-maskable interrupt",
    "breakpoint",
    "overflow",
    "bound range exceeded",
    "invalid opcode",
    "device not available",
    "double fault",
    "coprocessor segment overrun",
    "invalid TSS",
    "segment not present",
    "stack-segment fault",
    "general protection fault",
    "page fault",
    "reserved exception 15",
    "x87 floating-point error",
    "alignment check",
    "machine check",
    "SIMD floating-point exception",
    "virtualization exception",
    "control protection exception",
    "reserved exception 22",
    "reserved exception 23",
    "reserved exception 24",
    "reserved exception 25",
    "reserved exception 26",
    "reserved exception 27",
    "hypervisor injection exception",
    "VMM communication exception",
    "security exception",
    "reserved exception 31",
];

/// Whether the code that asks runs in an interrupt handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterruptContext {
    /// In a handler: what it calls must not wait for anything it may have interrupted.
    Handler,
    /// In the main program.
    Main,
}

/// Where the code that asks runs.
pub fn context() -> InterruptContext {
    match percpu::this().interrupt_depth.load(Ordering::Relaxed) {
        0 => InterruptContext::Main,
        _ => InterruptContext::Handler,
    }
}

/// Begins a fatal report; a second one, begun by a fault of the first, ends the kernel here.
fn begin(what: &str) {
    interrupts::disable();
    match percpu::this().reports.fetch_add(1, Ordering::Relaxed) {
        0 => {
            // What was said before stands before the report.
            serial::send_waiting();
            crate::log::write_unprinted(&mut Emergency);
        }
        1 => {
            // Formatting may be what failed: plain bytes only.
            Emergency.write(b"\r\n");
            Emergency.write(what.as_bytes());
            Emergency.write(b" while reporting the above: giving up\r\n");
            exit::panic_exit()
        }
        _ => exit::panic_exit(),
    }
}

/// Reports the exception of `frame` and ends the kernel with QEMU's exit status 33.
pub(super) fn report(frame: &TrapFrame) -> ! {
    let name = NAMES.get(frame.vector as usize).copied().unwrap_or("unknown exception");
    begin(name);
    // The serial writer does not fail.
    let _ = write_report(&mut Emergency, frame, name);
    exit::panic_exit()
}

/// Reports a panic and ends the kernel with QEMU's exit status 33.
pub fn panic_report(info: &PanicInfo<'_>) -> ! {
    let kept = kept_registers();
    let here = Here::new();
    begin("panic");
    // The serial writer does not fail.
    let _ = write_panic(&mut Emergency, info, here, &kept);
    exit::panic_exit()
}

/// The registers that a call keeps, as the caller of the panic's handler left them, or a function between it and
/// the one that panicked: rbx, rbp, r12, r13, r14, r15. The others are lost by then.
#[inline(always)]
fn kept_registers() -> [u64; 6] {
    let mut kept = [0; 6];
    // SAFETY: six words are written to the six words that `rax` points to; nothing else changes.
    unsafe {
        asm!(
            "mov [rax], rbx",
            "mov [rax + 8], rbp",
            "mov [rax + 16], r12",
            "mov [rax + 24], r13",
            "mov [rax + 32], r14",
            "mov [rax + 40], r15",
            in("rax") kept.as_mut_ptr(), options(nostack, preserves_flags)
        );
    }
    kept
}

fn write_panic(out: &mut impl Write, info: &PanicInfo<'_>, here: Here, kept: &[u64; 6]) -> fmt::Result {
    let uptime = super::time::uptime();
    let (seconds, micros) = (uptime.as_secs(), uptime.subsec_micros());
    writeln!(out, "\n[{seconds:5}.{micros:06}] kernel panic: {}", info.message())?;
    if let Some(place) = info.location() {
        writeln!(out, "  at {place}")?;
    }
    let [rbx, rbp, r12, r13, r14, r15] = kept;
    let Here { instruction, stack_pointer, .. } = here;
    writeln!(out, "  rip {instruction:016x}  rsp {stack_pointer:016x}  rbx {rbx:016x}  rbp {rbp:016x}")?;
    writeln!(out, "  r12 {r12:016x}  r13 {r13:016x}  r14 {r14:016x}  r15 {r15:016x}")?;
    writeln!(out, "  {}{}", cpu::ControlRegisters, Handler)?;
    backtrace::write(out, here)?;
    situation::write(out)
}

/// Says that an interrupt handler was running, if one was.
struct Handler;

impl fmt::Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match context() {
            InterruptContext::Handler => "  in an interrupt handler",
            InterruptContext::Main => "",
        })
    }
}

fn write_report(out: &mut impl Write, frame: &TrapFrame, name: &str) -> fmt::Result {
    let uptime = super::time::uptime();
    writeln!(
        out,
        "\n[{:5}.{:06}] fatal exception {}: {name} at rip {:016x}",
        uptime.as_secs(),
        uptime.subsec_micros(),
        frame.vector,
        frame.rip
    )?;
    if HAS_ERROR_CODE >> (frame.vector & 31) & 1 == 1 {
        writeln!(out, "  error code {:#x}: {}", frame.error_code, ErrorCode(frame))?;
    }
    let address = VirtAddr(Cr2::read_raw());
    // A double fault is most often a page fault that had no stack: its address is still in CR2.
    if frame.vector == PAGE_FAULT || frame.vector == DOUBLE_FAULT {
        writeln!(out, "  faulting address (CR2) {:016x}: {}", address.0, Place(address, mapped(frame)))?;
    }
    for registers in [
        [("rax", frame.rax), ("rbx", frame.rbx), ("rcx", frame.rcx), ("rdx", frame.rdx)],
        [("rsi", frame.rsi), ("rdi", frame.rdi), ("rbp", frame.rbp), ("rsp", frame.rsp)],
        [("r8 ", frame.r8), ("r9 ", frame.r9), ("r10", frame.r10), ("r11", frame.r11)],
        [("r12", frame.r12), ("r13", frame.r13), ("r14", frame.r14), ("r15", frame.r15)],
    ] {
        for (name, value) in registers {
            write!(out, "  {name} {value:016x}")?;
        }
        writeln!(out)?;
    }
    writeln!(out, "  cs {:04x}  ss {:04x}  rflags {:08x}", frame.cs, frame.ss, frame.rflags)?;
    writeln!(out, "  {}{}", cpu::ControlRegisters, Handler)?;
    if frame.vector == MACHINE_CHECK {
        machine_check::write_banks(out)?;
    }
    backtrace::write(
        out,
        Here { instruction: frame.rip, stack_pointer: frame.rsp, frame_pointer: frame.rbp },
    )?;
    situation::write(out)
}

/// The error code of a frame, in words.
struct ErrorCode<'a>(&'a TrapFrame);

impl fmt::Display for ErrorCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.0.error_code;
        match self.0.vector {
            PAGE_FAULT => {
                let code = PageFaultErrorCode::from_bits_retain(code);
                f.write_str(if code.contains(PageFaultErrorCode::INSTRUCTION_FETCH) {
                    "instruction fetch from "
                } else if code.contains(PageFaultErrorCode::CAUSED_BY_WRITE) {
                    "write to "
                } else {
                    "read from "
                })?;
                f.write_str(if code.contains(PageFaultErrorCode::MALFORMED_TABLE) {
                    "a page whose table entry has a reserved bit set"
                } else if code.contains(PageFaultErrorCode::PROTECTION_VIOLATION) {
                    "a page that forbids it"
                } else {
                    "a page that is not present"
                })?;
                f.write_str(if code.contains(PageFaultErrorCode::USER_MODE) { ", in user mode" } else { "" })
            }
            // Invalid TSS, segment not present, stack-segment fault, general protection.
            10..=13 => match SelectorErrorCode::new(code) {
                Some(selector) if !selector.is_null() => {
                    write!(f, "selector index {} of the {:?}", selector.index(), selector.descriptor_table())
                }
                _ => f.write_str("no selector"),
            },
            21 => f.write_str(match code & 0x7fff {
                1 => "near return",
                2 => "far return or interrupt return",
                3 => "missing ENDBRANCH",
                4 => "shadow stack restore",
                5 => "shadow stack busy",
                _ => "unknown",
            }),
            _ => f.write_str(if code == 0 { "none" } else { "no meaning known" }),
        }
    }
}

/// Whether a page is mapped at the address that faulted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mapped {
    /// It is, and forbids what was done.
    Yes,
    /// It is not.
    No,
    /// The fault does not tell.
    Unknown,
}

fn mapped(frame: &TrapFrame) -> Mapped {
    match frame.vector {
        PAGE_FAULT
            if PageFaultErrorCode::from_bits_retain(frame.error_code)
                .contains(PageFaultErrorCode::PROTECTION_VIOLATION) =>
        {
            Mapped::Yes
        }
        PAGE_FAULT => Mapped::No,
        _ => Mapped::Unknown,
    }
}

/// What the virtual layout has at an address, in words.
struct Place(VirtAddr, Mapped);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(guard) = stacks::guard_page(self.0).or_else(|| heap::guard_page(self.0)) {
            return f.write_str(guard);
        }
        let Some(window) = va_region_of(self.0) else {
            return f.write_str(match self.0.0 {
                0..=0xffff => "lower half, close to address 0 (a null pointer?)",
                0x1_0000..0x8000_0000_0000 => "lower half, which the kernel does not use",
                _ => "no window of the kernel's address space",
            });
        };
        let offset = self.0.0 - window.start.0;
        write!(f, "{} + {offset:#x}", window.name)?;
        let pfn = if *window == DIRECT_MAP {
            let at = PhysAddr(offset);
            write!(f, ": physical address {at}")?;
            at.pfn()
        } else if *window == VMEMMAP {
            let pfn = Pfn(offset / DESCRIPTOR_SIZE);
            write!(f, ": descriptor of frame {pfn}")?;
            pfn
        } else {
            return Ok(());
        };
        write!(f, ", section {}", pfn.section())?;
        // Both windows are mapped exactly where memory is present.
        f.write_str(match self.1 {
            Mapped::No => ", where no memory is present",
            Mapped::Yes | Mapped::Unknown => "",
        })
    }
}
