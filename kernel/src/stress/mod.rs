//! `stress`: all CPUs allocate, fill, verify and free memory, each in its own memory and in that of the others.
//!
//! ```text
//!  CPU 0   executor step --.
//!  CPU 1   turn -----------+--> a place at random: empty?  allocate a block, fill it, put it there
//!  CPU n   turn -----------'                       a block (of any CPU)?  verify it, free it
//!                               now and then, one CPU at a time: the same with a mapped allocation (`mapped`)
//!  start: choose the CPUs, wake them      stop: they end their turn; then what is left in the places is freed
//! ```
//!
//! A block stays in its place for a random time, short enough that an evacuation can wait for it; mapped allocations
//! migrate.
//!
//! Invariants: [`start`] and [`stop`] run on the first CPU. A CPU takes part only in a turn, in which its `at_work` is
//! set and its bit of [`WANTED`] was seen after that; so when the bits are clear and no CPU is at work, none is any
//! more. A block is in a place or in one CPU's hands, so each is verified and freed once.
//!
//! Neighbours: `carapace_mm::scratch` has the blocks, `cpus::idle` calls [`turn`], `commands::stress` is the command.

mod mapped;

use crate::arch::{percpu, time};
use crate::cpus::idle::{self, Worked};
use crate::cpus::{self};
use crate::executor;
use crate::memory::core;
use crate::sync::{Mutex, Rank};
use ::core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use ::core::time::Duration;
use carapace_irq::mailbox::CpuSet;
use carapace_mm::addr::{NodeId, Order};
use carapace_mm::machine::{CpuNr, MAX_CPUS};
use carapace_mm::scratch::ScratchBlock;
use log::error;

/// Places in which the CPUs exchange blocks.
const PLACES: usize = 64;
/// All blocks together take at most one part in so many of the memory that is free at the start.
const SHARE: u64 = 8;
/// Operations of a turn of a CPU beside the first.
const TURN: u32 = 16;
/// How long the first CPU's turn lasts: events wait for it.
const FIRST_TURN: Duration = Duration::from_micros(200);
/// The most log lines about wrong contents.
const LINES: u64 = 10;

/// The sizes of the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// All of this order.
    Exactly(Order),
    /// Most of them small, some of 2 MiB.
    Mixed,
}

impl Sizes {
    /// As a word.
    fn encode(self) -> u64 {
        match self {
            Sizes::Exactly(order) => u64::from(order.0),
            Sizes::Mixed => u64::MAX,
        }
    }

    fn pick(encoded: u64, random: u64) -> Order {
        match (u8::try_from(encoded), random % 64) {
            (Ok(order), _) => Order(order),
            (Err(_), 0) => Order(9),
            (Err(_), random @ 1..16) => Order((random % 6) as u8),
            (Err(_), _) => Order(0),
        }
    }
}

/// A CPU's part.
#[derive(Debug)]
#[repr(align(128))]
struct Part {
    at_work: AtomicBool,
    random: AtomicU64,
    operations: AtomicU64,
    bad_pages: AtomicU64,
    lost_pages: AtomicU64,
}

static PARTS: [Part; MAX_CPUS] = [const {
    Part {
        at_work: AtomicBool::new(false),
        random: AtomicU64::new(0),
        operations: AtomicU64::new(0),
        bad_pages: AtomicU64::new(0),
        lost_pages: AtomicU64::new(0),
    }
}; MAX_CPUS];

/// The CPUs that take part now, one bit each.
static WANTED: AtomicU64 = AtomicU64::new(0);
/// Those of the last start, when it was, and what it asked for.
static CHOSEN: AtomicU64 = AtomicU64::new(0);
static STARTED_NS: AtomicU64 = AtomicU64::new(0);
static SIZES: AtomicU64 = AtomicU64::new(0);
static PLACES_USED: AtomicU64 = AtomicU64::new(0);

type Place = Mutex<Option<ScratchBlock>>;

static BLOCKS: [Place; PLACES] = [const { Mutex::new(Rank::Stress, None) }; PLACES];

/// What the CPUs have done since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// CPUs that take part.
    pub cpus: u32,
    /// Blocks and mapped allocations made, and those verified and freed.
    pub operations: u64,
    /// Pages with wrong contents.
    pub bad_pages: u64,
    /// Pages whose memory was surprise-removed.
    pub lost_pages: u64,
    /// Since the start.
    pub time: Duration,
}

/// Whether it runs.
pub fn is_running() -> bool {
    WANTED.load(Ordering::Relaxed) != 0
}

/// How many CPUs could take part.
pub fn most_cpus() -> u32 {
    cpus::running().len() as u32
}

/// Starts it on `count` CPUs, of which the first one is chosen last.
pub fn start(count: u32, sizes: Sizes) {
    cpus::assert_first();
    let of_highest = |set: CpuSet| set.iter().last().map_or(CpuSet::EMPTY, CpuSet::of);
    let mut left = cpus::running();
    let mut chosen = CpuSet::EMPTY;
    while chosen.len() < count as usize && !left.is_empty() {
        let next = of_highest(left);
        (left, chosen) = (left.without(next), CpuSet::from_bits(chosen.bits() | next.bits()));
    }
    for (number, part) in PARTS.iter().enumerate() {
        // Any odd number will do; each CPU has its own.
        part.random.store(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * number as u64 + 1), Ordering::Relaxed);
        for counter in [&part.operations, &part.bad_pages, &part.lost_pages] {
            counter.store(0, Ordering::Relaxed);
        }
    }
    let largest = match sizes {
        Sizes::Exactly(order) => order.pages(),
        Sizes::Mixed => Order(4).pages(),
    };
    let places = (core().totals().free_pages / SHARE / largest).clamp(1, PLACES as u64);
    PLACES_USED.store(places, Ordering::Relaxed);
    SIZES.store(sizes.encode(), Ordering::Relaxed);
    STARTED_NS.store(time::uptime().as_nanos() as u64, Ordering::Relaxed);
    CHOSEN.store(chosen.bits(), Ordering::Relaxed);
    WANTED.store(chosen.bits(), Ordering::SeqCst);
    for cpu in chosen.iter().filter_map(CpuNr::new) {
        if cpu == CpuNr::FIRST { executor::wake() } else { idle::wake(cpu) }
    }
}

/// What has been done since the last start.
pub fn done() -> Done {
    let sum = |of: fn(&Part) -> &AtomicU64| PARTS.iter().map(|part| of(part).load(Ordering::Relaxed)).sum();
    Done {
        cpus: CpuSet::from_bits(CHOSEN.load(Ordering::Relaxed)).len() as u32,
        operations: sum(|part| &part.operations),
        bad_pages: sum(|part| &part.bad_pages),
        lost_pages: sum(|part| &part.lost_pages),
        time: time::uptime().saturating_sub(Duration::from_nanos(STARTED_NS.load(Ordering::Relaxed))),
    }
}

/// Stops it: waits until no CPU is at work, then verifies and frees what is left.
pub async fn stop() -> Done {
    cpus::assert_first();
    let time = done().time;
    WANTED.store(0, Ordering::SeqCst);
    while PARTS.iter().any(|part| part.at_work.load(Ordering::SeqCst)) {
        // As in `take_part`: gives the CPU that is waited for its turn.
        ::core::hint::spin_loop();
        executor::yield_now().await;
    }
    let part = &PARTS[percpu::number().index()];
    for place in &BLOCKS {
        let block = place.lock().take();
        if let Some(block) = block {
            part.end(block);
            executor::yield_now().await;
        }
    }
    mapped::free_all(part).await;
    Done { time, ..done() }
}

/// A CPU's turn. Called in a loop on CPUs beside the first.
pub fn turn() -> Worked {
    take_part(|part| (0..TURN).for_each(|_| part.operate()))
}

/// The first CPU's part, as a task.
pub async fn first_cpu() {
    loop {
        let worked = take_part(|part| {
            let end = time::uptime() + FIRST_TURN;
            while time::uptime() < end {
                part.operate();
            }
        });
        match worked {
            Worked::Yes => executor::yield_now().await,
            Worked::No => executor::wait_for_event().await,
        }
    }
}

fn take_part(work: impl FnOnce(&Part)) -> Worked {
    let me = percpu::number();
    let part = &PARTS[me.index()];
    // Before the look at the bit: `stop` clears the bit, then looks at this.
    part.at_work.store(true, Ordering::SeqCst);
    let wanted = CpuSet::from_bits(WANTED.load(Ordering::SeqCst)).contains(me.index());
    if wanted {
        work(part);
        // With all CPUs in one thread of the emulator, this is where another one's turn comes.
        ::core::hint::spin_loop();
    }
    part.at_work.store(false, Ordering::SeqCst);
    if wanted { Worked::Yes } else { Worked::No }
}

impl Part {
    /// The next random number (xorshift64). Only its CPU calls this.
    fn random(&self) -> u64 {
        let mut value = self.random.load(Ordering::Relaxed);
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
        self.random.store(value, Ordering::Relaxed);
        value >> 11
    }

    fn count(&self, counter: &AtomicU64, more: u64) {
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    /// One operation.
    fn operate(&self) {
        let random = self.random();
        if random.is_multiple_of(64) && mapped::operate(self, random / 64) == Worked::Yes {
            return self.count(&self.operations, 1);
        }
        let place = &BLOCKS[(random / 64 % PLACES_USED.load(Ordering::Relaxed)) as usize % PLACES];
        let block = place.lock().take();
        match block {
            Some(block) => self.end(block),
            None => {
                let order = Sizes::pick(SIZES.load(Ordering::Relaxed), self.random());
                let Some(block) = core().allocate_scratch(order, self.node(), random) else { return };
                // Another CPU may have filled the place meanwhile.
                let other = place.lock().replace(block);
                if let Some(other) = other {
                    self.end(other);
                }
            }
        }
        self.count(&self.operations, 1);
    }

    /// Mostly no node, which the CPU's frame cache serves; else any.
    fn node(&self) -> Option<NodeId> {
        let random = self.random();
        if !random.is_multiple_of(8) {
            return None;
        }
        let mut seen = 0;
        let mut chosen = None;
        core().nodes(&mut |totals| {
            seen += 1;
            if (random / 8).is_multiple_of(seen) {
                chosen = Some(totals.node);
            }
        });
        chosen
    }

    /// Verifies a block and frees it.
    fn end(&self, block: ScratchBlock) {
        let pages = block.pages();
        let bad = core().verify_scratch(&block);
        if let Ok(bad) = bad {
            self.found(bad, "a block");
        }
        if bad.is_err() || core().free_scratch(block).is_err() {
            self.count(&self.lost_pages, pages);
        }
    }

    fn found(&self, bad: u64, what: &str) {
        if bad == 0 {
            return;
        }
        if self.bad_pages.load(Ordering::Relaxed) < LINES {
            error!("stress: {bad} pages of {what} do not match their pattern");
        }
        self.count(&self.bad_pages, bad);
    }
}
