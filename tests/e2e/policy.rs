//! `policy` and `stress heap`: what becomes of new memory, and a heap that has nothing left.

use tests::guest::Dimm;
use tests::schema::{Alloc, Meminfo, Numa, Refusal, Speed, Word};
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
    assert_eq!(guest.sh("policy -J"), [r#"{"policy":"online","nodes":"fastest"}"#]);
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

/// Proves that `numa` shows the latency and the bandwidth of the firmware's HMAT, that an allocation without a node comes
/// from a faster DIMM as soon as there is one, although the CPU's node has more free memory, that a pinned one does not,
/// and that a policy turns it off. Fails when the table is not read, or read and not used.
#[test]
fn fast_memory_first() {
    let speeds = ["--hmat", "80:20G,250:5G,10:200G"];
    let plan = Plan::new(Machine::Q35).option("--nodes", "3");
    let mut guest = plan.option(speeds[0], speeds[1]).boot();
    let numa: Numa = guest.json("numa -J");
    let row = |target, latency_ps: u64, bandwidth: u64, rank| Speed {
        initiator: 0,
        target,
        latency_ps: Some(latency_ps),
        bandwidth: Some(bandwidth),
        rank,
    };
    let expected = [row(0, 80_000, 20 << 10, 1), row(1, 250_000, 5 << 10, 2), row(2, 10_000, 200 << 10, 0)];
    assert_eq!(numa.hmat, expected);
    let shown = guest.sh("numa").join("\n");
    assert!(shown.contains("   0    2      10.0 ns     204800 MB/s     0"), "{shown}");

    let nodes = |guest: &mut Guest, alloc: &str| {
        let before = guest.meminfo().nodes;
        guest.alloc(alloc);
        let after = guest.meminfo().nodes;
        let taken =
            before.iter().zip(&after).filter(|(before, after)| after.free_pages + 8192 <= before.free_pages);
        taken.map(|(_, after)| after.node).collect::<Vec<u32>>()
    };
    for (number, node) in [(0, 1), (1, 2)] {
        assert_eq!(guest.plug(Dimm { number, size: "256M", node }).status, 0);
    }
    assert_eq!(nodes(&mut guest, "64M"), [2]);
    assert_eq!(nodes(&mut guest, "64M --pinned"), [0]);
    guest.sh("policy most-free");
    assert_eq!(nodes(&mut guest, "64M"), [0]);
    guest.sh("policy fastest");
    assert_eq!(nodes(&mut guest, "64M --contiguous"), [2]);
    // What the fastest node has no more comes from the next one, and that is not the slow DIMM.
    assert_eq!(nodes(&mut guest, "192M"), [0, 2]);
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}
