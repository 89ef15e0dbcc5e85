//! Starting the other CPUs, and what each of them does.
//!
//! ```text
//!  first CPU                                     each other one
//!  INIT to all, 10 ms
//!  one after another: claim, START ------------> trampoline -> main: descriptor tables, protections, local APIC
//!                     wait, halted <-- mailbox -- in `RUNNING`, all translations dropped
//!                     silent: named, the next     its loop (`idle`)
//! ```
//!
//! Invariant: a CPU's stack is used by that CPU only (`trampoline` argues why), so one that does not come costs time
//! ([`PATIENCE`]) and keeps its stack, in case it comes all the same.

use super::trampoline::{Claim, Trampoline};
use super::{KNOWN, RECORDS, RUNNING, State, idle, mailbox, record, running};
use crate::arch::local_apic::{self, Message};
use crate::arch::{self, interrupts, percpu, stacks, time};
use carapace_acpi::madt::{ApicId, Madt};
use carapace_acpi::srat::Srat;
use carapace_irq::mailbox::CpuSet;
use carapace_mm::machine::CpuNr;
use core::sync::atomic::Ordering;
use core::time::Duration;
use log::{info, warn};

/// From INIT to START (Intel SDM vol. 3, section 9.4.4.1).
const INIT_DELAY: Duration = Duration::from_millis(10);
/// How long the first START may take before it is sent once more.
const SECOND_START: Duration = Duration::from_millis(100);
/// How long a CPU is waited for: a host that is busy runs it late.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long all are waited for; then each that is left gets [`SECOND_START`] only.
const PATIENCE_FOR_ALL: Duration = Duration::from_secs(4);

/// Starts the CPUs that the MADT names, beside the first one, which runs this with interrupts on. What cannot be started
/// is named in the log.
pub fn start(madt: &Madt, srat: Option<&Srat<'_>>, trampoline: Option<Trampoline>) {
    mailbox::listen();
    let mine = local_apic::id();
    note(CpuNr::FIRST, mine, srat, State::Online);
    let others = madt.processors.iter().copied().filter(|&id| id != mine);
    let mut unnumbered = madt.processors_left_out;
    for id in others {
        let known = KNOWN.load(Ordering::Relaxed);
        match CpuNr::new(known) {
            Some(cpu) => {
                note(cpu, id, srat, State::Parked);
                KNOWN.store(known + 1, Ordering::Release);
            }
            None => unnumbered += 1,
        }
    }
    if unnumbered > 0 {
        warn!("{unnumbered} processors stay parked: {} run at most", RECORDS.len());
    }
    let all = (1..KNOWN.load(Ordering::Relaxed)).filter_map(CpuNr::new);
    if all.clone().next().is_none() {
        return;
    }
    let Some(trampoline) = trampoline else {
        return warn!("the other CPUs stay parked: no free page below 640 KiB");
    };
    let with_stack = stacks::cpus().count();
    let (mut failed, mut parked) = (0, 0);
    let startable = all.filter(|&cpu| {
        let id = id_of(cpu);
        let reached = local_apic::reaches(id);
        if !reached {
            warn!("processor {id} stays parked: not addressable in xAPIC mode");
        }
        let startable = reached && cpu.index() < with_stack;
        parked += u32::from(!startable);
        startable
    });
    let mut cpus = CpuSet::EMPTY;
    for cpu in startable {
        record(cpu).set_state(State::Starting);
        local_apic::send(id_of(cpu), Message::Init);
        cpus = CpuSet::from_bits(cpus.bits() | CpuSet::of(cpu.index()).bits());
    }
    sleep_until(time::uptime() + INIT_DELAY, || false);
    let end = time::uptime() + PATIENCE_FOR_ALL;
    for cpu in cpus.iter().filter_map(CpuNr::new) {
        let patience = if time::uptime() < end { PATIENCE } else { SECOND_START };
        if start_one(&trampoline, cpu, patience) == Came::No {
            failed += 1;
            record(cpu).set_state(State::Failed);
            warn!("processor {} (CPU {}) does not come", id_of(cpu), cpu.index());
        }
    }
    let count = running().len();
    let names = if count == 1 { "CPU runs" } else { "CPUs run" };
    info!("{count} {names}, {failed} failed, {parked} parked");
}

fn id_of(cpu: CpuNr) -> ApicId {
    ApicId(record(cpu).apic_id.load(Ordering::Relaxed))
}

fn note(cpu: CpuNr, id: ApicId, srat: Option<&Srat<'_>>, state: State) {
    let record = record(cpu);
    record.apic_id.store(id.0, Ordering::Relaxed);
    record.node.store(srat.map_or(0, |srat| srat.node_of(id).0), Ordering::Relaxed);
    record.set_state(state);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Yes,
    No,
}

fn start_one(trampoline: &Trampoline, cpu: CpuNr, patience: Duration) -> Came {
    let id = id_of(cpu);
    let came = || record(cpu).state() == State::Online;
    trampoline.expect(id, cpu, stacks::main(cpu).end);
    let started = time::uptime();
    for until in [SECOND_START.min(patience), patience] {
        local_apic::send(id, Message::Start { page: trampoline.page() });
        sleep_until(started + until, came);
        if came() {
            return Came::Yes;
        }
    }
    if trampoline.withdraw(id) == Claim::Taken {
        // It is between the trampoline and its last step: nothing there waits.
        sleep_until(time::uptime() + patience, came);
    }
    if came() { Came::Yes } else { Came::No }
}

/// Sleeps until `deadline`, or until an interrupt makes `done` true.
fn sleep_until(deadline: Duration, done: impl Fn() -> bool) {
    loop {
        interrupts::disable();
        if done() || time::uptime() >= deadline {
            return interrupts::enable();
        }
        local_apic::wake_at(deadline);
        interrupts::sleep_until_interrupt();
    }
}

/// What a CPU beside the first does, from the trampoline on.
pub(super) extern "C" fn main(number: u64) -> ! {
    let Some(cpu) = CpuNr::new(number as usize) else { interrupts::park() };
    arch::init_other(cpu);
    local_apic::init_other();
    // From here on requests come; what changed in the page tables before is not in the translations that are loaded
    // after the next line.
    RUNNING.fetch_or(CpuSet::of(cpu.index()).bits(), Ordering::SeqCst);
    arch::cpu::flush_all();
    record(percpu::number()).set_state(State::Online);
    mailbox::ring_first();
    idle::run()
}
