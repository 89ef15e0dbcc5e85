//! The report of an exception: its name, error code and address in words, every register, a backtrace, the kernel's
//! context. Neighbours: `panic` begins and ends the report, `context` writes its last part.

use super::backtrace::{self, Here};
use super::context::{self, InHandler};
use crate::arch::trap::{self, HAS_ERROR_CODE, TrapFrame};
use crate::arch::{cpu, machine_check, stacks, time};
use crate::memory::heap;
use carapace_mm::addr::{Pfn, PhysAddr, VirtAddr};
use carapace_mm::address_space::{DESCRIPTOR_SIZE, DIRECT_MAP, VMEMMAP, va_region_of};
use core::fmt::{self, Write};
use x86_64::registers::control::Cr2;
use x86_64::structures::idt::{PageFaultErrorCode, SelectorErrorCode};

/// The non-maskable interrupt: also how another CPU stops this one.
pub const NMI: u64 = 2;
const PAGE_FAULT: u64 = trap::PAGE_FAULT as u64;
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

/// The name of the exception.
pub fn name(frame: &TrapFrame) -> &'static str {
    NAMES.get(frame.vector as usize).copied().unwrap_or("unknown exception")
}

/// Writes the report of an exception.
pub fn write(out: &mut impl Write, frame: &TrapFrame) -> fmt::Result {
    let (name, uptime) = (name(frame), time::uptime());
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
    writeln!(out, "  {}{}", cpu::ControlRegisters, InHandler)?;
    if frame.vector == MACHINE_CHECK {
        machine_check::write_banks(out)?;
    }
    backtrace::write(out, Here::of(frame))?;
    super::other_cpus(out)?;
    context::write(out)
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
    /// It is, but does not allow the access.
    Yes,
    /// It is not.
    No,
    /// Unknown.
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

/// Describes an address by the virtual layout.
struct Place(VirtAddr, Mapped);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(guard) = stacks::guard_page(self.0).or_else(|| heap::guard_page(self.0)) {
            return f.write_str(guard);
        }
        let Some(region) = va_region_of(self.0) else {
            return f.write_str(match self.0.0 {
                0..=0xffff => "lower half, close to address 0 (a null pointer?)",
                0x1_0000..0x8000_0000_0000 => "lower half, which the kernel does not use",
                _ => "no region of the kernel's address space",
            });
        };
        let offset = self.0.0 - region.start.0;
        write!(f, "{} + {offset:#x}", region.name)?;
        let pfn = if *region == DIRECT_MAP {
            let at = PhysAddr(offset);
            write!(f, ": physical address {at}")?;
            at.pfn()
        } else if *region == VMEMMAP {
            let pfn = Pfn(offset / DESCRIPTOR_SIZE);
            write!(f, ": descriptor of frame {pfn}")?;
            pfn
        } else {
            return Ok(());
        };
        write!(f, ", section {}", pfn.section())?;
        // Both regions are mapped exactly where memory is present.
        f.write_str(match self.1 {
            Mapped::No => ", where no memory is present",
            Mapped::Yes | Mapped::Unknown => "",
        })
    }
}
