//! What was being called when a fatal report began: return addresses that the stack holds, with the
//! functions' names.
//!
//! ```text
//!  instruction --in--> function <--calls-- word in .text behind a call --in--> function <--calls-- ...
//!                      (symbol table)       (the next one up the stack)
//! ```
//!
//! Why not by frame pointers or `.eh_frame`: the code keeps none (a target's flags cannot be set for a
//! crate), and an unwinder is a large machine for a kernel that has just broken. A word of the stack that is
//! a return address may be of a call that is long over, left in a frame's unused part. So each caller has to
//! fit: the call in front of its address goes to the very function that was reached so far. Where none does,
//! that function was called through a pointer, or jumped to: then the nearest word that may be right is taken
//! and marked with `?`. Where an interrupt came in between, the frame that it saved has what was interrupted. Invariants: no lock, no heap, nothing is written; only a stack that is known is read,
//! the image's code, and the kernel's file through the direct map.

use super::idt::{self, TrapFrame};
use super::stacks;
use bootloader_api::BootInfo;
use carapace_mm::addr::{PAGE_SIZE, VirtAddr};
use carapace_mm::address_space::DIRECT_MAP;
use core::arch::asm;
use core::fmt::{self, Write};
use core::mem::offset_of;
use core::ops::Range;
use elf::ElfBytes;
use elf::abi::STT_FUNC;
use elf::endian::LittleEndian;
use rustc_demangle::demangle;
use spin::Once;

/// Callers that are listed at most, the innermost ones.
const LISTED: usize = 32;

/// What the loader tells, kept for reports.
struct Known {
    /// The main stack.
    stack: Range<u64>,
    /// The kernel's file: sections and symbols are not in its loaded segments.
    file: &'static [u8],
    /// The table through which most calls between crates go, and where it lies in the image.
    got: (u64, &'static [u8]),
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
        let got = got(file).unwrap_or_default();
        Known { stack: bottom..bottom + info.kernel_stack_len, file, got }
    });
}

/// The global offset table: the linker has filled it, and nothing writes to it.
fn got(file: &'static [u8]) -> Option<(u64, &'static [u8])> {
    let file = ElfBytes::<LittleEndian>::minimal_parse(file).ok()?;
    let header = file.section_header_by_name(".got").ok()??;
    Some((header.sh_addr, file.section_data(&header).ok()?.0))
}

/// What the table has at `slot`.
fn got_entry(slot: u64) -> Option<u64> {
    let (start, bytes) = KNOWN.get()?.got;
    let at = usize::try_from(slot.checked_sub(start)?).ok()?;
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
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

/// The instruction and the stack pointer of the function that asks.
#[inline(always)]
pub(super) fn here() -> (u64, u64) {
    let (at, stack_pointer): (u64, u64);
    // SAFETY: two registers are read, nothing else happens.
    unsafe {
        asm!("lea {at}, [rip]", "mov {sp}, rsp", at = out(reg) at, sp = out(reg) stack_pointer,
            options(nomem, nostack, preserves_flags));
    }
    (at, stack_pointer)
}

/// Where a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Callee {
    /// To this function's first byte.
    Function(u64),
    /// Where a register or memory says.
    Pointer,
}

/// The call that `address` lies behind: near, relative (E8) or through a register or memory (FF /2;
/// Intel SDM vol. 2, CALL).
fn call_before(address: u64, text: &Range<u64>) -> Option<Callee> {
    const LONGEST: u64 = 7;
    if address < text.start + LONGEST || address > text.end {
        return None;
    }
    // SAFETY: inside of the image's code, which is mapped readable and never written.
    let before: [u8; LONGEST as usize] = unsafe { ((address - LONGEST) as *const [u8; 7]).read() };
    let [.., b5, b4, b3, b2, b1] = before;
    let target = address.wrapping_add_signed(i64::from(i32::from_le_bytes([b4, b3, b2, b1])));
    if b5 == 0xe8 && text.contains(&target) {
        return Some(Callee::Function(target));
    }
    // Through memory at a distance (FF 15): the same distance, to the table.
    if let [_, 0xff, 0x15, ..] = before
        && let Some(function) = got_entry(target)
    {
        return Some(Callee::Function(function));
    }
    // The opcode and the byte that says where the operand is, for each length behind them.
    let through_pointer = [2, 3, 4, 6, 7].into_iter().any(|length: usize| {
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
    });
    through_pointer.then_some(Callee::Pointer)
}

/// How well a caller fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// Its call goes somewhere else: something on the way jumped.
    Jump,
    /// Its call goes through a pointer.
    Pointer,
    /// Its call goes to the function that was reached.
    Sure,
}

/// A caller: where its return address lies, and what it is.
#[derive(Clone, Copy, Debug)]
struct Caller {
    place: u64,
    address: u64,
    fit: Fit,
}

/// The caller of the function that begins at `function`, its return address in `stack`: the first that fits
/// for sure, else the first that fits best.
fn caller(function: Option<u64>, stack: Range<u64>, text: &Range<u64>) -> Option<Caller> {
    let mut best: Option<Caller> = None;
    let mut place = stack.start.next_multiple_of(8);
    while place + 8 <= stack.end {
        // SAFETY: aligned and inside of a stack, which is mapped; any bytes are an integer. The word
        // may be in use, but this CPU, the only one, is here.
        let address = unsafe { (place as *const u64).read_volatile() };
        let fit = match call_before(address, text) {
            Some(Callee::Function(target)) if Some(target) == function => Some(Fit::Sure),
            Some(Callee::Function(_)) => Some(Fit::Jump),
            Some(Callee::Pointer) => Some(Fit::Pointer),
            None => None,
        };
        if let Some(fit) = fit
            && best.is_none_or(|best| best.fit < fit)
        {
            best = Some(Caller { place, address, fit });
        }
        if fit == Some(Fit::Sure) {
            break;
        }
        place += 8;
    }
    best
}

/// Writes who called whom, from the instruction at `at` and the stack pointer up, innermost first.
pub(super) fn write(out: &mut impl Write, at: u64, stack_pointer: u64) -> fmt::Result {
    let Some(mut stack) = stack_from(stack_pointer) else {
        return writeln!(out, "  no backtrace: the stack pointer is in no stack of the kernel");
    };
    let text = text();
    writeln!(out, "  backtrace, innermost first (? is a guess):")?;
    writeln!(out, "      {at:016x}  {}", Name(VirtAddr(at)))?;
    let mut function = start_of(at);
    for _ in 0..LISTED {
        let Some(Caller { place, address, fit }) = caller(function, stack.clone(), &text) else { break };
        let mark = if fit == Fit::Sure { ' ' } else { '?' };
        // A return address may be the first one of the next function: its call is not.
        let call = address - 1;
        writeln!(out, "    {mark} {address:016x}  {}", Name(VirtAddr(call)))?;
        function = start_of(call);
        stack.start = place + 8;
        if let Some((at, stack_pointer)) = function.and_then(|function| interrupted(function, &stack)) {
            writeln!(out, "    interrupted:")?;
            writeln!(out, "      {at:016x}  {}", Name(VirtAddr(at)))?;
            function = start_of(at);
            stack.start = stack_pointer;
        }
    }
    Ok(())
}

/// What was interrupted, when `function` is what an interrupt calls first: the instruction, and the stack pointer then,
/// which is above the frame in the same stack. An exception that switched stacks is reported from its frame.
fn interrupted(function: u64, stack: &Range<u64>) -> Option<(u64, u64)> {
    let frame = stack.start;
    if !idt::saves_frame(function) || frame.checked_add(size_of::<TrapFrame>() as u64)? > stack.end {
        return None;
    }
    let word = |offset: usize| {
        // SAFETY: aligned, since it is a word behind a return address that was found at an aligned place, and
        // inside of a stack, as just asked; any bytes are an integer.
        unsafe { ((frame + offset as u64) as *const u64).read_volatile() }
    };
    let stack_pointer = word(offset_of!(TrapFrame, rsp));
    let in_stack = (frame..stack.end).contains(&stack_pointer);
    in_stack.then(|| (word(offset_of!(TrapFrame, rip)), stack_pointer))
}

/// Where the function that holds `address` begins.
fn start_of(address: u64) -> Option<u64> {
    let (_, offset) = symbol(KNOWN.get()?.file, address)?;
    Some(address - offset)
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
