//! The CPUs beside the first: how they start, what they do, and how they are asked for something.
//!
//! ```text
//!  trampoline   real mode to 64-bit mode, one CPU at a time, in a page below 640 KiB
//!  start        INIT, then START for one CPU after another; each one's first steps
//!  idle         what it does then: a job's pieces, background work, else nothing
//!  jobs         work in pieces on all CPUs that are idle
//!  mailbox      requests between CPUs: drop translations, a memory barrier, look at your switches
//!  stop         a fatal report stops all CPUs but one by NMI, and learns where each was
//! ```
//!
//! The first CPU runs the executor: events, AML, hotplug, the shell ([`assert_first`], which the executor calls). The
//! others do background work or wait for interrupts. Nothing preempts, and what runs on a CPU stays there.
//!
//! Invariants: a CPU is in [`running`] only between its last step of starting and the machine's end; it drops all
//! translations after it got in, so a change of page tables that did not ask it cannot concern it. A CPU's number is
//! its place in [`all`], the first one's is 0.
//!
//! Neighbours: `arch` has what a CPU is, `memory` maps stacks and asks by the mailbox, `executor` is woken from any CPU,
//! `panic` reports where the stopped ones were.

pub mod idle;
pub mod jobs;
mod mailbox;
mod start;
pub mod stop;
pub mod trampoline;

pub use mailbox::{ask, ask_while, ring_first};
pub use start::start;

use crate::arch::cpu::SwitchedOff;
use crate::arch::{cpu, percpu};
use carapace_acpi::madt::ApicId;
use carapace_irq::mailbox::{CpuSet, Request};
use carapace_mm::addr::NodeId;
use carapace_mm::machine::{CpuNr, MAX_CPUS};
use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// What a CPU does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Nothing: it was not started.
    Parked,
    /// It is being started.
    Starting,
    /// It runs.
    Online,
    /// It was started and did not come.
    Failed,
}

impl State {
    const ALL: [State; 4] = [State::Parked, State::Starting, State::Online, State::Failed];
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Parked => "parked",
            State::Starting => "parked",
            State::Online => "online",
            State::Failed => "failed",
        })
    }
}

/// What is known of a CPU, on cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Record {
    apic_id: AtomicU32,
    node: AtomicU32,
    state: AtomicU8,
    /// Requests that this CPU made of others, and served for them.
    sent: AtomicU64,
    received: AtomicU64,
    /// The protections that it has and that are off, as it found when it was asked last.
    switched_off: AtomicU32,
    /// Where it was when it was stopped for a fatal report.
    stopped: stop::StoppedAt,
}

static RECORDS: [Record; MAX_CPUS] = [const {
    Record {
        apic_id: AtomicU32::new(0),
        node: AtomicU32::new(0),
        state: AtomicU8::new(State::Parked as u8),
        sent: AtomicU64::new(0),
        received: AtomicU64::new(0),
        switched_off: AtomicU32::new(0),
        stopped: stop::StoppedAt::nowhere(),
    }
}; MAX_CPUS];

/// How many CPUs have a record.
static KNOWN: AtomicUsize = AtomicUsize::new(1);
/// The CPUs that run, one bit each.
static RUNNING: AtomicU64 = AtomicU64::new(1);

fn record(cpu: CpuNr) -> &'static Record {
    &RECORDS[cpu.index()]
}

impl Record {
    fn state(&self) -> State {
        State::ALL[usize::from(self.state.load(Ordering::Acquire)) % State::ALL.len()]
    }

    fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
    }
}

/// What is known of a CPU.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    /// Its number.
    pub number: CpuNr,
    /// Its local APIC.
    pub apic_id: ApicId,
    /// Its node.
    pub node: NodeId,
    /// What it does.
    pub state: State,
    /// Requests that it made of other CPUs.
    pub sent: u64,
    /// Requests that it served for other CPUs.
    pub received: u64,
}

/// All CPUs that the firmware names and that have a number, those that do not run included.
pub fn all() -> impl Iterator<Item = Cpu> {
    (0..KNOWN.load(Ordering::Acquire)).filter_map(CpuNr::new).map(|number| {
        let record = record(number);
        Cpu {
            number,
            apic_id: ApicId(record.apic_id.load(Ordering::Relaxed)),
            node: NodeId(record.node.load(Ordering::Relaxed)),
            state: record.state(),
            sent: record.sent.load(Ordering::Relaxed),
            received: record.received.load(Ordering::Relaxed),
        }
    })
}

/// The CPUs that run.
pub fn running() -> CpuSet {
    CpuSet::from_bits(RUNNING.load(Ordering::SeqCst))
}

/// Checks that the first CPU runs this: the executor's tasks (events, AML, hotplug, the shell) expect one CPU.
///
/// # Panics
/// When it is another CPU: a bug.
#[track_caller]
pub fn assert_first() {
    assert!(percpu::number() == CpuNr::FIRST, "this belongs to the first CPU");
}

/// Calls `tell` with each protection that a running CPU has and that is off. Asks the others.
pub fn switched_off(tell: &mut dyn FnMut(CpuNr, &'static str)) {
    ask(Request::Inspect);
    let me = percpu::number();
    for cpu in running().iter().filter_map(CpuNr::new) {
        let off = match cpu == me {
            true => cpu::switched_off(),
            false => SwitchedOff::from_bits(record(cpu).switched_off.load(Ordering::Relaxed)),
        };
        off.names().for_each(|name| tell(cpu, name));
    }
}
