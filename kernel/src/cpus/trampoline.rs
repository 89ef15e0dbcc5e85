//! From the real mode in which a CPU starts to 64-bit mode on the kernel's page tables.
//!
//! ```text
//!  page 0   code, and from 0x800 on what it needs: GDT, stack, entry, ...; the claim
//!  page 1   PML4: the kernel's upper half, and in entry 0 the identity mapping   (as CR3 is loaded in 32-bit mode, it
//!  page 2   PDPT of the identity mapping                                          must lie below 4 GiB)
//!  page 3   PD: the first 2 MiB, read and execute
//!
//!  START -> 16 bits: GDT, PE -> 32 bits: is the claim mine? take it : halt for good
//!        -> PAE, the PML4 above, EFER and CR0 as the first CPU's -> 64 bits: stack, jump to the upper half
//!        -> `entry`: the kernel's own page tables
//! ```
//!
//! A CPU may come late, when the first one has given it up and starts the next. So the stack is claimed: the first CPU
//! writes the expected CPU's APIC identity, the CPU that finds its own there takes it away, and the first takes it away
//! itself before it gives up. Exactly one of the two succeeds; a CPU that does not halts for good, in this page, which is
//! never used for anything else.
//!
//! Invariants: the four pages have no other use, for ever. The identity mapping is in no other page table, and is not
//! writable.

use crate::arch::cpu;
use carapace_acpi::madt::ApicId;
use carapace_mm::addr::{PAGE_SIZE, Pfn, PfnRange, PhysAddr};
use carapace_mm::address_space::direct;
use carapace_mm::machine::CpuNr;
use core::sync::atomic::{AtomicU64, Ordering};
use x86_64::registers::control::Cr0;
use x86_64::registers::model_specific::{Efer, EferFlags};

/// Frames that the trampoline takes.
pub const FRAMES: u64 = 4;
/// They lie below this frame: conventional memory of a PC, which every START can name.
pub const LIMIT: Pfn = Pfn(640 * 1024 / PAGE_SIZE);

/// Where in the first page the parameters are.
const PARAMETERS: u64 = 0x800;

#[cfg(target_os = "none")]
core::arch::global_asm!(
    r#"
    .set GDT_POINTER, 0x800 + 32
    .set FAR_32, 0x800 + 40
    .set FAR_64, 0x800 + 48
    .set TABLES, 0x800 + 56
    .set EFER, 0x800 + 64
    .set CR0, 0x800 + 72
    .set STACK, 0x800 + 80
    .set ENTRY, 0x800 + 88
    .set ROOT, 0x800 + 96
    .set NUMBER, 0x800 + 104
    .set CLAIM, 0x800 + 112

    .section .rodata.trampoline, "a", @progbits
    .balign 16
    .globl trampoline_start, trampoline_32, trampoline_64, trampoline_end
    .code16
trampoline_start:
    cli
    cld
    xorl %ebx, %ebx
    movw %cs, %bx
    movw %bx, %ds
    shll $4, %ebx                   # where this page is
    lgdtl GDT_POINTER
    movl %cr0, %eax
    andl $0x9fffffff, %eax          # caches on
    orl $1, %eax                    # PE
    movl %eax, %cr0
    ljmpl *FAR_32
    .code32
trampoline_32:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl %ebx, %esi                 # cpuid writes ebx

    # this CPU's APIC identity: of leaf 11, else of leaf 1
    xorl %eax, %eax
    cpuid
    cmpl $11, %eax
    jb 1f
    movl $11, %eax
    xorl %ecx, %ecx
    cpuid
    testl %ebx, %ebx
    jz 1f
    movl %edx, %eax
    jmp 2f
1:  movl $1, %eax
    cpuid
    movl %ebx, %eax
    shrl $24, %eax
2:  incl %eax
    xorl %ecx, %ecx
    lock cmpxchgl %ecx, CLAIM(%esi)
    jne 3f

    movl $0x20, %eax                # PAE
    movl %eax, %cr4
    movl TABLES(%esi), %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx          # EFER
    movl EFER(%esi), %eax
    movl EFER + 4(%esi), %edx
    wrmsr
    movl CR0(%esi), %eax
    movl %eax, %cr0
    ljmpl *FAR_64(%esi)

3:  cli
    hlt
    jmp 3b
    .code64
trampoline_64:
    movl %esi, %esi                 # the upper half is undefined after the change of mode
    movq STACK(%rsi), %rsp
    movq NUMBER(%rsi), %rdi
    movq ENTRY(%rsi), %rax
    movq ROOT(%rsi), %rsi
    jmpq *%rax
trampoline_end:
"#,
    options(att_syntax)
);

#[cfg(target_os = "none")]
mod code {
    // SAFETY: the assembly above defines the four symbols; only their addresses are taken.
    unsafe extern "C" {
        static trampoline_start: u8;
        static trampoline_32: u8;
        static trampoline_64: u8;
        static trampoline_end: u8;
    }

    /// The code's bytes, and where in them the parts of 32 and 64 bits begin.
    pub fn parts() -> (&'static [u8], u64, u64) {
        let (start, end) = (&raw const trampoline_start, &raw const trampoline_end);
        let length = end as usize - start as usize;
        // SAFETY: the two symbols are the ends of one piece of the kernel's read-only data.
        let bytes = unsafe { core::slice::from_raw_parts(start, length) };
        let offset = |part: *const u8| part as u64 - start as u64;
        (bytes, offset(&raw const trampoline_32), offset(&raw const trampoline_64))
    }
}

/// On the host the kernel is checked, not linked.
#[cfg(not(target_os = "none"))]
mod code {
    pub fn parts() -> (&'static [u8], u64, u64) {
        (&[], 0, 0)
    }
}

/// Where a CPU arrives from the trampoline, still on its page tables: goes to the kernel's, `root`, and to `main`.
// SAFETY: the trampoline jumps here with the arguments in the registers of the C convention, and nothing returns: it needs no
// prologue, and uses the stack only once `root` maps it.
#[unsafe(naked)]
extern "C" fn entry(number: u64, root: u64) -> ! {
    core::arch::naked_asm!(
        "mov cr3, rsi",
        "xor ebp, ebp",
        "push 0", // the return address of a function that has none: backtraces end here
        "jmp {main}",
        main = sym super::start::main,
    )
}

/// The pages, prepared.
#[derive(Debug)]
pub struct Trampoline {
    page: Pfn,
    parameters: &'static [AtomicU64; 16],
}

/// The state of a claim that the first CPU takes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// No CPU took it, and none can take it any more.
    Withdrawn,
    /// The CPU has taken it: it is on its way, on its stack.
    Taken,
}

impl Trampoline {
    /// Prepares the pages.
    ///
    /// # Safety
    /// The [`FRAMES`] frames of `frames` lie below [`LIMIT`], are memory that nothing else uses, for ever, and the direct
    /// map has them. To be called once.
    pub unsafe fn new(frames: PfnRange) -> Trampoline {
        let page = frames.start;
        let at = |number: u64| direct(Pfn(page.0 + number).start()).0;
        let table = |number: u64| {
            // SAFETY: a whole page of the caller's frames; from here on it is accessed by atomics only.
            unsafe { &*(at(number) as *const [AtomicU64; 512]) }
        };
        const PRESENT: u64 = 1;
        const TABLE: u64 = PRESENT | 1 << 1;
        const LEAF: u64 = PRESENT | 1 << 7;
        let root = cpu::root();
        // SAFETY: the kernel's level-4 table, which stays and which everybody accesses as words that change at once.
        let kernel = unsafe { &*(direct(root.start()).0 as *const [AtomicU64; 512]) };
        let [pml4, pdpt, pd] = [1, 2, 3].map(table);
        let address = |number: u64| Pfn(page.0 + number).start().0;
        for (index, (entry, of_kernel)) in pml4.iter().zip(kernel).enumerate() {
            let value = match index {
                0 => address(2) | TABLE,
                1..256 => 0,
                _ => of_kernel.load(Ordering::Relaxed),
            };
            entry.store(value, Ordering::Relaxed);
        }
        for (entry, value) in [(pdpt, address(3) | TABLE), (pd, LEAF)] {
            entry.iter().for_each(|entry| entry.store(0, Ordering::Relaxed));
            entry[0].store(value, Ordering::Relaxed);
        }
        let (bytes, at_32, at_64) = code::parts();
        assert!(bytes.len() as u64 <= PARAMETERS, "the code reaches into its parameters");
        // SAFETY: the code fits into the first page, in front of the parameters; no reference leads there.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), at(0) as *mut u8, bytes.len()) };
        // SAFETY: inside of the first page, aligned; from here on accessed by atomics, on this CPU and by the code.
        let parameters = unsafe { &*((at(0) + PARAMETERS) as *const [AtomicU64; 16]) };
        let base = PhysAddr(page.start().0).0;
        const CODE_32: u64 = 8;
        const CODE_64: u64 = 24;
        let words = [
            0,
            0x00cf_9b00_0000_ffff, // 32-bit code
            0x00cf_9300_0000_ffff, // data
            0x00af_9b00_0000_ffff, // 64-bit code
            31 | (base + PARAMETERS) << 16,
            (base + at_32) | CODE_32 << 32,
            (base + at_64) | CODE_64 << 32,
            address(1),
            (Efer::read() - EferFlags::LONG_MODE_ACTIVE).bits(),
            Cr0::read_raw(),
            0,
            entry as *const () as u64,
            root.start().0,
            0,
            0,
            0,
        ];
        for (place, value) in parameters.iter().zip(words) {
            place.store(value, Ordering::Relaxed);
        }
        Trampoline { page, parameters }
    }

    /// The page's number, for START.
    pub fn page(&self) -> u8 {
        self.page.0 as u8
    }

    /// Lets the CPU with this APIC identity come, as `cpu` on a stack that ends at `stack`.
    pub fn expect(&self, id: ApicId, cpu: CpuNr, stack: u64) {
        self.parameters[10].store(stack, Ordering::Relaxed);
        self.parameters[13].store(cpu.index() as u64, Ordering::Relaxed);
        // Release: who takes the claim reads the two above.
        self.parameters[14].store(u64::from(id.0) + 1, Ordering::Release);
    }

    /// Takes the claim back.
    pub fn withdraw(&self, id: ApicId) -> Claim {
        let mine = u64::from(id.0) + 1;
        match self.parameters[14].compare_exchange(mine, 0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Claim::Withdrawn,
            Err(_) => Claim::Taken,
        }
    }
}
