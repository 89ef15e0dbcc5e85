//! Random steps, many of them: DIMMs come and go in 32 slots while memory is taken, freed, compared, taken offline
//! and online. `CARAPACE_SEED` repeats a run, `CARAPACE_SOAK` sets the number of steps.

use serde_json::Value;
use tests::answers::{Check, Meminfo, SECTION_PAGES};
use tests::eject::{BUSY, Ended};
use tests::guest::Dimm;
use tests::random::Random;
use tests::{Guest, Machine, Plan};

/// Steps without `CARAPACE_SOAK`.
const STEPS: usize = 300;
const SLOTS: u32 = 32;
/// After so many steps everything is compared with everything.
const THOROUGH: usize = 40;

const SIZES: [&str; 12] =
    ["2M", "4M", "30M", "62M", "64M", "100M", "126M", "128M", "130M", "192M", "256M", "258M"];
const AMOUNTS: [&str; 9] = ["4K", "12K", "60K", "1M", "2M", "5M", "17M", "40M", "90M"];

/// What the test knows of the guest.
struct World {
    guest: Guest,
    random: Random,
    /// Slots with a DIMM.
    plugged: Vec<u32>,
    /// Allocations, and whether each is pinned.
    held: Vec<(u64, bool)>,
    /// How often each kind of step was taken, for the report.
    deleted: usize,
    refused: usize,
}

impl World {
    fn plug(&mut self) {
        let empty: Vec<u32> = (0..SLOTS).filter(|slot| !self.plugged.contains(slot)).collect();
        if empty.is_empty() {
            return;
        }
        let number = *self.random.pick(&empty);
        let size = *self.random.pick(&SIZES);
        let node = self.random.below(2) as u32;
        assert_eq!(self.guest.plug(Dimm { number, size, node }).status, 0, "dimm{number} of {size}");
        self.plugged.push(number);
    }

    /// A refusal has to be one that can be: something is pinned, or there may be no room.
    fn unplug(&mut self) {
        if self.plugged.is_empty() {
            return;
        }
        let at = self.random.below(self.plugged.len());
        let number = self.plugged[at];
        match self.guest.unplug(number) {
            Ended::Deleted => {
                self.guest.monitor_line(&format!("object_del ram{number}"));
                self.plugged.swap_remove(at);
                self.deleted += 1;
            }
            Ended::Refused(status) => {
                assert_eq!(status, BUSY, "dimm{number}");
                assert!(!self.held.is_empty(), "dimm{number} is refused with nothing allocated");
                self.refused += 1;
            }
        }
    }

    fn alloc(&mut self) {
        let amount = *self.random.pick(&AMOUNTS);
        let kind = *self.random.pick(&["", "", "", "", " --contiguous", " --contiguous", " --pinned"]);
        let node = *self.random.pick(&["", " --node 0", " --node 1"]);
        let answer: Value = self.guest.json(&format!("alloc {amount}{kind}{node} -J"));
        if let Some(id) = answer["id"].as_u64() {
            self.held.push((id, kind == " --pinned"));
        } else {
            assert!(answer["error"].is_string(), "{answer}");
        }
    }

    fn free(&mut self) {
        if !self.held.is_empty() {
            let at = self.random.below(self.held.len());
            let (id, _) = self.held.swap_remove(at);
            self.guest.json::<Value>(&format!("free {id} -J"));
        }
    }

    /// Takes sections somewhere offline and back online.
    fn offline(&mut self) {
        let plugged: Vec<_> = self.guest.resources().into_iter().filter(|row| row.device != "boot").collect();
        if plugged.is_empty() {
            return;
        }
        let from = self.random.pick(&plugged).base / 4096 / SECTION_PAGES;
        let to = from + self.random.below(3) as u64;
        let answer: Value = self.guest.json(&format!("offline {from}-{to} -J"));
        assert!(answer["pages"].is_u64() || answer["error"].is_string(), "{answer}");
        self.look();
        let back: Value = self.guest.json(&format!("online {from}-{to} -J"));
        assert!(back["pages"].as_u64() >= answer["pages"].as_u64(), "{answer}, {back}");
    }

    fn look(&mut self) {
        let verify = self.guest.verify();
        assert!(verify.ok, "{verify:?}");
        let check: Check = self.guest.json("check -J");
        assert!(check.ok, "{check:?}");
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..5 => self.plug(),
            5..9 => self.unplug(),
            9..14 => self.alloc(),
            14..18 => self.free(),
            18 => self.offline(),
            _ => self.look(),
        }
    }

    /// `meminfo -J` with nothing plugged and nothing allocated.
    fn empty(&mut self) -> Meminfo {
        self.guest.sh("free all");
        self.held.clear();
        for number in core::mem::take(&mut self.plugged) {
            self.guest.take_away(number);
        }
        self.guest.assert_sound();
        self.guest.meminfo()
    }
}

/// Proves that after hundreds of random steps nothing is lost: every allocation has had its bytes, every request was
/// answered, and free frames and the heap are at the end what they were at the start.
fn soak(machine: Machine) {
    let steps = std::env::var("CARAPACE_SOAK").map_or(STEPS, |text| text.parse().expect("a number"));
    let mut world = World {
        guest: Plan::new(machine).option("--slots", &SLOTS.to_string()).boot(),
        random: Random::seeded(),
        plugged: Vec::new(),
        held: Vec::new(),
        deleted: 0,
        refused: 0,
    };
    // what is made once and kept, a slot, is made now
    for _ in 0..SLOTS {
        world.plug();
    }
    let before = world.empty();
    for step in 1..=steps {
        world.step();
        if step % 1000 == 0 {
            println!("{step} steps");
        }
        if step % THOROUGH == 0 {
            world.look();
            world.guest.assert_sound();
        }
    }
    let after = world.empty();
    println!("{steps} steps: {} removals, {} refused", world.deleted, world.refused);
    assert_eq!(after, before);
    assert_eq!(world.guest.power_off(), 0);
}

/// Proves it on q35.
#[test]
fn soak_on_q35() {
    soak(Machine::Q35);
}

/// Proves it on pc.
#[test]
fn soak_on_pc() {
    soak(Machine::Pc);
}
