//! Fatal reports: prints an exception or a panic with registers and a backtrace on the serial line, then ends QEMU
//! ([`debug_exit`]).
//!
//! ```text
//!  on_exception, on_panic -> begin: interrupts off, the other CPUs stopped, unsent output first
//!                         -> exception, or the panic's message and registers
//!                         -> backtrace -> other CPUs -> context: locks held, the log's last lines, memory -> the end
//! ```
//!
//! A report waits for no lock and allocates nothing, because it may have interrupted any code. It begins with the parts
//! that need only the CPU, and ends with the state of the kernel. A fault during a report ends the kernel at once, with
//! one line. Neighbours: `arch::trap` calls [`on_exception`], `commands::lkdtm` provokes reports.

pub mod backtrace;
mod context;
mod exception;

use crate::arch::trap::TrapFrame;
use crate::arch::{cpu, interrupts, percpu, time};
use crate::cpus::stop::{self, Place, Role};
use crate::drivers::debug_exit;
use crate::drivers::serial::{self, Emergency};
use crate::log;
use backtrace::Here;
use context::InHandler;
use core::arch::asm;
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::Ordering;

/// Begins a fatal report of a CPU that was at `here`; a second one, begun by a fault of the first, ends the kernel here.
/// If another CPU reports, this one stops.
fn begin(what: &str, here: Here) {
    interrupts::disable();
    if stop::begin() == Role::Late {
        stop::stop_here(here.into());
    }
    match percpu::this().reports.fetch_add(1, Ordering::Relaxed) {
        0 => {
            // Print earlier output before the report.
            serial::send_waiting();
            log::write_unprinted(&mut Emergency);
        }
        1 => {
            // Formatting may have failed: print plain bytes only.
            Emergency.write(b"\r\n");
            Emergency.write(what.as_bytes());
            Emergency.write(b" while reporting the above: giving up\r\n");
            debug_exit::panic_exit()
        }
        _ => debug_exit::panic_exit(),
    }
}

/// Reports the exception of `frame` and ends the kernel with QEMU's exit status 33.
pub fn on_exception(frame: &TrapFrame) -> ! {
    let here = Here::of(frame);
    if frame.vector == exception::NMI && stop::wanted() {
        stop::stop_here(here.into());
    }
    begin(exception::name(frame), here);
    // The serial writer does not fail.
    let _ = exception::write(&mut Emergency, frame);
    debug_exit::panic_exit()
}

/// Reports a panic and ends the kernel with QEMU's exit status 33.
pub fn on_panic(info: &PanicInfo<'_>) -> ! {
    let kept = kept_registers();
    let here = Here::new();
    begin("panic", here);
    // The serial writer does not fail.
    let _ = write_panic(&mut Emergency, info, here, &kept);
    debug_exit::panic_exit()
}

/// The callee-saved registers (rbx, rbp, r12, r13, r14, r15) as left by the caller of the panic handler, or by a function
/// between it and the panic. The others are lost.
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
    let uptime = time::uptime();
    let (seconds, micros) = (uptime.as_secs(), uptime.subsec_micros());
    writeln!(out, "\n[{seconds:5}.{micros:06}] kernel panic: {}", info.message())?;
    if let Some(place) = info.location() {
        writeln!(out, "  at {place}")?;
    }
    let [rbx, rbp, r12, r13, r14, r15] = kept;
    let Here { instruction, stack_pointer, .. } = here;
    writeln!(out, "  rip {instruction:016x}  rsp {stack_pointer:016x}  rbx {rbx:016x}  rbp {rbp:016x}")?;
    writeln!(out, "  r12 {r12:016x}  r13 {r13:016x}  r14 {r14:016x}  r15 {r15:016x}")?;
    writeln!(out, "  {}{}", cpu::ControlRegisters, InHandler)?;
    backtrace::write(out, here)?;
    other_cpus(out)?;
    context::write(out)
}

/// Writes where the other CPUs were.
fn other_cpus(out: &mut impl Write) -> fmt::Result {
    let mut places = stop::places().peekable();
    if places.peek().is_some() {
        writeln!(out, "  this is CPU {}", percpu::number().index())?;
    }
    for (cpu, place) in places {
        let cpu = cpu.index();
        let Some(Place { instruction, stack_pointer, frame_pointer }) = place else {
            writeln!(out, "  CPU {cpu} does not stop")?;
            continue;
        };
        writeln!(out, "  CPU {cpu} was at rip {instruction:016x}  rsp {stack_pointer:016x}")?;
        backtrace::write(out, Here { instruction, stack_pointer, frame_pointer })?;
    }
    Ok(())
}

impl From<Here> for Place {
    fn from(here: Here) -> Place {
        let Here { instruction, stack_pointer, frame_pointer } = here;
        Place { instruction, stack_pointer, frame_pointer }
    }
}
