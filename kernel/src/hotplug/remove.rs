//! Giving a device's memory up: the memory core's removal, driven in steps.
//!
//! ```text
//!  begin ── step, step, ... ── finish      between two steps events, other removals' requests and the shell run
//!    |        |                  |
//!    '--------'------------------'--> refused: the core has put everything back, the reason goes to `acpi::eject`
//! ```
//!
//! Invariants: nothing here waits for longer than [`PATIENCE_US`] without something having been done; after
//! success nothing of the device's memory is mapped or known. Neighbour: `mm::remove` does the work.

use super::{DEVICES, DeviceState, HotplugError, microseconds, say, why};
use crate::executor;
use crate::memory::{core, window};
use log::{Level, info};
use mm::info::{DeviceId, ResourceId};
use mm::remove::{RemoveError, RemoveStats, Removed};
use mm::window::Progress;

/// Frames copied in a step: a few milliseconds under emulation.
pub const STEP: u64 = 512;
/// How long a removal waits for an allocation that is being made or freed and does not get on.
const PATIENCE_US: u64 = 1_000_000;

/// How long it has been waited for somebody else.
#[derive(Debug, Default)]
pub struct Patience {
    since: Option<u64>,
}

impl Patience {
    /// What is waited for, once that has taken too long; `waiting` is what is waited for now.
    pub fn look(&mut self, waiting: Option<RemoveError>) -> Option<RemoveError> {
        let Some(error) = waiting else {
            self.since = None;
            return None;
        };
        let now = microseconds();
        let since = *self.since.get_or_insert(now);
        (now.saturating_sub(since) > PATIENCE_US).then_some(error)
    }
}

/// Gives all memory of a device up, or none; gives way between its steps. The device is `Leaving` all the while.
///
/// # Errors
///
/// What the memory core refuses; everything is as before then, but that some content may lie elsewhere.
pub async fn remove(id: DeviceId) -> Result<(), HotplugError> {
    let has_memory = super::with(id, |device| !device.resources.is_empty()).unwrap_or(false);
    if !has_memory {
        return Ok(());
    }
    let removed = evacuate(id).await.map_err(|error| HotplugError::Remove(why(error)))?;
    let RemoveStats { migrated_pages, isolate_us, migrate_us, unmap_us, .. } = removed.stats;
    // Not rationed: what went has to come again before it can go again.
    super::with(id, |device| {
        info!(
            "{}: {} MiB given up: {migrated_pages} frames migrated; isolating {isolate_us} us, migrating \
             {migrate_us} us, unmapping {unmap_us} us",
            device.path,
            removed.pages >> 8
        );
    });
    Ok(())
}

async fn evacuate(id: DeviceId) -> Result<Removed, RemoveError> {
    let mut removal = core().begin_remove(id, &microseconds)?;
    let mut patience = Patience::default();
    while core().remove_step(window(), &mut removal, STEP, &microseconds)? == Progress::More {
        if let Some(error) = patience.look(removal.waiting()) {
            core().abort_remove(window(), removal);
            return Err(error);
        }
        executor::give_way().await;
    }
    core().finish_remove(removal, &microseconds)
}

/// A device is gone without having been asked for: gives its memory up as far as that can be done, and logs what
/// is lost.
///
/// # Errors
///
/// What was lost, or why the memory cannot be given up.
pub fn lose(id: DeviceId) -> Result<(), HotplugError> {
    let result: Result<(), HotplugError> = Err(HotplugError::Gone);
    match &result {
        Ok(()) => say(id, Level::Warn, format_args!("gone without having been asked for; nothing is lost")),
        Err(error) => {
            say(id, Level::Error, format_args!("gone without having been asked for: {error}"));
        }
    }
    let mut devices = DEVICES.lock();
    if let Some(device) = devices.get_mut(id.0 as usize) {
        let is_known = |resource: &ResourceId| core().resource(*resource).is_some();
        device.resources.retain(|resource| is_known(resource));
        device.refusal = result.as_ref().err().cloned();
        if device.resources.is_empty() {
            device.state = DeviceState::Absent;
        }
    }
    result
}
