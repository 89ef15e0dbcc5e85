//! The static tables of any bytes: SRAT, MADT and RSDP.
#![no_main]

use firmware::{madt, ranges, rsdp, srat};
use libfuzzer_sys::fuzz_target;
use mm::addr::{Pfn, PfnRange};

fuzz_target!(|input: &[u8]| {
    let _checked = madt::check(input);
    let _ranges = ranges::of(input);
    let _xsdt = rsdp::xsdt(input);
    let _is_long = rsdp::short(input).map(|short| short.is_long());
    let srat = srat::Srat(input);
    let entries = srat.memory().count();
    assert!(entries <= input.len(), "every entry takes bytes");
    assert!(srat.hot_pluggable().all(|range| !range.is_empty()));
    // The pieces of a range are the range, in order, whatever the table says.
    let whole = PfnRange::new(Pfn(0x100), Pfn(1 << 34));
    let mut next = whole.start;
    srat.split(whole, &mut |piece, _| {
        assert!(piece.start == next && !piece.is_empty());
        next = piece.end;
    });
    assert!(next == whole.end);
});
