//! `page`: what a frame is, before a DIMM is there, in its memmap, free, and allocated.

use tests::guest::Dimm;
use tests::{Machine, Plan};

/// Proves that a frame's state follows what happens to it, and that free frames know their block.
#[test]
fn states_of_a_frame() {
    let mut guest = Plan::new(Machine::Q35).boot();
    let first = 0x10_0000;
    assert_eq!(guest.page(first).state, "absent");
    let dimm = guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
    for pfn in [first, first + 1023] {
        let page = guest.page(pfn);
        assert_eq!((page.state.as_str(), page.order, page.head_pfn), ("memmap", None, None), "{page:?}");
        assert_eq!((page.phys, page.section, page.resource), (pfn * 4096, 32, Some(dimm.id)));
    }
    let free = guest.page(first + 40000);
    assert_eq!((free.state.as_str(), free.order, free.head_pfn), ("free", Some(15), Some(first + 32768)));
    assert_eq!(guest.page(first + 65536).state, "absent");

    guest.alloc("252M --node 1 --contiguous");
    assert_eq!(guest.page(first + 40000).state, "movable");
    guest.sh("free all");
    assert_eq!(guest.page(first + 40000).state, "free");
    guest.alloc("4K --node 1 --pinned");
    guest.assert_sound();
}
