//! Random steps, many of them: DIMMs come and go in 32 slots while memory is taken, freed, compared, taken offline
//! and online.
//!
//! ```text
//!  CARAPACE_SOAK=300        so many steps             CARAPACE_SEED=17   the steps of an earlier run again
//!  CARAPACE_SOAK=1h         so long (s, m or h)       (it is printed, with the number of steps, in any case)
//! ```
//!
//! `CARAPACE_SOAK=1h cargo xtask test --qemu soak_on_q35` is a soak by hand. In CI it is a minute on each machine, on
//! q35 with freed memory poisoned.

use serde_json::Value;
use std::io::Write;
use std::time::{Duration, Instant};
use tests::eject::{BUSY, Ended};
use tests::guest::Dimm;
use tests::random::Random;
use tests::schema::{Check, Meminfo, SECTION_PAGES};
use tests::{Guest, Machine, Plan};

/// How long without `CARAPACE_SOAK`.
const SHORT: Until = Until::Time(Duration::from_secs(60));
const SLOTS: u32 = 32;
/// After so many steps everything is compared with everything.
const THOROUGH: usize = 40;

const SIZES: [&str; 12] =
    ["2M", "4M", "30M", "62M", "64M", "100M", "126M", "128M", "130M", "192M", "256M", "258M"];
const AMOUNTS: [&str; 9] = ["4K", "12K", "60K", "1M", "2M", "5M", "17M", "40M", "90M"];

/// So many steps memory fills, and as many it empties.
const TIDE: usize = 100;

/// How long it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Steps(usize),
    Time(Duration),
}

impl Until {
    /// The length from the environment, or [`SHORT`].
    #[track_caller]
    fn asked_for() -> Until {
        std::env::var("CARAPACE_SOAK").map_or(SHORT, |text| {
            Until::parse(&text).expect("a number of steps, or a time such as 90s, 20m, 1h")
        })
    }

    fn parse(text: &str) -> Option<Until> {
        let seconds =
            |unit| Some(Until::Time(Duration::from_secs(unit * text[..text.len() - 1].parse::<u64>().ok()?)));
        match text.chars().last()? {
            's' => seconds(1),
            'm' => seconds(60),
            'h' => seconds(3600),
            _ => text.parse().ok().map(Until::Steps),
        }
    }

    fn over(self, steps: usize, start: Instant) -> bool {
        match self {
            Until::Steps(most) => steps >= most,
            Until::Time(most) => start.elapsed() >= most,
        }
    }
}

/// Says something also while the test passes, when its other output is not shown.
fn tell(text: &str) {
    // The reader may be gone.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Proves that numbers and times are distinguished.
#[test]
fn soak_lengths() {
    let time = |seconds| Some(Until::Time(Duration::from_secs(seconds)));
    assert_eq!(Until::parse("300"), Some(Until::Steps(300)));
    assert_eq!(
        [Until::parse("90s"), Until::parse("20m"), Until::parse("1h")],
        [time(90), time(1200), time(3600)]
    );
    assert_eq!([Until::parse(""), Until::parse("h"), Until::parse("-1"), Until::parse("1 h")], [None; 4]);
}

/// The test's model of the guest.
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

    /// Memory fills for a while and empties for a while: were it always full, no DIMM could ever be emptied.
    fn step(&mut self, steps: usize) {
        let allocs_of_9 = if (steps / TIDE).is_multiple_of(2) { 6 } else { 2 };
        match self.random.below(20) {
            0..5 => self.plug(),
            5..9 => self.unplug(),
            9..18 if self.random.below(9) < allocs_of_9 => self.alloc(),
            9..18 => self.free(),
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

/// After so many it says how far it has come.
const REPORTED: usize = 5000;

/// Proves that hundreds of random steps lose nothing: each allocation kept its bytes, each request was answered, the free
/// frames and the heap are at the end as at the start, and no freed memory was written to.
fn soak(machine: Machine) {
    let until = Until::asked_for();
    let random = Random::seeded();
    let (name, seed) = (machine.name(), random.seed());
    tell(&format!("soak on {name}: CARAPACE_SEED={seed}"));
    let mut world = World {
        guest: Plan::new(machine).option("--slots", &SLOTS.to_string()).boot(),
        random,
        plugged: Vec::new(),
        held: Vec::new(),
        deleted: 0,
        refused: 0,
    };
    // allocate now what is allocated once and kept: a slot
    for _ in 0..SLOTS {
        world.plug();
    }
    let before = world.empty();
    if machine == Machine::Q35 {
        world.guest.sh("poison on");
    }
    let start = Instant::now();
    let mut steps = 0;
    while !until.over(steps, start) {
        world.step(steps);
        steps += 1;
        println!("after {steps} steps (CARAPACE_SEED={seed} CARAPACE_SOAK={steps})");
        if steps % THOROUGH == 0 {
            world.look();
            world.guest.assert_sound();
        }
        if steps % REPORTED == 0 {
            tell(&format!("soak on {name}: {steps} steps in {} s", start.elapsed().as_secs()));
        }
    }
    let after = world.empty();
    let World { deleted, refused, .. } = world;
    tell(&format!(
        "soak on {name}: {steps} steps in {} s, {deleted} removals, {refused} refused; again with CARAPACE_SEED={seed} \
         CARAPACE_SOAK={steps}",
        start.elapsed().as_secs()
    ));
    assert_eq!(after, before);
    let poison: Value = world.guest.json("poison -J");
    assert_eq!((&poison["damaged_pages"], &poison["on"]), (&0.into(), &(machine == Machine::Q35).into()));
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
