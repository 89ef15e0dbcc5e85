//! The memory core as the state machine of a device sees it: runs of bytes instead of frames.

use super::Name;
use crate::hotplug::nanoseconds;
use crate::memory::{core, devices};
use crate::uevents;
use ::core::fmt;
use arrayvec::ArrayVec;
use carapace_mm::addr::{PAGE_SHIFT, Pfn, PfnRange};
use carapace_mm::chunk::{ChunkDevice, GIB_PAGES};
use carapace_mm::error::AddError;
use carapace_virtio::machine::{MAX_RUNS, Memory};
use carapace_virtio::mem::Run;

/// Why the memory core does not use plugged memory.
#[derive(Clone, Debug)]
pub enum CoreError {
    /// It refuses.
    Add(AddError),
    /// Device registers or firmware tables are mapped there.
    InUse(PfnRange),
}

impl fmt::Display for CoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CoreError::Add(error) => error.fmt(f),
            CoreError::InUse(frames) => write!(f, "frames {frames} are device registers or firmware tables"),
        }
    }
}

/// The chunks of one device.
pub struct CoreMemory<'a> {
    /// The device.
    pub chunks: &'a ChunkDevice,
    /// Its name, for events.
    pub name: &'a Name,
}

fn run_of(frames: PfnRange) -> Run {
    Run { base: frames.start.start().0, bytes: frames.pages() << PAGE_SHIFT }
}

fn frames_of(run: Run) -> PfnRange {
    PfnRange::of(Pfn(run.base >> PAGE_SHIFT), run.bytes >> PAGE_SHIFT)
}

impl CoreMemory<'_> {
    /// Plugged bytes.
    pub fn plugged_bytes(&self) -> u64 {
        core().chunk_totals(self.chunks).plugged << PAGE_SHIFT
    }

    fn plug_part(&self, part: PfnRange) -> Result<(), CoreError> {
        if let Some(frames) = devices::mapped_in(part) {
            return Err(CoreError::InUse(frames));
        }
        let plugged = core().plug(self.chunks, part, &nanoseconds).map_err(CoreError::Add)?;
        let run = run_of(part);
        uevents::plugged(self.name, plugged.resource, run.base, run.bytes, self.chunks.node.0);
        Ok(())
    }
}

impl Memory for CoreMemory<'_> {
    type Error = CoreError;

    fn plugged(&self) -> u64 {
        self.plugged_bytes()
    }

    fn next_to_plug(&mut self, want: u64, limit: u64) -> Option<Run> {
        core().next_to_plug(self.chunks, want >> PAGE_SHIFT, Pfn(limit >> PAGE_SHIFT)).map(run_of)
    }

    fn plug(&mut self, run: Run) -> Result<(), (CoreError, Run)> {
        let mut rest = frames_of(run);
        while !rest.is_empty() {
            // A run may span several chunks.
            let end = Pfn((rest.start.0 / GIB_PAGES + 1) * GIB_PAGES).min(rest.end);
            let part = PfnRange::new(rest.start, end);
            self.plug_part(part).map_err(|error| (error, run_of(rest)))?;
            rest.start = end;
        }
        Ok(())
    }

    fn unplug_unused(&mut self, want: u64) -> ArrayVec<Run, MAX_RUNS> {
        let unplugged = core().unplug_unused(self.chunks, want >> PAGE_SHIFT);
        unplugged.runs.into_iter().map(run_of).collect()
    }

    fn unplugged(&mut self, run: Run) {
        uevents::unplugged(self.name, run.base, run.bytes);
    }

    fn version(&self) -> u64 {
        core().free_version()
    }
}
