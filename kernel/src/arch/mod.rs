//! The CPU and the parts of a PC that belong to it: descriptor tables, traps, interrupt controllers, clock, ports,
//! paging registers. Most of the kernel's `unsafe` lies here.
//!
//! ```text
//!  init                   GDT, TSS, IDT, the hooks of the kernel above, legacy controllers masked   first in main
//!  time::init             the TSC against the PIT
//!  cpu::protect           NX, WP, SMEP, SMAP, UMIP, global pages
//!  local_apic, io_apic    ::init, after ACPI's static tables; io_apic::route for each device's interrupt
//! ```
//!
//! Invariant: nothing here imports another folder of the kernel. Needed from above are [`trap::Hooks`] and the handlers
//! of interrupts ([`vectors::set_handler`]); of the crates, the locks, the types of addresses and page faults, and the
//! MADT as data.
//!
//! Neighbours: `drivers` and `acpi` route their interrupts, `panic` serves exceptions, `executor` sleeps through
//! `interrupts`, `memory` maps the APICs' registers and owns the page tables.

pub mod cpu;
mod descriptors;
pub mod idt;
pub mod interrupts;
pub mod io_apic;
pub mod local_apic;
pub mod machine_check;
pub mod percpu;
mod pic;
pub mod port;
pub mod stacks;
pub mod time;
pub mod trap;
pub mod vectors;

use carapace_mm::machine::CpuNr;

/// Loads the first CPU's descriptor tables: from here on every exception reaches `hooks`. Interrupts stay off.
pub fn init(hooks: trap::Hooks) {
    interrupts::disable();
    trap::set_hooks(hooks);
    descriptors::load(CpuNr::FIRST);
    percpu::install(CpuNr::FIRST);
    idt::load();
    // Their vectors are the exceptions' until they are moved.
    pic::mask();
}

/// Loads the descriptor tables of another CPU, `cpu`, which runs this with interrupts off and has its stacks, and
/// switches on what [`cpu::protect`] did on the first one.
pub fn init_other(cpu: CpuNr) {
    descriptors::load(cpu);
    percpu::install(cpu);
    idt::load();
    cpu::protect();
}
