//! A kernel file of any bytes: refused, or loaded, relocated and placed as the boot shim does.
#![no_main]

use boot::kernel_file::KernelFile;
use boot::placement::Placement;
use boot::range::PAGE;
use boot::relocate::relocate;
use libfuzzer_sys::fuzz_target;

/// The largest image that is made here; larger ones are only looked at.
const IMAGE: u64 = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let Ok(kernel) = KernelFile::parse(input) else { return };
    let (low, high) = kernel.span();
    assert!(low < high && low.is_multiple_of(PAGE) && high.is_multiple_of(PAGE));
    for segment in &kernel.segments {
        assert!(low <= segment.first_page() && segment.end_page() <= high);
        let _rights = kernel.page_rights(segment, segment.first_page());
    }
    let asked = &kernel.config.mappings;
    if let Ok(mut placement) = Placement::new(asked) {
        let _stack = placement.reserve("the stack", asked.kernel_stack, kernel.config.kernel_stack_size);
        if let Ok(at) = placement.place("the image", asked.kernel_base, high - low) {
            assert!(at.is_multiple_of(PAGE));
        }
        let _info = placement.place("the boot info", asked.boot_info, PAGE);
    }
    if high - low > IMAGE {
        return;
    }
    let mut image = vec![0; (high - low) as usize];
    for segment in &kernel.segments {
        let at = (segment.start - low) as usize;
        image[at..at + segment.data.len()].copy_from_slice(segment.data);
    }
    if let Some((table, size)) = kernel.relocations {
        let _relocated = relocate(&mut image, low, table, size, 0xffff_9000_0000_0000);
    }
});
