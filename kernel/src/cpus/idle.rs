//! What a CPU beside the first does: it works on a job of another CPU (`jobs`) and in the background while there is such
//! work, else it sleeps.
//!
//! ```text
//!  wake(cpu): set the CPU's flag, interrupt it
//!  run:       loop { flag set? clear it, work until there is nothing to do;  sti; hlt unless the flag is set }
//! ```
//!
//! Invariant: no wake-up is lost (`carapace_irq::WakeFlag`). Neighbours: `start` ends here, `stress` is background work.

use super::{jobs, mailbox};
use crate::arch::interrupts::ThisCpu;
use crate::arch::percpu;
use carapace_irq::WakeFlag;
use carapace_irq::mailbox::CpuSet;
use carapace_mm::machine::{CpuNr, MAX_CPUS};
use core::sync::atomic::{AtomicU64, Ordering};
use spin::Once;

/// Whether a function found something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worked {
    /// It did a part of it: call it again.
    Yes,
    /// There is nothing to do.
    No,
}

#[derive(Debug)]
#[repr(align(128))]
struct OwnLines(WakeFlag);

static AWAKE: [OwnLines; MAX_CPUS] = [const { OwnLines(WakeFlag::new()) }; MAX_CPUS];
static BACKGROUND: Once<fn() -> Worked> = Once::new();

/// The CPUs that last found no background work: a hint. It stays while such a CPU answers a request or works on a job,
/// otherwise a job right behind a flush would find no helper.
static IDLE: AtomicU64 = AtomicU64::new(0);

/// The CPUs that have nothing to do but jobs, or had until just now.
pub(super) fn idle() -> CpuSet {
    CpuSet::from_bits(IDLE.load(Ordering::Relaxed))
}

/// Sets the function that does a part of the background work, on each CPU beside the first. To be called once.
pub fn set_background(work: fn() -> Worked) {
    BACKGROUND.call_once(|| work);
}

/// Makes a CPU look for work. What this CPU stored before is visible to it then.
pub fn wake(cpu: CpuNr) {
    let OwnLines(flag) = &AWAKE[cpu.index()];
    flag.wake();
    mailbox::ring(cpu.index());
}

/// The loop of a CPU beside the first.
pub(super) fn run() -> ! {
    let number = percpu::number().index();
    let (OwnLines(awake), me) = (&AWAKE[number], CpuSet::of(number));
    // What `IDLE` says of this CPU.
    let mut busy = Worked::Yes;
    loop {
        while awake.take() {
            loop {
                let job = jobs::help();
                let background = BACKGROUND.get().map_or(Worked::No, |work| work());
                if busy != background {
                    busy = background;
                    match busy {
                        Worked::Yes => IDLE.fetch_and(!me.bits(), Ordering::Relaxed),
                        Worked::No => IDLE.fetch_or(me.bits(), Ordering::Relaxed),
                    };
                }
                if (job, background) == (Worked::No, Worked::No) {
                    break;
                }
            }
        }
        awake.sleep_unless_awake::<ThisCpu>(|| {});
    }
}
