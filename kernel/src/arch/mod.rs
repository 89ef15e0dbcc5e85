//! The CPU and the devices every PC has: descriptor tables, exceptions, interrupt controllers, clock,
//! serial line, ports, paging registers. Nearly all of the kernel's `unsafe` lies here.
//!
//! ```text
//!  init            GDT, TSS, IDT, legacy controllers masked          first thing in main
//!  backtrace::init what the loader tells and a fatal report needs
//!  cpu::protect    NX, WP, SMEP, SMAP, UMIP, global pages
//!  time::init      the TSC against the PIT
//!  serial::init    the line's registers (output worked before)
//!  apic::init      local and IO APICs                                after ACPI's static tables
//!  apic::route_*   the serial line's and ACPI's interrupts           when their users are ready
//! ```
//!
//! Neighbours: `memory` maps the APICs' registers and owns the page tables, `acpi` hands in what the
//! MADT and the FADT say as plain data, `executor` sleeps through `interrupts`.

pub mod apic;
pub mod backtrace;
pub mod cpu;
mod descriptors;
mod exceptions;
pub mod exit;
pub mod fw_cfg;
mod idt;
pub mod interrupts;
pub mod machine_check;
pub mod pci;
pub mod percpu;
mod pic;
pub mod port;
pub mod provoke;
pub mod qemu;
pub mod restart_guard;
pub mod serial;
pub mod stacks;
pub mod time;
pub mod vectors;

/// Loads this CPU's descriptor tables: from here on every exception is reported. Interrupts stay off. Finds out whether
/// the machine is QEMU's, by which a report ends.
pub fn init() {
    interrupts::disable();
    descriptors::load();
    idt::load();
    // Their vectors are the exceptions' until they are moved.
    pic::mask();
    qemu::init();
}

pub use exceptions::{InterruptContext, context, panic_report};
