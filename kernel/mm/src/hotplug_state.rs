//! The state of hot add and hot remove, guarded by the hotplug lock.
//!
//! Invariants: at most one evacuation is under way, and ids of evacuations are never reused. Neighbours: `memory` owns
//! the lock, `boot` creates the state, `hot_add` and `hot_remove` change it.

use arrayvec::ArrayVec;

use crate::addr::PfnRange;
use crate::info::ResourceId;
use crate::machine::CpuFeatures;

/// The most hot-pluggable ranges, after adjacent and overlapping ones are merged. QEMU has one, other machines a few.
pub const MAX_HOTPLUG_RANGES: usize = 32;

/// The state of hot add and hot remove. It exists once [`Memory::boot`](crate::Memory::boot) has run.
#[derive(Debug)]
pub(crate) struct Hotplug {
    pub(crate) features: CpuFeatures,
    /// Where memory may be added. Empty: anywhere.
    pub(crate) hotpluggable: ArrayVec<PfnRange, MAX_HOTPLUG_RANGES>,
    /// The number of the next resource.
    pub(crate) next: u32,
    /// The evacuation under way, if any.
    pub(crate) underway: Option<Underway>,
    next_evacuation: EvacuationId,
}

/// The id of an evacuation, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EvacuationId(u64);

/// The evacuation under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Underway {
    id: EvacuationId,
    /// The first isolated resource.
    pub(crate) first: ResourceId,
    /// Surprise removals of other memory since the start: they may have taken target frames.
    pub(crate) surprise_removals: u64,
}

impl Hotplug {
    /// The state before the first add.
    pub(crate) const fn new(features: CpuFeatures) -> Hotplug {
        Hotplug {
            features,
            hotpluggable: ArrayVec::new_const(),
            next: 0,
            underway: None,
            next_evacuation: EvacuationId(0),
        }
    }

    /// Records a new evacuation, whose first isolated resource is `first`.
    pub(crate) fn begin_evacuation(&mut self, first: ResourceId) -> EvacuationId {
        let id = self.next_evacuation;
        self.next_evacuation = EvacuationId(id.0 + 1);
        self.underway = Some(Underway { id, first, surprise_removals: 0 });
        id
    }

    /// Returns the evacuation `id` if it is still under way.
    pub(crate) fn find_evacuation(&self, id: EvacuationId) -> Option<Underway> {
        self.underway.filter(|underway| underway.id == id)
    }

    /// Records a surprise removal. `first` is the first resource that is still isolated; without one the evacuation
    /// ends.
    pub(crate) fn note_surprise_removal(&mut self, first: Option<ResourceId>) {
        self.underway = self.underway.zip(first).map(|(underway, first)| Underway {
            first,
            surprise_removals: underway.surprise_removals + 1,
            ..underway
        });
    }
}
