//! Copies pages, word by word.
//!
//! Neighbours: `machine` copies for migrations; the memory core chooses addresses that are fast to copy between
//! (`carapace_mm`'s copy window).

/// The words that a turn of the loop copies. They divide a page.
const TURN: u64 = 8;
/// The words of a page.
const PAGE: u64 = 512;

/// Copies `pages` pages, eight words at a time: a string instruction takes an emulator twice as long. The loop is aligned so
/// that it lies in one page of code: an emulator does not link blocks of code across pages, and looks each turn up.
///
/// # Safety
///
/// `from` may be read and `to` written for as many pages. They do not overlap.
pub unsafe fn pages(from: *const u64, to: *mut u64, pages: u64) {
    if pages == 0 {
        return;
    }
    // SAFETY: the loop reads and writes `pages` pages, as the caller promises, and changes no other state.
    unsafe {
        core::arch::asm!(
            "jmp 2f",
            ".p2align 7",
            "2:",
            "mov r8, [{from}]",
            "mov r9, [{from} + 8]",
            "mov r10, [{from} + 16]",
            "mov r11, [{from} + 24]",
            "mov r12, [{from} + 32]",
            "mov r13, [{from} + 40]",
            "mov r14, [{from} + 48]",
            "mov r15, [{from} + 56]",
            "mov [{to}], r8",
            "mov [{to} + 8], r9",
            "mov [{to} + 16], r10",
            "mov [{to} + 24], r11",
            "mov [{to} + 32], r12",
            "mov [{to} + 40], r13",
            "mov [{to} + 48], r14",
            "mov [{to} + 56], r15",
            "add {from}, 64",
            "add {to}, 64",
            "sub {left}, 1",
            "jnz 2b",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            left = inout(reg) pages * (PAGE / TURN) => _,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            options(nostack),
        );
    }
}
