//! Requests between CPUs, every interleaving and every order of memory that the program allows, by the model checker
//! loom.
//!
//! ```text
//!  a CPU is a thread       interrupt(cpu): a flag of the CPU, and its handler runs when its interrupts are on:
//!                          in Cpu::on and Cpu::sleep; sleep waits for the flag
//! ```
//!
//! A lost wake-up leaves a CPU asleep forever: loom reports a deadlock.

mod watched;

use carapace_irq::Cpu;
use carapace_irq::mailbox::{BATCH, CpuSet, Mailbox, Request, Served};
use core::sync::atomic::Ordering;
use loom::sync::atomic::AtomicU64;
use loom::sync::{Condvar, Mutex};
use loom::thread;
use watched::Watched;

/// The most CPUs of a model.
const CPUS: usize = 3;

/// The interrupt controller's side of a CPU.
#[derive(Default)]
struct Lines {
    requested: Mutex<bool>,
    changed: Condvar,
}

/// The page table's one word, and each CPU's copy of it. A copy is written by its CPU only.
#[derive(Default)]
struct Machine {
    lines: [Lines; CPUS],
    mailboxes: [Mailbox<Watched<Simulated>>; CPUS],
    entry: AtomicU64,
    translations: [AtomicU64; CPUS],
    wakes: AtomicU64,
    done: AtomicU64,
}

loom::lazy_static! {
    static ref MACHINE: Machine = Machine::default();
}

loom::thread_local! {
    static NUMBER: core::cell::Cell<usize> = core::cell::Cell::new(0);
    static ON: core::cell::Cell<bool> = core::cell::Cell::new(true);
}

struct Simulated;

impl Cpu for Simulated {
    const CHECKS_LOCK_ORDER: bool = false;

    fn number() -> usize {
        NUMBER.with(|number| number.get())
    }

    fn are_on() -> bool {
        ON.with(|on| on.get())
    }

    fn off() {
        ON.with(|on| on.set(false));
    }

    fn on() {
        ON.with(|on| on.set(true));
        let lines = &MACHINE.lines[Self::number()];
        if core::mem::take(&mut *lines.requested.lock().unwrap()) {
            handler();
        }
    }

    fn sleep() {
        ON.with(|on| on.set(true));
        let lines = &MACHINE.lines[Self::number()];
        let mut requested = lines.requested.lock().unwrap();
        while !core::mem::take(&mut *requested) {
            requested = lines.changed.wait(requested).unwrap();
        }
        drop(requested);
        handler();
    }
}

fn interrupt(cpu: usize) {
    *MACHINE.lines[cpu].requested.lock().unwrap() = true;
    MACHINE.lines[cpu].changed.notify_all();
}

/// The interrupt's handler: drops its copy, which is then filled anew from the page table.
fn handler() {
    let me = Simulated::number();
    let was_on = ON.with(|on| on.replace(false));
    for (sender, mailbox) in MACHINE.mailboxes.iter().enumerate().filter(|&(sender, _)| sender != me) {
        let served = mailbox.serve(me, |request| {
            assert_eq!(request, Request::Flush(&[4096, 8192]));
            let entry = MACHINE.entry.load(Ordering::Relaxed);
            MACHINE.translations[me].store(entry, Ordering::Relaxed);
        });
        if served == Served::WakeSender {
            MACHINE.wakes.fetch_add(1, Ordering::Relaxed);
            interrupt(sender);
        }
    }
    ON.with(|on| on.set(was_on));
}

/// Adds to the page table's word and asks `receivers` to flush; afterwards none has a copy from before.
fn change_and_flush(receivers: &[usize], spins: u32) {
    let me = Simulated::number();
    let new = MACHINE.entry.fetch_add(1, Ordering::Relaxed) + 1;
    let set = receivers.iter().fold(0, |bits, &cpu| bits | CpuSet::of(cpu).bits());
    MACHINE.mailboxes[me].post(Request::Flush(&[4096, 8192]), CpuSet::from_bits(set));
    receivers.iter().for_each(|&cpu| interrupt(cpu));
    MACHINE.mailboxes[me].wait::<Simulated>(spins);
    for &cpu in receivers {
        assert!(MACHINE.translations[cpu].load(Ordering::Relaxed) >= new, "CPU {cpu} has an old translation");
    }
}

fn cpu(number: usize, program: impl FnOnce() + 'static) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        NUMBER.with(|place| place.set(number));
        program();
    })
}

fn every_interleaving(program: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(program);
}

/// Proves that a sender comes to its end, and that the receiver has no old translation then, whenever the interrupt and
/// the acknowledgement come. Fails (by a deadlock) when one of the fences of `serve` and `wait` goes, or when the sender
/// looks for the last time with interrupts on.
#[test]
fn an_acknowledgement_wakes_the_sender() {
    every_interleaving(|| {
        let other = cpu(1, || {
            Simulated::off();
            Simulated::sleep();
        });
        change_and_flush(&[1], 0);
        other.join().unwrap();
    });
}

/// Proves the same for a receiver that finds the request by the interrupt of another sender, and a sender that finds the
/// acknowledgement while it spins, where nothing but the mailbox orders memory. Fails when `post` loses its Release or
/// `serve` or `wait` its Acquire or Release: the receiver does not see the new page table, or not in time.
#[test]
fn the_mailbox_orders_memory() {
    every_interleaving(|| {
        let other = cpu(1, || {
            Simulated::off();
            handler();
            Simulated::sleep();
        });
        change_and_flush(&[1], 1);
        other.join().unwrap();
    });
}

/// Proves that two CPUs that ask each other at the same time both come to their ends: each serves the other while it
/// waits.
#[test]
fn two_ask_each_other() {
    every_interleaving(|| {
        let ask = |other| {
            change_and_flush(&[other], 0);
            MACHINE.done.fetch_add(1, Ordering::AcqRel);
            interrupt(other);
            // The other one may ask only now.
            Simulated::off();
            while MACHINE.done.load(Ordering::Acquire) < 2 {
                Simulated::sleep();
                Simulated::off();
            }
        };
        let other = cpu(1, move || ask(0));
        ask(1);
        other.join().unwrap();
    });
}

/// Proves that the last of two receivers wakes the sender, only that one, and that what both did is visible to it.
#[test]
fn the_last_receiver_wakes() {
    every_interleaving(|| {
        let others = [1, 2].map(|number| {
            cpu(number, || {
                Simulated::off();
                Simulated::sleep();
            })
        });
        change_and_flush(&[1, 2], 0);
        assert!(MACHINE.wakes.load(Ordering::Relaxed) <= 1);
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}

/// Proves that a request is served once, that more pages than fit mean all, and that each kind arrives as it was sent.
#[test]
fn requests_arrive_as_sent() {
    let mailbox = Mailbox::<core::sync::atomic::AtomicU64>::default();
    let many = [0; BATCH + 1];
    let full: [u64; BATCH] = core::array::from_fn(|page| page as u64);
    let sent = [
        (Request::Flush(&[]), Request::Flush(&[])),
        (Request::Flush(&full), Request::Flush(&full)),
        (Request::Flush(&many), Request::FlushAll),
        (Request::FlushAll, Request::FlushAll),
        (Request::Fence, Request::Fence),
        (Request::Inspect, Request::Inspect),
    ];
    for (request, arrives) in sent {
        mailbox.post(request, CpuSet::from_bits(0b110));
        for cpu in [2, 0, 2, 1, 1] {
            let mut served = 0;
            let quiet = mailbox.serve(cpu, |request| {
                served += 1;
                assert_eq!(request, arrives);
            });
            assert_eq!(quiet, Served::Quiet, "no CPU sleeps");
            assert!(served <= 1);
        }
    }
    let set = CpuSet::from_bits(0b1001);
    assert_eq!(set.iter().collect::<Vec<_>>(), [0, 3]);
    assert_eq!((set.len(), set.without(CpuSet::of(0)).bits()), (2, 0b1000));
}
