//! The backtrace of a fatal report: follows the chain of frame pointers and names the functions.
//!
//! ```text
//!  rbp -> | the caller's rbp | return address |     each function begins with push rbp; mov rbp, rsp
//!              '-> | its caller's rbp | return address |
//!                        '-> ... -> 0, as the loader leaves it
//! ```
//!
//! The build forces frame pointers (`.cargo/config.toml`), also for Rust's library if it is built from source; the
//! precompiled one has them since Rust 1.79. Code without frame pointers (assembly) hides its caller or breaks the chain,
//! which the report states; an address outside of the stacks is not followed. An exception before a function has set up
//! its frame hides that function's caller. Across an interrupt the chain continues with the saved registers of the
//! interrupted code.
//!
//! Invariants: no lock, no heap, no writes; it reads only words of known stacks, and the kernel's file through the direct
//! map.

use crate::arch::trap::TrapFrame;
use crate::arch::{idt, stacks};
use bootloader_api::BootInfo;
use carapace_mm::addr::VirtAddr;
use carapace_mm::address_space::DIRECT_MAP;
use core::arch::asm;
use core::fmt::{self, Write};
use core::ops::Range;
use elf::ElfBytes;
use elf::abi::STT_FUNC;
use elf::endian::LittleEndian;
use rustc_demangle::demangle;
use spin::Once;

/// The most callers listed, innermost first.
const LISTED: usize = 32;

/// The loader's information for reports.
struct Known {
    /// The main stack.
    stack: Range<u64>,
    /// The kernel's file: sections and symbols are not in its loaded segments.
    file: &'static [u8],
}

static KNOWN: Once<Known> = Once::new();

/// Records the main stack and the kernel's file. Call it once, early.
pub fn init(info: &BootInfo) {
    KNOWN.call_once(|| {
        let bottom = info.kernel_stack_bottom;
        let start = DIRECT_MAP.start.0 + info.kernel_addr;
        // SAFETY: the loader's map marks the memory of the kernel's file as its own, so it is never
        // allocated; the direct map covers it permanently. Nothing writes to the file.
        let file = unsafe { core::slice::from_raw_parts(start as *const u8, info.kernel_len as usize) };
        Known { stack: bottom..bottom + info.kernel_stack_len, file }
    });
}

/// The instruction pointer and the registers of the current function.
#[derive(Clone, Copy, Debug)]
pub struct Here {
    pub instruction: u64,
    pub stack_pointer: u64,
    pub frame_pointer: u64,
}

impl Here {
    /// Of the code that an exception interrupted.
    pub fn of(frame: &TrapFrame) -> Here {
        Here { instruction: frame.rip, stack_pointer: frame.rsp, frame_pointer: frame.rbp }
    }

    /// Of the calling function.
    #[inline(always)]
    pub fn new() -> Here {
        let (instruction, stack_pointer, frame_pointer);
        // SAFETY: three registers are read, nothing else happens.
        unsafe {
            asm!("lea {at}, [rip]", "mov {sp}, rsp", "mov {bp}, rbp", at = out(reg) instruction,
                sp = out(reg) stack_pointer, bp = out(reg) frame_pointer,
                options(nomem, nostack, preserves_flags));
        }
        Here { instruction, stack_pointer, frame_pointer }
    }
}

/// Whether `bytes` from `at` on are aligned and inside one of the kernel's stacks.
fn in_stack(at: u64, bytes: usize) -> bool {
    let main = KNOWN.get().map(|known| known.stack.clone());
    let mut stacks = main.into_iter().chain(stacks::extents());
    let end = at.checked_add(bytes as u64);
    at.is_multiple_of(8) && end.is_some_and(|end| stacks.any(|stack| stack.start <= at && end <= stack.end))
}

/// A function's frame.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Frame {
    /// The caller's frame pointer.
    caller: u64,
    /// The return address.
    return_address: u64,
}

/// Reads a value at `at` in a stack. `None` outside of the stacks.
fn read<T: Words>(at: u64) -> Option<T> {
    // SAFETY: aligned and inside of a stack, which is mapped; any words are a `T`. They may be in use, by a CPU
    // that did not stop: its words are what they are at the moment.
    in_stack(at, size_of::<T>()).then(|| unsafe { (at as *const T).read_volatile() })
}

/// Integers of 64 bits and nothing else.
///
/// # Safety
/// Any bytes are a value of the type, and it is aligned as a word is.
unsafe trait Words: Copy {}
// SAFETY: an integer of 64 bits, of which any bytes are a value.
unsafe impl Words for u64 {}
// SAFETY: two integers of 64 bits without padding (`repr(C)`), so any bytes are a value.
unsafe impl Words for Frame {}
// SAFETY: twenty-two words, as `trap` asserts.
unsafe impl Words for TrapFrame {}

/// Writes the backtrace from `here` up, innermost first.
pub fn write(out: &mut impl Write, here: Here) -> fmt::Result {
    let at = here.instruction;
    writeln!(out, "  backtrace, innermost first:")?;
    writeln!(out, "      {at:016x}  {}", Name(VirtAddr(at)))?;
    // A call to a bad address has pushed a return address, but no frame was set up.
    if start_of(at).is_none()
        && let Some(call) = read::<u64>(here.stack_pointer).and_then(|address| address.checked_sub(1))
        && start_of(call).is_some()
    {
        writeln!(out, "      {:016x}  {}", call + 1, Name(VirtAddr(call)))?;
    }
    let mut pointer = here.frame_pointer;
    for _ in 0..LISTED {
        if pointer == 0 {
            return Ok(());
        }
        let Some(frame) = read::<Frame>(pointer) else {
            return writeln!(out, "      no further: the frame pointer {pointer:016x} is in no stack");
        };
        let Some(call) = frame.return_address.checked_sub(1) else { return Ok(()) };
        // A return address may be the start of the next function; the call before it is not.
        writeln!(out, "      {:016x}  {}", frame.return_address, Name(VirtAddr(call)))?;
        let saved = start_of(call).filter(|&function| idt::saves_frame(function));
        // What calls Rust with a `TrapFrame` has it right above the return address.
        match saved.and_then(|_| read::<TrapFrame>(pointer + size_of::<Frame>() as u64)) {
            Some(interrupted) => {
                writeln!(out, "    interrupted:")?;
                writeln!(out, "      {:016x}  {}", interrupted.rip, Name(VirtAddr(interrupted.rip)))?;
                pointer = interrupted.rbp;
            }
            None if frame.caller != 0 && frame.caller <= pointer => {
                return writeln!(out, "      no further: the frame pointer {:016x} leads down", frame.caller);
            }
            None => pointer = frame.caller,
        }
    }
    Ok(())
}

/// The start of the function that contains `address`.
fn start_of(address: u64) -> Option<u64> {
    let (_, offset) = symbol(KNOWN.get()?.file, address)?;
    Some(address - offset)
}

/// Finds the function at an address in the symbol table.
struct Name(VirtAddr);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match KNOWN.get().and_then(|known| symbol(known.file, self.0.0)) {
            Some((name, offset)) => write!(f, "{:#} + {offset:#x}", demangle(name)),
            None => f.write_str("?"),
        }
    }
}

/// The name of the function that contains `address`, and the offset in it.
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
