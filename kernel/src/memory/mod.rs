//! The kernel's memory: the one memory core, and what brings it up.
//!
//! ```text
//!  main ── boot::take_over ──> firmware map, early frames, devices window     (no heap yet)
//!       ── boot::finish ─────> heap, regions of boot memory with their memmaps
//!       ── core() ───────────> everything after that: hotplug, shell, checks
//! ```
//!
//! Neighbours: crate `carapace-mm` is the memory core, which knows no hardware; `machine` is its door to this
//! CPU, `heap` and `devices` are the two windows that live outside of it;
//! `protection` verifies access rights; `commands::lkdtm` provokes errors.

pub mod boot;
pub mod devices;
pub mod heap;
mod machine;
pub mod protection;

pub use machine::KernelMachine;

/// The memory core.
// SAFETY: the only machine there is; nothing else in the kernel keeps references into its windows.
static CORE: carapace_mm::Memory<KernelMachine> = carapace_mm::Memory::new(unsafe { KernelMachine::new() });

/// The allocations that the shell's `alloc` makes, mapped in the alloc window.
static WINDOW: carapace_mm::vmalloc::VmallocArena = carapace_mm::vmalloc::VmallocArena::new();

/// The allocations in the alloc window.
pub fn window() -> &'static carapace_mm::vmalloc::VmallocArena {
    &WINDOW
}

/// Tells the log of freed memory that was found written to. To be called by the main loop in each turn.
pub fn tell_findings() {
    while let Some(finding) = core().next_finding() {
        log::error!("{finding}");
    }
}

/// The memory core.
pub fn core() -> &'static carapace_mm::Memory<KernelMachine> {
    &CORE
}
