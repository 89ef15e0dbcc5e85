//! Giving a device's memory up: the memory core's removal, driven in steps.
//!
//! ```text
//!  begin ── step, step, ... ── finish      between two steps events, other removals' requests and the shell run
//!    |        |                  |
//!    '--------'------------------'--> refused: the core has put everything back, the reason goes to `acpi::eject`
//! ```
//!
//! Invariants: nothing here waits for longer than [`PATIENCE_US`] without something having been done; after
//! success nothing of the device's memory is mapped or known. Neighbour: `carapace_mm::hot_remove` does the work.

use super::{DEVICES, HotplugError, MAY_LEAVE, microseconds, why};
use crate::executor;
use crate::memory::{core, window};
use crate::news;
use ::core::sync::atomic::Ordering;
use carapace_mm::addr::PAGE_SIZE;
use carapace_mm::hot_remove::{RemoveError, RemoveStats, Removed, SurpriseRemoved};
use carapace_mm::info::DeviceId;
use carapace_mm::vmalloc::Progress;
use log::{Level, info};

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
    let removed = match evacuate(id).await {
        Ok(removed) => removed,
        // It has been forgotten meanwhile (`lose`): there is nothing left to be given up.
        Err(RemoveError::SurpriseRemoved) => return Ok(()),
        Err(error) => return Err(HotplugError::Remove(why(error))),
    };
    let RemoveStats { migrated_pages, isolate_us, migrate_us, unmap_us, .. } = removed.stats;
    // Not rationed: what went has to come again before it can go again.
    super::with(id, |device| {
        info!(
            "{}: {} MiB given up: {migrated_pages} frames migrated; isolating {isolate_us} us, migrating \
             {migrate_us} us, unmapping {unmap_us} us",
            device.path,
            removed.pages >> 8
        );
        news::removed(&device.path, removed.pages.saturating_mul(PAGE_SIZE));
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
        executor::yield_now().await;
    }
    core().finish_remove(removal, &microseconds)
}

/// A device is gone without having been asked for: forgets its memory, and logs what is lost. While other memory is
/// being taken out of use that has to wait: the device is `Vanished` until then ([`lose_vanished`]).
///
/// # Errors
///
/// What was lost, or why the memory cannot be forgotten now.
pub fn lose(id: DeviceId) -> Result<(), HotplugError> {
    note(id, core().surprise_remove(window(), id))
}

/// Forgets the memory of one device that could not be forgotten when it went, if there is one.
pub(super) fn lose_vanished() {
    let Some(at) = DEVICES.lock().iter().position(|device| device.state.is_surprise_removed()) else {
        return;
    };
    let id = DeviceId(at as u32);
    match core().surprise_remove(window(), id) {
        Err(RemoveError::UnderWay { .. }) => {}
        // What is lost is logged, and there is nobody to be told.
        attempt => drop(note(id, attempt)),
    }
}

/// Notes and logs how forgetting a device's memory went.
fn note(id: DeviceId, attempt: Result<SurpriseRemoved, RemoveError>) -> Result<(), HotplugError> {
    let mut devices = DEVICES.lock();
    let Some(device) = devices.get_mut(id.0 as usize) else { return Ok(()) };
    let gone = "gone without having been asked for";
    if let Ok(forgotten) = &attempt {
        news::removed(&device.path, forgotten.pages.saturating_mul(PAGE_SIZE));
    }
    let result = match attempt {
        Ok(SurpriseRemoved { lost_pages: 0, allocations: 0, pages, .. }) => {
            device.say(Level::Warn, format_args!("{gone}; its {} MiB were not in use", pages >> 8));
            Ok(())
        }
        Ok(SurpriseRemoved { lost_pages: pages, allocations, .. }) => {
            Err(HotplugError::Lost { pages, allocations })
        }
        Err(error) => Err(HotplugError::Remove(why(error))),
    };
    if let Err(error) = &result {
        device.say(Level::Error, format_args!("{gone}: {error}"));
    }
    device.resources.retain(|resource| core().resource(*resource).is_some());
    let left = device.memory();
    device.state.surprise_removed(left);
    if device.state.is_surprise_removed() {
        MAY_LEAVE.store(true, Ordering::Relaxed);
    }
    result
}
