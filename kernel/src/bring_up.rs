//! The last part of bring-up, behind the prompt: which ACPI events to serve, virtio devices, and a rehearsal of how a DIMM
//! comes.
//!
//! ```text
//!  main: memory, CPUs, the namespace, DIMMs present at boot -> prompt -> events on, devices -> rehearsal -> first command
//! ```
//!
//! It is a lot of code that runs once, and an emulator translates each piece of it before it runs. What is typed meanwhile
//! waits. Invariant: a command finds all of it done, so it sees the machine as it stays until something is plugged. An event
//! raised before events are on is served by the first round of `acpi::events`, which comes behind this task's first turn.
//! On a machine without virtio devices only what is unusual is logged here, so that the prompt stays where it is.

use crate::acpi::{self, events::Listening};
use crate::{executor, log, virtio};
use ::log::error;
use carapace_acpi::mcfg::Mcfg;
use core::sync::atomic::{AtomicBool, Ordering};

static FINISHED: AtomicBool = AtomicBool::new(false);

/// What is left to do.
#[derive(Debug, Default)]
pub struct Rest {
    /// `None` on a machine whose events cannot be received.
    pub listening: Option<Listening>,
    /// Whether to look for virtio devices.
    pub virtio: Search,
}

/// Whether to look for virtio devices.
#[derive(Debug, Default)]
pub enum Search {
    /// No: without interrupt controllers no device can be used.
    #[default]
    LeaveOut,
    /// Yes, in the configuration space that the firmware describes, or by ports.
    Pci(Option<Mcfg<'static>>),
}

/// Does the rest, as a task that never ends. It comes before the tasks that serve what it starts.
pub async fn finish(rest: Rest) {
    // Lines together, so that the prompt is written once more at most.
    log::defer_printing(|| {
        if let Err(error) = acpi::enable_events(rest.listening) {
            error!("no events from ACPI: {error}");
        }
        if let Search::Pci(mcfg) = rest.virtio {
            virtio::start(mcfg);
        }
    });
    // The first turn of all other tasks, and its output.
    executor::yield_now().await;
    acpi::rehearse();
    // Relaxed: the tasks of the executor share one CPU.
    FINISHED.store(true, Ordering::Relaxed);
    core::future::pending().await
}

/// Waits until the machine is up completely: some milliseconds behind the prompt. From then on only what happens to the
/// machine changes the kernel's heap.
pub async fn finished() {
    while !FINISHED.load(Ordering::Relaxed) {
        executor::yield_now().await;
    }
}
