//! What was being called when a fatal report began: return addresses that the stack holds, with the
//! functions' names.
//!
//! ```text
//!  stack pointer --> | ... | word in .text, behind a call? | ... | top of that stack
//!                                  '--> name: the symbol table of the kernel's file, in boot memory
//! ```
//!
//! Why by looking at every word: the code keeps no frame pointers (a target's flags cannot be set for a
//! crate, and flags for all would build the standard library again), and unwinding by `.eh_frame` is a
//! large machine for a kernel that has just broken. So a call that is long over may be listed if its
//! address is still in a frame's unused part; a call that is under way is never missing, but for the bound.
//! Invariants: no lock, no heap, nothing is written; only a stack that is known is read, the image's
//! code, and, as the very last, the kernel's file through the direct map.

use super::stacks;
use arrayvec::ArrayVec;
use bootloader_api::BootInfo;
use core::fmt::{self, Write};
use core::ops::Range;
use elf::ElfBytes;
use elf::abi::STT_FUNC;
use elf::endian::LittleEndian;
use mm::addr::{PAGE_SIZE, VirtAddr};
use mm::address_space::DIRECT_MAP;
use rustc_demangle::demangle;
use spin::Once;

/// Return addresses that are listed at most, the innermost ones.
const LISTED: usize = 32;

/// What the loader tells, kept for reports.
struct Known {
    /// The main stack.
    stack: Range<u64>,
    /// The kernel's file: sections and symbols are not in its loaded segments.
    file: &'static [u8],
}

static KNOWN: Once<Known> = Once::new();

/// Remembers where the main stack and the kernel's file are. To be called once, early.
pub fn init(info: &BootInfo) {
    KNOWN.call_once(|| {
        let bottom = info.kernel_stack_bottom;
        let start = DIRECT_MAP.start.0 + info.kernel_addr;
        // SAFETY: the loader keeps the kernel's file at this physical address, in memory that its map
        // calls its own, so that nobody is ever given it; the direct map covers all of that memory and
        // stays. Nothing writes to the file.
        let file = unsafe { core::slice::from_raw_parts(start as *const u8, info.kernel_len as usize) };
        Known { stack: bottom..bottom + info.kernel_stack_len, file }
    });
}

#[cfg(target_os = "none")]
fn text() -> Range<u64> {
    unsafe extern "C" {
        static __text_start: u8;
        static __text_end: u8;
    }
    (&raw const __text_start) as u64..(&raw const __text_end) as u64
}

/// On the host the kernel is checked, not linked: there is no such section.
#[cfg(not(target_os = "none"))]
fn text() -> Range<u64> {
    0..0
}

/// The stack that holds `at`, or overflowed there: from `at` up.
fn stack_from(at: u64) -> Option<Range<u64>> {
    let main = KNOWN.get().map(|known| known.stack.clone());
    let faults = stacks::FAULT_STACKS.into_iter().map(stacks::extent);
    let guarded = |stack: &Range<u64>| stack.start.saturating_sub(PAGE_SIZE)..stack.end;
    let stack = main.into_iter().chain(faults).find(|stack| guarded(stack).contains(&at))?;
    Some(at.max(stack.start)..stack.end)
}

/// Whether `address` lies behind a call: near, relative (E8) or through a register or memory (FF /2;
/// Intel SDM vol. 2, CALL).
fn is_return_address(address: u64, text: &Range<u64>) -> bool {
    const LONGEST: u64 = 7;
    if address < text.start + LONGEST || address > text.end {
        return false;
    }
    // SAFETY: inside of the image's code, which is mapped readable and never written.
    let before: [u8; LONGEST as usize] = unsafe { ((address - LONGEST) as *const [u8; 7]).read() };
    let [.., b5, b4, b3, b2, b1] = before;
    let relative = i64::from(i32::from_le_bytes([b4, b3, b2, b1]));
    if b5 == 0xe8 && text.contains(&address.wrapping_add_signed(relative)) {
        return true;
    }
    // The opcode and the byte that says where the operand is, for each length behind them.
    [2, 3, 4, 6, 7].into_iter().any(|length: usize| {
        let (opcode, operand) = (before[7 - length], before[8 - length]);
        let indexed = operand & 7 == 4;
        opcode == 0xff
            && operand >> 3 & 7 == 2
            && length
                == match operand >> 6 {
                    0 if operand & 7 == 5 => 6,
                    0 => 2 + usize::from(indexed),
                    1 => 3 + usize::from(indexed),
                    2 => 6 + usize::from(indexed),
                    _ => 2,
                }
    })
}

/// Writes the return addresses that the stack holds from `stack_pointer` up, then their names; `at` is
/// the instruction that the report is about, where it is known.
pub(super) fn write(out: &mut impl Write, at: Option<u64>, stack_pointer: u64) -> fmt::Result {
    let Some(stack) = stack_from(stack_pointer) else {
        return writeln!(out, "  no backtrace: the stack pointer is in no stack of the kernel");
    };
    let text = text();
    let mut calls: ArrayVec<u64, LISTED> = ArrayVec::new();
    let mut place = stack.start.next_multiple_of(8);
    while place + 8 <= stack.end && !calls.is_full() {
        // SAFETY: aligned and inside of a stack, which is mapped; any bytes are an integer. The word
        // may be in use, but this CPU, the only one, is here.
        let word = unsafe { (place as *const u64).read_volatile() };
        if is_return_address(word, &text) {
            calls.push(word);
        }
        place += 8;
    }
    write!(out, "  backtrace:")?;
    for address in at.iter().chain(&calls) {
        write!(out, " {address:016x}")?;
    }
    writeln!(out, "\n  These are all return addresses on the stack; some calls may be over:")?;
    // A return address may be the first one of the next function: its call is not.
    for (address, inside) in at.iter().map(|&at| (at, at)).chain(calls.iter().map(|&call| (call, call - 1))) {
        writeln!(out, "    {address:016x}  {}", Name(VirtAddr(inside)))?;
    }
    Ok(())
}

/// The function at an address, by the symbol table.
struct Name(VirtAddr);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match KNOWN.get().and_then(|known| symbol(known.file, self.0.0)) {
            Some((name, offset)) => write!(f, "{:#} + {offset:#x}", demangle(name)),
            None => f.write_str("?"),
        }
    }
}

/// The name of the function that holds `address`, and how far into it that is.
fn symbol(file: &'static [u8], address: u64) -> Option<(&'static str, u64)> {
    let (symbols, names) =
        ElfBytes::<LittleEndian>::minimal_parse(file).ok()?.symbol_table().ok().flatten()?;
    let symbol = symbols.iter().find(|symbol| {
        symbol.st_symtype() == STT_FUNC
            && symbol.st_value <= address
            && address - symbol.st_value < symbol.st_size
    })?;
    Some((names.get(symbol.st_name as usize).ok()?, address - symbol.st_value))
}
