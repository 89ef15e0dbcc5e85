//! Removing a device's memory: the memory core's hot remove, driven in steps.
//!
//! ```text
//!  begin ── step, step, ... ── finish      between two steps events, eject requests and the shell are served
//!    |        |                  |
//!    '--------'------------------'--> refused: the core has rolled back, the reason goes to `acpi::eject`
//! ```
//!
//! Invariants: a removal without progress ends after [`TIMEOUT_US`]; after success no memory of the device is mapped or
//! known to the memory core. Neighbour: `carapace_mm::hot_remove` does the work.

use super::{DEVICES, HotplugError, microseconds, why};
use crate::executor;
use crate::memory::{arena, core};
use crate::uevents;
use carapace_cli::format_size::{Elapsed, Size};
use carapace_mm::addr::PAGE_SIZE;
use carapace_mm::hot_remove::{RemoveError, RemoveStats, Removed, SurpriseRemoved, WaitLimit};
use carapace_mm::info::DeviceId;
use carapace_mm::vmalloc::Progress;
use log::Level;

/// Frames that each CPU which shares the copy copies in a step: a few milliseconds under emulation.
pub const STEP: u64 = 512;
/// How long a removal waits for an allocation that is being made or freed and makes no progress. Another CPU works on it and
/// needs microseconds, but a host that is short of processors may let that CPU stand still for seconds. Linux waits without
/// a limit (`offline_pages`).
const TIMEOUT_US: u64 = 10_000_000;

/// The limit of one evacuation.
pub const fn wait_limit() -> WaitLimit {
    WaitLimit::new(TIMEOUT_US)
}

/// Removes all memory of a device, or none; yields between the steps. The device stays `Leaving` meanwhile.
///
/// # Errors
///
/// Why the memory core refuses. Nothing has changed then, except that some pages may have been migrated.
pub async fn remove(id: DeviceId) -> Result<(), HotplugError> {
    let has_memory = super::with(id, |device| !device.resources.is_empty()).unwrap_or(false);
    if !has_memory {
        return Ok(());
    }
    let removed = match evacuate(id).await {
        Ok(removed) => removed,
        // It was surprise-removed meanwhile: no memory is left to be removed.
        Err(RemoveError::SurpriseRemoved) => return Ok(()),
        Err(error) => return Err(HotplugError::Remove(why(error))),
    };
    let RemoveStats { migrated_pages, isolate_us, migrate_us, unmap_us, .. } = removed.stats;
    // Without a rate limit: memory must be added again before it can be removed again.
    super::with(id, |device| {
        let size = Size(removed.pages.saturating_mul(PAGE_SIZE));
        device.log(format_args!("{size} removed, {migrated_pages} frames migrated"));
        let [isolating, migrating, unmapping] =
            [isolate_us, migrate_us, unmap_us].map(|us| Elapsed(us.saturating_mul(1000)));
        device.log(format_args!("isolating {isolating}, migrating {migrating}, unmapping {unmapping}"));
        uevents::removed(&device.path, removed.pages.saturating_mul(PAGE_SIZE));
    });
    Ok(())
}

async fn evacuate(id: DeviceId) -> Result<Removed, RemoveError> {
    let mut removal = core().begin_remove(id, &microseconds)?;
    let mut limit = wait_limit();
    while core().remove_step(arena(), &mut removal, STEP, &microseconds)? == Progress::More {
        if let Some(error) = limit.check(removal.waiting(), microseconds()) {
            core().abort_remove(arena(), removal);
            return Err(error);
        }
        executor::yield_now().await;
    }
    core().finish_remove(arena(), removal, &microseconds)
}

/// Handles a surprise removal: drops the device's memory from the memory core at once, whatever else is being removed, and
/// logs what is lost.
///
/// # Errors
///
/// What was lost.
pub fn surprise_removed(id: DeviceId) -> Result<(), HotplugError> {
    let outcome = core().surprise_remove(arena(), id);
    let mut devices = DEVICES.lock();
    let Some(device) = devices.get_mut(id.0 as usize) else { return Ok(()) };
    if let Ok(dropped) = &outcome {
        uevents::removed(&device.path, dropped.pages.saturating_mul(PAGE_SIZE));
    }
    let result = match outcome {
        Ok(SurpriseRemoved { lost_pages: 0, allocations: 0, pages, .. }) => {
            device.log_limited(
                Level::Warn,
                format_args!("surprise-removed; its {} were not in use", Size(pages * PAGE_SIZE)),
            );
            Ok(())
        }
        Ok(SurpriseRemoved { lost_pages: pages, allocations, .. }) => {
            Err(HotplugError::Lost { pages, allocations })
        }
        Err(error) => Err(HotplugError::Remove(why(error))),
    };
    if let Err(error) = &result {
        device.log_limited(Level::Error, format_args!("surprise-removed: {error}"));
    }
    device.resources.retain(|resource| core().resource(*resource).is_some());
    device.state.surprise_removed();
    result
}
