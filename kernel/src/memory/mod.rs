//! The kernel's memory core, and how it starts.
//!
//! ```text
//!  main ── boot::take_over ──> firmware map, boot allocator, region for devices     (no heap yet)
//!       ── boot::finish ─────> heap, regions of boot memory with their memmaps
//!       ── core() ───────────> everything after that: hotplug, shell, checks
//! ```
//!
//! Neighbours: crate `carapace-mm` is the memory core and independent of hardware; `machine` gives it access to this
//! machine, `copy` copies pages; `heap` and `devices` map their own address regions; `protection` verifies access rights; `commands::lkdtm`
//! provokes errors.

pub mod boot;
mod copy;
pub mod devices;
pub mod heap;
mod machine;
pub mod protection;

use carapace_acpi::hmat::Hmat;
use log::info;
pub use machine::KernelMachine;

/// The memory core.
// SAFETY: this is the only machine, and no other code of the kernel keeps references into the core's regions.
static CORE: carapace_mm::Memory<KernelMachine> = carapace_mm::Memory::new(unsafe { KernelMachine::new() });

/// The shell's allocations, mapped in the vmalloc region.
static ARENA: carapace_mm::vmalloc::VmallocArena = carapace_mm::vmalloc::VmallocArena::new();

/// The shell's allocations, mapped in the vmalloc region.
pub fn arena() -> &'static carapace_mm::vmalloc::VmallocArena {
    &ARENA
}

/// Tells the memory core which nodes' memory is faster, by the firmware's HMAT.
pub fn rank_nodes(hmat: Hmat<'_>) {
    let (initiators, targets) = (hmat.initiators(), hmat.targets());
    for &initiator in &initiators {
        for &target in &targets {
            // Both lists are as short as the core's.
            if let Some(rank) = hmat.rank(initiator, target) {
                core().set_speed(initiator, target, rank);
            }
        }
    }
    info!("HMAT: speeds of {} nodes for the CPUs of {}", targets.len(), initiators.len());
}

/// Logs writes to freed memory that page poisoning has found. The main loop calls it in each turn.
pub fn log_findings() {
    while let Some(finding) = core().next_finding() {
        log::error!("{finding}");
    }
}

/// The memory core.
pub fn core() -> &'static carapace_mm::Memory<KernelMachine> {
    &CORE
}
