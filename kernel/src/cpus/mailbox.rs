//! Requests between CPUs (`carapace_irq::mailbox`), by an interrupt of their own.
//!
//! Rules: a CPU asks with interrupts on, and so with no `IrqMutex` held and not in a handler; it may hold locks of the
//! memory core, for which others spin with interrupts on, so that they answer. With one CPU running nothing is sent.

use super::{record, running};
use crate::arch::interrupts::{self, InterruptContext, ThisCpu};
use crate::arch::local_apic::{self, Message};
use crate::arch::{cpu, machine_check, percpu, vectors};
use carapace_acpi::madt::ApicId;
use carapace_irq::mailbox::{CpuSet, Mailbox, Request, Served};
use carapace_mm::addr::VirtAddr;
use carapace_mm::machine::{CpuNr, MAX_CPUS};
use core::sync::atomic::{AtomicU64, Ordering, fence};

/// Looks at the acknowledgements before the CPU sleeps: some microseconds, in which CPUs that have a core of the host
/// each are done.
const SPINS: u32 = 100;

#[derive(Debug)]
#[repr(align(128))]
struct OwnLines(Mailbox<AtomicU64>);

static MAILBOXES: [OwnLines; MAX_CPUS] = [const { OwnLines(Mailbox::empty()) }; MAX_CPUS];

/// Registers the interrupt's handler.
pub(super) fn listen() {
    vectors::set_handler(vectors::MAILBOX, serve_all);
}

/// Asks all other CPUs that run, does `own` while they do it, and waits until each has done it. What this CPU stored before
/// is visible to them.
pub fn ask_while(request: Request<'_>, own: impl FnOnce()) {
    // A CPU that gets into `RUNNING` after this look drops its translations after that: it reads the new page tables.
    fence(Ordering::SeqCst);
    let me = percpu::number();
    let others = running().without(CpuSet::of(me.index()));
    if others.is_empty() {
        return own();
    }
    debug_assert!(interrupts::are_enabled(), "a CPU that waits for others serves them meanwhile");
    debug_assert!(interrupts::context() == InterruptContext::Main, "a handler waits for no other CPU");
    record(me).sent.fetch_add(1, Ordering::Relaxed);
    let OwnLines(mailbox) = &MAILBOXES[me.index()];
    mailbox.post(request, others);
    others.iter().for_each(ring);
    own();
    mailbox.wait::<ThisCpu>(SPINS);
}

/// [`ask_while`] with nothing to do meanwhile.
pub fn ask(request: Request<'_>) {
    ask_while(request, || {});
}

/// Interrupts the first CPU, unless it runs this: what its executor waits for has come.
pub fn ring_first() {
    if percpu::number() != CpuNr::FIRST {
        ring(CpuNr::FIRST.index());
    }
}

pub(super) fn ring(cpu: usize) {
    if let Some(cpu) = CpuNr::new(cpu) {
        let id = ApicId(record(cpu).apic_id.load(Ordering::Relaxed));
        local_apic::send(id, Message::Interrupt(vectors::MAILBOX));
    }
}

/// The interrupt's handler.
fn serve_all() {
    let me = percpu::number();
    for sender in running().without(CpuSet::of(me.index())).iter() {
        let OwnLines(mailbox) = &MAILBOXES[sender];
        if mailbox.serve(me.index(), serve) == Served::WakeSender {
            ring(sender);
        }
    }
}

fn serve(request: Request<'_>) {
    let record = record(percpu::number());
    record.received.fetch_add(1, Ordering::Relaxed);
    match request {
        Request::Flush(pages) => pages.iter().for_each(|&at| cpu::flush(VirtAddr(at))),
        Request::FlushAll => cpu::flush_all(),
        Request::Fence => fence(Ordering::SeqCst),
        Request::Inspect => {
            machine_check::poll();
            record.switched_off.store(cpu::switched_off().bits(), Ordering::Relaxed);
        }
    }
}
