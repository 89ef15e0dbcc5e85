//! The kernel's memory core, and how it starts.
//!
//! ```text
//!  main ── boot::take_over ──> firmware map, boot allocator, region for devices     (no heap yet)
//!       ── boot::finish ─────> heap, regions of boot memory with their memmaps
//!       ── core() ───────────> everything after that: hotplug, shell, checks
//! ```
//!
//! Neighbours: crate `carapace-mm` is the memory core and independent of hardware; `machine` gives it access to this
//! machine; `heap` and `devices` map their own address regions; `protection` verifies access rights; `commands::lkdtm`
//! provokes errors.

pub mod boot;
pub mod devices;
pub mod heap;
mod machine;
pub mod protection;

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
