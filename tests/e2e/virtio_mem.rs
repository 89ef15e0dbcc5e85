//! virtio-mem in the guest: the host sets a size, the kernel reaches it with the memmap in the new memory, gives back what
//! is unused or can move, and says what cannot.

use std::time::{Duration, Instant};

use tests::guest::Dimm;
use tests::schema::{Resource, Virtio};
use tests::{Guest, Machine, Plan};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const LIMIT: Duration = Duration::from_secs(30);

/// The devices, and that each has exactly the memory that the kernel uses.
#[track_caller]
pub fn devices(guest: &mut Guest) -> Vec<Virtio> {
    let devices: Vec<Virtio> = guest.json("virtio -J");
    let resources = guest.resources();
    let states = guest.monitor().virtio_mems().expect("QEMU answers");
    assert_eq!(devices.len(), states.len());
    for (device, state) in devices.iter().zip(states) {
        let own = |resource: &&Resource| resource.device == device.device;
        let pages: u64 = resources
            .iter()
            .filter(own)
            .map(|resource| resource.size / 4096 - resource.unplugged_pages)
            .sum();
        assert_eq!((pages * 4096, state.plugged), (device.plugged, device.plugged), "{device:?}");
    }
    devices
}

/// Asks for a size of device `vmN` and waits until it is reached.
#[track_caller]
pub fn set(guest: &mut Guest, device: usize, size: u64) -> Virtio {
    request(guest, device, size);
    let state = guest.monitor().wait_size(&format!("vm{device}"), LIMIT).expect("QEMU answers");
    assert_eq!(state.plugged, size, "{:?}", devices(guest));
    let devices = devices(guest);
    assert_eq!(devices[device].held_by, None);
    devices[device].clone()
}

#[track_caller]
pub fn request(guest: &mut Guest, device: usize, size: u64) {
    guest.monitor().request_size(&format!("vm{device}"), size).expect("QEMU takes the size");
}

/// Waits until a device is held up; the reason.
#[track_caller]
pub fn held(guest: &mut Guest, device: usize) -> String {
    let deadline = Instant::now() + LIMIT;
    loop {
        let now: Vec<Virtio> = guest.json("virtio -J");
        // At rest, unless another size was requested and the driver asks the device again.
        if now[device].held_by.is_some()
            && let Some(reason) = devices(guest)[device].held_by
        {
            return reason.as_str().to_owned();
        }
        assert!(Instant::now() < deadline, "nothing holds it up: {now:?}");
    }
}

/// Proves the whole way: two devices on two nodes and a DIMM beside them grow by GiB and by 2 MiB, in few requests, without
/// existing memory, and shrink to nothing with content moved and verified; then all frames are free as before. Fails when
/// the memmap comes from elsewhere, a piece is used before it is plugged, or something stays behind.
fn grow_and_shrink(machine: Machine) {
    let plan = Plan::new(machine).option("--virtio-mem", "16G").option("--virtio-mem", "2G,node=1,block=4M");
    let mut guest = plan.boot();
    let before = guest.meminfo();
    let whole = set(&mut guest, 0, GIB);
    assert_eq!((whole.requests.plug, whole.requests.unplug, whole.usable), (1, 0, GIB + 256 * MIB));
    let chunk =
        guest.resources().into_iter().find(|resource| resource.device == whole.device).expect("a chunk");
    assert_eq!((chunk.base, chunk.size, chunk.memmap_pages), (whole.base, GIB, 16 * MIB / 4096));
    assert_eq!((chunk.free_pages, chunk.add.existing_pages_used), (1008 * MIB / 4096, 0));
    let run = guest.alloc("1008M --contiguous --no-fill");
    guest.sh(&format!("free {}", run.id));
    guest.assert_sound();

    let small = set(&mut guest, 1, 8 * MIB);
    assert_eq!((small.node, small.block, small.requests.plug), (1, 4 * MIB, 2));
    set(&mut guest, 0, 3 * GIB);
    let more = set(&mut guest, 0, 3 * GIB + 2 * MIB);
    assert!(more.requests.plug <= 4, "{more:?}");
    set(&mut guest, 0, 3 * GIB + 4 * MIB);
    guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
    let nodes = guest.meminfo().nodes;
    assert!(nodes[1].usable_pages > 252 * MIB / 4096, "{nodes:?}");
    let first = guest.page(whole.base / 4096 + GIB / 4096 * 3 + 4 * MIB / 4096);
    assert_eq!(first.state.as_str(), "unplugged");
    let highest = highest_chunk(&mut guest, &whole);
    let last = guest.sections(highest);
    assert!(last.iter().any(|section| section.state.as_str() == "unplugged"), "{last:?}");
    guest.assert_sound();

    let content = guest.alloc("1500M");
    let back = set(&mut guest, 0, 2 * GIB);
    assert!(back.requests.unplug <= more.requests.unplug + 16, "{back:?}");
    let moved = guest.verify();
    assert!(moved.ok && moved.pages == content.pages, "{moved:?}");
    guest.assert_sound();
    guest.sh("free all");
    set(&mut guest, 0, 0);
    set(&mut guest, 1, 0);
    let after = guest.meminfo();
    let of_dimm = 252 * MIB / 4096;
    assert_eq!((after.free_pages, after.heap_used), (before.free_pages + of_dimm, before.heap_used));
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// The resource of a device's highest chunk.
#[track_caller]
fn highest_chunk(guest: &mut Guest, device: &Virtio) -> u32 {
    let resources = guest.resources();
    let own = resources.iter().filter(|resource| resource.device == device.device);
    own.max_by_key(|resource| resource.base).expect("a chunk").id
}

/// Proves it on q35, with the configuration space in memory.
#[test]
fn grow_and_shrink_on_q35() {
    grow_and_shrink(Machine::Q35);
}

/// Proves it on pc, with the configuration space behind ports.
#[test]
fn grow_and_shrink_on_pc() {
    grow_and_shrink(Machine::Pc);
}

/// Proves that what cannot leave is named, that everything else leaves, and that the rest follows at once when it is
/// freed. Fails when a shrink stops at the first used block, or is tried again by a timer only.
#[test]
fn what_cannot_leave_is_named() {
    let mut guest = Plan::new(Machine::Q35).option("--virtio-mem", "4G,node=1").boot();
    set(&mut guest, 0, 2 * GIB);
    let pinned = guest.alloc("3M --node 1 --pinned");
    request(&mut guest, 0, 0);
    let reason = held(&mut guest, 0);
    assert!(reason.contains("pinned") && reason.contains(&format!("allocation {}", pinned.id)), "{reason}");
    let left = devices(&mut guest)[0].plugged;
    assert!(left <= 8 * MIB, "{left}");
    guest.assert_sound();
    guest.sh(&format!("free {}", pinned.id));
    let state = guest.monitor().wait_size("vm0", LIMIT).expect("QEMU answers");
    assert_eq!(state.plugged, 0);
    assert_eq!(devices(&mut guest)[0].held_by, None);
    // More movable content than fits elsewhere.
    set(&mut guest, 0, 2 * GIB);
    let content = guest.alloc("1G --node 1");
    request(&mut guest, 0, 0);
    let reason = held(&mut guest, 0);
    assert!(reason.contains("migrate") && reason.contains("missing"), "{reason}");
    assert!(guest.verify().ok);
    guest.sh(&format!("free {}", content.id));
    assert_eq!(guest.monitor().wait_size("vm0", LIMIT).expect("QEMU answers").plugged, 0);
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves that a guest of 64 MiB whose memory is all taken grows to 64 GiB and back, several times, with the same free
/// frames and heap. Fails when growing needs a frame or a byte of what was there.
#[test]
fn a_small_full_guest_grows_far() {
    let plan = Plan::new(Machine::Q35).option("--memory", "64M").option("--virtio-mem", "64G");
    let mut guest = plan.boot();
    guest.alloc("--all --no-fill");
    let before = guest.meminfo();
    for _ in 0..3 {
        let grown = set(&mut guest, 0, 64 * GIB);
        assert!(grown.requests.plug <= 3 * 64, "{grown:?}");
        assert!(guest.resources().iter().all(|resource| resource.add.existing_pages_used == 0));
        set(&mut guest, 0, 0);
        let after = guest.meminfo();
        assert_eq!((after.free_pages, after.heap_used), (before.free_pages, before.heap_used));
    }
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves that a reset of the machine, which unplugs everything, and a stopped and continued guest leave driver and device
/// in agreement. Fails when the driver believes in blocks of before the reset.
#[test]
fn reset_and_stop() {
    let mut guest = Plan::new(Machine::Q35).option("--virtio-mem", "4G").boot();
    set(&mut guest, 0, GIB + 2 * MIB);
    guest.human("stop");
    request(&mut guest, 0, 3 * GIB);
    request(&mut guest, 0, 2 * GIB);
    guest.human("cont");
    set(&mut guest, 0, 2 * GIB);
    guest.reset();
    let state = guest.monitor().wait_size("vm0", LIMIT).expect("QEMU answers");
    assert_eq!(state.plugged, 2 * GIB, "the host still wants it");
    guest.assert_sound();
    devices(&mut guest);
    set(&mut guest, 0, 0);
    assert_eq!(guest.power_off(), 0);
}

/// Proves that a device which is busy, because the guest is being migrated, is asked again until it is not, that everything
/// else goes on meanwhile, and that core and device agree at each moment. Fails when BUSY ends the driver's attempts.
#[test]
fn busy_while_the_guest_migrates() {
    let mut guest = Plan::new(Machine::Q35).option("--virtio-mem", "4G").boot();
    set(&mut guest, 0, GIB);
    guest.alloc("300M");
    guest.human("migrate_set_parameter max-bandwidth 1M");
    guest.human("migrate -d \"exec:cat >/dev/null\"");
    for size in [2 * GIB, 512 * MIB] {
        let before = devices(&mut guest)[0].requests.busy;
        request(&mut guest, 0, size);
        let deadline = Instant::now() + LIMIT;
        let now = loop {
            assert!(held(&mut guest, 0).contains("busy"));
            let now = devices(&mut guest)[0].clone();
            if now.requests.busy > before {
                break now;
            }
            // Held up by the size before: the driver has not asked for this one yet.
            assert!(Instant::now() < deadline, "{now:?}");
        };
        assert_eq!(now.plugged, GIB, "{now:?}");
    }
    assert!(guest.verify().ok);
    guest.human("migrate_cancel");
    let state = guest.monitor().wait_size("vm0", LIMIT).expect("QEMU answers");
    assert_eq!(state.plugged, 512 * MIB);
    assert!(guest.verify().ok);
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves that memory grows and shrinks while all CPUs allocate, verify and free it. Fails when another CPU uses a piece
/// that is unplugged, or a cached block of one.
#[test]
fn sizes_change_under_stress() {
    let mut guest = Plan::new(Machine::Q35).option("--virtio-mem", "4G,node=1").option("--cpus", "4").boot();
    set(&mut guest, 0, GIB);
    guest.send(b"stress --seconds 5 -J\n");
    let mut random = fastrand::Rng::with_seed(16);
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        let size = [0, 2, 10, 300, 1024, 2048][random.usize(..6)] * MIB;
        request(&mut guest, 0, size);
        let state = guest.monitor().wait_size("vm0", LIMIT).expect("QEMU answers");
        assert_eq!(state.plugged, size);
    }
    let stress: serde_json::Value = guest.finish("stress --seconds 5 -J");
    assert_eq!(stress["bad_pages"], 0, "{stress}");
    guest.assert_sound();
    set(&mut guest, 0, 0);
    assert_eq!(guest.power_off(), 0);
}
