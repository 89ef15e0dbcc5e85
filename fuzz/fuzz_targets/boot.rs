//! What QEMU hands to the boot shim: start_info, the command line, and a kernel file of any bytes.
#![no_main]

use boot::command_line;
use boot::kernel_file::KernelFile;
use boot::start_info::RawStartInfo;
use libfuzzer_sys::fuzz_target;

/// The start_info that the first 56 bytes are.
fn start_info(input: &[u8]) -> Option<RawStartInfo> {
    let word = |at: usize| Some(u32::from_le_bytes(input.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| Some(u64::from_le_bytes(input.get(at..at + 8)?.try_into().ok()?));
    Some(RawStartInfo {
        magic: word(0)?,
        version: word(4)?,
        flags: word(8)?,
        nr_modules: word(12)?,
        modlist_paddr: long(16)?,
        cmdline_paddr: long(24)?,
        rsdp_paddr: long(32)?,
        memmap_paddr: long(40)?,
        memmap_entries: word(48)?,
        reserved: word(52)?,
    })
}

fuzz_target!(|input: &[u8]| {
    let _checked = start_info(input).map(|raw| raw.check());
    let _tables = command_line::tables(input);
    if let Ok(kernel) = KernelFile::parse(input) {
        let (start, end) = kernel.span();
        assert!(start < end);
    }
});
