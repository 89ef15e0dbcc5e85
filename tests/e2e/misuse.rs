//! Memory used wrongly, in the guest: each is noticed under its own name, and nothing changes by it.

use serde_json::Value;
use tests::guest::Dimm;
use tests::schema::{Check, Finding, Refusal};
use tests::{Guest, Machine, Plan};

/// `poison -J`: frames that are watched, and that were found written to.
fn poison(guest: &mut Guest) -> (u64, u64) {
    let answer: Value = guest.json("poison -J");
    let number = |name: &str| answer[name].as_u64().unwrap_or_else(|| panic!("{answer}"));
    (number("watched_pages"), number("damaged_pages"))
}

/// Proves that a block freed twice, a frame inside of one, a frame that the memmap has and one that is not there are
/// refused, each under its own name, and that free memory and every invariant are as before. Fails when one of them
/// is taken for right, or ends the kernel.
#[test]
fn wrong_frees_are_refused() {
    for machine in [Machine::Q35, Machine::Pc] {
        let mut guest = Plan::new(machine).boot();
        for mode in ["off", "on"] {
            guest.sh(&format!("poison {mode}"));
            let before = guest.meminfo();
            for (misuse, words) in [
                ("double-free", "is free, not allocated"),
                ("middle-free", "is inside the block at"),
                ("foreign-free", "is pinned, not allocated"),
                ("absent-free", "is absent"),
            ] {
                let Refusal { error } = guest.json(&format!("misuse {misuse} -J"));
                assert!(error.starts_with("refused: frame 0x") && error.contains(words), "{misuse}: {error}");
            }
            guest.assert_sound();
            assert_eq!(guest.meminfo(), before);
        }
    }
}

/// Proves that `check` finds a write to a free frame, and that the next allocation of the frame reports it with frame,
/// offset and bytes; and that DIMMs raise no alarm which arrive with junk, hold freed memory, move their content away
/// and leave. Fails if poison is not compared, or is compared where none was written.
#[test]
fn a_write_to_freed_memory_is_found() {
    let mut guest = Plan::new(Machine::Q35).boot();
    let Refusal { error } = guest.json("misuse write-freed -J");
    assert!(error.contains("run 'poison on' first"), "{error}");
    guest.sh("poison on");
    for round in 0..3 {
        guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
        let held = guest.alloc("60M --node 1");
        let gone = guest.alloc("90M --node 1");
        guest.sh(&format!("free {}", gone.id));
        assert!(poison(&mut guest).0 >= gone.pages, "round {round}");
        guest.take_away(0);
        assert_eq!(guest.verify().pages, held.pages, "round {round}");
        guest.assert_sound();
        guest.sh("free all");
        assert_eq!(poison(&mut guest).1, 0, "round {round}");
    }
    let free = guest.meminfo().free_pages;
    let written: Value = guest.json("misuse write-freed -J");
    let pfn = written["pfn"].as_u64().expect("a frame");
    assert_eq!(guest.meminfo().free_pages, free);
    let told = format!("frame {pfn:#x} was written to after it was freed: 0x0bad0bad0bad0bad at offset 0x18");
    let check: Check = guest.json("check -J");
    assert_eq!((check.ok, check.errors), (false, vec![Finding::of(&told)]));
    assert!(guest.sh("check").iter().any(|line| line == &told), "as text too");
    guest.sh("alloc --all --no-fill");
    guest.wait_text(&format!("ERROR {told}"));
    // A last frame may be free: it would need a page table.
    let left = guest.meminfo().free_pages;
    assert!(left <= 1, "{left} frames are free after `alloc --all`");
    assert_eq!(poison(&mut guest), (left, 1));
    guest.sh("free all");
    guest.assert_sound();
    guest.sh("poison off");
    assert_eq!(poison(&mut guest), (0, 1));
    assert_eq!(guest.meminfo().free_pages, free);
    assert_eq!(guest.power_off(), 0);
}
