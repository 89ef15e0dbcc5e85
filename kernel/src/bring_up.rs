//! The last part of bring-up, behind the prompt: which ACPI events to serve, and a rehearsal of how a DIMM comes.
//!
//! ```text
//!  main: memory, CPUs, the namespace, DIMMs present at boot -> prompt -> events on -> rehearsal -> first command
//! ```
//!
//! It is a lot of code that runs once, and an emulator translates each piece of it before it runs. What is typed meanwhile
//! waits. Invariant: a command finds all of it done, so it sees the machine as it stays until something is plugged. An event
//! raised before events are on is served by the first round of `acpi::events`, which comes behind this task's first turn.
//! Only what is unusual is logged here, so that the prompt stays where it is.

use crate::acpi::{self, events::Listening};
use crate::executor;
use core::sync::atomic::{AtomicBool, Ordering};
use log::error;

static FINISHED: AtomicBool = AtomicBool::new(false);

/// Does the rest, as a task that never ends. It comes before the tasks that serve what it starts. `listening` is `None` on
/// a machine whose events cannot be received.
pub async fn finish(listening: Option<Listening>) {
    if let Some(Err(error)) = listening.map(acpi::enable_events) {
        error!("no events from ACPI: {error}");
    }
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
