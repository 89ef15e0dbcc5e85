//! `_CRS` buffers of any bytes: descriptors, then at most one error, and an end.
#![no_main]

use carapace_aml::resources::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut resources = decode(input);
    let count = resources.by_ref().take_while(Result::is_ok).count();
    assert!(count <= input.len());
    assert!(resources.next().is_none(), "nothing comes after an error");
});
