//! The PVH entry: from 32-bit protected mode without paging to 64-bit mode and `pvh_main`.
//!
//! ```text
//! pvh_start32   clear .bss, no IDT (an exception resets the machine at once)
//!               restart guard: count this start in CMOS RAM; too many in a row -> message, 45
//!               CPUID: long mode and NX there?               -> message, 39
//!               identity-map 4 GiB, PAE, LME, NXE, PG, WP
//! pvh_start64   pvh_main(start_info)
//! ```
//!
//! The restart guard: a kernel that resets the machine before it is up (a triple fault) would do so
//! for ever. Each start adds one to a count in CMOS RAM byte 0x72, which a reset leaves alone and
//! which neither firmware nor QEMU use (0xA0 is the mark, the low four bits the count; anything
//! else counts as no start yet). The kernel writes 0 there once it is up. The fourth start in a row
//! ends here instead.

use core::arch::global_asm;

global_asm!(
    r#"
    .set COM1, 0x3f8
    .set DEBUG_EXIT, 0xf4
    .set GUARD_INDEX, 0x72          # CMOS RAM byte of the restart guard
    .set GUARD_MARK, 0xa0
    .set GUARD_LIMIT, 3             # starts in a row that are let through

    .section .note.pvh, "a", @note
    .balign 4
    .long 4                         # name size
    .long 8                         # descriptor size: QEMU reads 8 bytes
    .long 18                        # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad pvh_start32

    # In the trampoline, so that it stays mapped until the kernel has its own. Accessed bits are
    # set already: the CPU has nothing to write to the page.
    .section .trampoline, "ax"
    .balign 8
pvh_gdt:
    .quad 0
    .quad 0x00af9b000000ffff        # 64-bit code
    .quad 0x00cf93000000ffff        # data

    .section .text.pvh, "ax"
    .code32
    .globl pvh_start32
pvh_start32:                        # ebx = physical address of hvm_start_info
    cli
    cld
    movl $__bss_start, %edi
    movl $__bss_end, %ecx
    subl %edi, %ecx
    shrl $2, %ecx
    xorl %eax, %eax
    rep stosl                       # the loader need not have zeroed it
    movl $pvh_stack_top, %esp
    lidt pvh_no_idt

    # restart guard
    movb $GUARD_INDEX, %al
    outb %al, $0x70
    inb $0x71, %al
    movb %al, %ah
    andb $0xf0, %ah
    cmpb $GUARD_MARK, %ah
    je 1f
    movb $GUARD_MARK, %al
1:  movl $pvh_text_restarts, %esi
    movl $(45 >> 1), %ebp
    cmpb $(GUARD_MARK + GUARD_LIMIT), %al
    movb $0, %cl                    # the next start by hand counts anew
    jae 2f
    incb %al
    movb %al, %cl
2:  movb $GUARD_INDEX, %al
    outb %al, $0x70
    movb %cl, %al
    outb %al, $0x71
    testb %cl, %cl
    jz pvh_fail32

    # long mode (CPUID 0x80000001 EDX bit 29) and NX (bit 20)
    movl %ebx, %edi                 # cpuid writes ebx
    movl $pvh_text_long_mode, %esi
    movl $(39 >> 1), %ebp
    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb pvh_fail32
    movl $0x80000001, %eax
    cpuid
    btl $29, %edx
    jnc pvh_fail32
    movl $pvh_text_nx, %esi
    btl $20, %edx
    jnc pvh_fail32
    movl %edi, %ebx

    # identity-map the first 4 GiB with 2 MiB pages
    movl $pvh_pdpt + 3, pvh_pml4
    movl $pvh_pd + 3, %eax
    movl $pvh_pdpt, %edi
    movl $4, %ecx
3:  movl %eax, (%edi)
    addl $4096, %eax
    addl $8, %edi
    loop 3b
    movl $0x83, %eax                # present, writable, 2 MiB
    movl $pvh_pd, %edi
    movl $2048, %ecx
4:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 4b

    movl %cr4, %eax
    orl $0x20, %eax                 # PAE
    movl %eax, %cr4
    movl $pvh_pml4, %eax
    movl %eax, %cr3
    movl $0xC0000080, %ecx          # EFER
    rdmsr
    orl $0x900, %eax                # LME, NXE
    wrmsr
    movl %cr0, %eax
    orl $0x80010001, %eax           # PG, WP, PE
    movl %eax, %cr0
    lgdt pvh_gdt_pointer
    ljmp $8, $pvh_start64

    # prints the text at esi on COM1 and ends QEMU with status 2 * ebp + 1
pvh_fail32:
    lodsb
    testb %al, %al
    jz 7f
    movb %al, %ah
    movl $100000, %ecx              # a port that is never ready is not waited for
    movl $(COM1 + 5), %edx
5:  inb %dx, %al
    testb $0x20, %al                # transmitter empty
    jnz 6f
    loop 5b
6:  movb %ah, %al
    movl $COM1, %edx
    outb %al, %dx
    jmp pvh_fail32
7:  movl %ebp, %eax
    movl $DEBUG_EXIT, %edx
    outl %eax, %dx
8:  hlt                             # no isa-debug-exit device: stay, interrupts are off
    jmp 8b

    .code64
pvh_start64:
    movl $16, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movl %ebx, %edi                 # first argument, zero-extended
    xorl %ebp, %ebp
    call pvh_main
    ud2

    .section .rodata.pvh, "a"
pvh_gdt_pointer:
    .word 23
    .long pvh_gdt
pvh_no_idt:
    .word 0
    .long 0
pvh_text_restarts:
    .asciz "carapace-boot: error: the kernel reset the machine three times before it was up; not starting it again\r\n"
pvh_text_long_mode:
    .asciz "carapace-boot: error: the CPU has no long mode (64 bits); give QEMU another -cpu\r\n"
pvh_text_nx:
    .asciz "carapace-boot: error: the CPU has no NX (non-executable pages); give QEMU another -cpu\r\n"

    .section .bss.pvh, "aw", @nobits
    .balign 4096
pvh_pml4:  .skip 4096
pvh_pdpt:  .skip 4096
pvh_pd:    .skip 4 * 4096
pvh_stack: .skip 64 * 1024
pvh_stack_top:
"#,
    options(att_syntax)
);

/// Loads the kernel's page tables and stack and jumps to its entry with `info` as its argument.
///
/// # Safety
/// `root` is a level-4 table that maps this function where it is, `stack` and what the kernel at
/// `entry` needs; `stack` is a multiple of 16.
#[unsafe(naked)]
#[unsafe(link_section = ".trampoline.switch")]
pub unsafe extern "C" fn switch(info: u64, root: u64, stack: u64, entry: u64) -> ! {
    core::arch::naked_asm!(
        "mov cr3, rsi",
        "mov rsp, rdx",
        "xor ebp, ebp",
        "push 0", // the return address of a function that has none: backtraces end here
        "jmp rcx",
    )
}
