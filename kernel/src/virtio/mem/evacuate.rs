//! Moving content out of a device's chunks, so that it can shrink: the memory core's offlining, driven in steps.
//!
//! Neighbours: `carapace_mm::chunk` chooses the frames, `hotplug::remove` does the same for DIMMs.

use crate::executor;
use crate::hotplug::{STEP, microseconds, wait_limit};
use crate::memory::{arena, core};
use arrayvec::ArrayVec;
use carapace_mm::addr::{PAGE_SHIFT, PfnRange};
use carapace_mm::chunk::{ChunkDevice, OfflineRuns};
use carapace_mm::hot_remove::{RemoveError, Target};
use carapace_mm::info::ResourceId;
use carapace_mm::vmalloc::Progress;

/// The most chunks that are tried.
const MAX_TRIED: usize = 64;

/// Frames that were emptied, and are offline.
#[derive(Debug)]
pub struct Emptied {
    part: PfnRange,
    /// Those of them that were offline before.
    before: OfflineRuns,
}

/// Empties frames of a chunk so that `want` more bytes can be unplugged: the chunk with least content first.
///
/// # Errors
///
/// Why none could be emptied.
pub async fn evacuate(device: &ChunkDevice, want: u64) -> Result<Emptied, Option<RemoveError>> {
    let mut tried = ArrayVec::<ResourceId, MAX_TRIED>::new();
    let mut last = None;
    while !tried.is_full() {
        let Some((resource, part)) =
            core().to_evacuate(device, want >> PAGE_SHIFT, &|id| tried.contains(&id))
        else {
            break;
        };
        let (part, before) = core().offline_in(part);
        match offline(part).await {
            Ok(()) => return Ok(Emptied { part, before }),
            Err(error) => last = Some(error),
        }
        tried.push(resource);
    }
    Err(last)
}

async fn offline(part: PfnRange) -> Result<(), RemoveError> {
    let mut offlining = core().begin_offline(Target::Frames(part), &microseconds)?;
    let mut limit = wait_limit();
    while core().offline_step(arena(), &mut offlining, STEP, &microseconds)? == Progress::More {
        if let Some(error) = limit.check(offlining.waiting(), microseconds()) {
            core().abort_offline(arena(), offlining);
            return Err(error);
        }
        executor::yield_now().await;
    }
    core().finish_offline(arena(), offlining).map(|_| ())
}

/// Brings what was not unplugged of emptied frames online again, but for what was offline before.
pub fn put_back(emptied: &Emptied) {
    let Emptied { part, before } = emptied;
    let mut start = part.start;
    for run in before.iter().copied().chain([PfnRange::new(part.end, part.end)]) {
        let between = PfnRange::new(start, run.start);
        if !between.is_empty() {
            // Nothing of it may be left.
            let _ = core().online(Target::Frames(between), None);
        }
        start = run.end;
    }
}
