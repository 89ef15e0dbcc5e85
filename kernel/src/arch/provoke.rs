//! Faults on purpose: what the shell's `panic` offers, so that a person and the tests see what the kernel
//! reports of each. Every one of them is a real fault of this CPU, and ends as such.

use core::arch::asm;
use core::hint::black_box;
use mm::addr::{MAX_PFN, Pfn, VirtAddr};
use mm::address_space::{DESCRIPTOR_SIZE, DIRECT_MAP, VMEMMAP};

/// What can be done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Calls nest until the stack is full.
    Stack,
    /// A read through a null pointer.
    Null,
    /// A read of a frame where no memory is.
    Absent,
    /// A read of the descriptor of such a frame.
    Descriptor,
    /// A write to the kernel's code.
    Code,
    /// A jump to what is data.
    Data,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 6] =
        [Fault::Stack, Fault::Null, Fault::Absent, Fault::Descriptor, Fault::Code, Fault::Data];

    /// As it is typed.
    pub const fn name(self) -> &'static str {
        match self {
            Fault::Stack => "stack",
            Fault::Null => "null",
            Fault::Absent => "absent",
            Fault::Descriptor => "descriptor",
            Fault::Code => "code",
            Fault::Data => "data",
        }
    }

    /// The fault of that name.
    pub fn named(name: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name)
    }
}

/// The last frame there can be: no machine that this kernel runs on has memory there.
const NOWHERE: Pfn = Pfn(MAX_PFN.0 - 1);

/// Does it.
///
/// # Panics
///
/// Where the CPU lets it happen: it has no such protection, or somebody has mapped what must not be mapped.
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
            run(&data);
        }
    }
    panic!("nothing has stopped the fault '{}'", fault.name());
}

/// A call that is not the last thing its caller does, without end.
#[inline(never)]
#[allow(unconditional_recursion, reason = "it is what a stack that is too small is to be seen with")]
fn nest(depth: u64) -> u64 {
    let kept = black_box([depth; 32]);
    let below = nest(depth + 1);
    kept.iter().sum::<u64>().wrapping_add(below)
}

fn read(at: VirtAddr) {
    // SAFETY: the page is mapped nowhere, so that this instruction faults and nothing after it runs; where it
    // is mapped all the same, a byte is read and dropped.
    unsafe { asm!("mov {byte}, [{at}]", at = in(reg) at.0, byte = out(reg_byte) _, options(nostack)) }
}

/// Writes to `at` the byte that it has.
fn write_back(at: usize) {
    // SAFETY: the page is read-only, so that this instruction faults and nothing after it runs; where it is
    // writable, it gets the byte it has.
    unsafe { asm!("lock or byte ptr [{at}], 0", at = in(reg) at, options(nostack)) }
}

/// Calls `data` as if it were code.
fn run(data: &[u8; 16]) {
    // SAFETY: no data is executable, so that the first instruction's fetch faults and nothing after it runs;
    // where it is executable, it returns at once and changes nothing.
    unsafe { asm!("call {at}", at = in(reg) data.as_ptr()) }
}
