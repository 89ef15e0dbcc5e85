//! `alloc`, `verify`, `free`: memory is taken where it was asked for, works, and comes back.

use tests::guest::Dimm;
use tests::schema::Refusal;
use tests::{Guest, Machine, Plan};

#[track_caller]
fn node_free(guest: &mut Guest, node: u32) -> u64 {
    let meminfo = guest.meminfo();
    meminfo.nodes.iter().find(|row| row.node == node).map_or(0, |row| row.free_pages)
}

/// Proves that allocations of odd sizes, pinned and contiguous ones come from the right place, hold
/// their bytes, and leave nothing behind in whatever order they are freed.
#[test]
fn taken_and_given_back() {
    let mut guest = Plan::new(Machine::Q35).boot();
    guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
    let before = guest.meminfo();
    let (node_0, node_1) = (node_free(&mut guest, 0), node_free(&mut guest, 1));

    let sizes = [("4K", 1u64), ("5K", 2), ("3M --node 1", 768), ("100M --node 1 --contiguous", 25600)];
    let mut ids = Vec::new();
    let mut pages = 0;
    for (what, expected) in sizes.into_iter().chain([("1M --pinned", 256), ("7M --node 0", 1792)]) {
        let got = guest.alloc(what);
        assert_eq!(got.pages, expected, "alloc {what}");
        assert!(!ids.contains(&got.id), "alloc {what}: id {} is given twice", got.id);
        ids.push(got.id);
        pages += got.pages;
    }
    let verify = guest.verify();
    assert!(verify.ok && verify.pages == pages, "{verify:?}");
    assert!(node_free(&mut guest, 1) <= node_1 - 768 - 25600);
    assert!(node_free(&mut guest, 0) <= node_0 - 1792);
    guest.assert_sound();

    // in an order of its own
    for index in [3, 0, 5, 1, 4, 2] {
        guest.sh(&format!("free {}", ids[index]));
    }
    assert_eq!(guest.verify().pages, 0);
    assert_eq!(guest.meminfo().free_pages, before.free_pages);
    guest.assert_sound();
}

/// Proves the proposal's main claim: all 252 MiB of a fresh DIMM of 256 MiB can be allocated as one run.
#[test]
fn whole_dimm_in_one_run() {
    let mut guest = Plan::new(Machine::Q35).boot();
    guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
    // the page tables that map it come from elsewhere: node 1 is full then
    assert_eq!(guest.alloc("252M --node 1 --contiguous").pages, 64512);
    assert_eq!(node_free(&mut guest, 1), 0);
    assert_eq!(guest.verify().pages, 64512);
    guest.assert_sound();
    let refused: Refusal = guest.json("alloc 4K --node 1 -J");
    assert!(!refused.error.is_empty());
    guest.sh("free all");
    assert_eq!(node_free(&mut guest, 1), 64512);
    guest.assert_sound();
}

/// Proves that with every frame allocated a DIMM still comes online, and that the next allocation
/// succeeds from it.
#[test]
fn plugged_into_a_full_machine() {
    let mut guest = Plan::new(Machine::Q35).option("--memory", "128M").boot();
    let before = guest.meminfo();
    guest.alloc("--all");
    let full = guest.meminfo();
    assert!(full.free_pages < 64, "alloc --all left {} frames", full.free_pages);
    let dimm = guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
    assert_eq!((dimm.usable_pages, dimm.add.existing_pages_used), (64512, 0));
    assert_eq!(guest.meminfo().free_pages, full.free_pages + 64512);
    assert_eq!(guest.alloc("64M").pages, 16384);
    assert!(guest.verify().ok);
    guest.assert_sound();
    guest.sh("free all");
    assert_eq!(guest.meminfo().free_pages, before.free_pages + 64512);
    guest.assert_sound();
}

/// Proves that an allocation that cannot succeed is refused with a reason and changes nothing.
#[test]
fn refusals_change_nothing() {
    let mut guest = Plan::new(Machine::Q35).boot();
    let before = guest.meminfo();
    for what in [
        "alloc 1T -J",
        "alloc 1G --contiguous -J",
        "alloc 4K --node 1 -J",
        "alloc 4K --node 7 -J",
        "free 77 -J",
    ] {
        let refused: Refusal = guest.json(what);
        assert!(refused.error.len() > 5, "{what}: {refused:?}");
    }
    assert_eq!(guest.meminfo(), before);
    guest.assert_sound();
}
