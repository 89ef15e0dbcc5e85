//! The PVH entry: from 32-bit protected mode without paging to 64-bit mode and `pvh_main`.
//!
//! ```text
//! pvh_start32   clear .bss, no IDT (an exception resets the machine at once)
//!               QEMU? (PCI subsystem of the host bridge)
//!               restart guard, in QEMU: count this start in CMOS RAM; too many in a row -> message, 45
//!               CPUID: has the CPU what shim and kernel use?  -> message with all that it lacks, 39
//!               identity-map 4 GiB, PAE, LME, NXE, PG, WP
//! pvh_start64   pvh_main(start_info)
//! ```
//!
//! QEMU detection: its emulated PCI devices, including the host bridges of q35 and pc, have subsystem 1af4:1100
//! (docs/specs/pci-ids in QEMU's source). On other machines CMOS byte 0x72 and port 0xf4 may have another meaning and are
//! not written. The detection itself uses the standard PCI configuration mechanism of every PC.
//!
//! The restart guard: a kernel that resets the machine before it is up (a triple fault) would do so
//! forever. Each start increments a count in CMOS RAM byte 0x72, which a reset preserves and neither
//! firmware nor QEMU uses (0xA0 is the mark, the low four bits the count; any other value means no
//! start yet). The kernel writes 0 there once it is up. The fourth start in a row ends here.
//!
//! The CPU features in `pvh_features` are those that compiled code or the kernel uses without checking. Optional features
//! (PGE, SMEP, 1 GiB pages, ...) are not checked here.

use core::arch::global_asm;

global_asm!(
    r#"
    .set COM1, 0x3f8
    .set DEBUG_EXIT, 0xf4
    .set GUARD_INDEX, 0x72          # CMOS RAM byte of the restart guard
    .set GUARD_MARK, 0xa0
    .set GUARD_LIMIT, 3             # starts in a row that are let through
    .set PCI_ADDRESS, 0xcf8
    .set PCI_DATA, 0xcfc
    .set PCI_SUBSYSTEM, 0x8000002c  # bus 0, device 0, function 0, register 0x2c
    .set QEMU_SUBSYSTEM, 0x11001af4 # device 0x1100 of vendor 0x1af4

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

    movl $PCI_SUBSYSTEM, %eax
    movl $PCI_ADDRESS, %edx
    outl %eax, %dx
    movl $PCI_DATA, %edx
    inl %dx, %eax
    cmpl $QEMU_SUBSYSTEM, %eax
    jne pvh_cpu
    movb $1, pvh_in_qemu

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

    # CPUID: EDX of leaf 1 in esi, of leaf 0x80000001 in ebp; 0 where there is no such leaf
pvh_cpu:
    movl %ebx, %edi                 # cpuid writes ebx
    xorl %esi, %esi
    xorl %ebp, %ebp
    xorl %eax, %eax
    cpuid
    testl %eax, %eax
    jz 1f
    movl $1, %eax
    cpuid
    movl %edx, %esi
1:  movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb 2f
    movl $0x80000001, %eax
    cpuid
    movl %edx, %ebp
2:  movl %edi, %ebx
    movl $pvh_features, %edi
3:  movl 8(%edi), %eax              # the end of the table has no text
    testl %eax, %eax
    jz pvh_map
    movl (%edi), %eax
    andl %esi, %eax
    movl 4(%edi), %edx
    andl %ebp, %edx
    orl %edx, %eax
    jz pvh_missing
    addl $12, %edi
    jmp 3b

    # names each feature of the table that the CPU lacks
pvh_missing:
    movl %esi, %ebx
    movl $pvh_text_cpu, %esi
    call pvh_print
    movl $pvh_features, %edi
4:  movl 8(%edi), %esi
    testl %esi, %esi
    jz 6f
    movl (%edi), %eax
    andl %ebx, %eax
    movl 4(%edi), %edx
    andl %ebp, %edx
    orl %edx, %eax
    jnz 5f
    call pvh_print
5:  addl $12, %edi
    jmp 4b
6:  movl $pvh_text_another_cpu, %esi
    movl $(39 >> 1), %ebp
    jmp pvh_fail32

pvh_map:
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
    call pvh_print
    cmpb $0, pvh_in_qemu
    je 8f
    movl %ebp, %eax
    movl $DEBUG_EXIT, %edx
    outl %eax, %dx
8:  hlt                             # not QEMU, or no isa-debug-exit device: stay, interrupts are off
    jmp 8b

    # prints the text at esi on COM1; changes eax, ecx, edx, esi
pvh_print:
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
    jmp pvh_print
7:  ret

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
pvh_text_cpu:
    .asciz "carapace-boot: error: the CPU has"
pvh_text_another_cpu:
    .asciz " give QEMU another -cpu\r\n"
    # bit of leaf 1, bit of leaf 0x80000001, what the message says
    .balign 4
pvh_features:
    .long 0, 1 << 29, pvh_text_long_mode
    .long 0, 1 << 20, pvh_text_nx
    .long 1 << 15, 0, pvh_text_cmov
    .long 1 << 5, 0, pvh_text_msr
    .long 1 << 6, 0, pvh_text_pae
    .long 1 << 4, 0, pvh_text_tsc
    .long 1 << 9, 0, pvh_text_apic
    .long 0, 0, 0
pvh_text_long_mode:
    .asciz " no long mode (64 bits);"
pvh_text_nx:
    .asciz " no NX (non-executable pages);"
pvh_text_cmov:
    .asciz " no CMOV (conditional moves);"
pvh_text_msr:
    .asciz " no MSR (model-specific registers);"
pvh_text_pae:
    .asciz " no PAE (64-bit page-table entries);"
pvh_text_tsc:
    .asciz " no TSC (time-stamp counter);"
pvh_text_apic:
    .asciz " no APIC (local interrupt controller);"

    # 1 where the machine is QEMU's: console.rs reads it
    .section .bss.pvh_flag, "aw", @nobits
    .globl pvh_in_qemu
    .balign 4
pvh_in_qemu: .skip 4

    .section .bss.pvh, "aw", @nobits
    .balign 4096
pvh_pml4:  .skip 4096
pvh_pdpt:  .skip 4096
pvh_pd:    .skip 4 * 4096

    # Not cleared: behind .bss
    .section .stack, "aw", @nobits
    .balign 16
    .skip 512 * 1024
pvh_stack_top:
"#,
    options(att_syntax)
);

/// Loads the kernel's page tables and stack and jumps to its entry with `info` as its argument.
///
/// # Safety
/// `root` is a level-4 table that identity-maps this function and maps `stack` and the kernel at
/// `entry`; `stack` is a multiple of 16.
// SAFETY: the arguments are in the registers of the C convention, and nothing returns, so it needs no prologue. The section is
// executable and has a page of its own, which link.ld keeps.
#[unsafe(naked)]
#[unsafe(link_section = ".trampoline.switch")]
pub unsafe extern "C" fn switch(info: u64, root: u64, stack: u64, entry: u64) -> ! {
    core::arch::naked_asm!(
        "mov cr3, rsi",
        "mov rsp, rdx",
        "xor ebp, ebp",
        "push 0", // no return address: backtraces end here
        "jmp rcx",
    )
}
