//! CPU faults and panics under a lock, provoked by the shell's `panic` to test the kernel's reports. Each fault is a real
//! one and ends the kernel. Under a lock, the report must not wait for that lock.

use crate::drivers::serial;
use crate::log;
use crate::memory::{core, heap};
use ::core::arch::asm;
use ::core::hint::black_box;
use carapace_mm::addr::{MAX_PFN, Pfn, VirtAddr};
use carapace_mm::address_space::{DESCRIPTOR_SIZE, DIRECT_MAP, VMEMMAP, direct};
use carapace_mm::info::ResourceId;

/// A provoked fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A stack overflow.
    Stack,
    /// A read through a null pointer.
    Null,
    /// A read of a frame where no memory is.
    Absent,
    /// A read of the descriptor of such a frame.
    Descriptor,
    /// A write to the kernel's code.
    Code,
    /// A jump to data.
    Data,
    /// A write to the kernel's code through the direct map.
    CodeAlias,
    /// A jump to the kernel's code through the direct map.
    RunAlias,
    /// A write behind the heap's end.
    HeapEnd,
    /// A panic under the page tables' lock.
    PageTables,
    /// A panic under the lock of the first region.
    Region,
    /// A panic under the heap's locks.
    Heap,
    /// A panic under the log's lock.
    Log,
    /// A panic under the serial line's locks.
    Serial,
    /// An interrupt handler that finds a lock held.
    Handler,
}

impl Fault {
    /// All faults.
    pub const ALL: [Fault; 15] = [
        Fault::Stack,
        Fault::Null,
        Fault::Absent,
        Fault::Descriptor,
        Fault::Code,
        Fault::Data,
        Fault::CodeAlias,
        Fault::RunAlias,
        Fault::HeapEnd,
        Fault::PageTables,
        Fault::Region,
        Fault::Heap,
        Fault::Log,
        Fault::Serial,
        Fault::Handler,
    ];

    /// The name in the shell.
    pub const fn name(self) -> &'static str {
        match self {
            Fault::Stack => "stack",
            Fault::Null => "null",
            Fault::Absent => "absent",
            Fault::Descriptor => "descriptor",
            Fault::Code => "code",
            Fault::Data => "data",
            Fault::CodeAlias => "code-alias",
            Fault::RunAlias => "run-alias",
            Fault::HeapEnd => "heap-end",
            Fault::PageTables => "page-tables",
            Fault::Region => "region",
            Fault::Heap => "heap",
            Fault::Log => "log",
            Fault::Serial => "serial",
            Fault::Handler => "handler",
        }
    }

    /// The fault with this name.
    pub fn named(name: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name)
    }
}

/// The last possible frame: no machine that this kernel runs on has memory there.
const NOWHERE: Pfn = Pfn(MAX_PFN.0 - 1);

/// Provokes the fault.
///
/// # Panics
///
/// When the CPU does not fault: it lacks the protection, or the page is mapped by mistake.
pub fn provoke(fault: Fault) -> ! {
    match fault {
        Fault::Stack => {
            nest(0);
        }
        Fault::Null => read(VirtAddr(0)),
        Fault::Absent => read(VirtAddr(DIRECT_MAP.start.0 + NOWHERE.start().0)),
        Fault::Descriptor => read(VirtAddr(VMEMMAP.start.0 + DESCRIPTOR_SIZE * NOWHERE.0)),
        Fault::Code => write_back(provoke as fn(Fault) -> ! as usize),
        Fault::Data => {
            // One instruction: return.
            let data = black_box([0xc3_u8; 16]);
            run(data.as_ptr() as usize);
        }
        Fault::CodeAlias => alias(returning as fn() as usize).into_iter().for_each(write_back),
        Fault::RunAlias => alias(returning as fn() as usize).into_iter().for_each(run),
        // Does nothing before the heap exists.
        Fault::HeapEnd => heap::general().into_iter().for_each(|part| write_back(part.end as usize)),
        Fault::PageTables => core().hold_tables(asked_for).unwrap_or_default(),
        Fault::Region => core().hold_region(ResourceId(0), asked_for).unwrap_or_default(),
        Fault::Heap => heap::while_locked(asked_for),
        Fault::Log => log::with_lock_held(asked_for),
        Fault::Serial => serial::while_sending(asked_for),
        Fault::Handler => serial::collide_with_handler(),
    }
    panic!("nothing has stopped the fault '{}'", fault.name());
}

/// Panics with a lock held, which the report lists.
fn asked_for() {
    panic!("asked for by the shell, with a lock held");
}

/// Endless recursion, which is not a tail call.
#[inline(never)]
#[allow(unconditional_recursion, reason = "it overflows the stack")]
fn nest(depth: u64) -> u64 {
    let kept = black_box([depth; 32]);
    let below = nest(depth + 1);
    kept.iter().sum::<u64>().wrapping_add(below)
}

fn read(at: VirtAddr) {
    // SAFETY: the page is not mapped, so this instruction faults and nothing after it runs; if it is mapped by mistake, a
    // byte is read and dropped.
    unsafe { asm!("mov {byte}, [{at}]", at = in(reg) at.0, byte = out(reg_byte) _, options(nostack)) }
}

/// Writes the byte at `at` back to it.
fn write_back(at: usize) {
    // SAFETY: the page is read-only, so this instruction faults and nothing after it runs; if it is writable by mistake,
    // its byte does not change.
    unsafe { asm!("lock or byte ptr [{at}], 0", at = in(reg) at, options(nostack)) }
}

/// Calls code at an address that is not executable: a return instruction in data, or an alias of [`returning`].
fn run(at: usize) {
    // SAFETY: neither address is executable, so fetching the first instruction faults and nothing after it runs; if it is
    // executable by mistake, it returns at once and changes only what a call may change.
    unsafe { asm!("call {at}", at = in(reg) at, clobber_abi("C")) }
}

/// A function that does nothing.
#[inline(never)]
fn returning() {
    black_box(());
}

/// The direct map's alias of the image's address `at`.
fn alias(at: usize) -> Option<usize> {
    let found = core().translate(VirtAddr(at as u64))?;
    Some(direct(found.phys).0 as usize)
}
