//! What a scenario found: kept beside the page as JSON, so that a page can be made again from it.

use guest::schema::{Add, Buddyinfo, Extent, Meminfo, Resource, Section};
use serde::{Deserialize, Serialize};

/// A played scenario.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Data {
    /// The first line of the kernel's log.
    pub kernel: String,
    /// QEMU's version.
    pub qemu: String,
    /// The steps, in the order they were played.
    pub steps: Vec<Step>,
}

/// One step, and memory before and after it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Step {
    /// The typed lines, each with its prompt.
    pub typed: Vec<String>,
    /// The kernel's log of the step, without times.
    pub said: Vec<String>,
    /// Memory before.
    pub before: Snapshot,
    /// Memory after.
    pub after: Snapshot,
    /// What happened.
    pub event: Event,
}

/// What a step was, with its figures.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Event {
    /// A DIMM was plugged; the resource that it became.
    Plugged(Box<Resource>),
    /// Memory was allocated, and filled unless it was too much.
    Allocated {
        /// Where it came from.
        resource: u32,
        /// Frames.
        pages: u64,
        /// Frames whose content was compared with the pattern.
        verified: u64,
        /// Whether it is one run of frames.
        contiguous: Run,
    },
    /// A DIMM was removed.
    Ejected {
        /// Frames whose content moved.
        migrated: u64,
        /// Microseconds of the guest's clock, that is thousands of instructions: until nothing can be allocated there.
        isolating: u64,
        /// The same: until everything is elsewhere.
        migrating: u64,
        /// The same: until nothing leads there any more.
        unmapping: u64,
        /// Frames whose content was compared with the pattern afterwards.
        verified: u64,
    },
}

/// How an allocation lies in physical memory.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub enum Run {
    /// In one run.
    One,
    /// As it comes.
    Any,
}

/// Memory at one moment.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Snapshot {
    /// `resources -J`.
    pub resources: Vec<Resource>,
    /// `sections -J`; of a large DIMM those that begin and end it.
    pub sections: Vec<Section>,
    /// `buddyinfo -J`.
    pub buddies: Vec<Buddyinfo>,
    /// `map -J`.
    pub extents: Vec<Extent>,
    /// `meminfo -J`.
    pub meminfo: Meminfo,
}

impl Step {
    /// The cost of the plugged DIMM.
    pub fn add(&self) -> Option<&Add> {
        match &self.event {
            Event::Plugged(resource) => Some(&resource.add),
            Event::Allocated { .. } | Event::Ejected { .. } => None,
        }
    }
}
