//! Copies pages.
//!
//! An emulator such as QEMU's TCG keeps translations in a table that an address's page number, modulo the table's size,
//! indexes. Where source and target agree in it, a copy word by word translates each word twice: ten times slower. So
//! such pages are copied in pieces, through a buffer. A processor's own caches, which have several ways, gain nothing and
//! lose little.
//!
//! Neighbour: `machine` copies for migrations.

use core::mem::MaybeUninit;

/// The words of a piece. They divide a page.
const PIECE: usize = 64;
/// The bytes of a page.
const PAGE: usize = 4096;
/// The entries of the smallest table of translations (QEMU's `CPU_TLB_DYN_MIN_BITS`): pages whose numbers differ modulo
/// this never share an entry.
const TRANSLATIONS: usize = 64;

/// Copies `pages` pages.
///
/// # Safety
///
/// `from` may be read and `to` written for as many pages. They do not overlap.
pub unsafe fn pages(from: *const u64, to: *mut u64, pages: u64) {
    let conflict = (from.addr() / PAGE).abs_diff(to.addr() / PAGE).is_multiple_of(TRANSLATIONS);
    for at in (0..pages as usize * PAGE / 8).step_by(PIECE) {
        let (from, to) = (from.wrapping_add(at), to.wrapping_add(at));
        if conflict {
            let mut buffer = MaybeUninit::<[u64; PIECE]>::uninit();
            let buffer = buffer.as_mut_ptr().cast::<u64>();
            // SAFETY: the caller promises that this piece may be read. `buffer` is a piece of this function's own.
            unsafe { piece(from, buffer) };
            // SAFETY: the caller promises that this piece may be written. The line above has written all of `buffer`.
            unsafe { piece(buffer, to) };
        } else {
            // SAFETY: the caller promises that this piece of `from` may be read and that of `to` written.
            unsafe { piece(from, to) };
        }
    }
}

/// Copies a piece, eight words at a time: a string instruction takes an emulator twice as long.
///
/// # Safety
///
/// `from` may be read and `to` written for [`PIECE`] words. They do not overlap.
#[inline(always)]
unsafe fn piece(from: *const u64, to: *mut u64) {
    // SAFETY: the loop reads and writes `PIECE` words, as the caller promises, and changes no other state.
    unsafe {
        core::arch::asm!(
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
            "sub {left}, 8",
            "jnz 2b",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            left = inout(reg) PIECE => _,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            options(nostack),
        );
    }
}
