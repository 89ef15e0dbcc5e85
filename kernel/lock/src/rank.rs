//! The lock order of the memory core and the kernel, defined only here.

use core::fmt;

/// A lock's place in the order, outermost first: **while a lock is held, only locks of later ranks may be taken.** Never
/// one of the same rank: of several locks with one rank (regions, serial lines) a CPU holds one at a time.
///
/// ```text
///  kernel        Acpi > Devices > Virtio
///  memory core        > Hotplug > Migration > Vmalloc > DeviceRegion > PageTables > Access > Draining
///              > FrameCache > Index > Region > Poison
///  kernel             > Ballast > Stress > Remote > Events > Console > Input > Heap > HeapReserve
///  interrupts off     > IoApic > Log > SerialLine > SerialOutput
/// ```
///
/// - Locks up to `HeapReserve` are never touched by an interrupt handler. Those after it are shared with handlers and
///   disable interrupts while they are held (`IrqMutex`), so a handler cannot wait for the code that it interrupted. A
///   handler takes only such locks, and may interrupt the holder of any earlier one.
/// - The heap's locks come last among the others, so code may allocate with any lock held except an `IrqMutex`.
/// - The memory core holds no lock while a caller's callback runs, with these exceptions, which say so: the clock of an
///   add (`Hotplug`), `left_out` of boot (`Hotplug`), `edit_tables` and the walks of page tables (`PageTables`), `hold_region` (`Region`).
/// - The core logs nothing. Elsewhere a line may be logged with any lock held up to `IoApic`: the console is then only
///   tried (`try_lock`), and the line is printed later if the console is in use.
/// - No lock is held across an `await`.
/// - A fatal report (exception, panic) waits for no lock at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Rank {
    /// ACPI's tables, AML namespace and event registers. Held while AML is evaluated and devices are handled.
    Acpi,
    /// The list of memory devices.
    Devices,
    /// The virtio devices.
    Virtio,
    /// Memory core: held by each call that adds, removes or offlines memory.
    Hotplug,
    /// Memory core: what migrates together. Held over a batch, so that one runs at a time.
    Migration,
    /// Memory core: the list of allocations in the vmalloc region.
    Vmalloc,
    /// The mappings of device registers and firmware tables.
    DeviceRegion,
    /// Memory core: the kernel's page tables, of which there is one owner.
    PageTables,
    /// Memory core: an access to frames that may vanish. No lock: a surprise removal waits for it.
    Access,
    /// Memory core: held while other CPUs' frame caches are drained.
    Draining,
    /// Memory core: the CPU's own frame cache. No lock: a CPU waits for it only while another one drains it.
    FrameCache,
    /// Memory core: the sorted ranges of all regions.
    Index,
    /// Memory core: a region and its buddy allocator. One at a time.
    Region,
    /// Memory core: the list of poisoned ranges.
    Poison,
    /// The blocks with which `stress heap` fills the heap.
    Ballast,
    /// A place where the CPUs of `stress` exchange blocks. One place at a time.
    Stress,
    /// The connection on the second serial line.
    Remote,
    /// The request that the host is asked for on the second serial line.
    Host,
    /// Events for the listener on the second serial line.
    Events,
    /// The shell's console: its editor and unsent output.
    Console,
    /// Input typed ahead on a serial line. One line at a time.
    Input,
    /// The general part of the kernel's heap.
    Heap,
    /// The heap's reserve, which AML may use.
    HeapReserve,
    /// The IO APICs' registers.
    IoApic,
    /// The log ring.
    Log,
    /// A serial line's UART and its input. One line at a time.
    SerialLine,
    /// A serial line's output queue. One line at a time.
    SerialOutput,
}

impl Rank {
    /// All ranks, in order.
    pub const ALL: [Rank; 27] = [
        Rank::Acpi,
        Rank::Devices,
        Rank::Virtio,
        Rank::Hotplug,
        Rank::Migration,
        Rank::Vmalloc,
        Rank::DeviceRegion,
        Rank::PageTables,
        Rank::Access,
        Rank::Draining,
        Rank::FrameCache,
        Rank::Index,
        Rank::Region,
        Rank::Poison,
        Rank::Ballast,
        Rank::Stress,
        Rank::Remote,
        Rank::Host,
        Rank::Events,
        Rank::Console,
        Rank::Input,
        Rank::Heap,
        Rank::HeapReserve,
        Rank::IoApic,
        Rank::Log,
        Rank::SerialLine,
        Rank::SerialOutput,
    ];
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
