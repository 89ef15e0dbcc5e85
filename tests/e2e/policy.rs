//! `policy` and `stress heap`: what becomes of new memory, and a heap that has nothing left.

use tests::guest::Dimm;
use tests::schema::{Alloc, Meminfo, Refusal, Word};
use tests::{Guest, Machine, Plan};

/// Plugs 256 MiB into node 1; its zone and its state.
#[track_caller]
fn plug(guest: &mut Guest, number: u32) -> (Word, Word) {
    assert_eq!(guest.plug(Dimm { number, size: "256M", node: 1 }).status, 0);
    let base = 0x1_0000_0000 + (u64::from(number) << 28);
    let new = guest.resources().into_iter().find(|row| row.base == base).expect("a new resource");
    (new.zone, new.state)
}

/// Proves that each policy gives a DIMM its state, and that allocations respect it: none from an offline DIMM, no
/// pinned one from a movable DIMM. Fails if an allocation ignores the zone, or an offline region counts as free.
#[test]
fn policies() {
    let mut guest = Plan::new(Machine::Q35).boot();
    let words = |zone: &str, state: &str| (Word::of(&zone), Word::of(&state));
    guest.sh("policy offline");
    assert_eq!(plug(&mut guest, 0), words("any", "offline"));
    let sums: Meminfo = guest.meminfo();
    assert_eq!((sums.offline_pages, sums.nodes[1].usable_pages), (64512, 64512));
    assert_eq!(sums.nodes[1].free_pages, 0, "no frame of an offline region can be allocated");
    guest.assert_sound();
    let refused: Refusal = guest.json("alloc 4K --node 1 -J");
    assert!(refused.error.contains("only 0 suitable frames are free"), "{refused:?}");
    assert_eq!(guest.page(0x10_0400).state, "offline");

    guest.sh("policy movable");
    assert_eq!(plug(&mut guest, 1), words("movable", "online"));
    let refused: Refusal = guest.json("alloc 4K --node 1 --pinned -J");
    assert!(refused.error.contains("only 0 suitable frames are free"), "{refused:?}");
    assert_eq!(guest.alloc("252M --node 1 --contiguous").pages, 64512);
    assert_eq!(guest.verify().pages, 64512);

    guest.sh("policy kernel");
    assert_eq!(plug(&mut guest, 2), words("kernel", "online"));
    assert_eq!(guest.alloc("252M --node 1 --pinned --contiguous").pages, 64512);
    guest.assert_sound();

    guest.sh("policy online");
    assert_eq!(plug(&mut guest, 3), words("any", "online"));
    let refused: Refusal = guest.json("policy sideways -J");
    assert!(refused.error.contains("sideways"), "{refused:?}");
    assert_eq!(guest.sh("policy -J"), [r#"{"policy":"online"}"#]);
    guest.sh("free all");
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves that with the heap used up to its reserve DIMMs come online, allocations and all read-only commands work, and
/// everything can be freed. Fails if plugging or the shell needs the general heap.
#[test]
fn full_heap() {
    let mut guest = Plan::new(Machine::Pc).boot();
    let before = guest.meminfo();
    guest.sh("stress heap");
    let full = guest.meminfo();
    assert_eq!(full.heap_bytes, before.heap_bytes, "the heap does not grow");
    assert!(full.heap_used > before.heap_used + full.heap_bytes / 2, "{before:?} {full:?}");
    for number in 0..4 {
        assert_eq!(plug(&mut guest, number), (Word::of(&"any"), Word::of(&"online")));
    }
    let taken: Alloc = guest.alloc("500M --node 1");
    assert_eq!(guest.verify().pages, taken.pages);
    for command in ["map", "lsmem", "acpi", "dmesg", "help", "ptdump", "sections", "resources"] {
        let answer = guest.sh(command);
        assert!(answer.iter().all(|line| !line.starts_with("error")), "`{command}` answered {answer:?}");
    }
    guest.sh("free all");
    guest.assert_sound();
    guest.sh("stress off");
    let after = guest.meminfo();
    assert!(after.heap_used < before.heap_used + (64 << 10), "{before:?} {after:?}");
    guest.assert_sound();
}
